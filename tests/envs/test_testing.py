"""The public checks catch what they are for: environments that break one promise each."""

from __future__ import annotations

import numpy as np
import pytest

from stemscout.envs import testing
from stemscout.envs.mos2_defects import MoS2DefectsEnv


class PaintsTheTruth(MoS2DefectsEnv):
    """Feature positions in the mosaic."""

    def step(self, action):
        observation, *rest = super().step(action)
        field, shape = self.source.field_yx_nm[0], observation["mosaic"].shape[1:]
        cells = ((self.truth.feature_yx_nm / field + 0.5) * shape[0]).astype(int)
        observation["mosaic"][0, cells[:, 0] % shape[0], cells[:, 1] % shape[1]] = 255
        return observation, *rest


class TellsTheRecall(MoS2DefectsEnv):
    def step(self, action):
        *rest, info = super().step(action)
        return *rest, {**info, "progress": self.episode.task.fraction}


class TellsPositions(MoS2DefectsEnv):
    def reset(self, **options):
        observation, info = super().reset(**options)
        return observation, {**info, "hint": self.truth.feature_yx_nm[:3].copy()}


class MasksOthers(MoS2DefectsEnv):
    def action_masks(self):
        mask = super().action_masks()
        mask[:5] = False
        return mask


class AlwaysAtTheLimit(MoS2DefectsEnv):
    def step(self, action):
        *rest, info = super().step(action)
        return *rest, {**info, "at_limit": True} if "at_limit" in info else info


class ShowsWhatItHas(MoS2DefectsEnv):
    """The same array again and again."""

    def step(self, action):
        observation, *rest = super().step(action)
        self._shown = getattr(self, "_shown", observation)
        for key, value in observation.items():
            self._shown[key][...] = value
        return self._shown, *rest

    def reset(self, **options):
        observation, info = super().reset(**options)
        self._shown = observation
        return observation, info


class PaysTwice(MoS2DefectsEnv):
    def step(self, action):
        observation, reward, *rest = super().step(action)
        return observation, 2.0 * reward, *rest


class HasMoods(MoS2DefectsEnv):
    def step(self, action):
        observation, *rest = super().step(action)
        observation["frame"] = np.random.default_rng().permuted(observation["frame"])
        return observation, *rest


@pytest.mark.parametrize(
    ("kind", "check", "sentence"),
    [
        (PaintsTheTruth, testing.check_secrecy, "observation 1 tells of the truth"),
        (TellsTheRecall, testing.check_secrecy, "info\\['progress'\\] tells of the truth"),
        (TellsPositions, testing.check_secrecy, "info\\['hint'\\] tells of the truth"),
        (MasksOthers, testing.check_masks, "a wrong mask at step 0"),
        (AlwaysAtTheLimit, testing.check_moves, "at_limit is True"),
        (ShowsWhatItHas, testing.check_fresh, "a step changed an observation"),
        (PaysTwice, testing.check_rewards, "rewards add up to"),
        (HasMoods, testing.check_twins, "twin roll-outs differ"),
    ],
)
def test_a_broken_promise_is_noticed(kind, check, sentence):
    check(MoS2DefectsEnv)
    with pytest.raises(AssertionError, match=sentence):
        check(kind)
