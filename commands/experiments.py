"""One experiment, and what it can be made of: demo, run, envs, agents."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..views import terminal
from .options import (
    INTERRUPTED,
    AsJson,
    Decides,
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

if TYPE_CHECKING:
    from ..agents.agent import Agent
    from ..envs.scan_env import ScanEnv

app = group("Run an experiment.")
RUN, LOOK = "Run an experiment", "See what there is"
LIVE: Any = {"rich_help_panel": "With --microscope"}
USUAL_BUDGET = 0.4


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
    image: Annotated[
        Path | None,
        typer.Option(help="Your own micrograph: .npy, PNG, TIFF, or what RosettaSciIO reads."),
    ] = None,
    pixel_nm: PixelSize = None,
    agent: Decides = "linear-bo",
    budget: Annotated[
        float | None,
        Number("Charge in rasters of the whole field, above 0 and at most 1; 0.4 by default."),
    ] = None,
    seed: Seed = 0,
    out: Out = None,
    difficulty: Annotated[
        str | None, typer.Option(help="easy, medium (default) or hard; with --env.")
    ] = None,
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
    microscope: Annotated[
        str | None,
        typer.Option(help="A live one by its address, such as nion: or sim://graphene.", **LIVE),
    ] = None,
    credentials: Annotated[
        Path | None,
        typer.Option(help="DIR/control, where the server of a grpc:// one asks for it.", **LIVE),
    ] = None,
    budget_frames: Annotated[
        int | None, typer.Option(min=1, help="Frames instead of rasters.", **LIVE)
    ] = None,
    budget_charge: Annotated[float | None, Number("Electrons instead of rasters.", **LIVE)] = None,
    budget_time: Annotated[
        float | None, Number("Seconds of instrument time, besides or instead.", **LIVE)
    ] = None,
    beam_current_pa: Annotated[
        float | None, Number("Declared, where the instrument does not know it.", **LIVE)
    ] = None,
    frame_nm: Annotated[float | None, Number("Side of the frames.", **LIVE)] = None,
    frame_px: Annotated[int | None, typer.Option(min=1, help="Pixels to a side.", **LIVE)] = None,
    dwell_us: Annotated[float | None, Number("Of the frames.", **LIVE)] = None,
    detector: Annotated[str | None, typer.Option(help="The first by default.", **LIVE)] = None,
    max_charge: Annotated[
        float | None, Number("Electrons that are never exceeded, whatever the agent.", **LIVE)
    ] = None,
    max_spot_dose: Annotated[
        float | None, Number("e/Å² at any one spot, never exceeded.", **LIVE)
    ] = None,
    drift_every: Annotated[
        int | None,
        typer.Option(min=1, help="Look for drift every so many frames, and follow it.", **LIVE),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check and record everything, send nothing.", **LIVE)
    ] = False,
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
    from ..hardware.credentials import Credentials

    if trust and not agent.startswith("sb3:"):
        raise ValueError("--trust only goes with --agent sb3:path.zip")
    if [env, image, microscope].count(None) != 2:
        raise ValueError("give one of --env, --image and --microscope, and not two")
    of_live: dict[str, tuple[str, Any]] = {
        "--frame-nm": ("frame_nm", frame_nm),
        "--frame-px": ("frame_px", frame_px),
        "--dwell-us": ("dwell_us", dwell_us),
        "--detector": ("detector", detector),
        "--beam-current-pa": ("beam_current_pa", beam_current_pa),
        "--budget-frames": ("frames", budget_frames),
        "--budget-charge": ("charge_e", budget_charge),
        "--budget-time": ("time_budget_s", budget_time),
    }
    if credentials is not None:
        if not str(microscope).startswith("grpc://"):
            raise ValueError("--credentials only goes with --microscope grpc://host:port")
        Credentials.of_client(credentials)  # before anything is begun
    limits = {"max_charge_e": max_charge, "max_spot_dose_e_per_a2": max_spot_dose}
    if microscope is None:
        given = [flag for flag, (_, value) in of_live.items() if value is not None]
        guards = {"--max-charge": max_charge, "--max-spot-dose": max_spot_dose}
        guards["--drift-every"] = drift_every
        guards |= {"--dry-run": dry_run or None, "--approve": approve or None}
        given += [flag for flag, value in guards.items() if value is not None]
        if given:
            raise ValueError(f"{', '.join(given)} only goes with --microscope")
    simulated = {"difficulty": difficulty, "renderer": renderer, "split": split}
    if microscope is not None:
        apart: dict[str, Any] = {"--pixel-nm": pixel_nm, "--labels": labels}
        apart |= {f"--{name}": value for name, value in simulated.items()}
        given = [name for name, value in apart.items() if value is not None]
        if given:
            raise ValueError(f"{', '.join(given)} does not go with --microscope")
        options = {name: value for name, value in of_live.values() if value is not None}
        if budget is not None:
            options["budget"] = budget
    elif image is not None:
        given = [f"--{name}" for name, value in simulated.items() if value is not None]
        if given:
            raise ValueError(f"{', '.join(given)} only goes with --env; an image is what it is")
        env, options = "StemScout/Recorded-v0", {"image": str(image), "pixel_nm": pixel_nm}
        if labels is not None:
            options["labels"] = str(labels)
    else:
        if str(env).endswith("/Recorded-v0"):
            raise ValueError("a recording is given by --image and --pixel-nm, not by --env")
        if str(env).endswith("/Live-v0"):
            raise ValueError("a live microscope is given to gymnasium.make, as microscope=")
        for name, value in (("--pixel-nm", pixel_nm), ("--labels", labels)):
            if value is not None:
                raise ValueError(f"{name} only goes with --image")
        options = {k: v for k, v in simulated.items() if v is not None}
        options.setdefault("split", "test")
    if survey is not None:
        options["survey"] = survey
    wishes = {"component": component, "decomposition": decomposition, "engine": engine}
    wishes |= _named(option or [], wishes)
    if trust:
        wishes["trust"] = True
    configuration = {
        "env_options": options,
        "agent": agent,
        "agent_options": {k: v for k, v in wishes.items() if v is not None},
        "seed": seed,
    }
    if microscope is not None:
        from .live import drive

        asked = {k: v for k, v in limits.items() if v is not None}
        modes: dict[str, Any] = {"limits": asked, "dry_run": dry_run, "approve": approve}
        modes["drift_every"] = drift_every
        if credentials is not None:  # where they are, never what they hold
            modes["credentials"] = str(credentials.absolute())
        stem = microscope.partition(":")[0]
        folder = out or free(Path("runs") / f"{stem}-{agent}-{seed}")
        drive({"microscope": microscope, **configuration, **modes}, folder, as_json)
        return
    configuration |= {"env": env, "budget": USUAL_BUDGET if budget is None else budget}
    stem = image.stem if image else str(env).split("/")[-1]
    _run(configuration, out or free(Path("runs") / f"{stem}-{agent}-{seed}"), as_json)


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


def made(configuration: dict[str, Any]) -> tuple[ScanEnv, Agent]:
    """The environment of a configuration, as its agent needs it, and the agent."""
    from .. import register_all
    from ..agents.catalogue import make_agent
    from ..envs.registration import make_env

    register_all()
    agent = make_agent(configuration["agent"], **configuration["agent_options"])
    env = make_env(
        configuration["env"],
        action=agent.needs.action,
        observation=agent.needs.observation,
        budget=configuration["budget"],
        terminate_when_done=False,
        **configuration["env_options"],
    )
    return env, agent


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
