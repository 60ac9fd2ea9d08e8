"""The rule of what has been seen."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stemscout.envs import seen
from stemscout.envs.registration import make_env
from stemscout.envs.seen import Targets, context_points
from stemscout.hardware import ScanRegion
from stemscout.simulators.exposure import Exposure
from stemscout.simulators.specimens import FeatureClass, Specimen, specimen_module

ONE = Targets(
    points_yx_nm=context_points(np.array([0.0, 0.0]), 0.5)[None],
    least=np.array([13]),
    need_e_per_a2=np.array([100.0]),
    max_pixel_nm=np.array([0.05]),
    weight=np.array([1.0]),
)


def exposure(y=0.0, x=0.0, side=2.0, pixel=0.04, dose=100.0, angle=0.0):
    return Exposure(ScanRegion((y, x), (side, side), angle), (0.0, 0.0), pixel, dose)


def is_seen(*exposures):
    return bool(seen.seen_after(ONE, exposures)[0])


def test_thirteen_points():
    points = context_points(np.array([1.0, 2.0]), 0.5) - [1.0, 2.0]
    radii = np.sort(np.hypot(*points.T))
    assert radii == pytest.approx([0.0] + [0.25] * 6 + [0.5] * 6)


def test_enough_dose_over_the_whole_disc():
    assert is_seen(exposure())
    assert is_seen(exposure(y=0.5, x=-0.5)), "the border of a frame belongs to it"
    assert not is_seen(exposure(dose=99.0))
    assert not is_seen(exposure(x=0.51)), "a point of the disc was missed"
    assert not is_seen(exposure(pixel=0.06)), "too coarse"
    assert not is_seen()


def test_doses_add_up():
    assert is_seen(exposure(dose=60.0), exposure(dose=40.0))
    left, right = exposure(x=-1.0), exposure(x=1.0)
    assert is_seen(left, right), "two frames that meet on the feature"
    assert not is_seen(left)


def test_coarse_frames_add_nothing():
    assert not is_seen(exposure(dose=60.0), exposure(dose=60.0, pixel=0.06))


def test_rotated_footprints():
    """A square of side 1.1 turned by 45 degrees holds the disc of radius 0.5, too."""
    assert is_seen(exposure(side=1.1, angle=np.pi / 4))
    assert not is_seen(exposure(side=0.9, angle=np.pi / 4))


@given(frames=st.lists(st.tuples(st.floats(-1, 1), st.floats(-1, 1), st.floats(1, 80)), max_size=8))
def test_what_was_seen_stays_seen(frames):
    exposures = [exposure(y=y, x=x, dose=d) for y, x, d in frames]
    states = [is_seen(*exposures[:n]) for n in range(len(exposures) + 1)]
    assert states == sorted(states)


@given(st.floats(-3.2, 3.2), st.floats(-2, 2), st.floats(-2, 2), st.floats(0.4, 4.0))
def test_dose_falls_where_the_exposure_says(angle, y, x, side):
    """The compiled pass over all features and ``Exposure.covers`` are one rule."""
    rng = np.random.default_rng(7)
    points = rng.uniform(-3, 3, (20, 5, 2))
    points[3, 2:] = np.nan
    even = np.ones(20)
    wanted = Targets(points, even.astype(int), even, np.linspace(0.0, 0.1, 20), even / 20)
    frame = Exposure(ScanRegion((y, x), (side, 0.8 * side), angle), (0.3, -0.2), 0.05, 7.0)
    fine = wanted.max_pixel_nm >= frame.pixel_nm
    expected = 7.0 * (frame.covers(points) & fine[:, None])
    assert np.array_equal(seen.dose(wanted, frame), expected)


def test_shift_moves_the_footprint():
    moved = replace(exposure(y=3.0), shift_yx_nm=(-3.0, 0.0))
    assert is_seen(moved)
    assert not is_seen(replace(moved, shift_yx_nm=(0.0, 0.0)))


def extended(shape, size, count=1, angle=0.0):
    """A specimen with ``count`` extended features at the origin and one point far off."""
    feature = FeatureClass("wall", 0.5, 0.5, 0.05, 100.0, shape, size)
    point = FeatureClass("point", 0.3, 0.1, 0.05, 100.0)
    classes = np.array([0] * count + [1])
    return Specimen(
        name="graphene",
        seed=(0,),
        difficulty="easy",
        field_yx_nm=(20.0, 20.0),
        positions_yx_nm=np.empty((0, 2)),
        height_nm=np.empty(0),
        kind=np.empty(0, dtype=np.int64),
        kinds=(),
        classes=(feature, point),
        feature_class=classes,
        feature_yx_nm=np.array([[0.0, 0.0]] * count + [[7.0, 7.0]]),
        feature_angle_rad=np.array([angle] * count + [0.0]),
    )


def test_a_segment_is_a_strip_a_tenth_of_a_frame_apart():
    """1 nm long and 0.5 nm to either side, turned from +x towards +y."""
    wanted = seen.targets(extended("segment", 1.0, angle=np.pi / 2), 1.0)
    points = wanted.points_yx_nm[0]
    assert points[:, 0].min() == pytest.approx(-0.5)
    assert points[:, 1].max() == pytest.approx(0.5)
    assert len(points) == 11 * 11
    narrow = seen.targets(extended("segment", 0.4, angle=np.pi / 2), 1.0).points_yx_nm[0]
    narrow = narrow[np.isfinite(narrow).all(axis=1)]
    assert np.ptp(narrow, axis=0) == pytest.approx([0.4, 1.0])


def test_a_cell_is_a_square():
    points = seen.targets(extended("cell", 0.6), 1.0).points_yx_nm[0]
    points = points[np.isfinite(points).all(axis=1)]
    assert np.ptp(points, axis=0) == pytest.approx([0.6, 0.6])


def test_four_fifths_of_an_extended_feature_are_enough():
    wanted = seen.targets(extended("cell", 1.0), 1.0)
    for right, known in ((0.5, True), (0.31, True), (0.19, False)):
        frame = Exposure(ScanRegion((0.0, right - 5.0), (4.0, 10.0)), (0.0, 0.0), 0.04, 100.0)
        assert seen.seen_after(wanted, [frame])[0] == known, right


def test_points_and_extended_features_carry_half_each():
    weight = seen.targets(extended("cell", 1.0, count=4), 1.0).weight
    assert weight == pytest.approx([0.125] * 4 + [0.5])
    assert ONE.weight.sum() == 1.0


@given(y=st.floats(-3, 3), x=st.floats(-3, 3), side=st.floats(0.1, 4), angle=st.floats(-3.2, 3.2))
def test_the_quick_test_never_misses(y, x, side, angle):
    """What may not be covered is not covered."""
    frame = Exposure(ScanRegion((y, x), (side, 2 * side), angle), (0.3, -0.2), 0.04, 100.0)
    points = np.random.default_rng(0).uniform(-5, 5, (200, 2))
    may = frame.may_cover(points, points)
    assert not (frame.covers(points) & ~may).any()


RASTERS = [
    (name, difficulty)
    for name, specimen in (
        ("GrapheneDefects", "graphene"),
        ("MoS2Defects", "mos2"),
        ("NiOPillars", "nio_lsmo"),
        ("FerroelectricDomains", "bifeo3"),
        ("Nanoparticles", "nanoparticles"),
        ("Composite", "composite"),
    )
    for difficulty in specimen_module(specimen).LEVELS
]


@pytest.mark.parametrize(("name", "difficulty"), RASTERS)
def test_one_raster_sees_every_feature_and_rewards_add_up_to_one(name, difficulty):
    """One contiguous raster of reference frames sees everything at every difficulty."""
    env = make_env(
        f"StemScout/{name}-v0",
        difficulty=difficulty,
        split="test",
        budget=1.0,
        terminate_when_done=False,
    )
    env.reset(seed=0)
    centres, _ = env.source.reference.lattice(env.source.field_yx_nm)
    rewards = []
    for y, x in centres:
        action = env.actions.encode(env.source.reference.at((float(y), float(x))))
        _, reward, _, truncated, _ = env.step(action)
        rewards.append(reward)
    assert truncated, "budget 1.0 is exactly one raster"
    assert sum(rewards) == pytest.approx(1.0)
    assert env.episode.task.done


def test_termination_is_optional(graphene):
    for wanted in (True, False):
        env = graphene(budget=1.0, terminate_when_done=wanted)
        env.reset(seed=0)
        ended = False
        for y, x in env.source.reference.lattice(env.source.field_yx_nm)[0]:
            request = env.source.reference.at((float(y), float(x)))
            ended = ended or env.step(env.actions.encode(request))[2]
        assert ended == wanted


def test_truth_is_neither_observed_nor_told(graphene):
    env = graphene()
    observation, info = env.reset(seed=0)
    assert set(observation) == {"frame", "mosaic", "position", "left"}
    told = {"request", "spent", "charge_e", "charge_left", "time_s", "time_left", "frames"}
    assert set(info) == told
    assert set(env.step(np.zeros(2, np.float32))[4]) == told
