"""A journal as files that others open: NeXus, HyperSpy's own, and a picture.

NeXus (https://www.nexusformat.org) is HDF5 with names: an ``NXentry`` holds the instrument, an
``NXdata`` for each frame with its axes in nm, and the decisions.  ``.hspy`` is HyperSpy's own;
frames of one shape and pixel size are one stack.  Both need the extra ``files``, and are
calibrated by what was scanned, which need not be quite what was asked for.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from ..hardware.coordinates import pixel_offsets_nm
from ..hardware.journal import Record, read, torn
from ..hardware.microscope import YX, Frame
from ..hardware.replayed import Told
from . import style
from .figures import show_frames

NEXUS, HSPY, PICTURE = "experiment.nxs", "frames.hspy", "montage.png"
WIDTH = 7.0  # of the picture, in inches
SCALARS = ("charge_e", "time_s", "valid_rows")


@dataclass(frozen=True)
class Exported:
    """What was made of a journal.

    Attributes:
        files: that were written.
        frames: that the journal holds, all of which are in them.
        torn: bytes at its end that are no whole record, and were left out.
    """

    files: tuple[Path, ...]
    frames: int
    torn: int


def export(folder: Path, out: Path) -> Exported:
    """Write all that can be made of a journal; never over another file.

    Args:
        folder: of the run.
        out: where to; made if need be.

    Raises:
        JournalError: no journal there, or a damaged one.
        ValueError: no frame in it, a file that is there already, or the extra is missing.
    """
    if not (find_spec("h5py") and find_spec("rsciio")):
        raise ValueError("export needs the extra 'files': pip install 'stemscout[files]'")
    records, left_out = list(read(folder)), torn(folder)
    told = Told.of(records)
    if not told.frames:
        raise ValueError(f"the journal in {folder} holds no frame")
    groups = _alike(told.frames)
    stacks = [out / (HSPY if not k else f"frames-{k + 1}.hspy") for k in range(len(groups))]
    for path in (out / NEXUS, out / PICTURE, *stacks):
        if path.exists():
            raise ValueError(f"{path} is there already; name another folder with --out")
    out.mkdir(parents=True, exist_ok=True)
    write_nexus(out / NEXUS, told, records)
    for path, group in zip(stacks, groups, strict=True):
        write_hspy(path, told, group)
    (out / PICTURE).write_bytes(montage(told))
    return Exported((out / NEXUS, *stacks, out / PICTURE), len(told.frames), left_out)


def write_nexus(path: Path, told: Told, records: Sequence[Record]) -> None:
    """Everything, by NeXus's names."""
    import h5py  # type: ignore[import-untyped]

    with h5py.File(path, "x") as file:
        file.attrs["default"] = "experiment"
        entry = _group(file, "experiment", "NXentry")
        entry.attrs["default"] = "frame_00000"
        entry["program_name"] = "stemscout"
        entry["start_time"] = _iso(records[0].at)
        entry["end_time"] = _iso(records[-1].at)
        if told.configuration:
            entry["configuration"] = json.dumps(told.configuration, default=str)
        instrument = _group(entry, "instrument", "NXinstrument")
        instrument["name"] = told.capabilities.name
        instrument["simulated"] = told.capabilities.simulated
        instrument["units_verified"] = told.capabilities.units_verified
        for k, frame in enumerate(told.frames):
            _nexus_frame(entry, f"frame_{k:05d}", frame)
        decided = [r.data for r in records if r.kind == "decision"]
        if decided:
            process = _group(entry, "decisions", "NXprocess")
            process["step"] = np.array([d["step"] for d in decided])
            process["sentence"] = [str(d["sentence"]) for d in decided]


def _nexus_frame(entry: Any, name: str, frame: Frame) -> None:
    data = _group(entry, name, "NXdata")
    first, *others = frame.request.detectors
    data.attrs["signal"] = first
    if others:
        data.attrs["auxiliary_signals"] = others
    data.attrs["axes"] = ["y", "x"]
    for axis, centre, fov, pixels in zip(
        "yx", frame.region.centre_yx_nm, frame.region.fov_yx_nm, frame.image.shape, strict=True
    ):
        data[axis] = centre + pixel_offsets_nm(fov, pixels)
        data[axis].attrs["units"] = "nm"
    for detector, image in frame.data.items():
        data.create_dataset(detector, data=image, compression="gzip", shuffle=True)
    about = {
        "rotation_rad": frame.region.rotation_rad,
        "dwell_us": frame.request.dwell_us,
        "stage_yx_nm": frame.state.stage_yx_nm,
        "beam_shift_yx_nm": frame.state.beam_shift_yx_nm,
        "beam_current_pa": frame.state.beam_current_pa,
        **{scalar: getattr(frame, scalar) for scalar in SCALARS},
    }
    for key, value in about.items():
        if value is not None:
            data.attrs[key] = value


def write_hspy(path: Path, told: Told, frames: Sequence[Frame]) -> None:
    """Frames of one shape and pixel size as one stack, with where each was beside it."""
    from rsciio.hspy import file_writer

    first = frames[0]
    names = list(first.data)
    shape, pitch = first.image.shape, _pitch_yx_nm(first)
    stack = np.stack([np.stack([f.data[n] for n in names]) for f in frames])
    axes = [
        _axis("frame", "", len(frames), 1.0, 0.0, True),
        _axis("detector", "", len(names), 1.0, 0.0, True),
        *(
            _axis(axis, "nm", size, step, float(pixel_offsets_nm(step * size, size)[0]), False)
            for axis, size, step in zip("yx", shape, pitch, strict=True)
        ),
    ]
    where = {
        "centre_yx_nm": np.array([f.region.centre_yx_nm for f in frames]),
        "fov_yx_nm": np.array([f.region.fov_yx_nm for f in frames]),
        "rotation_rad": np.array([f.region.rotation_rad for f in frames]),
        "stage_yx_nm": np.array([f.state.stage_yx_nm for f in frames]),
        "beam_shift_yx_nm": np.array([f.state.beam_shift_yx_nm for f in frames]),
        "detectors": names,
        "dwell_us": first.request.dwell_us,
        "capabilities": json.dumps(asdict(told.capabilities)),
    }
    file_writer(
        str(path),
        {
            "data": stack,
            "axes": axes,
            "metadata": {
                "General": {"title": told.capabilities.name},
                "Signal": {"signal_type": "", "quantity": "reading"},
            },
            "original_metadata": {"stemscout": where},
            "package_info": {"package": "stemscout", "package_version": version("stemscout")},
            "learning_results": {},
            "tmp_parameters": {},
            "models": {},
            "attributes": {"_lazy": False, "ragged": False},
        },
        show_progressbar=False,
    )


def montage(told: Told) -> bytes:
    """A PNG of all frames where they were taken, in true proportion, with a scale bar."""
    field = told.capabilities.limits.field_yx_nm
    dwell = told.frames[0].request.dwell_us
    # Longer dwells collect more: they are shown as if they were alike.
    shown = ((f, f.image * np.float32(dwell / f.request.dwell_us)) for f in told.frames)
    finest = min(min(_pitch_yx_nm(f)) for f in told.frames)
    with style.figure(WIDTH, WIDTH * field[0] / field[1] + 0.4) as fig:
        axes = fig.add_subplot()
        show_frames(axes, field, finest, shown)
        axes.set_title(f"{len(told.frames)} frames, {told.capabilities.name}", fontsize=9)
        return style.png(fig)


def _alike(frames: Sequence[Frame]) -> list[list[Frame]]:
    """Frames by detectors, shape and pixel size; the largest group first."""
    groups: dict[Any, list[Frame]] = {}
    for frame in frames:
        pitch = tuple(f"{p:.6g}" for p in _pitch_yx_nm(frame))  # but for rounding
        key = (tuple(frame.data), frame.image.shape, pitch, frame.request.dwell_us)
        groups.setdefault(key, []).append(frame)
    return sorted(groups.values(), key=len, reverse=True)


def _pitch_yx_nm(frame: Frame) -> YX:
    """Of the pixels that were scanned."""
    (height, width), (rows, columns) = frame.region.fov_yx_nm, frame.image.shape
    return height / rows, width / columns


def _axis(
    name: str, units: str, size: int, scale: float, offset: float, navigate: bool
) -> Mapping[str, Any]:
    return {
        "_type": "UniformDataAxis",
        "name": name,
        "units": units,
        "size": size,
        "scale": scale,
        "offset": offset,
        "navigate": navigate,
        "is_binned": False,
    }


def _group(parent: Any, name: str, kind: str) -> Any:
    made = parent.create_group(name)
    made.attrs["NX_class"] = kind
    return made


def _iso(at: float) -> str:
    return datetime.datetime.fromtimestamp(at, datetime.UTC).isoformat()
