"""Your own image as a microscope:  python examples/own_image.py image.png 0.046"""

import sys

from stemscout import Experiment, make_agent, make_env

path, pixel_nm = sys.argv[1], float(sys.argv[2])
env = make_env("StemScout/Recorded-v0", image=path, pixel_nm=pixel_nm, budget=0.1)
for step in Experiment(env, make_agent("linear-bo"), seed=0):
    print(f"frame {step.index + 1} at {step.explanation.sentence}")
