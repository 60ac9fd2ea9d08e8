"""Make the pictures of README and docs again.

    STEMSCOUT_IMAGES=... python docs/pictures.py

The recorded micrograph is read from the folder that STEMSCOUT_IMAGES names.
"""

import os
from pathlib import Path

from stemscout import Experiment, make_agent, make_env
from stemscout.benchmarks.threads import one_thread
from stemscout.simulators.world import open_world, shipped
from stemscout.views import figures, worlds

HERE = Path(__file__).parent / "pictures"

HERE.mkdir(exist_ok=True)
(HERE / "world.png").write_bytes(worlds.picture(open_world(shipped("nio_lsmo", "medium"))))

folder = os.environ.get("STEMSCOUT_IMAGES")
if folder:
    image = Path(folder) / "NiO_LSMO_435px.png"
    env = make_env("StemScout/Recorded-v0", image=image, pixel_nm=0.046, budget=0.2)
    with one_thread():
        Experiment(env, make_agent("linear-bo"), seed=0).run()
    (HERE / "nio_run.png").write_bytes(figures.specimen_seen(env.episode))
else:
    print("STEMSCOUT_IMAGES is not set: the picture of the recorded run stays as it is")
