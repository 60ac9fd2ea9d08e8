"""What every environment of this suite promises, as checks that anyone can call.

For authors of environments and tasks of their own, as ``stemscout.envs.testing``:

    @pytest.mark.parametrize("check", testing.CHECKS, ids=lambda c: c.__name__)
    def test_promises(check):
        check(lambda **options: MyEnv(**options))

Each check takes a function that makes a bare environment (no wrappers), passes it
options of ``ScanEnv`` where it needs to, and raises AssertionError with a sentence
where a promise is broken.
"""

from __future__ import annotations

import copy
import pickle
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode

from ..simulators.specimens import Specimen
from .actions import MoveAction
from .scan_env import ScanEnv
from .vector import ScanVectorEnv

Make = Callable[..., ScanEnv]
# Of infos, what single and vectorised environments both have.
TOLD = frozenset(
    {
        "spent", "charge_e", "charge_left", "time_s", "time_left", "frames", "action_mask",
        "at_limit",
    }
)  # fmt: skip


def same(a: Any, b: Any) -> bool:
    """Whether two observations, infos or lists of them are identical, to the bit."""
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, tuple | list):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return bool(np.array_equal(a, b)) if isinstance(a, np.ndarray) else bool(a == b)


def rollout(env: ScanEnv, seed: int, count: int = 12) -> list[Any]:
    """Everything that comes out of an episode under random actions."""
    env.action_space.seed(seed)
    out: list[Any] = [env.reset(seed=seed)]
    for _ in range(count):
        out.append(env.step(env.action_space.sample()))
        if out[-1][2] or out[-1][3]:
            break
    return out


def check_gymnasium(make: Make) -> None:
    """Gymnasium's own checker has nothing to say."""
    from gymnasium.utils.env_checker import check_env

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env = make()
        check_env(env, skip_render_check=env.spec is None)


def check_stable_baselines3(make: Make) -> None:
    """Neither has Stable-Baselines3's, where it is installed."""
    try:
        from stable_baselines3.common.env_checker import check_env
    except ImportError:
        return
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(make())


def check_twins(make: Make) -> None:
    """Two environments seeded alike give the same, to the bit."""
    assert same(rollout(make(), 3), rollout(make(), 3)), "twin roll-outs differ"


def check_seeds(make: Make) -> None:
    """Resets under 20 seeds give observations of the space, not all of them equal later on."""
    env, ends = make(), []
    for seed in range(20):
        out = rollout(env, seed, 2)
        assert env.observation_space.contains(out[0][0]), f"seed {seed} leaves the space"
        ends.append(out[-1][0])
    assert any(not same(ends[0], e) for e in ends[1:]), "no seed makes a difference"


def check_spaces(make: Make, count: int = 1000) -> None:
    """Under random actions every observation lies in its space; rewards are finite floats."""
    env = make()
    env.reset(seed=0)
    env.action_space.seed(0)
    for k in range(count):
        observation, reward, terminated, truncated, _ = env.step(env.action_space.sample())
        assert env.observation_space.contains(observation), f"step {k} leaves the space"
        assert isinstance(reward, float), f"step {k}: a reward of {type(reward)}"
        assert np.isfinite(reward), f"step {k}: a reward of {reward}"
        if terminated or truncated:
            env.reset()


def check_fresh(make: Make) -> None:
    """Observations are arrays of their own, which later steps leave alone."""
    env = make()
    before, _ = env.reset(seed=0)
    kept = copy.deepcopy(before)
    env.step(env.action_space.sample())
    assert same(before, kept), "a step changed an observation given before"


def check_copies(make: Make) -> None:
    """Pickles and deep copies in mid-episode go on alike."""
    env = make()
    env.reset(seed=5)
    env.action_space.seed(5)
    for _ in range(4):
        env.step(env.action_space.sample())
    action = env.action_space.sample()
    twins = {"deep copy": copy.deepcopy(env), "pickle": pickle.loads(pickle.dumps(env))}
    expected = env.step(action)
    for how, twin in twins.items():
        assert same(twin.step(action), expected), f"a {how} goes on differently"


def check_budget(make: Make) -> None:
    """Charge and time only grow, and no budget is ever exceeded, by a survey neither."""
    env = make()
    frame_s = env.source.costs.time_s(env.source.reference.at((0.0, 0.0)))
    for options in ({}, {"survey": "low"}, {"time_budget_s": 7.5 * frame_s, "survey": "low"}):
        try:
            env = make(**options)
        except ValueError:  # this one pays for no survey
            continue
        _spend(env)


def _spend(env: ScanEnv) -> None:
    _, info = env.reset(seed=0)
    env.action_space.seed(0)
    while True:
        before = info
        _, _, terminated, truncated, info = env.step(env.action_space.sample())
        for key in ("charge_e", "time_s", "frames"):
            assert info[key] >= before[key], f"{key} fell from {before[key]} to {info[key]}"
        if terminated or truncated:
            break
    budget = env.episode.budget
    assert budget.spent_charge_e <= budget.charge_e * (1 + 1e-9), "more charge was spent than was"
    if budget.time_s is not None:
        assert budget.spent_time_s <= budget.time_s * (1 + 1e-9), "more time was spent than was"


def check_rewards(make: Make) -> None:
    """Rewards add up to the final fraction of the task; what was seen stays seen."""
    env = make(terminate_when_done=False)
    env.reset(seed=1)
    env.action_space.seed(1)
    total, seen = 0.0, np.zeros(0, dtype=bool)
    while True:
        _, reward, _, truncated, _ = env.step(env.action_space.sample())
        total += reward
        tally = getattr(env.episode.task, "tally", None)
        if tally is not None:
            assert not (seen & ~tally.seen[: len(seen)]).any(), "a seen feature became unseen"
            seen = tally.seen.copy()
        if truncated:
            break
    fraction = env.episode.task.fraction
    assert abs(total - fraction) < 1e-9, f"rewards add up to {total}, the fraction is {fraction}"


def check_mosaic(make: Make) -> None:
    """The mosaic's mask covers exactly the cells that hold a measured pixel."""
    from .mosaic import Mosaic

    env = make(observation="mosaic")
    env.reset(seed=2)
    env.action_space.seed(2)
    for _ in range(6):
        observation, *_ = env.step(env.action_space.sample())
    episode = env.episode
    plain = Mosaic(episode.field_yx_nm, observation["mosaic"].shape[1:])
    for frame in episode.history:
        plain.add(frame, episode.display(frame))
    assert np.array_equal(observation["mosaic"], plain.as_uint8()), "the mosaic is not the frames'"
    assert observation["mosaic"][1].any(), "nothing was measured"


def check_secrecy(make: Make) -> None:
    """Neither observation nor info depends on the truth, but on what was measured.

    Two environments take the same frames of the same specimen; one is told that the
    features, and what maps show, lie the other way round.
    """
    env = make(terminate_when_done=False)
    misled = make(terminate_when_done=False)
    truth = misled.source.truth
    misled.source.truth = lambda microscope: _mirrored(truth(microscope))  # type: ignore[method-assign]
    out = rollout(env, 0, 60), rollout(misled, 0, 60)
    for k, (ours, theirs) in enumerate(zip(*out, strict=True)):
        assert same(ours[0], theirs[0]), f"observation {k} tells of the truth"
        told, other = ours[-1], theirs[-1]
        for key, value in told.items():
            assert not isinstance(value, Specimen), f"info[{key!r}] is the truth"
            assert key in other, f"info[{key!r}] depends on the truth"
            assert same(value, other[key]), f"info[{key!r}] tells of the truth"
        assert told.keys() == other.keys(), "what is in info depends on the truth"


def _mirrored(specimen: Specimen | None) -> Specimen | None:
    if specimen is None:
        return None
    maps = {k: replace(m, values=m.values[::-1].copy()) for k, m in specimen.maps.items()}
    return replace(specimen, feature_yx_nm=-specimen.feature_yx_nm, maps=maps)


def check_masks(make: Make) -> None:
    """Where actions are cells, those are masked of which a frame was taken, and no others."""
    env = make(action="grid")
    _, info = env.reset(seed=4)
    env.action_space.seed(4)
    taken = np.zeros(len(info["action_mask"]), dtype=bool)
    for k in range(12):
        assert np.array_equal(info["action_mask"].astype(bool), ~taken), f"a wrong mask at step {k}"
        assert np.array_equal(env.action_masks(), ~taken), f"action_masks() differs at step {k}"
        cell = env.action_space.sample(info["action_mask"])
        *_, terminated, truncated, info = env.step(cell)
        taken[cell] = True
        if terminated or truncated:
            break
    _side_by_side(make, 12, AutoresetMode.NEXT_STEP, action="grid")


def check_moves(make: Make) -> None:
    """Moves say that they were cut short exactly where they were, at the border."""
    env = make(action="move")
    env.reset(seed=4)
    env.action_space.seed(4)
    assert isinstance(env.actions, MoveAction)
    at = np.zeros(2)
    for k in range(40):
        action = env.action_space.sample()
        *_, terminated, truncated, info = env.step(action)
        request = info["request"]
        wanted = at + action.astype(np.float64) * np.asarray(env.actions.reach_yx_nm)
        at = np.array(request.centre_yx_nm)
        cut = not np.allclose(wanted, at, atol=1e-6)
        assert info["at_limit"] == cut, f"at_limit is {info['at_limit']} at step {k}"
        if terminated or truncated:
            break
    _side_by_side(make, 12, AutoresetMode.NEXT_STEP, action="move")


def check_bad_actions(make: Make) -> None:
    """Actions outside the space raise ValueError and cost nothing."""
    env = make()
    env.reset(seed=0)
    wrong: list[Any] = ["ab", None, {"y": 0.0}, [[0.1], [0.2, 0.3]]]
    if isinstance(env.action_space, gym.spaces.Box):
        shape = env.action_space.shape
        wrong += [np.full(shape, v) for v in (np.nan, 1.5, np.inf, 0.1 + 0.1j, True)]
        wrong += [np.zeros((1, *shape)), np.zeros(shape[0] + 1)]
    else:
        wrong += [-1, 10**6, 0.5, True]
    for action in wrong:
        try:
            env.step(action)
        except ValueError:
            pass
        else:
            raise AssertionError(f"the action {action!r} was taken")
    assert env.episode.budget.spent_charge_e == 0.0, "a refused action cost charge"
    assert not env.episode.history, "a refused action took a frame"


def check_resets(make: Make) -> None:
    """Before the first reset, and after the end, Gymnasium's own error says what is missing."""
    env = make()
    for when in ("before reset()", "after the end"):
        try:
            env.step(env.action_space.sample())
        except gym.error.ResetNeeded:
            pass
        else:
            raise AssertionError(f"step() went on {when}")
        if when == "before reset()":
            env.reset(seed=0)
            while not any(env.step(env.action_space.sample())[2:4]):
                pass
    spent = env.episode.budget.spent_charge_e
    env.reset(seed=0)
    assert env.episode.budget.spent_charge_e <= spent, "a reset did not start over"


def check_vectorised(make: Make, count: int = 30) -> None:
    """The vectorised form equals single environments seeded alike, to the bit."""
    for mode in (AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP):
        _side_by_side(make, count, mode)


def _side_by_side(make: Make, count: int, mode: AutoresetMode, **more: Any) -> None:
    options: dict[str, Any] = {"budget": 0.05, **more}
    vector = ScanVectorEnv(make, 2, autoreset_mode=mode, **options)
    single = gym.vector.SyncVectorEnv([lambda: make(**options)] * 2, autoreset_mode=mode)
    vector.action_space.seed(7)
    try:
        assert same(vector.reset(seed=11)[0], single.reset(seed=11)[0]), "they begin differently"
        for k in range(count):
            actions = vector.action_space.sample()
            ours, theirs = vector.step(actions), single.step(actions)
            for what, a, b in zip(
                ("observations", "rewards", "terminations", "truncations"),
                ours,
                theirs,
                strict=False,
            ):
                assert same(a, b), f"{what} of step {k} differ"
            for key in TOLD & ours[4].keys() | TOLD & theirs[4].keys():
                assert same(_told(ours[4], key), _told(theirs[4], key)), (
                    f"info[{key!r}] of step {k} differs"
                )
            for j in np.flatnonzero(ours[4].get("_final_obs", [])):
                last, its = ours[4]["final_obs"][j], theirs[4]["final_obs"][j]
                assert same(last, its), f"the last observation before step {k} differs"
    finally:
        vector.close()
        single.close()


def _told(infos: dict[str, Any], key: str) -> list[Any]:
    """What infos say under a key: each sub-environment, by number, and its value."""
    who = np.flatnonzero(infos.get("_" + key, []))
    return [(int(j), infos[key][j]) for j in who]


CHECKS: tuple[Callable[[Make], None], ...] = (
    check_gymnasium,
    check_stable_baselines3,
    check_twins,
    check_seeds,
    check_spaces,
    check_fresh,
    check_copies,
    check_budget,
    check_rewards,
    check_mosaic,
    check_secrecy,
    check_masks,
    check_moves,
    check_bad_actions,
    check_resets,
    check_vectorised,
)
