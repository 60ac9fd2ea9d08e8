"""A task of one's own: the first frame over any feature ends the search."""

import numpy as np

from stemscout import make_env
from stemscout.envs import testing


class Touch:
    """Rewarded once, when a frame first covers the middle of a feature."""

    name = "touch"

    def __init__(self, specimen, reference):
        self.wanted = specimen.feature_yx_nm
        self.fraction = 0.0

    @property
    def done(self):
        return self.fraction == 1.0

    def update(self, exposure):
        before = self.fraction
        if exposure.covers(self.wanted).any():
            self.fraction = 1.0
        return self.fraction - before


def make(**options):
    return make_env("StemScout/MoS2Defects-v0", task=Touch, **options)


if __name__ == "__main__":
    testing.check_rewards(make)  # what every task promises
    testing.check_twins(make)
    env = make()
    lengths = []
    for seed in range(5):
        env.reset(seed=seed)
        env.action_space.seed(seed)
        over = False
        while not over:
            _, _, terminated, truncated, info = env.step(env.action_space.sample())
            over = terminated or truncated
        lengths.append(info["frames"])
    print(f"random frames until a feature was touched: {np.mean(lengths):.1f}")
