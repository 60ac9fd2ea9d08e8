"""Makes the picture of docs/console.md: a run on NiO in LSMO in a browser without a head.

python docs/console.py
"""

from __future__ import annotations

import io
import shutil
import time
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

from stemscout.agents.catalogue import make_agent
from stemscout.agents.experiment import Experiment
from stemscout.envs.registration import make_env
from stemscout.envs.watched import WatchedSource
from stemscout.hardware.guard import guarded
from stemscout.views.console.serving import Console
from stemscout.views.console.session import Session

PICTURE = Path(__file__).parent / "pictures" / "console.png"
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
FRAMES = 70
COLOURS = 256
LAYER = "posterior mean"
AGENT = "dcnn-rvae-bo"  # columns by a network, and a manifold of their surroundings


def main() -> None:
    env = make_env("StemScout/NiOPillars-v0", split="test", terminate_when_done=False)
    source = WatchedSource(env.source, guarded)
    env.source = source
    experiment = Experiment(env, make_agent(AGENT), seed=1)
    session = Session(experiment, guard=lambda: source.guard)
    console = Console(session, "NiOPillars, medium")
    with sync_playwright() as playwright:
        chromium = shutil.which("chromium")
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.goto(console.address)
        page.get_by_role("button", name="Start").click()
        session.experiment.steer(forbid=[((2.0, -6.0), (7.0, 3.0))])
        while session.shown().frames < FRAMES:
            time.sleep(0.05)
        page.get_by_role("button", name="Pause").click()
        page.get_by_label("Layer over the map").select_option(LAYER)
        page.get_by_role("button", name="segmentation", exact=True).click()
        time.sleep(2.0)
        shown = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
        shown.quantize(COLOURS).save(PICTURE, optimize=True)
        browser.close()
    experiment.stop()
    session.wait()
    console.close()
    env.close()


if __name__ == "__main__":
    main()
