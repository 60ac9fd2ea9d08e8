"""The operator's console: an experiment that people watch, steer and stop in a browser."""

from __future__ import annotations

import time
import webbrowser
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..views import terminal
from .experiments import USUAL_BUDGET, made
from .options import Decides, Number, Out, PixelSize, Seed, Simulated, command_line, free, group

if TYPE_CHECKING:
    from ..agents.experiment import Step
    from ..views.console.session import Session

app = group("The operator's console.")
WATCH_S = 0.5
CLOSING_S = 10.0  # for the report of what was taken


@app.command(
    rich_help_panel="Run an experiment",
    epilog="Examples:  stemscout console --env StemScout/MoS2Defects-v0 --agent dcnn-search   |   "
    "stemscout console --image nio.png --pixel-nm 0.046 --mode approve",
)
def console(
    env: Simulated = None,
    image: Annotated[Path | None, typer.Option(help="Your own micrograph.")] = None,
    pixel_nm: PixelSize = None,
    agent: Decides = "linear-bo",
    budget: Annotated[
        float, Number("Charge in rasters of the whole field, above 0 and at most 1.")
    ] = USUAL_BUDGET,
    difficulty: Annotated[str, typer.Option(help="easy, medium or hard; with --env.")] = "medium",
    mode: Annotated[
        str, typer.Option(help="automatic, approve (each frame waits for you) or manual.")
    ] = "automatic",
    seed: Seed = 0,
    out: Out = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 5006,
    no_browser: Annotated[
        bool, typer.Option("--no-browser", help="Say the address, and open nothing.")
    ] = False,
    start: Annotated[bool, typer.Option("--start", help="Begin at once.")] = False,
) -> None:
    """A page to watch an experiment, steer it, and stop it; Ctrl-C closes page and microscope."""
    from ..agents.controls import Controls
    from ..agents.experiment import Experiment
    from ..benchmarks.single import record
    from ..envs.watched import WatchedSource
    from ..hardware.guard import guarded
    from ..hardware.journal import Journal
    from ..views.console.session import Session
    from ..views.folder import RunFolder, versions

    if (env is None) == (image is None):
        raise ValueError("give one of --env and --image, and not both")
    if image is None and pixel_nm is not None:
        raise ValueError("--pixel-nm only goes with --image")
    Controls(mode)  # refused before anything is begun
    named = str(env) if image is None else "StemScout/Recorded-v0"
    options: dict[str, Any] = {"image": str(image), "pixel_nm": pixel_nm}
    if image is None:
        options = {"difficulty": difficulty, "split": "test"}
    configuration = {
        "env": named,
        "env_options": options,
        "agent": agent,
        "agent_options": {},
        "budget": budget,
        "seed": seed,
    }
    scanned, decides = made(configuration)
    stem = named.split("/")[-1] if image is None else image.stem
    folder = RunFolder(out or free(Path("runs") / f"console-{stem}-{agent}-{seed}"))
    with Journal(folder.path) as journal:
        journal.write("begin", {**configuration, "versions": versions()})
        watched = WatchedSource(scanned.source, lambda m: guarded(m, journal=journal))
        scanned.source = watched
        experiment = Experiment(scanned, decides, seed, record=journal.write, mode=mode)

        def drive(on_step: Callable[[Step], None]) -> None:
            record(experiment, folder, configuration, command_line(), on_step)

        title = f"{stem}, {folder.path}"
        session = Session(experiment, drive, lambda: watched.guard)
        try:
            _serve(session, title, folder.path, port, no_browser, start)
        finally:
            experiment.stop()
            scanned.close()
            session.wait(CLOSING_S)


def _serve(
    session: Session, title: str, folder: Path, port: int, no_browser: bool, start: bool
) -> None:
    """Until Ctrl-C."""
    from ..views.console.serving import Console
    from ..views.export import export

    def exported() -> str:
        return "written: " + ", ".join(str(path) for path in export(folder, folder).files)

    page = Console(session, title, port=port, export=exported)
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
