"""Worlds in formats that other programs open: HyperSpy's, and TIFF.

``.hspy`` (HDF5) is written and read by RosettaSciIO, which HyperSpy uses itself
(its ``.zspy`` does not work with Zarr 3): one signal, its first axis the detector, the others
calibrated in nm.  Header and arrays of the world travel in the metadata, so the
way back is exact.  TIFF holds the images and their pixel size alone.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..hardware.microscope import YX

F32 = NDArray[np.float32]
SUFFIXES = (".npz", ".hspy", ".tif")
EXTRA = "pip install 'stemscout[files]'"


@dataclass(frozen=True)
class Images:
    """What a file holds: images (rows, columns) by detector, calibration, and our own data."""

    images: Mapping[str, F32]
    sampling_nm: float
    origin_yx_nm: YX
    metadata: Mapping[str, Any]
    arrays: Mapping[str, NDArray[Any]]


def check_suffix(path: Path | None) -> None:
    """Refuse a file name that no format belongs to.

    Raises:
        ValueError: the message lists the known ones.
    """
    if path is not None and path.suffix not in SUFFIXES:
        raise ValueError(f"{str(path)!r} must end in one of {', '.join(SUFFIXES)}")


def export_images(
    path: Path,
    images: Mapping[str, F32],
    sampling_nm: float,
    origin_yx_nm: YX,
    metadata: Mapping[str, Any],
    arrays: Mapping[str, NDArray[Any]] | None = None,
) -> None:
    """Write images (fractions of the beam) with their axes in nm.

    Raises:
        ValueError: an unknown suffix.
        ImportError: RosettaSciIO is missing; the message says how to get it.
    """
    check_suffix(path)
    stack = np.stack(list(images.values())).astype(np.float32)
    if path.suffix == ".tif":
        import tifffile

        tifffile.imwrite(
            path,
            stack,
            imagej=True,
            resolution=(1.0 / sampling_nm, 1.0 / sampling_nm),
            metadata={"unit": "nm", "axes": "ZYX", "Labels": list(images)},
        )
        return
    shape = dict(zip(("detector", "y", "x"), stack.shape, strict=True))
    offset = {"detector": 0.0, "y": origin_yx_nm[0], "x": origin_yx_nm[1]}
    signal = {
        "data": stack,
        "axes": [
            {
                "name": name,
                "size": size,
                "index_in_array": k,
                "scale": 1.0 if k == 0 else sampling_nm,
                "offset": offset[name],
                "units": "" if k == 0 else "nm",
                "navigate": k == 0,
            }
            for k, (name, size) in enumerate(shape.items())
        ],
        "metadata": {
            "General": {"title": path.stem, "original_filename": path.name},
            "Signal": {"signal_type": "", "quantity": "fraction of the beam"},
        },
        "original_metadata": {
            "detectors": ",".join(images),
            "header": json.dumps(dict(metadata)),
            "arrays": _packed(arrays or {}),
        },
        "tmp_parameters": {},
        "attributes": {"_lazy": False},
        "package_info": {},
        "models": {},
        "learning_results": {},
    }
    _plugin(path).file_writer(str(path), signal)


def import_images(path: Path) -> Images:
    """Read what ``export_images`` wrote, or images of another program.

    Raises:
        ValueError: the file cannot be read, or holds no images.
        ImportError: RosettaSciIO is missing; the message says how to get it.
    """
    if path.suffix != ".hspy":
        raise ValueError(f"{str(path)!r} must end in .npz or .hspy")
    if not path.exists():
        raise ValueError(f"{str(path)!r} does not exist")
    plugin = _plugin(path)
    try:
        signal = plugin.file_reader(str(path))[0]
        data = np.asarray(signal["data"], dtype=np.float32)
        axes = sorted(signal["axes"], key=lambda a: a.get("index_in_array", 0))[-2:]
        extra = signal.get("original_metadata", {})
        names = str(extra.get("detectors", "")).split(",")
        arrays = _unpacked(extra["arrays"]) if "arrays" in extra else {}
        header = json.loads(extra["header"]) if "header" in extra else {}
        stack = data.reshape(-1, *data.shape[-2:])
        if len(names) != len(stack):
            names = [f"image {k}" for k in range(len(stack))]
        return Images(
            dict(zip(names, stack, strict=True)),
            float(axes[1]["scale"]),
            (float(axes[0]["offset"]), float(axes[1]["offset"])),
            header,
            arrays,
        )
    except (OSError, KeyError, IndexError, TypeError, ValueError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from error


def _plugin(path: Path) -> Any:
    try:
        from rsciio import hspy
    except ImportError as error:
        raise ImportError(f"{path.suffix} files need RosettaSciIO: {EXTRA} ({error})") from error
    return hspy


def _packed(arrays: Mapping[str, NDArray[Any]]) -> NDArray[np.uint8]:
    """Arrays as the bytes of an .npz file, which metadata can carry."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    return np.frombuffer(buffer.getvalue(), dtype=np.uint8)


def _unpacked(packed: Any) -> dict[str, NDArray[Any]]:
    with np.load(io.BytesIO(np.asarray(packed, np.uint8).tobytes()), allow_pickle=False) as data:
        return {k: data[k] for k in data.files}
