"""Make the pictures of docs/navigation.md: the path of every navigator on one specimen.

    python docs/navigation.py [NAME ...]

Test specimen 0 of StemScout/NiOPillars-v0 at medium, a budget of 0.2, seed 0.  Navigators that
go by what frames show have the perception `contrast`; the oracle is told the truth.
"""

import io
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from stemscout import Experiment, make_agent, make_env
from stemscout.agents.catalogue import LOOKS_WITH, NAVIGATORS
from stemscout.benchmarks.threads import one_thread
from stemscout.hardware import ScanRequest
from stemscout.views import figures, style

PICTURES = Path(__file__).parent / "pictures" / "navigation"
ENV = "StemScout/NiOPillars-v0"
WHOLE_PX = 720
COLOURS = 256
MORE = {
    "bo-deep": ("bo", {"engine": "deep"}),
    "bo-skopt": ("bo", {"engine": "skopt"}),
    "search-spots": ("search", {"counts": "spots"}),
    "paper-faithful": ("paper", {"faithful": True}),
}


def run(navigator, options):
    """An experiment that has ended."""
    env = make_env(ENV, difficulty="medium", split="test", budget=0.2, terminate_when_done=False)
    name = f"contrast-{navigator}" if navigator in LOOKS_WITH else navigator
    experiment = Experiment(env, make_agent(name, **options), seed=0)
    with one_thread():
        experiment.run()
    return experiment


def whole(env):
    """The specimen in one frame of many pixels, which no agent ever sees."""
    side = env.source.field_yx_nm[0]
    dwell = env.source.reference.dwell_us * 4
    return env.episode.microscope.acquire(
        ScanRequest((0.0, 0.0), (side, side), (WHOLE_PX, WHOLE_PX), dwell)
    ).image


def picture(experiment):
    """The path over the specimen, and the belief at the last decision where there is one."""
    env = experiment.env
    believing = [s for s in experiment.steps if "posterior mean" in s.explanation.maps]
    side = env.source.field_yx_nm[0] / 2
    image = whole(env)
    with style.figure(4.6 + 4.4 * bool(believing), 4.1) as fig:
        axes = fig.subplots(1, 1 + bool(believing), squeeze=False)[0]
        low, high = np.percentile(image, [1, 99.8])
        extent = (-side, side, side, -side)
        axes[0].imshow(image, cmap=style.MICROGRAPH, extent=extent, vmin=low, vmax=high)
        figures.path(fig, axes[0], figures.footprints(env.episode))
        axes[0].set(xlim=(-side, side), ylim=(side, -side))
        style.nm_axes(axes[0])
        style.scale_bar(axes[0], 2 * side)
        if believing:
            shown = believing[-1].explanation.maps["posterior mean"]
            figures.show_map(fig, axes[1], "posterior mean", shown, "viridis")
        return style.png(fig)


def main():
    PICTURES.mkdir(parents=True, exist_ok=True)
    wanted = sys.argv[1:] or [*NAVIGATORS, *MORE]
    for name in wanted:
        navigator, options = MORE.get(name, (name, {}))
        experiment = run(navigator, options)
        shown = Image.open(io.BytesIO(picture(experiment))).convert("RGB")
        shown = shown.resize([n * 2 // 3 for n in shown.size], Image.Resampling.LANCZOS)
        shown.quantize(COLOURS).save(PICTURES / f"{name}.png", optimize=True)
        print(f"{name}: {len(experiment.steps)} frames, {experiment.steps[-1].fraction:.2f} seen")


if __name__ == "__main__":
    main()
