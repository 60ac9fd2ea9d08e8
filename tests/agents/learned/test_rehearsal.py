"""Episodes without images: the same arithmetic as real ones, of many at once."""

from __future__ import annotations

import numpy as np
import pytest

from stemscout.agents.learned.detector import Detector
from stemscout.agents.learned.evidence import Cells
from stemscout.agents.learned.grounds import Ground
from stemscout.agents.learned.members import cells_of, pool
from stemscout.agents.learned.rehearsal import (
    Rehearsal,
    frame_sums,
    lattice_centres,
    lattice_shape,
    shares,
)
from stemscout.agents.learned.validation import IDS
from stemscout.agents.navigation.navigator import Candidates
from stemscout.agents.perception.sightings import BLOCKS, Layers

LAYERS = Layers.of("bifeo3")
CELLS_OF = cells_of("bifeo3")


@pytest.mark.parametrize("specimen", IDS)
def test_the_network_of_every_specimen_with_policies_was_measured(specimen):
    detector, layers = Detector.of(specimen), Layers.of(specimen)
    own = [k for k, c in enumerate(layers.classes) if c.name != "contamination"]
    for level in ("easy", "medium", "hard"):
        assert len(detector.rates[level]) == 3  # doses
        for rates in detector.rates[level]:
            assert rates.hit.shape == rates.false.shape == (len(layers.names),)
            assert ((rates.hit >= 0) & (rates.hit <= 1) & (rates.false >= 0)).all()
        at_reference = detector.rates[level][1]
        assert at_reference.hit[own].mean() > 10 * at_reference.false[own].mean()


@pytest.fixture(scope="module")
def shown():
    return pool("bifeo3", 3)


def rehearsal(shown, n=4, seed=0):
    perfect = Detector.perfect(LAYERS)
    return Rehearsal(shown, LAYERS, CELLS_OF, perfect, np.random.default_rng(seed), n)


def test_the_lattice_is_that_of_navigators_where_frames_fit_the_field(context_of):
    context, _, _ = context_of("StemScout/FerroelectricDomains-v0", budget=0.02)
    candidates = Candidates.of(context)
    assert lattice_shape(CELLS_OF.shape) == candidates.shape
    assert lattice_centres(CELLS_OF) == pytest.approx(candidates.centres_yx_nm)


def test_sums_of_frames_are_those_of_their_cells():
    values = np.random.default_rng(0).random((1, 12, 16), np.float32)
    sums = frame_sums(values)
    assert sums.shape == (1, *lattice_shape((12, 16))) == (1, 5, 7)
    assert sums[0, 1, 2] == pytest.approx(values[0, 2:6, 4:8].sum(), rel=1e-5)


def test_a_raster_sees_everything_but_at_the_border(shown):
    rehearsed = rehearsal(shown)
    rows, columns = rehearsed.shape
    seen = np.zeros(4, dtype=np.float32)
    for row in range(0, rows, 2):
        for column in range(0, columns, 2):
            seen += rehearsed.take(np.full(4, row * columns + column))
    inner = rehearsed.told.shares == 1.0
    assert inner[:, 1:-1, 1:-1].all()
    assert seen == pytest.approx((rehearsed.weight * rehearsed.told.shares).sum(axis=(1, 2)))
    assert (seen > 0.85).all()
    assert (rehearsed.evidence.looks == 1).all()
    assert rehearsed.evidence.means == pytest.approx(rehearsed.there, abs=1e-5)


def test_what_is_seen_is_seen_once(shown):
    rehearsed = rehearsal(shown)
    choice = frame_sums(rehearsed.weight).reshape(4, -1).argmax(axis=1)
    assert (rehearsed.take(choice) > 0).all()
    assert (rehearsed.take(choice) == 0).all()
    assert rehearsed.taken.sum() == 4


def test_episodes_follow_the_seed_and_the_levels(shown):
    one, other = rehearsal(shown, seed=3), rehearsal(shown, seed=3)
    assert (one.there == other.there).all()
    one.levels = ("hard",)
    one.begin(np.arange(4))
    hard = next(g for g in shown if g.difficulty == "hard")
    total = hard.amounts.sum(axis=(1, 2))
    assert np.allclose(one.there.sum(axis=(2, 3)), total, rtol=1e-4)


def test_points_and_extended_features_carry_half_each_where_there_are_both():
    layers = Layers.of("graphene")
    amounts = np.random.default_rng(0).random((len(layers.names), 8, 8), np.float32)
    extended = np.array([c.shape != "point" for c in layers.classes])
    both = shares(amounts, layers)
    assert both.sum() == pytest.approx(1.0, rel=1e-5)
    points = amounts.copy()
    points[: len(extended)][extended] = 0.0
    alone = shares(points, layers)
    assert alone.sum() == pytest.approx(1.0, rel=1e-5)
    assert shares(np.zeros_like(amounts), layers).sum() == 0.0
    lines = amounts.copy()
    lines[: len(extended)][~extended] = 0.0
    assert both == pytest.approx((alone + shares(lines, layers)) / 2, rel=1e-4)


def test_a_field_of_less_than_a_frame_has_one_frame():
    cells = Cells.of((1.0, 1.0), (1.8, 1.8))
    assert lattice_shape(cells.shape) == (1, 1)
    amounts = np.ones((len(LAYERS.names), *cells.shape), np.float32)
    ground = Ground(amounts, "easy")
    perfect = Detector.perfect(LAYERS)
    small = Rehearsal([ground], LAYERS, cells, perfect, np.random.default_rng(0), 1)
    assert small.take(np.zeros(1, dtype=np.int64)) == pytest.approx(
        (small.weight * small.told.shares).sum()
    )
    assert cells.shape < (BLOCKS, BLOCKS)
