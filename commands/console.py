"""The operator's console: an experiment that people watch, steer and stop in a browser."""

from __future__ import annotations

import time
import webbrowser
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..views import terminal
from . import live
from .configured import configured, made, refuse, stem_of
from .options import (
    BeamCurrent,
    BudgetCharge,
    BudgetFrames,
    BudgetTime,
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
    Simulated,
    command_line,
    free,
    group,
    whole,
)

if TYPE_CHECKING:
    from ..agents.experiment import Step
    from ..hardware.replayed import Told
    from ..views.console.door import Door
    from ..views.console.session import Session
    from ..views.folder import RunFolder

app = group("The operator's console.")
USUAL_AGENT = "linear-bo"
WATCH_S = 0.5
CLOSING_S = 30.0  # for the report of what was taken
AGAIN: Any = {"rich_help_panel": "With --journal"}
BEYOND: Any = {"rich_help_panel": "From other machines"}


@app.command(
    rich_help_panel="Run an experiment",
    epilog="Examples:  stemscout console --env StemScout/MoS2Defects-v0 --agent dcnn-search   |   "
    "stemscout console --image nio.png --pixel-nm 0.046 --mode approve   |   "
    "stemscout console --microscope nion: --budget-frames 60   |   "
    "stemscout console --journal runs/nion",
)
def console(
    env: Simulated = None,
    image: Image = None,
    pixel_nm: PixelSize = None,
    microscope: Instrument = None,
    journal: Annotated[
        Path | None,
        typer.Option(help="The folder of an experiment that was, to be seen again.", **AGAIN),
    ] = None,
    speed: Annotated[
        float | None, Number("Frames a second, at most; 5 by default.", **AGAIN)
    ] = None,
    agent: Annotated[
        str | None, typer.Option(help="Who decides; see `agents`. linear-bo by default.")
    ] = None,
    budget: Annotated[
        float | None,
        Number("Charge in rasters of the whole field, above 0 and at most 1; 0.4 by default."),
    ] = None,
    difficulty: Difficulty = None,
    mode: Annotated[
        str | None,
        typer.Option(help="automatic (default), approve (each frame waits for you) or manual."),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            parser=whole, metavar="INTEGER", help="An integer from 0, the default; as for `run`."
        ),
    ] = None,
    out: Out = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 5006,
    no_browser: Annotated[
        bool, typer.Option("--no-browser", help="Say the address, and open nothing.")
    ] = False,
    start: Annotated[bool, typer.Option("--start", help="Begin at once.")] = False,
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
    credentials: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="DIR/...",
            help="DIR/server, for a --host beyond this machine, and DIR/control, where the "
            "server of a grpc:// microscope asks for it; may be given twice.",
            **BEYOND,
        ),
    ] = None,
    host: Annotated[str, typer.Option(help="Where to listen; here alone by default.", **BEYOND)] = (
        "127.0.0.1"
    ),
    allow_origin: Annotated[
        list[str] | None,
        typer.Option(
            metavar="HOST:PORT",
            help="A name that the page is opened under; may be given several times.",
            **BEYOND,
        ),
    ] = None,
) -> None:
    """A page to watch an experiment, steer it, and stop it; Ctrl-C closes page and microscope."""
    from ..agents.controls import AUTOMATIC, Controls
    from ..hardware.credentials import CLIENT, SERVER
    from ..views.console.door import Door
    from ..views.folder import RunFolder

    if [env, image, microscope, journal].count(None) != 3:
        raise ValueError("give one of --env, --image, --microscope and --journal, and not two")
    shown = _by_end(credentials or [])
    door = Door(host, port, allow_origin or (), shown.get(SERVER))
    simulated, recorded = {"difficulty": difficulty}, {"pixel_nm": pixel_nm}
    instrument = {
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
    }
    if journal is not None:
        own = {"agent": agent, "budget": budget, "mode": mode, "seed": seed, "out": out}
        refuse({**own, **simulated, **recorded, **instrument}, "does not go with --journal")
        if CLIENT in shown:
            raise ValueError("a journal is read where it lies; --credentials DIR/control is not")
        with _again(journal, speed) as session:
            _serve(session, f"replay of {journal}", door, _of_replay(journal), no_browser, start)
        return
    refuse({"speed": speed}, "only goes with --journal")
    Controls(mode or AUTOMATIC)  # refused before anything is begun
    configuration = configured(
        env,
        None if image is None else image.absolute(),  # seen again from wherever it may be
        microscope,
        agent=agent or USUAL_AGENT,
        agent_options={},
        budget=budget,
        seed=seed or 0,
        credentials=shown.get(CLIENT),
        simulated=simulated,
        recorded=recorded,
        live=instrument,
    )
    name = f"console-{stem_of(configuration)}-{agent or USUAL_AGENT}-{seed or 0}"
    folder = RunFolder(out or free(Path("runs") / name))
    with _begun(configuration, folder, mode or AUTOMATIC) as session:
        source = session.experiment.env.source.settings
        doubt = ", units unverified" if source.get("units_verified") is False else ""
        title = f"{stem_of(configuration)}, {folder.path}{doubt}"
        _serve(session, title, door, _of_run(folder.path), no_browser, start)


@contextmanager
def _begun(configuration: dict[str, Any], folder: RunFolder, mode: str) -> Iterator[Session]:
    """A new experiment with its guard, journal and stop button; in the end its beam is dark."""
    from ..agents.experiment import Experiment
    from ..benchmarks.single import record
    from ..envs.watched import WatchedSource
    from ..hardware.errors import MicroscopeError
    from ..hardware.guard import Guard, guarded
    from ..hardware.journal import Journal
    from ..hardware.stopping import StopButton
    from ..views.console.session import REST_S, Session
    from ..views.folder import versions

    on_instrument = "microscope" in configuration
    if not on_instrument:
        env, decides = made(configuration)  # refused before anything is written
    with ExitStack() as held:
        journal = held.enter_context(Journal(folder.path))
        journal.write("begin", {**configuration, "versions": versions()})
        watched: WatchedSource | None = None
        instrument: Guard | None = None
        if on_instrument:
            instrument = held.enter_context(live.guarded_by(configuration, journal))
            held.enter_context(instrument)
            live.tell_of_units(instrument)
            env, decides = made(configuration, instrument)
            with suppress(MicroscopeError):  # nobody looks yet; what cannot blank says so later
                instrument.blank(True)
        else:
            env.source = watched = WatchedSource(env.source, lambda m: guarded(m, journal=journal))

        def guard() -> Guard | None:
            return instrument if watched is None else watched.guard

        seed = configuration["seed"]
        experiment = Experiment(env, decides, seed, record=journal.write, mode=mode, rest_s=REST_S)

        def drive(on_step: Callable[[Step], None]) -> None:
            summary = record(experiment, folder, configuration, command_line(), on_step)
            if not experiment.stopped:
                journal.write("end", {"ended": summary["ended"]})

        session = Session(experiment, drive, guard)
        held.enter_context(closing(StopButton(folder.path, session.stop)))
        try:
            yield session
        finally:
            session.leave(CLOSING_S)
            env.close()


@contextmanager
def _again(folder: Path, speed: float | None) -> Iterator[Session]:
    """An experiment that was, by its journal, which is only read."""
    from ..agents.experiment import Experiment
    from ..envs.replayed import ReplayedSource
    from ..hardware.journal import read, torn
    from ..hardware.replayed import Replayed, Told
    from ..views.console.replay import WATCHED, replay

    told = Told.of(read(folder))
    configuration = told.configuration
    _check_seen_again(folder, told)
    if "microscope" in configuration:
        replayed = Replayed(told)
        env, decides = made(configuration, replayed)
    else:
        env, decides = made(configuration)
        env.source = source = ReplayedSource(env.source, told)
        replayed = source.replayed
    experiment = Experiment(env, decides, configuration["seed"], wishes=told.wishes)
    session = replay(experiment, replayed, torn(folder), WATCHED if speed is None else speed)
    try:
        yield session
    finally:
        session.leave(CLOSING_S)
        env.close()


def _check_seen_again(folder: Path, told: Told) -> None:
    """ValueError where a journal holds no experiment, or one that is not to be trusted."""
    begun = told.configuration
    if "serves" in begun:
        raise ValueError(
            f"{folder} is the journal of a microscope that was served: its clients decided, and "
            "there is no agent to be seen again"
        )
    if "agent" not in begun:
        raise ValueError(f"{folder} holds no experiment that run or console began")
    if not told.frames:
        raise ValueError(f"the journal in {folder} holds no frame; there is nothing to see again")
    wishes = (wish for wished in told.wishes.values() for wish in wished)
    options = (begun["agent_options"], *(wish.get("options") or {} for wish in wishes))
    if any("trust" in named for named in options):
        raise ValueError(
            f"the agent in {folder} is a model that would be unpickled, which a replay does not"
        )


def _by_end(folders: list[Path]) -> dict[str, Path]:
    """Credentials by whose they are; ValueError where two are of the same."""
    from ..hardware.credentials import end_of

    found: dict[str, Path] = {}
    for folder in folders:
        end = end_of(folder)
        if end in found:
            raise ValueError(f"{found[end]} and {folder} are both credentials of a {end}; give one")
        found[end] = folder
    return found


def _of_run(folder: Path) -> Callable[[], str]:
    """Writes the journal in other formats, and says where."""

    def write() -> str:
        from ..views.export import export

        return "written: " + ", ".join(str(path) for path in export(folder, folder).files)

    return write


def _of_replay(folder: Path) -> Callable[[], str]:
    """Says how, since a replay leaves the folder as it is."""

    def refused() -> str:
        raise ValueError(f"a replay writes nothing; stemscout export {folder} does")

    return refused


def _serve(
    session: Session,
    title: str,
    door: Door,
    export: Callable[[], str],
    no_browser: bool,
    start: bool,
) -> None:
    """Until Ctrl-C."""
    from ..views.console.serving import Console

    page = Console(session, title, door, export)
    print(page.address, flush=True)
    if start:
        session.start()
    if not no_browser:
        webbrowser.open(page.address)
    try:
        with terminal.leaving_on_terminate():
            while True:
                time.sleep(WATCH_S)
    finally:
        page.close()
