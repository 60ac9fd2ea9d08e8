"""The public checks find what is broken."""

from __future__ import annotations

import numpy as np
import pytest

from stemscout.envs import testing
from stemscout.envs.mos2_defects import MoS2DefectsEnv


class Leaky(MoS2DefectsEnv):
    def _info(self, request):
        return {**super()._info(request), "truth": self.truth}


class Painted(MoS2DefectsEnv):
    """Feature positions in the mosaic."""

    def step(self, action):
        shown, *rest = super().step(action)
        count = shown["mosaic"].shape[1]
        cells = (self.truth.feature_yx_nm / self.source.field_yx_nm + 0.5) * count
        shown["mosaic"][0, *cells.astype(int).T] = 255
        return shown, *rest


class Progress(MoS2DefectsEnv):
    def step(self, action):
        *rest, info = super().step(action)
        return *rest, {**info, "progress": self.episode.task.fraction}


class Hint(MoS2DefectsEnv):
    def reset(self, **options):
        shown, info = super().reset(**options)
        return shown, {**info, "hint": self.truth.feature_yx_nm[:3].copy()}


class Masked(MoS2DefectsEnv):
    def action_masks(self):
        mask = super().action_masks()
        mask[:5] = False
        return mask


class Bounded(MoS2DefectsEnv):
    def step(self, action):
        *rest, info = super().step(action)
        return *rest, {**info, "at_limit": True} if "at_limit" in info else info


class Stale(MoS2DefectsEnv):
    def reset(self, **options):
        self.last, info = super().reset(**options)
        return self.last, info

    def step(self, action):
        shown, *rest = super().step(action)
        self.last["frame"][:] = shown["frame"]
        return shown, *rest


class Moody(MoS2DefectsEnv):
    def step(self, action):
        shown, reward, *rest = super().step(action)
        shown["position"] = np.random.default_rng().uniform(-1, 1, 2).astype(np.float32)
        return shown, reward, *rest


class Generous(MoS2DefectsEnv):
    def step(self, action):
        shown, reward, *rest = super().step(action)
        return shown, reward + 0.01, *rest


class Lenient(MoS2DefectsEnv):
    def step(self, action):
        try:
            return super().step(action)
        except ValueError:
            return super().step(np.zeros(2))


@pytest.mark.parametrize(
    ("broken", "check", "sentence"),
    [
        (Leaky, testing.check_secrecy, "is the truth"),
        (Painted, testing.check_secrecy, "observation 1 tells of the truth"),
        (Progress, testing.check_secrecy, r"info\['progress'\] tells of the truth"),
        (Hint, testing.check_secrecy, r"info\['hint'\] tells of the truth"),
        (Masked, testing.check_masks, "a wrong mask at step 0"),
        (Bounded, testing.check_moves, "at_limit is True"),
        (Stale, testing.check_fresh, "changed an observation given before"),
        (Moody, testing.check_twins, "twin roll-outs differ"),
        (Moody, testing.check_copies, "goes on differently"),
        (Generous, testing.check_rewards, "rewards add up to"),
        (Lenient, testing.check_bad_actions, "was taken"),
        (Moody, testing.check_vectorised, "observations of step 0 differ"),
    ],
    ids=lambda v: getattr(v, "__name__", None),
)
def test_a_broken_environment_is_found(broken, check, sentence):
    with pytest.raises(AssertionError, match=sentence):
        check(broken)
