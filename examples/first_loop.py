"""The environment in fifteen lines: random frames until the electrons are spent."""

import gymnasium

import stemscout

gymnasium.register_envs(stemscout)
env = gymnasium.make("StemScout/GrapheneDefects-v0", difficulty="easy", budget=0.2)
observation, info = env.reset(seed=0)
found, over = 0.0, False
while not over:
    observation, reward, terminated, truncated, info = env.step(env.action_space.sample())
    found += reward
    over = terminated or truncated
print(f"{found:.0%} of the defects seen in {info['frames']} frames, {info['spent']:.3f} rasters")
env.close()
