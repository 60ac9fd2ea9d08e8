"""Dose, field, defocus and imperfections by plain options: what robustness is tried on."""

from __future__ import annotations

import numpy as np
import pytest

from stemscout.envs import seen
from stemscout.envs.registration import make_env
from stemscout.simulators.imperfections import KINDS, Imperfections, named

ID = "StemScout/GrapheneDefects-v0"


def raster(env):
    """Every frame of a contiguous raster, and the share seen by it."""
    env.reset(seed=0)
    episode = env.episode
    for centre in episode.reference.lattice(episode.field_yx_nm)[0]:
        episode.take(episode.reference.at((float(centre[0]), float(centre[1]))))
    wanted = seen.targets(env.truth, episode.reference.side_nm)
    return float(wanted.weight[seen.seen_after(wanted, episode.exposures)].sum())


def test_a_frame_has_the_dose_that_is_asked_for_and_a_raster_stays_a_raster():
    spent, bright = {}, {}
    for dose in (0.5, 1.0, 2.0):
        env = make_env(ID, dose=dose, budget=1.0, terminate_when_done=False)
        env.reset(seed=0)
        frame = env.episode.take(env.episode.reference.at((0.0, 0.0)))
        spent[dose], bright[dose] = env.episode.budget.spent, frame.image.mean()
        assert env.episode.exposures[0].dose_e_per_a2 == pytest.approx(
            dose * 2.16e5, rel=0.02
        )  # 24 µs at medium
    assert spent[0.5] == pytest.approx(spent[1.0]) == pytest.approx(spent[2.0])
    assert bright[2.0] == pytest.approx(2 * bright[1.0], rel=0.05)


def test_what_features_need_stays_whatever_the_dose():
    assert raster(make_env(ID, dose=2.0, budget=1.0)) == pytest.approx(1.0)
    assert raster(make_env(ID, dose=1.0, budget=1.0)) == pytest.approx(1.0)
    assert raster(make_env(ID, dose=0.01, budget=1.0)) < 0.5


@pytest.mark.parametrize("field", [12.0, 36.0])
def test_a_field_is_as_wide_as_asked_for(field):
    env = make_env(ID, field_nm=field, budget=1.0, terminate_when_done=False)
    observation, _ = env.reset(seed=0)
    assert env.episode.field_yx_nm == (field, field)
    assert env.observation_space.contains(observation)
    assert len(env.truth.feature_class) >= 8
    assert raster(env) == pytest.approx(1.0)


def test_defocus_blurs_the_frames_and_not_the_truth():
    sharp, blurred = (make_env(ID, defocus_nm=d, imperfections={"counting": None}) for d in (0, 6))
    frames = []
    for env in (sharp, blurred):
        env.reset(seed=0)
        frames.append(env.episode.take(env.episode.reference.at((0.0, 0.0))).image)
    assert np.array_equal(sharp.truth.feature_yx_nm, blurred.truth.feature_yx_nm)
    assert frames[1].std() < 0.9 * frames[0].std()
    assert frames[1].mean() == pytest.approx(frames[0].mean(), rel=0.05)
    assert blurred.source.settings["optics"]["defocus_nm"] == 6.0


@pytest.mark.parametrize("name", KINDS)
def test_imperfections_by_name(name):
    made = named({name: {}})
    assert isinstance(getattr(made, name), KINDS[name])
    others = {k for k in KINDS if k not in (name, "counting")}
    assert all(getattr(made, k) is None for k in others)
    assert getattr(named({name: None}), name) is None


def test_parameters_of_imperfections():
    assert named({"drift": {"speed_nm_per_min": 3.0}}).drift.speed_nm_per_min == 3.0
    assert named({}) == Imperfections()
    env = make_env(ID, imperfections={"drift": {"speed_nm_per_min": 30.0}})
    env.reset(seed=0)
    assert env.episode.microscope.imperfections.drift.speed_nm_per_min == 30.0


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"dose": 0.0}, "a dose of 0.0 reference frames"),
        ({"dose": "much"}, "dose is 'much'"),
        ({"dose": 1e-4}, "takes a dwell of 0.0024 µs; the microscope allows"),
        ({"field_nm": 3.0}, "of graphene it must be from 6 to 200 nm"),
        ({"field_nm": True}, "field_nm is True"),
        ({"defocus_nm": 50.0}, "a defocus of 50"),
        ({"renderer": "abtem", "field_nm": 12.0}, "a shipped world is what it is"),
        ({"renderer": "abtem", "defocus_nm": 2.0}, "a shipped world is what it is"),
        ({"imperfections": {"ghosts": {}}}, "unknown imperfection ghosts; there are: counting"),
        ({"imperfections": {"drift": {"pace": 1}}}, "its parameters: speed_nm_per_min, max_nm"),
        ({"imperfections": {"drift": 3.0}}, "it must name parameters"),
        ({"imperfections": {"drift": {"max_nm": -1.0}}}, "Drift: max_nm is -1.0"),
    ],
)
def test_bad_conditions_are_told(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        make_env(ID, **options)


def test_vectorised_they_are_the_same():
    from stemscout.envs.graphene_defects import make_vector

    options = {
        "dose": 0.5,
        "field_nm": 12.0,
        "defocus_nm": 3.0,
        "imperfections": {"drift": {"speed_nm_per_min": 5.0}},
    }
    single, many = make_env(ID, **options), make_vector(num_envs=2, **options)
    first, _ = single.reset(seed=4)
    several, _ = many.reset(seed=4)
    assert np.array_equal(several["frame"][0], first["frame"])
    action = np.array([0.3, -0.2], dtype=np.float32)
    for _ in range(3):
        first = single.step(action)[0]
        several = many.step(np.stack([action, action]))[0]
        assert np.array_equal(several["frame"][0], first["frame"])
        assert np.array_equal(several["mosaic"][0], first["mosaic"])
    many.close()
