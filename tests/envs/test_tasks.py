"""What is rewarded: groups of features, and maps reconstructed."""

from __future__ import annotations

import numpy as np
import pytest

from stemscout.envs import seen
from stemscout.envs.reference import ReferenceFrame
from stemscout.envs.registration import make_env
from stemscout.envs.scan_env import ScanEnv
from stemscout.envs.sources import SpecimenSource
from stemscout.envs.tasks import TASKS, Reconstruct, can_be_followed, goal, mapped, task
from stemscout.hardware import ScanRegion
from stemscout.simulators.exposure import Exposure
from stemscout.simulators.specimens import SPECIMENS, Map, specimen_module

REFERENCE = ReferenceFrame((1.5, 1.5), (64, 64), 24.0)


def specimen(name="mos2", seed=3, difficulty="medium"):
    return specimen_module(name).generate(np.random.SeedSequence(seed), difficulty)


def over(yx_nm, side=1.5, dose=1e9, pixel=0.02, destroyed=()):
    return Exposure(ScanRegion(tuple(yx_nm), (side, side)), (0.0, 0.0), pixel, dose, destroyed)


@pytest.mark.parametrize("name", ["discover", "classes", "follow", "target"])
def test_rewards_add_up_to_one_when_all_is_seen(name):
    shown = specimen()
    wanted = task(name, shown, REFERENCE)
    centres, _ = REFERENCE.lattice(shown.field_yx_nm, 0.5)
    gains = [wanted.update(over(yx)) for yx in centres]
    assert sum(gains) == pytest.approx(1.0)
    assert wanted.fraction == pytest.approx(1.0)
    assert min(gains) >= 0
    assert wanted.done


def test_classes_wants_one_of_each_that_is_there():
    shown = specimen()
    wanted = task("classes", shown, REFERENCE)
    present = np.unique(shown.feature_class)
    points = shown.feature_class[[shown.classes[k].shape == "point" for k in shown.feature_class]]
    first = int(np.flatnonzero(shown.feature_class == points[0])[0])
    assert wanted.update(over(shown.feature_yx_nm[first])) >= 1 / len(present) - 1e-12
    again = np.flatnonzero(shown.feature_class == points[0])[1]
    near = np.abs(shown.feature_yx_nm - shown.feature_yx_nm[again]).max(axis=1) < 1.5
    if set(shown.feature_class[near]) == {points[0]}:
        assert wanted.update(over(shown.feature_yx_nm[again])) == 0.0, "a second one is no gain"


def test_target_is_the_rarest_class_and_all_or_nothing():
    shown = specimen()
    wanted = task("target", shown, REFERENCE)
    kinds, counts = np.unique(shown.feature_class, return_counts=True)
    rarest = kinds[counts.argmin()]
    for n in np.argsort(shown.feature_class != rarest, kind="stable")[::-1]:
        gain = wanted.update(over(shown.feature_yx_nm[n]))
        assert gain in (0.0, 1.0)
    assert wanted.done


def test_follow_counts_extended_features_alone():
    shown = specimen()
    wanted = goal("follow", shown, seen.targets(shown, 1.5).weight)
    extended = np.array([shown.classes[k].shape != "point" for k in shown.feature_class])
    assert (wanted.group[~extended] == -1).all()
    assert len(wanted.weight) == extended.sum()


def test_where_there_is_nothing_to_follow_all_is_done_with_the_first_frame():
    graphene = (specimen("graphene", seed, "hard") for seed in range(20))
    bare = next(s for s in graphene if len(set(s.feature_class)) < len(s.classes))
    assert not any(bare.classes[k].shape != "point" for k in bare.feature_class)
    wanted = task("follow", bare, REFERENCE)
    assert wanted.fraction == 0.0
    assert wanted.update(over((0.0, 0.0))) == 1.0
    assert wanted.done


@pytest.mark.parametrize("name", ["GrapheneDefects", "MoS2Defects"])
def test_follow_shows_only_specimens_that_have_something_to_follow(name):
    """What discover shows without a boundary, follow does not; all others are the same."""
    drawn = 0
    env, other = (
        make_env(f"StemScout/{name}-v0", difficulty="hard", task=t) for t in ("follow", "discover")
    )
    for seed in range(12):
        env.reset(seed=seed)
        other.reset(seed=seed)
        assert can_be_followed(env.truth)
        same = np.array_equal(env.truth.positions_yx_nm, other.truth.positions_yx_nm)
        assert same == can_be_followed(other.truth)
        drawn += not same
    assert 0 < drawn < 12


def test_what_follow_draws_instead_stays_the_same():
    """Positions by `make_env(id, difficulty="hard", task="follow", split="test")` under seed 2."""
    env = make_env("StemScout/GrapheneDefects-v0", difficulty="hard", task="follow", split="test")
    env.reset(seed=2)
    assert env.episode.microscope.world.recipe.spawn_key == (2, 0, 0, 1_000_001)
    assert env.truth.feature_yx_nm[0] == pytest.approx([-1.5540396609488238, -2.573795859612487])
    other = make_env("StemScout/GrapheneDefects-v0", difficulty="hard", task="follow", split="test")
    other.reset(seed=7, options={"specimen": 2})
    assert np.array_equal(env.truth.positions_yx_nm, other.truth.positions_yx_nm)


def test_follow_leaves_a_source_as_it_was():
    source = SpecimenSource("graphene", "hard")
    ScanEnv(source, task="follow")
    shown = source.truth(source.microscope(2, "test", 0, None))
    assert not can_be_followed(shown)


def test_follow_is_refused_where_there_are_points_only():
    with pytest.raises(ValueError, match="'follow' needs walls, boundaries or pillars"):
        make_env("StemScout/Nanoparticles-v0", task="follow")


def test_what_is_destroyed_unseen_can_be_seen_no_more_and_ends_the_task():
    shown = specimen()
    wanted = task("discover", shown, REFERENCE)
    everything = tuple(range(len(shown.feature_class)))
    assert wanted.update(over((50.0, 50.0), destroyed=everything)) == 0.0
    assert wanted.done
    assert wanted.update(over(shown.feature_yx_nm[0])) == 0.0


@pytest.mark.parametrize("name", SPECIMENS)
def test_every_specimen_has_a_map_to_reconstruct(name):
    levels = specimen_module(name).LEVELS
    shown = specimen(name, difficulty="medium" if "medium" in levels else "hard")
    assert np.ptp(mapped(shown).values) > 0


class TestReconstruct:
    """The nearest measured place says what is there."""

    def plain(self, values, known, shape, pitch, exposures):
        """The same by a loop over places: distances squared, the earlier wins."""
        y = (np.arange(shape[0]) - (shape[0] - 1) / 2) * pitch
        x = (np.arange(shape[1]) - (shape[1] - 1) / 2) * pitch
        nodes = np.stack(np.meshgrid(y, x, indexing="ij"), axis=-1).reshape(-1, 2)
        measured = np.zeros(len(nodes), dtype=bool)
        for e in exposures:
            measured |= e.covers(nodes)
        index = np.rint(nodes / pitch * 2)
        off = ((index[:, None] - index[None, measured]) ** 2).sum(axis=-1)
        nearest = off.min(axis=1)
        flat = values.reshape(len(nodes), -1)
        found = []
        for n in range(len(nodes)):
            options = flat[measured][off[n] == nearest[n]]
            found.append(np.abs(options - known.reshape(len(nodes), -1)[n]).max(axis=1).min())
        return np.array(found)

    def test_against_a_plain_loop(self):
        rng = np.random.default_rng(0)
        values = rng.random((24, 20))
        wanted = Reconstruct(Map(values, 0.5), 0.1)
        exposures = [over(yx, 2.0) for yx in rng.uniform(-4, 4, (5, 2))]
        for e in exposures:
            wanted.update(e)
        off = self.plain(values, wanted.known, values.shape, 0.5, exposures)
        assert np.abs(off).max() == 0.0, "every value comes from a nearest measured place"

    def test_the_reward_is_the_fall_of_the_error(self):
        values = np.zeros((20, 20))
        values[:, 10:] = 1.0
        wanted = Reconstruct(Map(values, 0.5), 0.1)
        assert wanted.before == pytest.approx(0.5)
        first = wanted.update(over((0.0, 2.5), 1.0))
        assert first == pytest.approx(1.0 - np.sqrt(0.5) / 0.5), "all is taken for the right half"
        second = wanted.update(over((0.0, -2.5), 1.0))
        assert first + second == pytest.approx(1.0)

    def test_coarse_frames_and_blanked_beams_measure_nothing(self):
        wanted = Reconstruct(Map(np.arange(16.0).reshape(4, 4), 1.0), 0.1)
        assert wanted.update(over((0.0, 0.0), 8.0, pixel=0.2)) == 0.0
        assert wanted.update(over((0.0, 0.0), 8.0, dose=0.0)) == 0.0

    def test_vectors_are_compared_as_vectors(self):
        values = np.zeros((10, 10, 2))
        values[5:, :, 1] = 1.0
        wanted = Reconstruct(Map(values, 1.0), 0.1)
        wanted.update(over((0.0, 0.0), 10.0))
        assert wanted.fraction == pytest.approx(1.0)


def test_shaping_rewards_the_way_to_what_is_unseen_and_leaves_the_fraction_alone():
    plain, shaped = (
        make_env("StemScout/NiOPillars-v0", shaping=s, discount=1.0) for s in (0.0, 0.5)
    )
    for env in (plain, shaped):
        env.reset(seed=4)
    plain.action_space.seed(0)
    potential = shaped.shaping.potential(shaped.episode)
    for _ in range(8):
        action = plain.action_space.sample()
        _, expected, *_ = plain.step(action)
        _, reward, *_ = shaped.step(action)
        after = shaped.shaping.potential(shaped.episode)
        assert reward - expected == pytest.approx(0.5 * (after - potential))
        potential = after
    assert shaped.episode.task.fraction == plain.episode.task.fraction


def test_shaping_needs_features():
    with pytest.raises(ValueError, match="'map' has no features to shape"):
        make_env("StemScout/NiOPillars-v0", task="map", shaping=0.1)


def test_names_are_all_there():
    assert set(TASKS) == {"discover", "map", "classes", "follow", "target", "explore"}
