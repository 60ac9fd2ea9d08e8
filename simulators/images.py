"""Reading a micrograph from a file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

UNITS_NM = {"m": 1e9, "mm": 1e6, "um": 1e3, "µm": 1e3, "nm": 1.0, "å": 0.1, "a": 0.1, "pm": 1e-3}
GREY_MODES = ("1", "L", "I", "F", "I;16", "I;16B", "I;16L")


@dataclass(frozen=True, eq=False)
class Micrograph:
    """An image (rows, columns) and its pixel size in nm, where the file says one."""

    image: NDArray[Any]
    pixel_nm: float | None


def read_image(path: str | Path) -> Micrograph:
    """Read ``.npy``, PNG or TIFF; with RosettaSciIO what it reads (dm3, dm4, emd, hspy ...).

    Raises:
        FileNotFoundError: no such file.
        ValueError: a file that is not a grey image, cannot be read, or needs
            the optional reader.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no image file at {str(path)!r}")
    suffix = path.suffix.lower()
    reader = {".npy": _read_npy, ".png": _read_png, ".tif": _read_tiff, ".tiff": _read_tiff}.get(
        suffix
    )
    if reader is None:
        return _read_rosetta(path)
    try:
        return Micrograph(reader(path), None)
    except Exception as error:  # a damaged file makes readers raise whatever they stumble over
        raise ValueError(f"{str(path)!r} cannot be read as an image: {error}") from error


def _read_npy(path: Path) -> NDArray[Any]:
    array = np.load(path, allow_pickle=False)
    if not isinstance(array, np.ndarray):
        raise ValueError("it holds several arrays; save one alone, with numpy.save")
    return array


def _read_tiff(path: Path) -> NDArray[Any]:
    import tifffile

    return np.asarray(tifffile.imread(path))


def _read_png(path: Path) -> NDArray[Any]:
    from PIL import Image

    with Image.open(path) as image:
        if image.mode not in GREY_MODES:
            raise ValueError(f"it has colours (mode {image.mode}); save it as grey values")
        return np.asarray(image)


def _read_rosetta(path: Path) -> Micrograph:
    suffix = path.suffix.lower().lstrip(".")
    try:
        from importlib import import_module

        from rsciio import IO_PLUGINS
    except ImportError as error:
        raise ValueError(
            f"{str(path)!r}: .npy, .png and .tif are read as they are; other formats need the "
            "extra 'files' (pip install 'stemscout[files]')"
        ) from error
    plugins = [p for p in IO_PLUGINS if suffix in p["file_extensions"]]
    if not plugins:
        raise ValueError(f"{str(path)!r}: no reader knows the ending .{suffix}")
    failures = []
    for plugin in plugins:
        try:
            signals = import_module(plugin["api"]).file_reader(str(path))
        except Exception as error:  # readers raise whatever their format makes them raise
            failures.append(f"{plugin['name']}: {error}")
            continue
        for signal in signals:
            if np.ndim(signal["data"]) == 2:
                return Micrograph(np.asarray(signal["data"]), _pixel_nm(signal["axes"]))
        failures.append(f"{plugin['name']}: it holds no image with two dimensions")
    raise ValueError(f"{str(path)!r} cannot be read: {'; '.join(failures)}")


def _pixel_nm(axes: list[dict[str, Any]]) -> float | None:
    sizes = []
    for axis in axes[-2:]:
        unit, scale = str(axis.get("units") or "").strip().lower(), axis.get("scale")
        if unit not in UNITS_NM or not scale:
            return None
        sizes.append(float(scale) * UNITS_NM[unit])
    if abs(sizes[0] / sizes[1] - 1.0) > 0.01:
        raise ValueError(f"its pixels are {sizes[0]:g} x {sizes[1]:g} nm; they must be square")
    return sizes[1]
