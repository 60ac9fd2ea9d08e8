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
    try:
        if suffix == ".npy":
            return Micrograph(np.load(path, allow_pickle=False), None)
        if suffix == ".png":
            return Micrograph(_read_png(path), None)
        if suffix in (".tif", ".tiff"):
            import tifffile

            return Micrograph(tifffile.imread(path), None)
    except (OSError, ValueError, SyntaxError, EOFError) as error:
        raise ValueError(f"{str(path)!r} cannot be read as an image: {error}") from error
    return _read_rosetta(path)


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
    unit = str(axes[-1].get("units") or "").strip().lower()
    scale = axes[-1].get("scale")
    return float(scale) * UNITS_NM[unit] if unit in UNITS_NM and scale else None
