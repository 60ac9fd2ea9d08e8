"""The perception of a network: what a frame holds, counted, and what is claimed of it.

The supervised workflow of Creange et al. (2022): a segmentation network finds atoms and
defects, and what there is of them is what is optimised.
"""

from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....envs.numbers import is_number
from ....hardware.coordinates import pixel_from_specimen, specimen_from_pixel
from ....hardware.microscope import Frame
from ....simulators.specimens import specimen_module, specimen_of
from ...agent import ClassMap, Context, Finding
from ...named import named
from ..sightings import BLOCKS, Layers
from . import claims
from .legend import LEGENDS, band_nm
from .polarisation import polarisation
from .segmenter import Segmentation, Segmenter
from .sighting import sighted

Floats = NDArray[np.float64]
KEPT = 8  # frames whose segmentation is remembered; findings are asked for after each
COARSEST = 0.5  # of the network's pixel: how fine it is remembered what was looked at


class DcnnPerception:
    """Counts, densities and fractions of what a network sees in a frame, and its findings.

    Descriptors of a frame are the number of features expected in it (``features``), the same for
    each square nanometre (``density``), the number of each class, and of each kind of column, the
    share of each area, of sheets the number of rings that have not six members, and of BiFeO3
    the mean polarisation in nm.  ``features`` is pursued by default.

    Args:
        network: the name of a specimen whose weights are in the package, or the path of a file
            of weights; by default those that tell the task's classes.
        ensemble: ask all snapshots of the network; ``uncertainty``, their mean disagreement,
            is a descriptor then.
        threshold: confidence from which a feature is claimed; by default that which was best on
            validation scenes, by class.
        descriptor: one more descriptor, ``own``: a function of a ``Segmentation``, or its
            name as ``module:function``.

    Raises:
        ValueError: no such weights or function, a threshold beyond (0, 1), or anything of another
            type.
    """

    name = "dcnn"
    privileged = False
    pursued = "features"
    components = None

    def __init__(
        self,
        network: str | Path | None = None,
        ensemble: bool = False,
        threshold: float | None = None,
        descriptor: str | Callable[[Segmentation], float] | None = None,
    ) -> None:
        if threshold is not None and not (is_number(threshold) and 0 < threshold < 1):
            raise ValueError(f"threshold {threshold!r}; it must lie between 0 and 1")
        if not (network is None or isinstance(network, str | Path)):
            raise ValueError(f"network {network!r}; it must be the name of a specimen or a path")
        if not isinstance(ensemble, bool):
            raise ValueError(f"ensemble {ensemble!r}; it must be true or false")
        self.network = None if network is None else str(network)
        self.ensemble = ensemble
        self.threshold = None if threshold is None else float(threshold)
        self.own = _function(descriptor)
        self.descriptor = _name_of(descriptor)
        self.segmenter = None if network is None else Segmenter(network, ensemble)

    def reset(self, context: Context, seed: int) -> None:
        """Raises ValueError where no network, or not the given one, tells the task's classes."""
        if self.network is None:
            self.segmenter = network_for(context.class_names, self.segmenter, self.ensemble)
        assert self.segmenter is not None
        check_classes(self.segmenter, context.class_names)
        self._seen: OrderedDict[int, tuple[Frame, Segmentation | None]] = OrderedDict()
        self._points: list[tuple[Floats, float, Finding]] = []  # place, radius, claim
        self._others: list[Finding] = []
        self._taken = 0
        self._grid = _Looked(context, COARSEST * self.segmenter.header.pixel_nm)

    @property
    def names(self) -> tuple[str, ...]:
        if self.segmenter is None:
            return ()
        legend = self.segmenter.legend
        more: list[str] = []
        if legend.bond_nm:
            more.append("odd rings")
        if legend.specimen == "bifeo3":
            more += ["polarisation y", "polarisation x"]
        if self.ensemble:
            more.append("uncertainty")
        if self.own is not None:
            more.append("own")
        told = (*legend.features, *legend.kinds, *legend.areas, *legend.as_area)
        return ("features", "density", *told, *more)

    @property
    def settings(self) -> dict[str, Any]:
        return {
            "network": self.network,
            "ensemble": self.ensemble,
            "threshold": self.threshold,
            "descriptor": self.descriptor,
        }

    def look(self, frame: Frame) -> Segmentation | None:
        """What the network says of a frame; None where nothing was scanned, or it cannot look.

        Of pixels coarser than it was trained on, and of frames of fewer than 8 of its own pixels a
        side, it says nothing, and a warning tells so once.
        """
        key = id(frame)
        if key not in self._seen:
            image = frame.image[: frame.valid_rows]
            assert self.segmenter is not None
            pixel = frame.request.pixel_yx_nm
            seen = None
            if np.isfinite(image).any() and self.segmenter.takes(image.shape, pixel):
                seen = self.segmenter.look(image, pixel)
            self._seen[key] = (frame, seen)  # the frame too, so that no other has its id
            while len(self._seen) > KEPT:
                self._seen.popitem(last=False)
        return self._seen[key][1]

    def segmented(self, frame: Frame) -> ClassMap | None:
        """Of a frame that was looked at lately, without another look."""
        _, seen = self._seen.get(id(frame), (frame, None))
        return None if seen is None else seen.class_map

    def features(self, frames: Sequence[Frame]) -> list[Floats]:
        """Descriptors (1, d) of each frame; (0, d) of one that was not looked at."""
        return [self._described(self.look(f)) for f in frames]

    def _described(self, seen: Segmentation | None) -> Floats:
        if seen is None:
            return np.empty((0, len(self.names)))
        legend = seen.legend
        pixel = seen.pixel_yx_nm[0] * seen.pixel_yx_nm[1]
        values: list[float] = []
        sought = {c.name: c for c in specimen_module(legend.specimen).CLASSES}
        points = claims.points(seen, least=0.05)
        for name in legend.features:
            if sought[name].shape == "point":
                values.append(sum(p.confidence for p in points if p.of.name == name))
            else:
                length = float(seen.channel(name).sum()) * pixel / band_nm(sought[name])
                values.append(length / sought[name].size_nm)
        total = sum(values)
        values += [float(len(c.height)) for c in claims.columns(seen).values()]
        values += [float(seen.channel(a).mean()) for a in legend.areas]
        for name, told_by in legend.as_area.items():  # cells, by area
            cells = float(seen.channel(told_by).sum()) * pixel / sought[name].size_nm ** 2
            values.append(cells)
            total += cells
        if legend.bond_nm:
            values.append(float(np.sum(claims.ring_sizes(seen) != 6)))
        if legend.specimen == "bifeo3":
            _, vectors = polarisation(seen)
            values += vectors.mean(axis=0).tolist() if len(vectors) else [0.0, 0.0]
        if self.ensemble:
            values.append(float(seen.spread.mean()))
        if self.own is not None:
            values.append(self._own(seen))
        density = total / (pixel * seen.probability[0].size)
        return np.array([[total, density, *values]])

    def _own(self, seen: Segmentation) -> float:
        """What the person's own function makes of it, who is told where it fails."""
        assert self.own is not None
        try:
            value = self.own(seen)
        except Exception as error:
            raise ValueError(
                f"the descriptor {self.descriptor!r} failed: {type(error).__name__}: {error}"
            ) from error
        if not (is_number(value) and np.isfinite(value)):
            raise ValueError(
                f"the descriptor {self.descriptor!r} gave {value!r}; it must give a finite number"
            )
        return float(value)

    def sightings(self, frames: Sequence[Frame]) -> NDArray[np.float32]:
        """What is where in each frame (``perception/sightings.py``); NaN where nobody can look."""
        assert self.segmenter is not None
        layers = Layers.of(self.segmenter.specimen)
        thresholds = {name: self._least(name) for name in self.segmenter.thresholds}
        nothing = np.full((len(layers.names), BLOCKS, BLOCKS), np.nan, dtype=np.float32)
        looked = [self.look(f) for f in frames]
        return np.array(
            [nothing if s is None else sighted(s, layers, thresholds) for s in looked]
        ).reshape(len(frames), *nothing.shape)

    def fit(self, features: Sequence[Floats], shares: Floats) -> None:
        """It was trained beforehand."""

    def describe(self, features: Sequence[Floats]) -> list[Floats]:
        return list(features)

    def save(self) -> dict[str, Any]:
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """The frames tell everything."""

    def reach(self, pixel_nm: float) -> tuple[float, str]:
        return 1.0, ""

    def findings(self, frames: Sequence[Frame]) -> list[Finding]:
        """Every feature once: points by their distance, the others where nobody looked before.

        Frames that the network cannot look at, as an overview, do not count as looked at.
        """
        for index, frame in enumerate(frames[self._taken :], start=self._taken):
            seen = self.look(frame)
            if seen is None:
                continue
            new = self._grid.new(frame, seen)
            least = 1.0 if self.threshold is None else self.threshold
            for found in claims.points(seen, min(least, claims.FEATURE)):
                if found.confidence >= self._least(found.of.name):
                    self._claim(found, index, frame)
            even = min(least, claims.EVEN)
            for found in (*claims.lines(seen, new, even), *claims.areas(seen, new, even)):
                if found.confidence >= self._least(found.of.name):
                    self._others.append(
                        Finding(index, found.points_px, found.of.name, found.confidence)
                    )
            self._grid.add(frame)
        self._taken = len(frames)
        return [*(finding for _, _, finding in self._points), *self._others]

    def _least(self, name: str) -> float:
        """Confidence from which a class is claimed."""
        assert self.segmenter is not None
        return self.segmenter.thresholds[name] if self.threshold is None else self.threshold

    def _claim(self, found: claims.Found, index: int, frame: Frame) -> None:
        """A point, unless something surer was claimed there; what was less sure gives way."""
        place = specimen_from_pixel(frame, found.points_px)[0]
        radius = max(found.of.context_radius_nm, found.of.tolerance_nm)
        own = Finding(index, found.points_px, found.of.name, found.confidence)
        near = [
            k
            for k, (at, r, _) in enumerate(self._points)
            if np.hypot(*(at - place)) < max(r, radius)
        ]
        if any(self._points[k][2].confidence >= own.confidence for k in near):
            return
        for k in reversed(near):
            del self._points[k]
        self._points.append((place, radius, own))


class _Looked:
    """Which part of the field was looked at, on a grid of pixels."""

    def __init__(self, context: Context, pixel_nm: float) -> None:
        self.pixel = max(pixel_nm, max(context.field_yx_nm) / 4000)
        self.low = -np.asarray(context.field_yx_nm) / 2 - 1.0
        shape = np.ceil((np.asarray(context.field_yx_nm) + 2.0) / self.pixel).astype(int)
        self.there = np.zeros(tuple(shape), dtype=np.bool_)

    def new(self, frame: Frame, seen: Segmentation) -> NDArray[np.bool_]:
        """Which of a segmentation's pixels (rows, columns) nobody has looked at."""
        rows, columns = seen.probability.shape[1:]
        network = np.moveaxis(np.indices((rows, columns), dtype=np.float64), 0, -1)
        cell, inside = self._cells(specimen_from_pixel(frame, seen.image_px(network)))
        found = np.zeros((rows, columns), dtype=np.bool_)
        found[inside] = ~self.there[cell[inside, 0], cell[inside, 1]]
        return found

    def add(self, frame: Frame) -> None:
        """A frame has been looked at."""
        rows, columns = frame.valid_rows, frame.request.shape_yx[1]
        corners = np.array([[-0.5, -0.5], [rows - 0.5, columns - 0.5]])
        box = specimen_from_pixel(
            frame, np.array([[a, b] for a in corners[:, 0] for b in corners[:, 1]])
        )
        low, high = (
            np.clip(np.floor((v - self.low) / self.pixel), 0, np.asarray(self.there.shape) - 1)
            for v in (box.min(axis=0), box.max(axis=0))
        )
        at = [np.arange(int(a), int(b) + 1) for a, b in zip(low, high, strict=True)]
        cells = np.stack(np.meshgrid(*at, indexing="ij"), -1)
        pixels = pixel_from_specimen(frame, self.low + (cells + 0.5) * self.pixel)
        within = ((pixels > -0.5) & (pixels < np.array([rows, columns]) - 0.5)).all(axis=-1)
        self.there[cells[within][:, 0], cells[within][:, 1]] = True

    def _cells(self, yx_nm: Floats) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        cell = np.floor((yx_nm - self.low) / self.pixel).astype(np.int64)
        inside = ((cell >= 0) & (cell < np.asarray(self.there.shape))).all(axis=-1)
        return cell, np.asarray(inside)


def network_for(
    class_names: Sequence[str], made: Segmenter | None = None, ensemble: bool = False
) -> Segmenter:
    """The network in the package that tells these classes; the one that was made, if it does.

    Raises:
        ValueError: there is none.
    """
    name = specimen_of(class_names)
    if name in LEGENDS:
        return made if made is not None and made.specimen == name else Segmenter(name, ensemble)
    told = ", ".join(class_names) or "none"
    raise ValueError(
        f"no network is known for these classes: {told}; name one by network=, of: "
        f"{', '.join(LEGENDS)}, or the path of a file of weights"
    )


def check_classes(segmenter: Segmenter, class_names: Sequence[str]) -> None:
    """Whether a network is for a task.

    Warns of classes that it does not tell, as there may be in a person's own labels.

    Raises:
        ValueError: the classes are those of another kind of specimen, or it tells none of them.
    """
    legend = segmenter.legend
    told = (*legend.features, *legend.as_area)
    other = specimen_of(class_names)
    unknown = [name for name in class_names if name not in told]
    if other not in (None, segmenter.specimen) or (
        class_names and len(unknown) == len(class_names)
    ):
        raise ValueError(
            f"the network for {segmenter.specimen} tells {', '.join(told)}, and what is sought "
            f"here is {', '.join(class_names)}; give the network of another specimen"
        )
    if unknown:
        warnings.warn(
            f"the network for {segmenter.specimen} does not tell {', '.join(unknown)}, which are "
            "sought here",
            stacklevel=3,
        )


def _function(descriptor: Any) -> Callable[[Segmentation], float] | None:
    """A function that was given, or is named ``module:function``."""
    if descriptor is None:
        return None
    found = named(descriptor, "descriptor") if isinstance(descriptor, str) else descriptor
    if not callable(found):
        raise ValueError(f"descriptor {descriptor!r}; it must be a function, as module:function")
    function: Callable[[Segmentation], float] = found
    return function


def _name_of(descriptor: Any) -> str | None:
    """By which it may be had again, as far as it has a name."""
    if descriptor is None or isinstance(descriptor, str):
        return descriptor
    kind = type(descriptor)
    return ":".join(
        getattr(descriptor, n, getattr(kind, n)) for n in ("__module__", "__qualname__")
    )
