"""The command line `stemscout`."""

from __future__ import annotations

import json
import shlex
import sys
import traceback
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from .views import terminal

BAD_INPUT, INTERRUPTED = 2, 130


class Commands(TyperGroup):
    """Unknown names list the known ones."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and self.get_command(ctx, args[0]) is None:
            known = ", ".join(self.list_commands(ctx))
            raise ValueError(f"unknown command {args[0]!r}; there are: {known}")
        return super().resolve_command(ctx, args)


app = typer.Typer(
    cls=Commands,
    help="Autonomous scanning transmission electron microscopy: environments, agents, benchmarks.",
    epilog="Start with: stemscout demo",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
bench = typer.Typer(
    cls=Commands, help="Measure and compare agents.", no_args_is_help=True, add_completion=False
)
app.add_typer(bench, name="bench", rich_help_panel="Measure")
worlds = typer.Typer(
    cls=Commands, help="Simulated worlds, shipped and cached.", add_completion=False
)
app.add_typer(worlds, name="worlds", rich_help_panel="Specimens")


def _number(text: str | float) -> float:
    """A number, or a sentence that holds what was given instead."""
    try:
        return float(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a number") from None


def _whole(text: str | int) -> int:
    try:
        number = int(text)
    except ValueError:
        number = -1
    if number < 0:
        raise typer.BadParameter(f"{text!r} is not an integer >= 0")
    return number


def Number(help: str) -> Any:
    return typer.Option(parser=_number, metavar="NUMBER", help=help)


RUN, LOOK, WORLDS = "Run an experiment", "See what there is", "Specimens"
Seed = Annotated[
    int,
    typer.Option(
        parser=_whole, metavar="INTEGER", help="An integer from 0; the same one repeats the run."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")]
Out = Annotated[Path | None, typer.Option(help="Folder for the results; it must be new or empty.")]


@app.callback(invoke_without_command=True)
def front(
    version: Annotated[bool, typer.Option("--version", help="Say the version and exit.")] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error (anywhere in the line).")
    ] = False,
) -> None:
    if version:
        from . import __version__

        print(__version__)
        raise typer.Exit


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
        out or _free(Path("runs/demo")),
        as_json,
    )


@app.command(
    rich_help_panel=RUN,
    epilog="Examples:  stemscout run --image nio.png --pixel-nm 0.046 --agent linear-bo "
    "--budget 0.2 --out runs/nio   |   stemscout run --env StemScout/GrapheneDefects-v0 "
    "--agent grid --out runs/g",
)
def run(
    env: Annotated[str | None, typer.Option(help="A simulated specimen; see `envs`.")] = None,
    image: Annotated[
        Path | None,
        typer.Option(help="Your own micrograph: .npy, PNG, TIFF, or what RosettaSciIO reads."),
    ] = None,
    pixel_nm: Annotated[
        float | None, Number("Pixel size of the image in nm, where the file says none.")
    ] = None,
    agent: Annotated[str, typer.Option(help="Who decides; see `agents`.")] = "linear-bo",
    budget: Annotated[
        float, Number("Charge in rasters of the whole field, above 0 and at most 1.")
    ] = 0.4,
    seed: Seed = 0,
    out: Out = None,
    difficulty: Annotated[
        str | None, typer.Option(help="easy, medium (default) or hard; with --env.")
    ] = None,
    renderer: Annotated[
        str | None, typer.Option(help="fast (default) or abtem, the shipped world; with --env.")
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="Specimens: train, validation or test (default); with --env.")
    ] = None,
    component: Annotated[
        int | None,
        typer.Option(
            parser=_whole,
            metavar="INTEGER",
            help="Component to pursue; the largest variance by default.",
        ),
    ] = None,
    decomposition: Annotated[
        str | None, typer.Option(help="pca (default), svd, nmf or ica; for linear-bo.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """One agent on one microscope until the budget is spent."""
    if (env is None) == (image is None):
        raise ValueError("give either --env or --image, and not both")
    simulated = {"difficulty": difficulty, "renderer": renderer, "split": split}
    if image is not None:
        given = [f"--{name}" for name, value in simulated.items() if value is not None]
        if given:
            raise ValueError(f"{', '.join(given)} only goes with --env; an image is what it is")
        env, options = "StemScout/Recorded-v0", {"image": str(image), "pixel_nm": pixel_nm}
    else:
        if str(env).endswith("/Recorded-v0"):
            raise ValueError("a recording is given by --image and --pixel-nm, not by --env")
        if pixel_nm is not None:
            raise ValueError("--pixel-nm only goes with --image")
        options = {k: v for k, v in simulated.items() if v is not None}
        options.setdefault("split", "test")
    wishes = {"component": component, "decomposition": decomposition}
    configuration = {
        "env": env,
        "env_options": options,
        "agent": agent,
        "agent_options": {k: v for k, v in wishes.items() if v is not None},
        "budget": budget,
        "seed": seed,
    }
    stem = image.stem if image else str(env).split("/")[-1]
    _run(configuration, out or _free(Path("runs") / f"{stem}-{agent}-{seed}"), as_json)


@app.command(rich_help_panel=LOOK, epilog="Example: stemscout envs --json")
def envs(as_json: AsJson = False) -> None:
    """The environments, a line each."""
    from .envs.registration import ENVIRONMENTS

    terminal.listing({name: about for name, (_, about) in ENVIRONMENTS.items()}, as_json)


@app.command(rich_help_panel=LOOK, epilog="Example: stemscout agents")
def agents(as_json: AsJson = False) -> None:
    """The agents, a line each."""
    from .agents.catalogue import AGENTS

    terminal.listing({name: entry.about for name, entry in AGENTS.items()}, as_json)


@app.command(
    rich_help_panel=WORLDS,
    epilog="Examples:  stemscout simulate mos2 --seed 3   |   stemscout simulate graphene "
    "--seed 3 --fov-nm 20 --renderer abtem --scheduler 2",
)
def simulate(
    specimen: Annotated[str, typer.Argument(help="A kind of specimen; see docs/gallery.md.")],
    seed: Seed = 0,
    fov_nm: Annotated[
        float | None, Number("Side of the square field in nm; the specimen's own by default.")
    ] = None,
    difficulty: Annotated[str, typer.Option(help="easy, medium or hard.")] = "medium",
    renderer: Annotated[str, typer.Option(help="fast, or abtem: minutes to hours.")] = "fast",
    split: Annotated[str, typer.Option(help="train, validation or test.")] = "test",
    out: Annotated[
        Path | None, typer.Option(help="A file to write besides: .npz, .hspy or .tif.")
    ] = None,
    picture: Annotated[
        Path | None, typer.Option(help="The PNG to write; beside --out, or here, by default.")
    ] = None,
    scheduler: Annotated[
        str, typer.Option(help="abtem: a number of processes, or a Dask scheduler's address.")
    ] = "1",
    memory_gib: Annotated[float, Number("abtem: bound for each process, in GiB.")] = 2.0,
) -> None:
    """Make a world and keep it in the cache: generate a specimen and image it once.

    An interrupted abtem simulation goes on where it was when the same command
    is given again.
    """
    from .simulators import cache, exchange, world
    from .simulators.specimens import check_difficulty, specimen_module
    from .views import worlds as view

    module = specimen_module(specimen)
    check_difficulty(specimen, difficulty)
    recipe = world.Recipe(
        specimen,
        difficulty,
        *world.specimen_seed(seed, split),
        module.FIELD_NM if fov_nm is None else fov_nm,
        renderer,
        world.detectors(specimen, renderer),
    )
    stem = f"{specimen}-{difficulty}-{seed}"
    shown = picture or (Path(f"{stem}.png") if out is None else out.with_suffix(".png"))
    exchange.check_suffix(out)
    for target in (out, shown):
        if target is not None and target.exists():
            raise FileExistsError(f"{str(target)!r} exists; nothing is overwritten")
    store = cache.Cache()
    found = store.get(recipe.digest)
    if found is not None:
        made = world.unpack(*found)
    elif renderer == "fast":
        made = world.open_world(recipe)
    else:
        with terminal.rows_of_tiles() as report:
            made = world.render_abtem(
                recipe, store.rows_folder(recipe.digest), report, scheduler, memory_gib
            )
    address = world.keep(made)
    store.forget_rows(address)
    if out is not None:
        view.export(made, out)
    shown.parent.mkdir(parents=True, exist_ok=True)
    shown.write_bytes(view.picture(made))
    terminal.listing(
        {
            "world": address,
            "features": len(made.specimen.feature_class),
            "picture": str(shown),
            **({} if out is None else {"file": str(out)}),
        },
        False,
    )


@worlds.callback(invoke_without_command=True)
def worlds_list(ctx: typer.Context, as_json: AsJson = False) -> None:
    """The simulated worlds in the package and in the cache, a line each."""
    from .views import worlds as view

    if ctx.invoked_subcommand is None:
        terminal.listing(view.everything(), as_json)


@worlds.command("verify", epilog="Example: stemscout worlds verify")
def worlds_verify(as_json: AsJson = False) -> None:
    """Check every world in the package and in the cache against its checksums."""
    from .views import worlds as view

    found = view.verified()
    terminal.listing({k: v or "sound" for k, v in found.items()}, as_json)
    if any(found.values()):
        raise typer.Exit(1)


@worlds.command("clean", epilog="Example: stemscout worlds clean --older-than-days 30")
def worlds_clean(
    everything: Annotated[
        bool, typer.Option("--all", help="Every cached world, and unfinished simulations.")
    ] = False,
    older_than_days: Annotated[
        float | None, Number("Also cached worlds that were made longer ago.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Remove damaged and half-written worlds from the cache."""
    from .simulators.cache import Cache

    removed = Cache().clean(everything=everything, older_than_days=older_than_days)
    terminal.listing({"removed": removed}, as_json)


@worlds.command("export", epilog="Example: stemscout worlds export 3f2a91c07de4b856 g3.hspy")
def worlds_export(
    world: Annotated[str, typer.Argument(help="Its address, or the name of a shipped one.")],
    file: Annotated[Path, typer.Argument(help="The file to write: .npz, .hspy or .tif.")],
) -> None:
    """Write a world as a file that HyperSpy opens."""
    from .views import worlds as view

    view.export(view.named(world), file)
    print(file)


@worlds.command("import", epilog="Example: stemscout worlds import g3.hspy")
def worlds_import(
    file: Annotated[Path, typer.Argument(help="A .npz or .hspy file that was exported.")],
) -> None:
    """Read an exported world into the cache."""
    from .simulators.world import keep
    from .views import worlds as view

    print(keep(view.imported(file)))


@bench.command("run", epilog="Example: stemscout bench run smoke")
def bench_run(
    suite: Annotated[str, typer.Argument(help="smoke, half, or a YAML file.")],
    as_json: AsJson = False,
) -> None:
    """Every agent of a suite on the same specimens."""
    from .benchmarks.suite import load_suite, run_suite

    console = terminal.console()
    rows = run_suite(
        load_suite(suite),
        lambda r: console.print(f"{r.agent} on {r.seed}: seen {r.seen:.2f} in {r.seconds:.0f} s"),
    )
    terminal.table([asdict(r) for r in rows], as_json)


@bench.command(epilog="Example: stemscout bench throughput --json")
def throughput(
    env: Annotated[str, typer.Option(help="An environment id.")] = "StemScout/GrapheneDefects-v0",
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Time of one environment step, by part."""
    from .benchmarks.timing import step_times

    terminal.listing({k: round(v, 1) for k, v in step_times(env, seed).items()}, as_json, "µs")


@bench.command(epilog="Example: stemscout bench navigation")
def navigation(as_json: AsJson = False) -> None:
    """Time of one Bayesian-optimisation decision."""
    from .benchmarks.timing import decision_seconds

    times = {f"after {n} observations": round(s, 3) for n, s in decision_seconds().items()}
    terminal.listing(times, as_json, "s")


@bench.command("simulate", epilog="Example: stemscout bench simulate --specimen graphene")
def bench_simulate(
    specimen: Annotated[
        list[str] | None, typer.Option(help="Only this one; may be given several times.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Time, memory and agreement of the renderers, with plain abTEM beside them."""
    from .benchmarks.simulate import rows
    from .simulators.specimens import SPECIMENS

    console = terminal.console()
    found = []
    for row in rows(specimen or SPECIMENS):
        console.print(f"{row.specimen}, {row.renderer}: {row.seconds:.3g} s")
        found.append(asdict(row))
    terminal.table(found, as_json)


def _run(configuration: dict[str, Any], out: Path, as_json: bool) -> None:
    from . import register_all
    from .agents.catalogue import make_agent
    from .agents.experiment import Experiment
    from .benchmarks.single import record
    from .envs.registration import make_env
    from .views.folder import RunFolder

    register_all()
    folder = RunFolder(out)
    agent = make_agent(configuration["agent"], **configuration["agent_options"])
    env = make_env(
        configuration["env"],
        action=agent.needs.action,
        observation=agent.needs.observation,
        budget=configuration["budget"],
        terminate_when_done=False,
        **configuration["env_options"],
    )
    experiment = Experiment(env, agent, configuration["seed"])
    command = shlex.join(["stemscout", *sys.argv[1:]])
    with terminal.interruptible(experiment), terminal.progress(configuration) as on_step:
        summary = record(experiment, folder, configuration, command, on_step)
    env.close()
    if as_json:
        print(json.dumps({**summary, "folder": str(out)}))
    else:
        from .views.report import facts_of

        terminal.listing({**facts_of(summary), "report": str(out / "report.html")}, False)
    if experiment.stopped:
        raise typer.Exit(INTERRUPTED)


def _free(path: Path) -> Path:
    """The path, or the first of path-2, path-3 ... that does not exist."""
    number, free = 2, path
    while free.exists():
        free, number = path.with_name(f"{path.name}-{number}"), number + 1
    return free


def main() -> None:
    """Run the command line; errors are one sentence and exit code 2."""
    debug = "--debug" in sys.argv
    arguments = [a for a in sys.argv[1:] if a != "--debug"]
    try:
        app(arguments, prog_name="stemscout")
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except (ValueError, OSError, NotImplementedError, ImportError) as error:
        if debug:
            traceback.print_exc()
        print(f"stemscout: {error}", file=sys.stderr)
        sys.exit(BAD_INPUT)
    except Exception as error:  # ours to mend; still no page of code at the command line
        if debug:
            traceback.print_exc()
        what = f"{type(error).__name__}: {error}"
        print(f"stemscout: unexpected {what}; --debug shows where", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
