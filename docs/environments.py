"""Make docs/environments/: the manual of every id, with a picture, scores and a film.

    STEMSCOUT_IMAGES=... python docs/environments.py

A page is the docstring of its class.  The scores are the stored ones
(`python -m stemscout.benchmarks.reference` makes them); picture and film show the
oracle on the first test specimen, where truth is known, and another agent where it is
not.  The recorded micrograph is read from the folder that STEMSCOUT_IMAGES names;
without one the pictures of Recorded-v0 stay as they are.
"""

import inspect
import io
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from gymnasium.envs.registration import load_env_creator
from PIL import Image

from stemscout import Experiment, make_agent, make_env
from stemscout.benchmarks.reference import BUDGET, COMMAND, SPECIMENS, cases, load, table
from stemscout.benchmarks.threads import one_thread
from stemscout.envs.mosaic import Mosaic
from stemscout.envs.registration import ENVIRONMENTS
from stemscout.envs.render import UNSEEN
from stemscout.hardware import ScanRequest
from stemscout.views import film, style

HERE = Path(__file__).parent
PAGES, PICTURES = HERE / "environments", HERE / "pictures" / "environments"
# Sheets are faint beside contamination, oxides and gold, and so is a film beside particles.
GAMMA = {
    "StemScout/GrapheneDefects-v0": 0.6,
    "StemScout/Nanoparticles-v0": 0.6,
    "StemScout/Composite-v0": 0.4,
}
IMAGE = Path(os.environ.get("STEMSCOUT_IMAGES", "")) / "NiO_LSMO_435px.png"
WHOLE_PX = 900  # of the picture's overview

CASES = list(cases())
REFERENCE = load()

INDEX = """# Environments

Every id of `gymnasium.make`, from the docstrings of `envs/`. Made by `python docs/environments.py`.

{ids}

What they share: an agent takes frames until its charge is spent, and sees only what it has paid
for. `envs/actions.py` has the four kinds of action, `envs/observations.py` the parts of an
observation, `envs/tasks.py` the tasks, `envs/seen.py` when a feature is seen, `envs/scan_env.py`
all options, and `envs/vector.py` the vectorised form.

```python
import gymnasium, stemscout

env = gymnasium.make("StemScout/MoS2Defects-v0", difficulty="easy", action="grid", task="classes")
many = gymnasium.make_vec(
    "StemScout/MoS2Defects-v0", num_envs=64, vectorization_mode="vector_entry_point"
)
```

## Reference scores
{note}

{scores}
"""

NOTE = f"""Final share of what there is to discover, and in brackets the area under the curve of
that share against charge, over the budget: means over {len(SPECIMENS)} test specimens at a budget
of {BUDGET:g}, with reference frames. So few specimens are a yardstick, and no ranking. The oracle
knows the truth: what it reaches is what the budget can buy.

Every single score stands in `benchmarks/reference_scores.json`, made by
`{COMMAND}`. A test runs them again: a change that moves one
gives the id a new version number."""


@dataclass
class Show:
    """What the pictures of a page are of.

    Attributes:
        options: of ``make_env``.
        agent: by name.
        whole: the title of the whole field.
        about: the caption's first half: what was scanned, and by whom.
    """

    options: dict
    agent: str
    whole: str
    about: str


def shown(name):
    """What the page of an id shows."""
    levels = [c.difficulty for c in CASES if c.environment == name]
    if levels:
        level = "medium" if "medium" in levels else levels[0]
        return Show(
            {"difficulty": level, "split": "test", "terminate_when_done": False},
            "oracle",
            level,
            f"Test specimen {SPECIMENS[0]} at {level}, as a frame of the whole field would show "
            "it, and what `env.render()` shows while the oracle plans by the truth, which no other "
            "has",
        )
    if name == "StemScout/Recorded-v0":
        return Show(
            {"image": IMAGE, "pixel_nm": 0.046},
            "linear-bo",
            "a recorded image",
            "NiO in (La,Sr)MnO3, a micrograph from the notebooks of Creange et al. 2022 "
            "([AE_Workflows](https://github.com/nccreang/AE_Workflows), MIT), and what "
            "`env.render()` shows while `linear-bo` looks for what is unlike the rest",
        )
    address = "sim://nanoparticles?difficulty=easy"
    dwell = make_env("StemScout/Nanoparticles-v0", difficulty="easy").source.reference.dwell_us
    return Show(
        {"microscope": address, "dwell_us": dwell},
        "grid",
        "a microscope",
        f"The simulated microscope at `{address}`, whose whole field nobody has seen before, and "
        "what `env.render()` shows while `grid` covers it",
    )


def run(name, show):
    """An agent's run, and the environment's pictures along the way."""
    env = make_env(name, **show.options, budget=BUDGET, render_mode="rgb_array")
    experiment = Experiment(env, make_agent(show.agent), seed=SPECIMENS[0])
    with one_thread():
        shots = [(env.render(), step) for step in experiment]
    return experiment, shots


def overview(env):
    """The whole field as a frame of the reference dwell, at full scale."""
    episode = env.episode
    reference, side = episode.reference, min(episode.field_yx_nm)
    px = min(WHOLE_PX, episode.capabilities.limits.shape_px[1])
    request = ScanRequest(
        (0.0, 0.0), (side, side), (px, px), reference.dwell_us, 0.0, reference.detectors
    )
    return episode.display(episode.microscope.acquire(request))


def mosaic(episode, count):
    """What the first ``count`` frames have shown, NaN elsewhere."""
    field, pitch = episode.field_yx_nm, episode.reference.side_nm / episode.reference.shape_yx[0]
    cells = tuple(min(WHOLE_PX, round(side / pitch)) for side in field)
    seen = Mosaic(field, cells)
    for frame in episode.history[:count]:
        seen.add(frame, episode.display(frame))
    return seen.mean


def panel(axes, image, side, gamma, title, limits):
    axes.set_facecolor(style.UNSEEN)
    axes.imshow(
        np.clip(image, 0.0, None) ** gamma,
        cmap=style.MICROGRAPH,
        extent=(-side / 2, side / 2, side / 2, -side / 2),
        vmin=limits[0],
        vmax=limits[1],
        interpolation="antialiased",
    )
    axes.set(xticks=[], yticks=[], xlim=(-side / 2, side / 2), ylim=(side / 2, -side / 2))
    axes.set_title(title)


def picture(name, show, experiment, path):
    """The whole field, with its truth where there is one, and what was seen of it half-way."""
    env, gamma = experiment.env, GAMMA.get(name, 1.0)
    side, steps = min(env.episode.field_yx_nm), experiment.steps
    half = len(steps) // 2
    whole = overview(env)
    limits = np.percentile(np.clip(whole, 0.0, None) ** gamma, [0.5, 99.7])
    truth = env.truth
    classes = 0 if truth is None else len(np.unique(truth.feature_class))
    said = f"{show.whole}, {side:.3g} nm" + ("" if truth is None else ", with the truth")
    said += f"; gamma {gamma:g}" if gamma != 1.0 else ""
    with style.figure(10.4, 5.5 + 0.19 * -(-classes // 4)) as fig:
        left, right = fig.subplots(1, 2)
        panel(left, whole, side, gamma, said, limits)
        if truth is not None:
            style.features(left, truth)
        step = steps[half - 1]
        title = f"{show.agent} half-way: frame {half} of {len(steps)}, {step.spent:.2f} rasters"
        title += "" if truth is None else f", {step.fraction:.0%} seen"
        panel(right, mosaic(env.episode, half), side, gamma, title, limits)
        style.scale_bar(right, side)  # on the left it would lie over features
        if truth is not None:
            fig.legend(
                *left.get_legend_handles_labels(),
                loc="outside lower left",
                ncols=4,
                fontsize=8,
                frameon=False,
            )
        image = Image.open(io.BytesIO(style.png(fig))).convert("RGB")
    image.thumbnail((1300, 1300))
    image.save(path, quality=82, optimize=True)


def shown_film(name, shots, side, path, known):
    """The environment's own pictures as a GIF, with what they cost and show below."""
    gamma = GAMMA.get(name, 1.0)
    empty = np.broadcast_to(UNSEEN, shots[0][0].shape)
    stills = [film.still([(empty, f"a field of {side:.3g} nm, before the first frame")], gamma)]
    for k in film.chosen(len(shots)):
        rgb, step = shots[k]
        text = f"frame {k + 1:3d}    {step.spent:.3f} rasters"
        text += f"    {step.fraction:4.0%} seen" if known else ""
        stills.append(film.still([(rgb, text)], gamma))
    film.write(path, stills)


def manual(name):
    """The docstring of an id's class: its first line, and the rest as Markdown."""
    doc = inspect.getdoc(load_env_creator("stemscout." + ENVIRONMENTS[name][0]))
    first, rest = doc.split("\n", 1)
    return first, rest.strip()


def page(name):
    """Write the page of an id, and its pictures."""
    short = name.split("/")[1]
    stem = short.rsplit("-", 1)[0]
    first, rest = manual(name)
    own = [c for c in CASES if c.environment == name]
    made = f'`gymnasium.make("{name}")`' if own else f'`gymnasium.make("{name}", ...)`'
    parts = [f"# {short}", first, made]
    show, at = shown(name), f"../pictures/environments/{stem}"
    if "image" not in show.options or IMAGE.exists():
        experiment, shots = run(name, show)
        picture(name, show, experiment, PICTURES / f"{stem}.jpg")
        side = min(experiment.env.episode.field_yx_nm)
        shown_film(name, shots, side, PICTURES / f"{stem}.gif", experiment.env.truth is not None)
        experiment.env.close()
    parts += [
        f"![The whole field, and what {show.agent} has seen half-way]({at}.jpg)",
        f"![{show.agent} at work]({at}.gif)",
        f"*{show.about}{f'; both at gamma {GAMMA[name]:g}' if name in GAMMA else ''}.*",
        rest,
    ]
    if own:
        parts += ["## Reference scores", NOTE, table(REFERENCE, own)]
    (PAGES / f"{stem}.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def row(name):
    """Of the index: id, one line, field, frame, features."""
    short = name.split("/")[1]
    first, _ = manual(name)
    cells = ["its own", "its own", "unknown"]
    if any(c.environment == name for c in CASES):
        source = make_env(name).source
        points, others = (
            [c.name for c in source.classes if (c.shape == "point") == p] for p in (1, 0)
        )
        listed = [f"{len(p)} kinds" if len(p) > 9 else ", ".join(p) for p in (points, others)]
        words = [f"{w}: {p}" for w, p in zip(("points", "extended"), listed, strict=True) if p]
        reference = source.reference
        cells = [
            f"{source.field_yx_nm[0]:g} nm",
            f"{reference.side_nm:g} nm, {reference.shape_yx[0]} px",
            "; ".join(words),
        ]
    link = f"[{short}]({short.rsplit('-', 1)[0]}.md)"
    return "| " + " | ".join([link, first, *cells]) + " |"


def main():
    for folder in (PAGES, PICTURES):
        folder.mkdir(parents=True, exist_ok=True)
    for name in ENVIRONMENTS:
        page(name)
    head = "| id | what it asks for | field | frame | features |\n|---|---|---|---|---|\n"
    text = INDEX.format(
        ids=head + "\n".join(row(name) for name in ENVIRONMENTS),
        note=NOTE,
        scores=table(REFERENCE, CASES),
    )
    (PAGES / "README.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
