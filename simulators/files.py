"""Worlds as plain data, and as one file each.

A world is a header that JSON holds and arrays by name.  A file is an ``.npz``
with both: NumPy alone reads it, its members carry checksums, and nothing in it
is ever unpickled.
"""

from __future__ import annotations

import errno
import json
import os
import zlib
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from .specimens.specimen import FeatureClass, Kind, Map, Outline, Specimen

Arrays = dict[str, NDArray[Any]]
COLUMNS = ("positions_yx_nm", "height_nm", "kind", "share", "displacement_yx_nm")
FEATURES = ("feature_class", "feature_yx_nm", "feature_angle_rad", "feature_outline")
SMALL = {"kind": np.uint8}  # how integers of a small range are kept


def pack_specimen(specimen: Specimen) -> tuple[dict[str, Any], Arrays]:
    """A specimen as a header and arrays."""
    header = {
        "name": specimen.name,
        "seed": list(specimen.seed),
        "difficulty": specimen.difficulty,
        "field_yx_nm": list(specimen.field_yx_nm),
        "kinds": [asdict(k) for k in specimen.kinds],
        "classes": [asdict(c) for c in specimen.classes],
        "thickness_nm": specimen.thickness_nm,
        "film_nm": specimen.film_nm,
        "outlines": [
            {"feature_class": o.feature_class, "closed": o.closed, "note": o.note}
            for o in specimen.outlines
        ],
        "maps": {k: {"pitch_nm": m.pitch_nm, "unit": m.unit} for k, m in specimen.maps.items()},
    }
    arrays: Arrays = {
        name: np.asarray(getattr(specimen, name)).astype(SMALL.get(name, None), copy=False)
        if name in SMALL
        else getattr(specimen, name)
        for name in COLUMNS + FEATURES
    }
    arrays |= {f"outline_{k}": o.path_yx_nm for k, o in enumerate(specimen.outlines)}
    arrays |= {f"map_{k}": m.values for k, m in specimen.maps.items()}
    return header, arrays


def unpack_specimen(header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Specimen:
    """The specimen that ``pack_specimen`` took apart."""
    fields = {name: np.asarray(arrays[name]) for name in COLUMNS + FEATURES}
    fields |= {name: fields[name].astype(np.int64) for name in SMALL}
    return Specimen(
        name=header["name"],
        seed=tuple(header["seed"]),
        difficulty=header["difficulty"],
        field_yx_nm=(header["field_yx_nm"][0], header["field_yx_nm"][1]),
        kinds=tuple(
            Kind(**{**k, "stack": tuple((s, h) for s, h in k["stack"])}) for k in header["kinds"]
        ),
        classes=tuple(FeatureClass(**c) for c in header["classes"]),
        thickness_nm=header["thickness_nm"],
        film_nm=header["film_nm"],
        outlines=tuple(
            Outline(path_yx_nm=np.asarray(arrays[f"outline_{k}"]), **o)
            for k, o in enumerate(header["outlines"])
        ),
        maps={k: Map(np.asarray(arrays[f"map_{k}"]), **m) for k, m in header["maps"].items()},
        **fields,
    )


def save(path: Path, header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write one ``.npz`` file, complete or not at all, and never over another file.

    Raises:
        FileExistsError: the file exists.
        OSError: it cannot be written; nothing is left behind.
    """
    if path.exists():
        raise FileExistsError(f"{str(path)!r} exists; nothing is overwritten")
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    text = np.frombuffer(json.dumps(header).encode(), dtype=np.uint8)
    try:
        with part.open("xb") as handle:
            np.savez_compressed(handle, header=text, **arrays)  # type: ignore[arg-type]
            handle.flush()
            os.fsync(handle.fileno())
        os.link(part, path)
    except OSError as error:
        raise explained(error, path, arrays) from error
    finally:
        part.unlink(missing_ok=True)


def explained(error: OSError, path: Path, arrays: Mapping[str, NDArray[Any]]) -> OSError:
    """The same error, with a sentence about a full disk where that is what it is."""
    if error.errno not in (errno.ENOSPC, errno.EDQUOT):
        return error
    size = sum(a.nbytes for a in arrays.values()) / 2**20
    return OSError(
        error.errno,
        f"the disk is full: {str(path)!r} needs up to {size:.0f} MiB; nothing was written. Free "
        "some space (`stemscout worlds clean --all` empties the cache), or name another place",
    )


def load(path: Path) -> tuple[dict[str, Any], Arrays]:
    """Read what ``save`` wrote.

    Raises:
        ValueError: there is no such file, it is another one, or it is damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as data:
            header = json.loads(bytes(data["header"]))
            return header, {k: data[k] for k in data.files if k != "header"}
    except (OSError, KeyError, ValueError, TypeError, EOFError, BadZipFile, zlib.error) as error:
        raise ValueError(f"{path} is not a readable world: {error}") from error
