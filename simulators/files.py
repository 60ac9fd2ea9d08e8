"""World files: a header and arrays in one ``.npz`` file, complete or not at all.

A world or specimen is taken apart into plain data: a *header* that JSON holds,
and *arrays* by name.  ``save`` and ``load`` put them into a file and read them
back; the cache and the exchange with other programs keep the same two.  Nothing
is ever pickled, and every array is guarded by the checksum of its zip member.
"""

from __future__ import annotations

import errno
import json
import os
import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .specimens.specimen import FeatureClass, Kind, Map, Outline, Specimen

Arrays = Mapping[str, NDArray[Any]]
HEADER = "header"  # the member of the file that holds it
NAME = re.compile(r"[A-Za-z0-9_]+")  # of an array
# What not every specimen says of its columns: left out where it is empty.
OPTIONAL = ("share", "stretch", "sway_yxz_nm", "displacement_yx_nm")
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK)  # exFAT, some shares


def save(path: Path, header: Mapping[str, Any], arrays: Arrays, replace: bool = False) -> None:
    """Write a header and arrays as one compressed ``.npz`` file.

    Args:
        path: of the file.
        header: plain data that JSON holds.
        arrays: by name; of numbers, any shape.
        replace: write over a file that is there.

    Raises:
        FileExistsError: there is a file, and ``replace`` is not set.
        ValueError: an array of objects, or with an odd name.
        OSError: no room, or no leave to write; nothing is left behind.
    """
    check_arrays(arrays)
    text = json.dumps({"header": dict(header), "arrays": contents(arrays)})
    members = {HEADER: np.frombuffer(text.encode(), dtype=np.uint8), **arrays}
    with part_of(path, size_of(arrays), replace) as part, part.open("xb") as handle:
        np.savez_compressed(handle, **members)  # type: ignore[arg-type]


def load(path: Path) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Read what ``save`` wrote: header and arrays.

    Raises:
        FileNotFoundError: no such file.
        ValueError: another kind of file, or a damaged one.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no world file at {str(path)!r}")
    try:
        with np.load(path, allow_pickle=False) as data:
            whole = json.loads(bytes(data[HEADER]))
            arrays = {name: data[name] for name in data.files if name != HEADER}
        header = whole["header"]
        if not isinstance(header, dict):
            raise ValueError("its header is no table")
        if contents(arrays) != whole["arrays"]:
            raise ValueError(f"it does not hold the arrays {', '.join(whole['arrays'])}")
    except Exception as error:  # damage makes zip and NumPy raise whatever they stumble over
        raise ValueError(f"{path} is not a readable world: {error}") from error
    return header, arrays


def pack_specimen(specimen: Specimen) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """A specimen as plain data; ``unpack_specimen`` restores it exactly."""
    s = specimen
    header = {
        "name": s.name,
        "seed": [int(word) for word in s.seed],
        "difficulty": s.difficulty,
        "field_yx_nm": [float(side) for side in s.field_yx_nm],
        "thickness_nm": float(s.thickness_nm),
        "film_nm": float(s.film_nm),
        "kinds": [asdict(k) for k in s.kinds],
        "classes": [asdict(c) for c in s.classes],
        "outlines": [
            {
                "feature_class": int(o.feature_class),
                "points": len(o.path_yx_nm),
                "closed": bool(o.closed),
                "note": o.note,
            }
            for o in s.outlines
        ],
        "maps": [
            {"name": name, "pitch_nm": float(m.pitch_nm), "unit": m.unit}
            for name, m in s.maps.items()
        ],
    }
    arrays: dict[str, NDArray[Any]] = {
        "positions_yx_nm": s.positions_yx_nm,
        "height_nm": s.height_nm,
        "kind": _small(s.kind, len(s.kinds)),
        **{name: getattr(s, name) for name in OPTIONAL if getattr(s, name).shape != (0,)},
        "feature_class": _small(s.feature_class, len(s.classes)),
        "feature_yx_nm": s.feature_yx_nm,
        "feature_angle_rad": s.feature_angle_rad,
        "feature_outline": s.feature_outline,
        "outlines_yx_nm": np.vstack([*(o.path_yx_nm for o in s.outlines), np.empty((0, 2))]),
    }
    return header, arrays | {f"map_{k}": m.values for k, m in enumerate(s.maps.values())}


def unpack_specimen(header: Mapping[str, Any], arrays: Arrays) -> Specimen:
    """The specimen that ``pack_specimen`` took apart; other arrays are left alone.

    Raises:
        ValueError: a part is missing, of another type, or does not fit the others.
    """
    try:
        _check(header, arrays)
        return _unpacked(header, arrays)
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        what = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
        raise ValueError(f"the specimen is incomplete: {what}") from error


def _unpacked(header: Mapping[str, Any], arrays: Arrays) -> Specimen:
    ends = np.cumsum([o["points"] for o in header["outlines"]], dtype=np.int64)
    paths = np.split(arrays["outlines_yx_nm"], ends)
    height, width = header["field_yx_nm"]
    return Specimen(
        name=header["name"],
        seed=tuple(header["seed"]),
        difficulty=header["difficulty"],
        field_yx_nm=(height, width),
        positions_yx_nm=arrays["positions_yx_nm"],
        height_nm=arrays["height_nm"],
        kind=arrays["kind"].astype(np.int64),
        kinds=tuple(
            Kind(**{**k, "stack": tuple((symbol, z) for symbol, z in k["stack"])})
            for k in header["kinds"]
        ),
        classes=tuple(FeatureClass(**c) for c in header["classes"]),
        feature_class=arrays["feature_class"].astype(np.int64),
        feature_yx_nm=arrays["feature_yx_nm"],
        thickness_nm=header["thickness_nm"],
        **{name: arrays[name] for name in OPTIONAL if name in arrays},
        film_nm=header["film_nm"],
        feature_angle_rad=arrays["feature_angle_rad"],
        feature_outline=arrays["feature_outline"],
        outlines=tuple(
            Outline(o["feature_class"], path, o["closed"], o["note"])
            for o, path in zip(header["outlines"], paths[:-1], strict=True)
        ),
        maps={
            m["name"]: Map(arrays[f"map_{k}"], m["pitch_nm"], m["unit"])
            for k, m in enumerate(header["maps"])
        },
    )


def _check(header: Mapping[str, Any], arrays: Arrays) -> None:
    """Refuse arrays of another type, or that do not belong together."""
    n, m = len(arrays["kind"]), len(arrays["feature_class"])
    points = sum(o["points"] for o in header["outlines"])
    shapes: dict[str, tuple[tuple[int, ...], ...]] = {
        "positions_yx_nm": ((n, 2),),
        "height_nm": ((n,),),
        "share": ((n,), (0,)),
        "stretch": ((n,),),
        "sway_yxz_nm": ((n, 3),),
        "displacement_yx_nm": ((n, 2), (0,)),
        "feature_yx_nm": ((m, 2),),
        "feature_angle_rad": ((m,),),
        "outlines_yx_nm": ((points, 2),),
    }
    for name, allowed in shapes.items():
        if name in OPTIONAL and name not in arrays:
            continue
        array = arrays[name]
        if array.dtype != np.float64 or array.shape not in allowed:
            known = " or ".join(str(shape) for shape in allowed)
            raise ValueError(f"{name} is {array.dtype} {array.shape}; it must be float64 {known}")
    for name, count, least, below in (
        ("kind", n, 0, len(header["kinds"])),
        ("feature_class", m, 0, len(header["classes"])),
        ("feature_outline", m, -1, len(header["outlines"])),
    ):
        index = arrays[name]
        if index.dtype.kind not in "iu" or index.shape != (count,):
            raise ValueError(
                f"{name} is {index.dtype} {index.shape}; it must be integer ({count},)"
            )
        if count and not least <= index.min() <= index.max() < below:
            raise ValueError(f"{name} reaches from {index.min()} to {index.max()} of {below}")


def _small(index: NDArray[np.int64], count: int) -> NDArray[Any]:
    """Indices as the smallest integers that hold them."""
    return index.astype(np.min_scalar_type(max(0, count - 1)))


def check_arrays(arrays: Arrays) -> None:
    """Refuse what no file could hold: odd names, and objects, which would be pickled.

    Raises:
        ValueError: such an array.
    """
    for name, array in arrays.items():
        if not NAME.fullmatch(name) or name == HEADER:
            raise ValueError(
                f"an array named {name!r}; letters, digits and _ are allowed, and not {HEADER!r}"
            )
        if array.dtype.hasobject:
            raise ValueError(f"the array {name!r} holds objects; only numbers are written")


def contents(arrays: Arrays) -> dict[str, list[Any]]:
    """Type and shape of arrays by name, as JSON."""
    return {name: [array.dtype.str, list(array.shape)] for name, array in arrays.items()}


def size_of(arrays: Arrays) -> int:
    """Bytes of arrays, before they are compressed."""
    return sum(array.nbytes for array in arrays.values())


@contextmanager
def part_of(path: Path, size: int, replace: bool = False) -> Iterator[Path]:
    """A path to write a file to, which takes its own name only when it is complete.

    Args:
        path: the name of the complete file; its folder must exist.
        size: bytes that it may need, for the sentence about a full disk.
        replace: write over a file that is there.

    Raises:
        FileExistsError: there is a file, and ``replace`` is not set.
        OSError: no room; nothing is left behind.
    """
    if path.exists() and not replace:
        raise FileExistsError(f"{str(path)!r} exists; nothing is overwritten")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"no folder {str(path.parent)!r}; make it first")
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with room_for(path, size):
            yield part
            flush(part)
            _publish(part, path, replace)
            flush(path.parent)
    finally:
        part.unlink(missing_ok=True)


def _publish(part: Path, path: Path, replace: bool) -> None:
    """Give a complete file its name in one step; never over another, unless asked."""
    if not replace:
        try:
            os.link(part, path)
            return
        except FileExistsError:
            raise FileExistsError(f"{str(path)!r} exists; nothing is overwritten") from None
        except OSError as error:
            if error.errno not in NO_LINKS:
                raise
        path.open("xb").close()  # where there are no links: take the name, then fill it
    os.replace(part, path)


def flush(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some shares cannot do it for folders
            raise
    finally:
        os.close(descriptor)


@contextmanager
def room_for(path: Path, size: int) -> Iterator[None]:
    """Turn a full disk into one sentence: where, how much was needed, what to do."""
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise no_room(path, size, error.errno) from error


def no_room(path: Path, size: int, number: int = errno.ENOSPC) -> OSError:
    """The error of a full disk; it has no ``strerror``, so that it reads as the sentence alone."""
    error = OSError(
        f"no room for {path}: it needs up to {ceil(size / 1e6)} MB; nothing was written; free "
        "some space, or choose a folder on another disk"
    )
    error.errno = number
    return error
