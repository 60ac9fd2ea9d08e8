"""What a specimen is: projected columns, what stands in them, and the truth about them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from ase import Atoms

DIFFICULTIES = ("easy", "medium", "hard")
SHAPES = ("point", "segment", "cell")
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Columns = dict[str, Any]  # what a specimen says of its columns, by the names of its fields


@dataclass(frozen=True)
class FeatureClass:
    """One kind of thing worth finding, and what it takes to see it.

    Attributes:
        name: the class as users read it.
        context_radius_nm: radius of the disc that must be imaged to call the
            feature seen; at most a third of the reference frame.
        tolerance_nm: how far a finding may lie from the truth.
        max_pixel_nm: coarser frames do not count.
        need_e_per_a2: dose at which an ideal observer tells the feature from
            its absence with d' = 5, in e/Å².
        shape: ``point``; ``segment`` of a wall or boundary; ``cell`` of an area.
        size_nm: length of a segment, side of a cell, 0 for a point.
    """

    name: str
    context_radius_nm: float
    tolerance_nm: float
    max_pixel_nm: float
    need_e_per_a2: float
    shape: str = "point"
    size_nm: float = 0.0

    def __post_init__(self) -> None:
        if self.shape not in SHAPES:
            raise ValueError(f"unknown shape {self.shape!r}; there are: {', '.join(SHAPES)}")
        if (self.size_nm > 0) == (self.shape == "point"):
            raise ValueError(f"{self.name}: a {self.shape} of size {self.size_nm} nm")


@dataclass(frozen=True)
class Kind:
    """A kind of column: the atoms of one repeat along the beam.

    Attributes:
        name: as the calibration lists it.
        stack: (symbol, height above the column's base in nm), bottom first.
        period_nm: distance of the repeats; 0 where the stack stands once.
        substitute: symbol that takes the place of the first of the stack in
            the column's ``share`` of repeats; empty for none.  Pairs need none: the
            fast renderer sees them by where their atoms stand (``PAIRED``).
    """

    name: str
    stack: tuple[tuple[str, float], ...]
    period_nm: float = 0.0
    substitute: str = ""

    @classmethod
    def atom(cls, symbol: str) -> Kind:
        """A single atom of a two-dimensional material."""
        return cls(symbol, ((symbol, 0.0),))


@dataclass(frozen=True, eq=False)
class Outline:
    """A wall, boundary or area as a whole, before it is cut.

    Attributes:
        feature_class: index into the specimen's classes.
        path_yx_nm: (n, 2) the skeleton of a wall, or the polygon of an area.
        closed: the last point joins the first.
        note: what else is known, as people read it ("109° wall").
    """

    feature_class: int
    path_yx_nm: Floats
    closed: bool
    note: str = ""


@dataclass(frozen=True, eq=False)
class Map:
    """A property over the field, as truth: value (i, j) belongs to a square of ``pitch_nm``.

    Attributes:
        values: (rows, columns) or (rows, columns, 2) for vectors (y, x); the
            middle of the array is the middle of the field.
        pitch_nm: side of the square.
        unit: of the values; empty for labels and fractions.
    """

    values: NDArray[np.float64]
    pitch_nm: float
    unit: str = ""


def _nothing() -> Floats:
    return np.empty(0)


@dataclass(frozen=True, eq=False)
class Specimen:
    """A projected structure with complete ground truth.

    Specimen coordinates are (y, x) in nm about the centre of the field, rows
    down.  Columns reach a little beyond the field, so that its border images
    like its middle.  In a two-dimensional material a column is one atom.

    Attributes:
        name: the generator that made it.
        seed: the entropy and spawn key that it was made from, as plain data.
        difficulty: ``easy``, ``medium`` or ``hard``.
        field_yx_nm: height and width of the field.
        positions_yx_nm: (n, 2) projected positions, as they are (displaced).
        height_nm: (n,) heights of the columns' bases along the beam.
        kind: (n,) index into ``kinds``.
        kinds: the kinds of column.
        classes: the feature classes of this specimen.
        feature_class: (m,) index into ``classes``.
        feature_yx_nm: (m, 2) true positions: of a point, the middle of a
            segment, the centre of a cell.
        thickness_nm: of the columns that repeat; 0 for a sheet.
        share: (n,) share of repeats that hold the kind's substitute; empty: none.
        stretch: (n,) what multiplies the heights in a column's stack and its period;
            empty: 1.
        sway_yxz_nm: (n, 3) so far, (y, x, height), a column's repeats stand off its line:
            the first by as much, the second the other way, and so on; empty: none does.
        displacement_yx_nm: (n, 2) off the ideal site; empty: none is meant.
        film_nm: thickness of an amorphous carbon film behind everything, from height 0
            on; 0: none.
        feature_angle_rad: (m,) direction of a segment, from +x towards +y (rows
            down); 0 for the others.
        feature_outline: (m,) index into ``outlines``; -1 for one without any.
        outlines: walls and areas as wholes.
        maps: properties over the field, by name.
    """

    name: str
    seed: tuple[int, ...]
    difficulty: str
    field_yx_nm: tuple[float, float]
    positions_yx_nm: Floats
    height_nm: Floats
    kind: Ints
    kinds: tuple[Kind, ...]
    classes: tuple[FeatureClass, ...]
    feature_class: Ints
    feature_yx_nm: Floats
    thickness_nm: float = 0.0
    share: Floats = field(default_factory=_nothing)
    stretch: Floats = field(default_factory=_nothing)
    sway_yxz_nm: Floats = field(default_factory=_nothing)
    displacement_yx_nm: Floats = field(default_factory=_nothing)
    film_nm: float = 0.0
    feature_angle_rad: Floats = field(default_factory=_nothing)
    feature_outline: Ints = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    outlines: tuple[Outline, ...] = ()
    maps: Mapping[str, Map] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 0 <= self.thickness_nm < np.inf:
            raise ValueError(f"thickness_nm is {self.thickness_nm}; it must be at least 0, finite")
        if not 0 <= self.film_nm < np.inf:
            raise ValueError(f"film_nm is {self.film_nm}; it must be at least 0, finite")
        count = len(self.feature_class)
        if len(self.feature_angle_rad) != count:
            object.__setattr__(self, "feature_angle_rad", np.zeros(count))
        if len(self.feature_outline) != count:
            object.__setattr__(self, "feature_outline", np.full(count, -1))
        for array in (
            self.positions_yx_nm,
            self.height_nm,
            self.kind,
            self.share,
            self.stretch,
            self.sway_yxz_nm,
            self.displacement_yx_nm,
            self.feature_class,
            self.feature_yx_nm,
            self.feature_angle_rad,
            self.feature_outline,
            *(o.path_yx_nm for o in self.outlines),
            *(m.values for m in self.maps.values()),
        ):
            array.setflags(write=False)

    @cached_property
    def class_names(self) -> tuple[str, ...]:
        return tuple(c.name for c in self.classes)

    @property
    def digest(self) -> str:
        """A hash of what it is: its columns to 1e-4 nm, their kinds, and its features."""
        whole = hashlib.sha256(repr((self.kinds, self.thickness_nm, self.film_nm)).encode())
        for lengths in (
            self.positions_yx_nm,
            self.height_nm,
            self.share,
            self.stretch,
            self.sway_yxz_nm,
            self.feature_yx_nm,
        ):
            whole.update(np.rint(lengths * 1e4).astype(np.int64).tobytes())
        whole.update(self.kind.astype(np.int64).tobytes())
        whole.update(self.feature_class.astype(np.int64).tobytes())
        return whole.hexdigest()[:16]

    def repeats(self, kind: int) -> int:
        """How many repeats a column of a kind has through the thickness."""
        period = self.kinds[kind].period_nm
        return max(1, round(self.thickness_nm / period)) if period else 1

    def atoms(self, vacuum_nm: float = 0.2) -> Atoms:
        """The same specimen as ASE ``Atoms``, in Å, x and y as in the image.

        The cell encloses every atom and the vacuum above and below; its corner
        is at the least x and y of the atoms, and ``info["corner_yxz_nm"]`` tells
        where that is in the specimen: (y, x, height).  Which atoms of a mixed
        column are the substitute follows from the specimen's seed.
        """
        from ase import Atoms

        from .amorphous import film, shift_yx_nm

        symbols: list[str] = []
        blocks: list[Floats] = []
        for index, kind in enumerate(self.kinds):
            here = np.flatnonzero(self.kind == index)
            repeats = self.repeats(index)
            feet = np.column_stack([self.positions_yx_nm[here], self.height_nm[here]])
            repeat = np.tile(np.arange(repeats), len(here))
            points = np.repeat(feet, repeats, axis=0)
            if len(self.sway_yxz_nm):
                sway = np.repeat(self.sway_yxz_nm[here], repeats, axis=0)
                points += sway * np.where(repeat % 2, -1.0, 1.0)[:, None]
            stretch = np.repeat(self.stretch[here], repeats) if len(self.stretch) else 1.0
            replaced = self._substituted(here, index)
            for level, (symbol, height) in enumerate(kind.stack):
                blocks.append(points.copy())
                blocks[-1][:, 2] += stretch * (repeat * kind.period_nm + height)
                here_is = [symbol] * len(points)
                if level == 0 and replaced is not None:
                    here_is = np.where(replaced, kind.substitute, symbol).tolist()
                symbols += here_is
        if self.film_nm > 0:
            blocks.append(film(self.field_yx_nm, self.film_nm, shift_yx_nm(self.seed)))
            symbols += ["C"] * len(blocks[-1])
        all_yxz = 10.0 * np.vstack(blocks)  # in Å
        low = all_yxz.min(axis=0)
        low[2] -= 10.0 * vacuum_nm
        z = all_yxz[:, 2] - low[2]
        span = all_yxz.max(axis=0) - low
        return Atoms(
            symbols=symbols,
            positions=np.column_stack([all_yxz[:, 1] - low[1], all_yxz[:, 0] - low[0], z]),
            cell=[span[1], span[0], float(z.max()) + 10.0 * vacuum_nm],
            pbc=False,
            info={"corner_yxz_nm": tuple(float(v / 10) for v in low)},
        )

    def window(self, centre_yx_nm: Floats, side_nm: float, margin_nm: float = 1.0) -> Specimen:
        """The columns about a point, as a specimen of their own about the origin, without truth."""
        offset = self.positions_yx_nm - centre_yx_nm
        near = (np.abs(offset) <= side_nm / 2 + margin_nm).all(axis=1)
        return replace(
            self,
            field_yx_nm=(side_nm, side_nm),
            positions_yx_nm=offset[near],
            height_nm=self.height_nm[near],
            kind=self.kind[near],
            share=self.share[near] if len(self.share) else self.share,
            stretch=self.stretch[near] if len(self.stretch) else self.stretch,
            sway_yxz_nm=self.sway_yxz_nm[near] if len(self.sway_yxz_nm) else self.sway_yxz_nm,
            displacement_yx_nm=_nothing(),
            feature_class=np.empty(0, dtype=np.int64),
            feature_yx_nm=np.empty((0, 2)),
            feature_angle_rad=_nothing(),
            feature_outline=np.empty(0, dtype=np.int64),
            outlines=(),
            maps={},
        )

    def _substituted(self, here: Ints, index: int) -> NDArray[np.bool_] | None:
        """Which repeats (columns x repeats, flat) hold the substitute: exact counts, drawn."""
        if not self.kinds[index].substitute or not len(self.share):
            return None
        repeats = self.repeats(index)
        rng = np.random.default_rng([*self.seed, index])
        rank = rng.random((len(here), repeats)).argsort(axis=1).argsort(axis=1)
        return np.asarray(rank < np.rint(self.share[here, None] * repeats)).ravel()


def seed_sequence(seed: np.random.SeedSequence | int) -> np.random.SeedSequence:
    """A seed as the sequence that a generator draws from."""
    return seed if isinstance(seed, np.random.SeedSequence) else np.random.SeedSequence(seed)


def seed_words(sequence: np.random.SeedSequence) -> tuple[int, ...]:
    """Entropy and spawn key as plain integers."""
    entropy = sequence.entropy
    words = [entropy] if isinstance(entropy, int) else list(entropy or ())
    return (*words, *sequence.spawn_key)


def check_request(name: str, difficulty: str, field_nm: float, least_nm: float) -> None:
    """Refuse what a generator cannot make.

    Raises:
        ValueError: an unknown difficulty, or a field that is too small.
    """
    if difficulty not in DIFFICULTIES:
        raise ValueError(f"unknown difficulty {difficulty!r}; there are: {', '.join(DIFFICULTIES)}")
    if not np.isfinite(field_nm) or field_nm < least_nm:
        raise ValueError(
            f"a field of {field_nm} nm; {name} needs at least {least_nm:g} nm for its features"
        )
