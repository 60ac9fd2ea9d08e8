"""Ferroelectric domains of a rhombohedral perovskite, and the walls between them.

The polarisation points along one of the eight <111>; seen along [001] it has four
directions, along <110>, and up or down.  ``bifeo3.py`` says what follows for the
crystal.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numba
import numpy as np

from .outlines import distance_to_path, inside
from .specimen import Floats, Ints

TRIES, SHRINK = 50, 0.995  # of an island; after so many, each is smaller than the last
REACH_NM = 3.0  # farther from a wall nothing turns
SATURATED = 19.5  # tanh of more is 1 to the last bit
SPACING_NM = 4.5  # between walls, at least
TYPES = (("71°", "109°"), ("109°", "180°"))  # as the component along the beam stays or turns
SHAPES = ("straight", "kinked", "curved")


@dataclass(frozen=True)
class Domain:
    """A direction of the polarisation, and a sense of the octahedra's turn about it.

    Attributes:
        quarter: quarter turns of the polarisation in the plane from the first <110>.
        up: 1 where it points to greater heights, else -1.
        sense: 1 or -1.
    """

    quarter: int
    up: int = 1
    sense: int = 1

    def behind(self, quarters: int, turned: bool) -> Domain:
        """Behind a wall that turns it in the plane, and perhaps along the beam."""
        # A component of the octahedra's turn goes with one of the polarisation.  Where one of
        # the three changes sign, the sense stays; where more do, fewer change if it does not.
        alike = quarters % 2 == 1 and not turned
        up, sense = (-self.up if turned else self.up), (self.sense if alike else -self.sense)
        return Domain((self.quarter + quarters) % 4, up, sense)

    @property
    def polarisation(self) -> Floats:
        """A unit vector (y, x, height) along the crystal's axes."""
        planar = ((1, 1), (1, -1), (-1, -1), (-1, 1))[self.quarter % 4]
        return np.asarray(np.array([*planar, self.up]) / np.sqrt(3.0))


@dataclass(frozen=True)
class Wall:
    """Where one domain ends and another begins.

    ``beyond(points)`` is the signed distance in nm, positive on the far side or
    inside an island.
    """

    path_yx_nm: Floats
    closed: bool
    beyond: Callable[[Floats], Floats]
    near: Domain
    far: Domain

    @property
    def feature_class(self) -> int:
        return 1 if (self.far.quarter - self.near.quarter) % 4 == 2 else 0

    @property
    def note(self) -> str:
        return f"{TYPES[self.feature_class][self.near.up != self.far.up]} wall"


def straight(yx_nm: Floats, half_nm: float, near: Domain, quarters: int, angle: float) -> Wall:
    """A neutral wall through a point, so far to either side."""
    direction = _along(_neutral(near, quarters, angle))
    return _wall(yx_nm + np.outer([-half_nm, half_nm], direction), False, near, quarters, False)


def stripes(count: int, field_nm: float, angle: float, rng: np.random.Generator) -> list[Wall]:
    """Walls side by side across the field; all turn by 90°, or all by 180°."""
    quarters = int(rng.choice([1, 2]))
    near = Domain(int(rng.integers(4)))
    direction = _neutral(near, quarters, angle)
    along, across = _along(direction), _along(direction + np.pi / 2)
    room = 0.62 * field_nm
    gaps = rng.dirichlet(np.full(count + 1, 3.0)) * max(0.0, room - (count - 1) * SPACING_NM)
    offsets = np.cumsum(gaps[:-1]) + np.arange(count) * SPACING_NM - room / 2
    reach = 0.75 * field_nm + 3.0
    walls = []
    for offset in offsets:
        shape = SHAPES[rng.integers(3)]
        bend, phase = rng.uniform(0.5, 1.1), rng.uniform(0, 1)
        length = rng.uniform(7.0, 12.0)
        t = np.linspace(-reach, reach, 2 if shape == "straight" else 61)
        wave = (t / length + phase) % 1.0
        if shape == "kinked":
            step = bend * (np.abs(2 * wave - 1) - 0.5)
        else:
            step = bend * np.sin(2 * np.pi * wave)
        v = np.full(len(t), offset) if shape == "straight" else offset + step
        path = np.outer(t, along) + np.outer(v, across)
        walls.append(_wall(path, False, near, quarters, bool(rng.integers(2))))
        near = walls[-1].far
        # The next 90° wall turns back, so that it can lie parallel to this one.
        quarters = -quarters if quarters != 2 else 2
    return walls


def islands(
    count: int, field_nm: float, size: float, across: list[Wall], rng: np.random.Generator
) -> list[Wall]:
    """Closed walls of the other kind, clear of those across and of each other.

    Where there is no room for one, it is smaller.
    """
    found: list[Wall] = []
    for tried in range(8 * TRIES * count):
        if len(found) == count:
            break
        size *= SHRINK if tried >= TRIES * count else 1.0
        radius = rng.uniform(2.0, 3.6) * size
        yx = rng.uniform(-0.5, 0.5, 2) * (field_nm - radius)
        t = np.linspace(0, 2 * np.pi, 49)[:-1]
        waves = rng.uniform(0.03, 0.1, 3)[:, None] * np.cos(
            np.arange(2, 5)[:, None] * t + rng.uniform(0, 2 * np.pi, 3)[:, None]
        )
        r = radius * (1 + waves.sum(axis=0))
        path = yx + np.column_stack([r * np.sin(t), r * np.cos(t)])
        turned = bool(rng.integers(2))
        if all(distance_to_path(path, w.path_yx_nm, w.closed).min() > 2.2 for w in across + found):
            host = across[0].near
            for wall in across:
                if wall.beyond(yx[None])[0] > 0:
                    host = wall.far
            quarters = 2 if across[0].feature_class == 0 else int(rng.choice([-1, 1]))
            found.append(_wall(path, True, host, quarters, turned))
    return found


def order(points: Floats, walls: list[Wall], half_width_nm: float) -> tuple[Floats, Floats, Ints]:
    """Polarisation and axis of the octahedra's turn at points, and the domain's label (n,).

    The first two are (n, 3), along the crystal's axes (y, x, height), of length 1 in a domain;
    across a wall they follow tanh(distance / half_width_nm).
    """
    first = walls[0].near
    polar = np.tile(first.polarisation, (len(points), 1))
    axis = first.sense * polar
    label = np.zeros(len(points), dtype=np.int64)
    for number, wall in enumerate(walls, start=1):
        beyond = wall.beyond(points)
        far, near = wall.far.polarisation, wall.near.polarisation
        turned = wall.far.sense * far - wall.near.sense * near
        _turn(polar, axis, label, _share(beyond, half_width_nm), beyond, far - near, turned, number)
    return polar, axis, label


def _share(beyond: Floats, half_width_nm: float) -> Floats:
    """How much of the turn is made at such distances (n,); the tangent only where it varies."""
    scaled = beyond / half_width_nm
    share = np.where(scaled > 0, 1.0, 0.0)
    # Far inside a neighbouring domain it is 0 or 1 to the last bit, and far outside an island
    # the same everywhere.
    outside = beyond == -REACH_NM
    share[outside] = 0.5 * (1.0 + np.tanh(-REACH_NM / half_width_nm))
    varies = np.flatnonzero((np.abs(scaled) < SATURATED) & ~outside)
    share[varies] = 0.5 * (1.0 + np.tanh(scaled[varies]))
    return share


@numba.njit(cache=True, fastmath=False)
def _turn(polar, axis, label, share, beyond, by_polar, by_axis, number):
    """Add a wall's share of its turn at every point, in place."""
    for n in range(share.shape[0]):
        for k in range(3):
            polar[n, k] += share[n] * by_polar[k]
            axis[n, k] += share[n] * by_axis[k]
        if beyond[n] > 0:
            label[n] = number


def _neutral(near: Domain, quarters: int, angle: float) -> float:
    """Direction of a straight wall that carries no charge, from +x towards +y."""
    # The polarisation points along angle + 45° + 90° a quarter.  A 180° wall lies along it; a
    # 90° wall lies across the sum of the two directions, which is 45° from either.
    towards = angle + np.pi / 4 + near.quarter * np.pi / 2
    return towards if quarters == 2 else towards + quarters * np.pi / 4 + np.pi / 2


def _along(direction: float) -> Floats:
    return np.array([np.sin(direction), np.cos(direction)])


def _wall(path: Floats, closed: bool, near: Domain, quarters: int, turned: bool) -> Wall:
    beyond = _enclosed(path) if closed else _crossing(path)
    return Wall(path, closed, beyond, near, near.behind(quarters, turned))


def _crossing(path: Floats) -> Callable[[Floats], Floats]:
    """Signed distance from a path across the field, positive at +90° from its direction."""
    run = path[-1] - path[0]
    run /= np.hypot(*run)
    across = np.array([run[1], -run[0]])
    u, v = (path - path[0]) @ run, (path - path[0]) @ across

    def beyond(points: Floats) -> Floats:
        points_from = points - path[0]
        distance = points_from @ across
        if len(path) > 2:  # exact only where the wall is near
            distance -= np.interp(points_from @ run, u, v)
            near = np.flatnonzero(np.abs(distance) < REACH_NM)
            exact = distance_to_path(points[near], path)
            distance[near] = np.copysign(exact, distance[near])
        return np.asarray(distance)

    return beyond


def _enclosed(path: Floats) -> Callable[[Floats], Floats]:
    """Signed distance from a closed path, positive inside."""
    low, high = path.min(axis=0) - REACH_NM, path.max(axis=0) + REACH_NM

    def beyond(points: Floats) -> Floats:
        distance = np.full(len(points), -REACH_NM)
        y, x = points.T
        near = np.flatnonzero((y >= low[0]) & (y <= high[0]) & (x >= low[1]) & (x <= high[1]))
        exact = distance_to_path(points[near], path, closed=True)
        distance[near] = np.where(inside(points[near], path), exact, -exact)
        return distance

    return beyond
