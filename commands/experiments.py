"""One experiment, and what it can be made of: demo, run, envs, agents."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from ..views import terminal
from .configured import configured, made, stem_of
from .options import (
    INTERRUPTED,
    LIVE,
    AsJson,
    BeamCurrent,
    BudgetCharge,
    BudgetFrames,
    BudgetTime,
    Decides,
    Detector,
    Difficulty,
    DriftEvery,
    DryRun,
    Dwell,
    FramePixels,
    FrameSide,
    Image,
    Instrument,
    MaxCharge,
    MaxSpotDose,
    Number,
    Out,
    PixelSize,
    Seed,
    Simulated,
    command_line,
    free,
    group,
    whole,
)

app = group("Run an experiment.")
RUN, LOOK = "Run an experiment", "See what there is"


@app.command(rich_help_panel=RUN, epilog="Example: stemscout demo --out runs/first")
def demo(seed: Seed = 0, out: Out = None, as_json: AsJson = False) -> None:
    """One autonomous experiment on a film with NiO pillars, in seconds."""
    _run(
        {
            "env": "StemScout/NiOPillars-v0",
            "env_options": {"renderer": "abtem", "difficulty": "medium", "split": "test"},
            "agent": "linear-bo",
            "agent_options": {},
            "budget": 0.4,
            "seed": seed,
        },
        out or free(Path("runs/demo")),
        as_json,
    )


@app.command(
    rich_help_panel=RUN,
    epilog="Examples:  stemscout run --image nio.png --pixel-nm 0.046 --agent linear-bo "
    "--budget 0.2 --out runs/nio   |   stemscout run --env StemScout/GrapheneDefects-v0 "
    "--agent grid --out runs/g   |   stemscout run --env StemScout/NiOPillars-v0 "
    "--agent linear-search --option counts=spots --option batch=3",
)
def run(
    env: Simulated = None,
    image: Image = None,
    pixel_nm: PixelSize = None,
    agent: Decides = "linear-bo",
    budget: Annotated[
        float | None,
        Number("Charge in rasters of the whole field, above 0 and at most 1; 0.4 by default."),
    ] = None,
    seed: Seed = 0,
    out: Out = None,
    difficulty: Difficulty = None,
    labels: Annotated[
        Path | None,
        typer.Option(help="JSON of what the image shows, to be scored by; with --image."),
    ] = None,
    renderer: Annotated[
        str | None, typer.Option(help="fast (default) or abtem, the shipped world; with --env.")
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="Specimens: train, validation or test (default); with --env.")
    ] = None,
    survey: Annotated[
        str | None,
        typer.Option(help="low: the whole field at low dose first, paid for by the budget."),
    ] = None,
    component: Annotated[
        int | None,
        typer.Option(
            parser=whole,
            metavar="INTEGER",
            help="Component to pursue; the largest variance by default.",
        ),
    ] = None,
    decomposition: Annotated[
        str | None, typer.Option(help="pca (default), svd, nmf, ica or nfindr; for linear-bo.")
    ] = None,
    engine: Annotated[
        str | None, typer.Option(help="grid (default), skopt or deep; for agents that end in -bo.")
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE",
            help="Any option of the agent, as a suite has it; may be given several times.",
        ),
    ] = None,
    microscope: Instrument = None,
    credentials: Annotated[
        Path | None,
        typer.Option(help="DIR/control, where the server of a grpc:// one asks for it.", **LIVE),
    ] = None,
    budget_frames: BudgetFrames = None,
    budget_charge: BudgetCharge = None,
    budget_time: BudgetTime = None,
    beam_current_pa: BeamCurrent = None,
    frame_nm: FrameSide = None,
    frame_px: FramePixels = None,
    dwell_us: Dwell = None,
    detector: Detector = None,
    max_charge: MaxCharge = None,
    max_spot_dose: MaxSpotDose = None,
    drift_every: DriftEvery = None,
    dry_run: DryRun = False,
    approve: Annotated[
        bool, typer.Option("--approve", help="Ask before every frame and move.", **LIVE)
    ] = False,
    trust: Annotated[
        bool,
        typer.Option("--trust", help="Unpickle what a model holds; with --agent sb3:path.zip."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """One agent on one microscope until the budget is spent."""
    if trust and not agent.startswith("sb3:"):
        raise ValueError("--trust only goes with --agent sb3:path.zip")
    wishes = {"component": component, "decomposition": decomposition, "engine": engine}
    wishes |= _named(option or [], wishes)
    if trust:
        wishes["trust"] = True
    configuration = configured(
        env,
        image,
        microscope,
        agent=agent,
        agent_options={k: v for k, v in wishes.items() if v is not None},
        budget=budget,
        seed=seed,
        survey=survey,
        credentials=credentials,
        simulated={"difficulty": difficulty, "renderer": renderer, "split": split},
        recorded={"pixel_nm": pixel_nm, "labels": None if labels is None else str(labels)},
        live={
            "frame_nm": frame_nm,
            "frame_px": frame_px,
            "dwell_us": dwell_us,
            "detector": detector,
            "beam_current_pa": beam_current_pa,
            "budget_frames": budget_frames,
            "budget_charge": budget_charge,
            "budget_time": budget_time,
            "max_charge": max_charge,
            "max_spot_dose": max_spot_dose,
            "drift_every": drift_every,
            "dry_run": dry_run,
            "approve": approve,
        },
    )
    folder = out or free(Path("runs") / f"{stem_of(configuration)}-{agent}-{seed}")
    if microscope is not None:
        from .live import drive

        drive(configuration, folder, as_json)
    else:
        _run(configuration, folder, as_json)


@app.command(rich_help_panel=LOOK, epilog="Example: stemscout envs --json")
def envs(as_json: AsJson = False) -> None:
    """The environments, a line each."""
    from ..envs.registration import ENVIRONMENTS

    terminal.listing({name: about for name, (_, about) in ENVIRONMENTS.items()}, as_json)


@app.command(rich_help_panel=LOOK, epilog="Example: stemscout agents")
def agents(as_json: AsJson = False) -> None:
    """The agents, a line each."""
    from ..agents.catalogue import AGENTS

    terminal.listing({name: entry.about for name, entry in AGENTS.items()}, as_json)


def _run(configuration: dict[str, Any], out: Path, as_json: bool) -> None:
    from ..agents.experiment import Experiment
    from ..benchmarks.single import record
    from ..views.folder import RunFolder

    folder = RunFolder(out)
    env, agent = made(configuration)
    experiment = Experiment(env, agent, configuration["seed"])
    command = command_line()
    with terminal.interruptible(experiment), terminal.progress(configuration) as on_step:
        summary = record(experiment, folder, configuration, command, on_step)
    env.close()
    if as_json:
        print(json.dumps({**summary, "folder": str(out)}))
    else:
        from ..views.report import facts_of

        terminal.listing({**facts_of(summary), "report": str(out / "report.html")}, False)
    if experiment.stopped:
        raise typer.Exit(INTERRUPTED)


def _named(options: list[str], others: dict[str, Any]) -> dict[str, Any]:
    """What NAME=VALUE say, values as YAML has them; ValueError where they say it badly."""
    from ..agents.strict_yaml import read_yaml

    found: dict[str, Any] = {}
    for entry in options:
        name, equals, value = entry.partition("=")
        if not (name.isidentifier() and equals and value.strip()):
            raise ValueError(f"--option {entry!r}; it must be NAME=VALUE")
        if name in found or others.get(name) is not None:
            raise ValueError(f"--option {entry!r}; {name} was given already")
        found[name] = read_yaml(value)
    return found
