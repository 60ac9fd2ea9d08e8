"""A labels file: what a recorded image shows, written by hand, as ground truth.

A JSON file, or a mapping with the same content:

    {
      "unit": "px",
      "classes": [
        {"name": "dopant"},
        {"name": "wall", "shape": "segment", "size": 12},
        {"name": "pillar", "shape": "cell", "context_radius": 6, "tolerance": 4}
      ],
      "features": [
        {"class": "dopant", "position": [120.5, 88]},
        {"class": "wall", "polyline": [[10, 200], [140, 210], [280, 190]]},
        {"class": "pillar", "polygon": [[30, 30], [30, 70], [80, 70], [80, 30]]}
      ]
    }

``unit`` is ``px`` or ``nm``, for positions and lengths alike.  Positions are (y, x),
rows down, from the middle of the upper left pixel: in pixels they are the indices of
an array, in nm these times the pixel size.

| of a class       | default                      | allowed                            |
|------------------|------------------------------|------------------------------------|
| `name`           | needed                       | once                               |
| `shape`          | `point`                      | `point`, `segment`, `cell`         |
| `context_radius` | a third of a reference frame | up to that                         |
| `tolerance`      | half the context radius      | up to a third of a reference frame |
| `size`           | half a reference frame       | a tenth of one to a whole one      |

A reference frame is a sixteenth of the image's shorter side; points have no size.  A
feature of a ``point`` class has a ``position``, at least one context radius inside the
image.  A wall or boundary is a ``polyline`` and is cut into segments, closed where it
ends in its first point; an area is a ``polygon`` and is cut into the cells of a lattice
through the middle of the image.  Both may reach to the border: segments and cells that
lie nearer to it than a context radius, or less than 80 % inside, are left out, as in
every specimen.  Each pixel needs the one dose of the recording, in frames as fine as
the image: one reading shows what is there.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..simulators.specimens import FeatureClass, Outline, Specimen
from ..simulators.specimens.outlines import cut_area, cut_path, within
from ..simulators.specimens.specimen import SHAPES
from . import seen
from .numbers import is_number

Floats = NDArray[np.float64]
UNITS = ("px", "nm")
CLASS_KEYS = ("name", "shape", "context_radius", "tolerance", "size")
DRAWN_AS = {"point": "position", "segment": "polyline", "cell": "polygon"}
LARGEST_RADIUS = 1.0 / 3.0  # reference frames, as for every specimen
USUAL_SIZE = 0.5
SAME_PX = 0.5  # so near to each other, two points are one
ROUNDING = 1e-9  # relative, of lengths that a person typed


@dataclass(frozen=True)
class Image:
    """What the labels are of.

    Attributes:
        shape_yx: rows and columns.
        pixel_nm: side of a pixel.
        frame_nm: side of the reference frame.
        dose_e_per_a2: what one reading of a pixel stands for.
    """

    shape_yx: tuple[int, int]
    pixel_nm: float
    frame_nm: float
    dose_e_per_a2: float

    @property
    def field_yx_nm(self) -> tuple[float, float]:
        return self.shape_yx[0] * self.pixel_nm, self.shape_yx[1] * self.pixel_nm


def read_labels(labels: str | Path | Mapping[str, Any], image: Image) -> Specimen:
    """Labels as a specimen without columns or maps; features in the order of the file.

    Args:
        labels: a path, or the content.
        image: what they are of.

    Raises:
        FileNotFoundError: no such file.
        ValueError: anything that the module's text does not allow, with the place.
    """
    if isinstance(labels, Mapping):
        return _specimen(labels, image)
    if not isinstance(labels, str | Path):
        raise ValueError(f"labels are a path or a mapping, not {type(labels).__name__}")
    path = Path(labels)
    if not path.is_file():
        raise FileNotFoundError(f"no labels file at {str(path)!r}")
    try:
        text = path.read_text(encoding="utf-8-sig")
        content = json.loads(text, object_pairs_hook=_once)
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"{str(path)!r} is not JSON: {error}") from error
    except ValueError as error:
        raise ValueError(f"{str(path)!r}: {error}") from error
    try:
        return _specimen(content, image)
    except ValueError as error:
        raise ValueError(f"{str(path)!r}: {error}") from error


def contents(specimen: Specimen) -> dict[str, Any]:
    """What labels hold, as JSON, for the record of a run."""
    said = hashlib.sha256(json.dumps([asdict(c) for c in specimen.classes]).encode())
    for array in (specimen.feature_class, specimen.feature_yx_nm, specimen.feature_angle_rad):
        said.update(np.ascontiguousarray(array).tobytes())
    return {
        "classes": list(specimen.class_names),
        "features": len(specimen.feature_class),
        "sha256": said.hexdigest(),
    }


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    out = dict(pairs)
    if len(out) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice!r} stands twice in one place")
    return out


@dataclass(frozen=True)
class _Scale:
    """Between the file's unit and nm about the middle of the field."""

    image: Image
    unit: str

    @property
    def unit_nm(self) -> float:
        return self.image.pixel_nm if self.unit == "px" else 1.0

    def say(self, length_nm: float) -> str:
        return f"{length_nm / self.unit_nm:.6g} {self.unit}"

    def length_nm(self, value: Any, what: str, low_nm: float, high_nm: float) -> float:
        length = _number(value, what) * self.unit_nm
        if length <= 0 or not low_nm * (1 - ROUNDING) <= length <= high_nm * (1 + ROUNDING):
            least = f"at least {self.say(low_nm)}" if low_nm else "above 0"
            raise ValueError(
                f"{what} is {self.say(length)}; it must be {least} and at most {self.say(high_nm)}"
            )
        return length

    def point_yx_nm(self, value: Any, what: str) -> Floats:
        """(2,) for a pair of numbers inside the image."""
        pair = _list(value, what)
        if len(pair) != 2:
            raise ValueError(f"{what} is {value!r}; it must be a pair of numbers, [y, x]")
        y, x = (_number(number, what) for number in pair)
        shape = np.asarray(self.image.shape_yx)
        edge = -0.5 * self.image.pixel_nm
        place = np.array([y, x]) * self.unit_nm + (0.5 - shape / 2) * self.image.pixel_nm
        if not within(place, self.image.field_yx_nm, 0.0):
            low, rows, columns = (
                self.say(edge + n * self.image.pixel_nm) for n in (0, shape[0], shape[1])
            )
            raise ValueError(
                f"{what} is ({y:g}, {x:g}) {self.unit}, outside the image: y goes from {low} to "
                f"{rows}, x from {low} to {columns}"
            )
        return place

    def points_yx_nm(self, value: Any, what: str, least: int) -> Floats:
        """(n, 2) for a list of at least so many such pairs."""
        points = _list(value, what)
        if len(points) < least:
            raise ValueError(f"{what} has {len(points)} points; it must have at least {least}")
        return np.array([self.point_yx_nm(p, f"{what}[{k}]") for k, p in enumerate(points)])


def _specimen(content: Any, image: Image) -> Specimen:
    _keys(content, "the labels", ("unit", "classes", "features"), ("unit", "classes", "features"))
    if content["unit"] not in UNITS:
        raise ValueError(f"unit is {content['unit']!r}; it must be one of: {', '.join(UNITS)}")
    scale = _Scale(image, content["unit"])
    listed = _list(content["classes"], "classes")
    classes = tuple(_class(c, f"classes[{k}]", scale) for k, c in enumerate(listed))
    names = [c.name for c in classes]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"the class {name!r} stands twice; every name is given once")
    entries = _list(content["features"], "features")
    if not entries:
        raise ValueError("there is no feature; one at least must be there to be found")
    parts = [_feature(f, f"features[{k}]", classes, scale) for k, f in enumerate(entries)]
    return _kept(parts, classes, scale)


def _class(entry: Any, where: str, scale: _Scale) -> FeatureClass:
    _keys(entry, where, CLASS_KEYS, ("name",))
    name, shape = entry["name"], entry.get("shape", "point")
    if not isinstance(name, str) or not name.strip():
        raise ValueError(f"{where}: the name is {name!r}; it must be some text")
    where = f"{where} ({name})"
    if shape not in SHAPES:
        raise ValueError(f"{where}: unknown shape {shape!r}; there are: {', '.join(SHAPES)}")
    if shape == "point" and "size" in entry:
        raise ValueError(f"{where}: a point has no size; only segments and cells have one")
    frame, image = scale.image.frame_nm, scale.image
    largest = LARGEST_RADIUS * frame

    def length(key: str, default: float, low: float, high: float) -> float:
        if key not in entry:
            return default
        return scale.length_nm(entry[key], f"{where}: {key}", low, high)

    radius = length("context_radius", largest, 0.0, largest)
    return FeatureClass(
        name=name,
        context_radius_nm=radius,
        tolerance_nm=length("tolerance", radius / 2, 0.0, largest),
        max_pixel_nm=image.pixel_nm,
        need_e_per_a2=image.dose_e_per_a2,
        shape=shape,
        # Finer pieces would hold no more than one sample point.
        size_nm=0.0
        if shape == "point"
        else length("size", USUAL_SIZE * frame, seen.SPACING * frame, frame),
    )


@dataclass(frozen=True, eq=False)
class _Part:
    """One entry of the file, cut: middles (n, 2) and directions (n,) of its pieces."""

    where: str
    feature_class: int
    yx_nm: Floats
    angle_rad: Floats
    outline: Outline | None = None


def _feature(entry: Any, where: str, classes: Sequence[FeatureClass], scale: _Scale) -> _Part:
    _keys(entry, where, ("class", *DRAWN_AS.values()), ("class",))
    known = [c.name for c in classes]
    if entry["class"] not in known:
        raise ValueError(
            f"{where}: unknown class {entry['class']!r}; there are: {', '.join(known) or 'none'}"
        )
    index = known.index(entry["class"])
    own = classes[index]
    where = f"{where} ({own.name})"
    key = DRAWN_AS[own.shape]
    if set(entry) != {"class", key}:
        raise ValueError(
            f"{where}: a {own.shape} is given by its {key!r} alone, and this one by "
            f"{', '.join(sorted(set(entry) - {'class'})) or 'nothing'}"
        )
    what = f"{where}: {key}"
    if own.shape == "point":
        place = scale.point_yx_nm(entry[key], what)
        if not within(place, scale.image.field_yx_nm, own.context_radius_nm):
            raise ValueError(
                f"{what} lies nearer to the image's border than its context radius of "
                f"{scale.say(own.context_radius_nm)}; give the class a smaller context_radius, or "
                "leave the feature out"
            )
        return _Part(where, index, place[None], np.zeros(1))
    if own.shape == "segment":
        path = scale.points_yx_nm(entry[key], what, 2)
        length = float(np.hypot(*np.diff(path, axis=0).T).sum())
        if length < own.size_nm / 2:
            raise ValueError(
                f"{what} is {scale.say(length)} long and its segments {scale.say(own.size_nm)}; "
                "give the class a smaller size"
            )
        closed = len(path) > 2 and bool((path[0] == path[-1]).all())
        middles, angles = cut_path(path, own.size_nm)
        outline = Outline(index, path[:-1] if closed else path, closed)
        return _Part(where, index, middles, angles, outline)
    polygon = scale.points_yx_nm(entry[key], what, 3)
    cells = cut_area(polygon, own.size_nm)
    if not len(cells):
        raise ValueError(
            f"{what} holds the middle of no cell of {scale.say(own.size_nm)}; give the class a "
            "smaller size"
        )
    return _Part(where, index, cells, np.zeros(len(cells)), Outline(index, polygon, True))


def _kept(parts: Sequence[_Part], classes: tuple[FeatureClass, ...], scale: _Scale) -> Specimen:
    """All pieces that can be seen whole, as a specimen."""
    image = scale.image
    drawn = np.array([p.outline is not None for p in parts])
    outlines = tuple(p.outline for p in parts if p.outline is not None)
    count = [len(p.yx_nm) for p in parts]
    yx = np.vstack([p.yx_nm for p in parts])
    angle = np.concatenate([p.angle_rad for p in parts])
    of_class = np.repeat([p.feature_class for p in parts], count)
    of_outline = np.repeat(np.where(drawn, np.cumsum(drawn) - 1, -1), count)

    def specimen(chosen: NDArray[np.bool_]) -> Specimen:
        return Specimen(
            name="labelled image",
            seed=(),
            difficulty="recorded",
            field_yx_nm=image.field_yx_nm,
            positions_yx_nm=np.empty((0, 2)),
            height_nm=np.empty(0),
            kind=np.empty(0, dtype=np.int64),
            kinds=(),
            classes=classes,
            feature_class=of_class[chosen].astype(np.int64),
            feature_yx_nm=yx[chosen],
            feature_angle_rad=angle[chosen],
            feature_outline=of_outline[chosen].astype(np.int64),
            outlines=outlines,
        )

    wanted = seen.targets(specimen(np.ones(len(yx), dtype=bool)), image.frame_nm)
    whole = within(wanted.points_yx_nm, image.field_yx_nm, 0.0).sum(axis=1) >= wanted.least
    radii = [classes[p.feature_class].context_radius_nm for p in parts]
    kept = whole & np.concatenate(
        [within(p.yx_nm, image.field_yx_nm, r) for p, r in zip(parts, radii, strict=True)]
    )
    source = np.repeat(np.arange(len(parts)), count)
    for k, part in enumerate(parts):
        if not kept[source == k].any():
            raise ValueError(
                f"{part.where}: nothing of it lies a context radius of "
                f"{scale.say(radii[k])} inside the image"
            )
    _refuse_twice(parts, classes, yx, of_class, source, SAME_PX * image.pixel_nm)
    return specimen(kept)


def _refuse_twice(
    parts: Sequence[_Part],
    classes: Sequence[FeatureClass],
    yx_nm: Floats,
    of_class: NDArray[np.int64],
    source: NDArray[np.int64],
    same_nm: float,
) -> None:
    """What is there once counts once: refuse points of a class in one place, and shared cells."""
    from scipy.spatial import cKDTree

    for index, own in enumerate(classes):
        here = np.flatnonzero(of_class == index)
        if own.shape == "segment" or len(here) < 2:  # walls may cross
            continue
        pairs = cKDTree(yx_nm[here]).query_pairs(same_nm, output_type="ndarray")
        if len(pairs):
            first, second = sorted(source[here[pairs[0]]].tolist())
            raise ValueError(
                f"{parts[second].where} is in the place of {parts[first].where}; every feature "
                "is given once"
            )


def _keys(entry: Any, where: str, known: Sequence[str], needed: Sequence[str]) -> None:
    if not isinstance(entry, Mapping):
        raise ValueError(f"{where}: it must be an object with {', '.join(known)}, not {entry!r}")
    for key in entry:
        if key not in known:
            raise ValueError(f"{where}: unknown key {key!r}; there are: {', '.join(known)}")
    for key in needed:
        if key not in entry:
            raise ValueError(f"{where}: {key!r} is missing")


def _list(value: Any, what: str) -> Sequence[Any]:
    if not isinstance(value, list | tuple | np.ndarray):
        raise ValueError(f"{what} is {value!r}; it must be a list")
    return list(value)


def _number(value: Any, what: str) -> float:
    if not is_number(value):
        raise ValueError(f"{what}: {value!r} is not a number")
    try:
        number = float(value)
    except OverflowError:
        number = float("inf")
    if not np.isfinite(number):
        raise ValueError(f"{what}: {value!r} is not a finite number")
    return number
