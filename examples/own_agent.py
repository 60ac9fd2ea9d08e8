"""Your own agent: three methods, and every environment, image and report is open to it."""

import numpy as np

from stemscout import Agent, Experiment, make_agent, make_env


class FollowTheBrightest(Agent):
    """Goes next to the brightest frame so far, in a random direction."""

    name = "brightest"

    def reset(self, context, seed):
        self.context, self.rng, self.frames = context, np.random.default_rng(seed), []

    def act(self, observation):
        if len(self.frames) < 5:
            return self.rng.uniform(-1, 1, 2).astype(np.float32)
        best = max(self.frames, key=lambda frame: frame.image.max())
        step = self.rng.normal(0, 1.5, 2)
        half = self.context.reference.half_range_yx_nm(self.context.field_yx_nm)
        return np.clip((best.region.centre_yx_nm + step) / half, -1, 1).astype(np.float32)

    def observe(self, frame):
        self.frames.append(frame)


env = make_env("StemScout/GrapheneDefects-v0", split="test", budget=0.2)
for agent in (FollowTheBrightest(), make_agent("random"), make_agent("grid")):
    steps = Experiment(env, agent, seed=4).run()
    print(
        f"{agent.name}: {steps[-1].fraction:.0%} of the defects for {steps[-1].spent:.2f} rasters"
    )
