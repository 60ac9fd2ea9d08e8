"""Images and worlds in files that other programs open.

``.hspy`` is HyperSpy's own format (HDF5), written and read by RosettaSciIO (the
optional extra ``files``): one signal for each detector, axes in nm, and with
the first of them, under ``original_metadata.stemscout``, what made the world and
its arrays, so that the same world comes back.  ``.tif`` is a calibrated stack as
ImageJ and HyperSpy read it; it holds the images and the header, no arrays.
``.npz`` is ours.

HyperSpy's ``.zspy`` is left out: RosettaSciIO writes it with zarr below 3, and
abTEM needs zarr 3.  HyperSpy turns one into the other.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import version
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..hardware.microscope import YX
from . import files
from .images import UNITS_NM

F32 = NDArray[np.float32]
OURS = "stemscout"  # the node of ``original_metadata`` that is ours
QUANTITY = "fraction of the beam"
HDF5_MOST = 1_000_000  # bytes that an .hspy file holds besides images and arrays
IMAGE = "image_"  # what the names of images begin with in a .npz file


class Imported(NamedTuple):
    """What a file holds.

    Attributes:
        images: (rows, columns) float32 by detector.
        sampling_nm: side of a pixel.
        origin_yx_nm: position of the centre of pixel (0, 0).
        metadata: what ``export_images`` was given; empty for the files of others.
        arrays: likewise.
    """

    images: dict[str, F32]
    sampling_nm: float
    origin_yx_nm: YX
    metadata: dict[str, Any]
    arrays: dict[str, NDArray[Any]]


def check_suffix(path: Path | None) -> None:
    """Refuse a file that ``export_images`` could not write, before anything is computed.

    Raises:
        ValueError: an unknown ending, or one whose library is not installed.
    """
    if path is None:
        return
    if path.suffix not in READERS:
        raise ValueError(f"{str(path)!r} must end in one of {', '.join(READERS)}")
    if path.suffix == ".hspy" and not (find_spec("rsciio") and find_spec("h5py")):
        raise ValueError(
            f"{str(path)!r}: this ending needs the extra 'files' (pip install 'stemscout[files]'); "
            ".npz and .tif do without"
        )


def export_images(
    path: Path,
    images: Mapping[str, F32],
    sampling_nm: float,
    origin_yx_nm: YX,
    metadata: Mapping[str, Any],
    arrays: files.Arrays | None = None,
    instrument: Mapping[str, Any] | None = None,
) -> None:
    """Write the images of one field; never over another file, complete or not at all.

    Args:
        path: of the file; its ending (.npz, .hspy, .tif) decides the format.
        images: (rows, columns) by detector, all of one shape.
        sampling_nm: side of a pixel.
        origin_yx_nm: position of the centre of pixel (0, 0).
        metadata: plain data that JSON holds, to come back as it is.
        arrays: to come back as they are; a ``.tif`` leaves them out.
        instrument: for HyperSpy's ``metadata.Acquisition_instrument.TEM``:
            ``beam_energy`` in keV, ``convergence_angle`` in mrad.

    Raises:
        ValueError: an unknown ending, a missing library, images of different shapes.
        FileExistsError: there is a file.
        OSError: no room, or no leave to write; nothing is left behind.
    """
    check_suffix(path)
    shapes = {np.shape(image) for image in images.values()}
    if len(shapes) != 1 or len(*shapes) != 2:
        known = ", ".join(f"{k} {np.shape(image)}" for k, image in images.items()) or "none"
        raise ValueError(f"images: {known}; there must be one at least, all (rows, columns) alike")
    if not sampling_nm > 0:
        raise ValueError(f"sampling {sampling_nm} nm; it must be above 0")
    stack = {name: np.ascontiguousarray(image, dtype=np.float32) for name, image in images.items()}
    arrays = {} if path.suffix == ".tif" or arrays is None else dict(arrays)
    files.check_arrays({**stack, **arrays})
    header = {
        "detectors": list(images),
        "sampling_nm": float(sampling_nm),
        "origin_yx_nm": [float(origin_yx_nm[0]), float(origin_yx_nm[1])],
        "metadata": dict(metadata),
        "arrays": files.contents(arrays),
    }
    if path.suffix == ".npz":
        files.save(path, {"images": header}, {IMAGE + k: v for k, v in stack.items()} | arrays)
        return
    size = files.size_of(stack) + files.size_of(arrays)
    with files.part_of(path, size) as part:
        if path.suffix == ".hspy":
            # HDF5 crashes the process where the disk runs full, so that is asked before.
            if shutil.disk_usage(part.parent).free < 2 * size + HDF5_MOST:
                raise files.no_room(path, 2 * size + HDF5_MOST)
            _write_hspy(part, stack, header, arrays, instrument)
        else:
            _write_tif(part, stack, header)


def import_images(path: Path) -> Imported:
    """The images in a file that ``export_images`` wrote, with all that it was given.

    Of ``.hspy`` files, those of other programs are read as well, where they are
    calibrated in units of length with square pixels; what was cropped keeps its
    place in the field.

    Raises:
        FileNotFoundError: no such file.
        ValueError: an unknown ending, a missing library, a damaged file, no
            calibrated image in it.
    """
    check_suffix(path)
    if not path.is_file():
        raise FileNotFoundError(f"no file at {str(path)!r}")
    try:
        return READERS[path.suffix](path)
    except Exception as error:  # a damaged file makes readers raise whatever they stumble over
        raise ValueError(f"{str(path)!r} cannot be read: {error}") from error


def _write_hspy(
    part: Path,
    images: Mapping[str, F32],
    header: Mapping[str, Any],
    arrays: files.Arrays,
    instrument: Mapping[str, Any] | None,
) -> None:
    """One signal for each image; the first carries the header and the arrays."""
    import h5py  # type: ignore[import-untyped]
    from rsciio.hspy import file_writer

    # HDF5 keeps neither an attribute above 64 kB nor an empty array in chunks.
    ours = {
        "header": np.array([json.dumps(header).encode()]),
        "arrays": {k: np.atleast_1d(v) for k, v in arrays.items() if v.size},
    }
    single = part.with_name(f"{part.name}.one")
    try:
        for n, (name, image) in enumerate(images.items()):
            signal = _signal(name, image, header, instrument)
            if n == 0:
                signal["original_metadata"] = {OURS: ours}
                file_writer(str(part), signal, show_progressbar=False)
                continue
            file_writer(str(single), signal, show_progressbar=False)
            with h5py.File(single, "r") as one, h5py.File(part, "a") as whole:
                one.copy(f"Experiments/{name}", whole["Experiments"])
    finally:
        single.unlink(missing_ok=True)


def _signal(
    name: str, image: F32, header: Mapping[str, Any], instrument: Mapping[str, Any] | None
) -> dict[str, Any]:
    """An image as RosettaSciIO's writers take it."""
    axes = [
        {
            "_type": "UniformDataAxis",
            "name": axis,
            "units": "nm",
            "size": size,
            "scale": header["sampling_nm"],
            "offset": offset,
            "navigate": False,
            "is_binned": False,
        }
        for axis, size, offset in zip("yx", image.shape, header["origin_yx_nm"], strict=True)
    ]
    metadata: dict[str, Any] = {
        "General": {"title": name},
        "Signal": {"signal_type": "", "quantity": QUANTITY},
    }
    if instrument:
        metadata["Acquisition_instrument"] = {"TEM": dict(instrument)}
    return {
        "data": image,
        "axes": axes,
        "metadata": metadata,
        "original_metadata": {},
        "attributes": {"_lazy": False, "ragged": False},
        "package_info": {"package": OURS, "package_version": version(OURS)},
        "learning_results": {},
        "models": {},
        "tmp_parameters": {},
    }


def _read_hspy(path: Path) -> Imported:
    from rsciio.hspy import file_reader

    found = [s for s in file_reader(str(path)) if np.ndim(s["data"]) == 2]
    if not found:
        raise ValueError("it holds no image with two dimensions")
    images = {s["metadata"]["General"]["title"]: _as_image(s["data"]) for s in found}
    if len(images) < len(found):
        raise ValueError("two of its images have the same title")
    places = {_place(s["axes"]) for s in found}
    if len(places) != 1:
        raise ValueError("its images differ in pixel size or position; save them one by one")
    sampling, y, x = places.pop()
    for signal in found:
        ours = signal["original_metadata"].get(OURS)
        if ours is not None:
            header = json.loads(str(ours["header"][0]))
            arrays = dict(_restored(header["arrays"], ours.get("arrays", {})))
            order = [name for name in header["detectors"] if name in images]
            images = {name: images[name] for name in dict.fromkeys([*order, *images])}
            return Imported(images, sampling, (y, x), header["metadata"], arrays)
    return Imported(images, sampling, (y, x), {}, {})


def _restored(
    contents: Mapping[str, Any], stored: Mapping[str, Any]
) -> Iterator[tuple[str, NDArray[Any]]]:
    """Arrays of the type and shape that they had."""
    for name, (dtype, shape) in contents.items():
        array = stored[name] if 0 not in shape else np.empty(shape, dtype)
        if array.dtype.str != dtype:
            raise ValueError(f"the array {name!r} is {array.dtype.str}; it was written as {dtype}")
        yield name, np.asarray(array).reshape(shape)


def _place(axes: list[dict[str, Any]]) -> tuple[float, float, float]:
    """Pixel size and origin (y, x) in nm."""
    scales, origin = [], []
    for axis in axes:
        unit = str(axis.get("units") or "").strip().lower()
        if unit not in UNITS_NM:
            raise ValueError(f"its axis {axis.get('name')!r} is in {unit!r}; it must be a length")
        scales.append(float(axis["scale"]) * UNITS_NM[unit])
        origin.append(float(axis["offset"]) * UNITS_NM[unit])
    if not abs(scales[0] - scales[1]) <= 1e-6 * scales[1]:
        raise ValueError(f"its pixels are {scales[0]:g} x {scales[1]:g} nm; they must be square")
    return scales[1], origin[0], origin[1]


def _write_tif(part: Path, images: Mapping[str, F32], header: Mapping[str, Any]) -> None:
    """A stack as ImageJ reads it; HyperSpy takes the unit from DigitalMicrograph's tags."""
    import tifffile

    pixel, (y, x) = header["sampling_nm"], header["origin_yx_nm"]
    # Not onto the disk itself: of a full one, tifffile would not say that it was full.
    buffer = BytesIO()
    tifffile.imwrite(
        buffer,
        np.stack(list(images.values()))[:, None],
        imagej=True,
        resolution=(1.0 / pixel, 1.0 / pixel),
        metadata={
            "axes": "ZCYX",
            "unit": "nm",
            "yorigin": -y / pixel,  # where 0 lies, in pixels
            "xorigin": -x / pixel,
            "Labels": list(images),
            "Info": json.dumps({OURS: header}),
        },
        extratags=[
            *((tag, "s", 3, "nm", False) for tag in (65003, 65004)),
            *((tag, "d", 1, at, False) for tag, at in ((65006, x), (65007, y))),
            *((tag, "d", 1, pixel, False) for tag in (65009, 65010)),
        ],
    )
    part.write_bytes(buffer.getbuffer())


def _read_tif(path: Path) -> Imported:
    import tifffile

    with tifffile.TiffFile(path) as tiff:
        text = (tiff.imagej_metadata or {}).get("Info", "{}")
        header = json.loads(text).get(OURS)
        if header is None:
            raise ValueError("its images were not exported from a world")
        planes = tiff.asarray()
    planes = planes.reshape(len(header["detectors"]), *planes.shape[-2:])
    images = dict(zip(header["detectors"], map(_as_image, planes), strict=True))
    y, x = header["origin_yx_nm"]
    return Imported(images, header["sampling_nm"], (y, x), header["metadata"], {})


def _read_npz(path: Path) -> Imported:
    whole, arrays = files.load(path)
    if "images" not in whole:
        raise ValueError("it is a world, not a set of images; open it as a world")
    header = whole["images"]
    images = {name: _as_image(arrays.pop(IMAGE + name)) for name in header["detectors"]}
    y, x = header["origin_yx_nm"]
    return Imported(images, header["sampling_nm"], (y, x), header["metadata"], arrays)


def _as_image(data: Any) -> F32:
    return np.asarray(data, dtype=np.float32)


READERS: dict[str, Callable[[Path], Imported]] = {
    ".npz": _read_npz,
    ".hspy": _read_hspy,
    ".tif": _read_tif,
}
