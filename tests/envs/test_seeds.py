"""Episode k after reset(seed=s) is always the same, and nothing else decides it."""

from __future__ import annotations

import numpy as np

from stemscout.envs.registration import make_env
from stemscout.simulators.specimens import graphene as generator


def test_specimens_are_drawn_as_promised():
    from stemscout.envs.registration import make_env

    env = make_env("StemScout/GrapheneDefects-v0", split="validation")
    for k in range(2):
        env.reset(seed=7 if k == 0 else None)
        sequence = np.random.SeedSequence(7, spawn_key=(1, k, 0))
        expected = generator.generate(sequence, "medium")
        assert np.array_equal(env.truth.feature_yx_nm, expected.feature_yx_nm)


def test_noise_is_drawn_as_promised(graphene):
    env = graphene()
    env.reset(seed=7)
    expected = np.random.default_rng(np.random.SeedSequence(7, spawn_key=(2, 0, 1)))
    assert env.episode.microscope.rng.bit_generator.state == expected.bit_generator.state


def test_test_specimen_i_is_reset_with_seed_i(graphene):
    env = graphene()
    env.reset(seed=3)
    by_seed = env.truth.feature_yx_nm
    env.reset(seed=99, options={"specimen": 3})
    assert np.array_equal(env.truth.feature_yx_nm, by_seed)


def test_what_happens_in_an_episode_does_not_change_the_next(graphene):
    def second(steps):
        env = graphene()
        env.reset(seed=1)
        for _ in range(steps):
            env.step(np.zeros(2, np.float32))
        env.reset()
        return env.truth.feature_yx_nm, env.step(np.zeros(2, np.float32))[0]["frame"]

    a, b = second(0), second(5)
    assert all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


def test_splits_never_share_a_specimen(graphene):
    found = []
    for split in ("train", "validation", "test"):
        env = graphene(split=split)
        env.reset(seed=0)
        found.append(env.truth.feature_yx_nm)
    assert not np.array_equal(found[0], found[1])
    assert not np.array_equal(found[1], found[2])


def test_a_first_reset_without_a_seed_takes_one_from_the_system(graphene):
    a, b = graphene(), graphene()
    a.reset()
    b.reset()
    assert not np.array_equal(a.truth.feature_yx_nm, b.truth.feature_yx_nm)


def test_abtem_worlds_vary_the_noise_only():
    env = make_env("StemScout/NiOPillars-v0", renderer="abtem")
    frames = []
    for seed in (0, 1):
        env.reset(seed=seed)
        frames.append((env.truth, env.step(np.zeros(2, np.float32))[0]["frame"]))
    assert frames[0][0] is frames[1][0]
    assert not np.array_equal(frames[0][1], frames[1][1])
