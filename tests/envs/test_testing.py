"""The public checks find what is broken."""

from __future__ import annotations

import numpy as np
import pytest

from stemscout.envs import testing
from stemscout.envs.mos2_defects import MoS2DefectsEnv


class Leaky(MoS2DefectsEnv):
    def _info(self, request):
        return {**super()._info(request), "truth": self.truth}


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
