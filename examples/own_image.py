"""Your own image as a microscope:  python examples/own_image.py image.png 0.046 [labels.json]

Labels say what the image shows (envs/labels.py has their format); with them the run is scored.
"""

import sys

from stemscout import Experiment, make_agent, make_env

path, pixel_nm, *labels = sys.argv[1:]
env = make_env(
    "StemScout/Recorded-v0",
    image=path,
    pixel_nm=float(pixel_nm),
    labels=labels[0] if labels else None,
    budget=0.1,
)
for step in Experiment(env, make_agent("linear-bo"), seed=0):
    print(f"frame {step.index + 1} at {step.explanation.sentence}")
if labels:
    print(f"{env.episode.task.fraction:.0%} of what the labels name was seen")
