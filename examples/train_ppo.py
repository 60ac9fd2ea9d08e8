"""Train PPO for a few minutes and hold it against random frames on specimens it never saw."""

import sys

import torch
from stable_baselines3 import PPO

import stemscout
from stemscout.agents.learned.policy import PolicyAgent
from stemscout.envs.sb3 import ScanVecEnv

torch.set_num_threads(1)  # small networks get slower with more
STEPS = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
ID, OPTIONS = "StemScout/GrapheneDefects-v0", {"difficulty": "easy", "budget": 0.1}

env = ScanVecEnv.make(ID, 8, **OPTIONS)
env.seed(0)
model = PPO("MultiInputPolicy", env, n_steps=64, verbose=1, seed=0)
model.learn(STEPS)
env.close()

test = stemscout.make_env(ID, split="test", **OPTIONS)
for agent in (PolicyAgent(model, name="ppo"), stemscout.make_agent("random")):
    shares = [stemscout.Experiment(test, agent, seed=s).run()[-1].fraction for s in range(5)]
    print(f"{agent.name}: {sum(shares) / len(shares):.0%} seen on five test specimens")
