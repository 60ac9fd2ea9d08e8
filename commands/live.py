"""Experiments on a microscope: run with --microscope, resume, stop."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..views import terminal
from .configured import made
from .options import ADDRESSES, INTERRUPTED, AsJson, Number, Simulated, command_line, group

if TYPE_CHECKING:
    from ..hardware.guard import Guard
    from ..hardware.journal import Journal
    from ..hardware.limits import Request
    from ..hardware.microscope import Microscope, Unblank
    from ..hardware.replayed import Told

app = group("Drive a microscope.")
DRIVE = "Drive a microscope"
NOT_BLANKED = 1
SILENCE_S = 120.0  # of an agent, after which the beam is blanked


def drive(configuration: dict[str, Any], out: Path, as_json: bool) -> None:
    """A new experiment, with a guard in front of the microscope and a journal beside it."""
    from ..hardware.journal import Journal
    from ..hardware.stopping import StopButton
    from ..views.folder import RunFolder, versions

    folder = RunFolder(out)
    with Journal(out) as journal:
        journal.write("begin", {**configuration, "versions": versions()})
        with (
            guarded_by(configuration, journal) as guard,
            closing(StopButton(out, guard.stop)),
            guard,
        ):
            tell_of_units(guard)
            _run(configuration, guard, journal, folder, journal.write, as_json)


@app.command(rich_help_panel=DRIVE, epilog="Example: stemscout resume runs/nion")
def resume(
    folder: Annotated[Path, typer.Argument(help="The folder of a run on a microscope.")],
    as_json: AsJson = False,
) -> None:
    """Go on with an experiment where it stopped or was broken off, by its journal."""
    from ..hardware.journal import Journal, read
    from ..hardware.replayed import Replayed, Told
    from ..hardware.stopping import StopButton
    from ..views.folder import RunFolder

    told = Told.of(read(folder))
    if told.ended:
        raise ValueError(f"the experiment in {folder} has come to its end; there is nothing to do")
    configuration = told.configuration
    if "microscope" not in configuration:
        raise ValueError(f"{folder} holds no run on a microscope that could be resumed")
    with (
        Journal(folder) as journal,
        guarded_by(configuration, journal) as guard,
        closing(StopButton(folder, guard.stop)),
        guard,
    ):
        if journal.cut:
            terminal.console().print(f"{journal.cut} bytes of a torn record were cut")
        journal.write("resume", {"frames": len(told.frames)})
        tell_of_units(guard)
        guard.ledger.resume(told.frames, told.unanswered)
        replayed = Replayed(told, guard)

        def record(kind: str, data: dict[str, Any]) -> None:
            if not replayed.replaying:
                journal.write(kind, data)

        again = RunFolder(folder, again=True)
        _run(configuration, replayed, journal, again, record, as_json, told)
        if replayed.strayed:
            numbers = ", ".join(map(str, replayed.strayed))
            terminal.console().print(f"decided otherwise than recorded before frame {numbers}")


@app.command(rich_help_panel=DRIVE, epilog="Example: stemscout export runs/nion --out nion")
def export(
    folder: Annotated[Path, typer.Argument(help="The folder of a run on a microscope.")],
    out: Annotated[Path | None, typer.Option(help="Where to; the run's folder by default.")] = None,
    as_json: AsJson = False,
) -> None:
    """What a journal holds as NeXus (HDF5), HyperSpy's .hspy and a picture, all calibrated."""
    from ..views.export import export as write

    written = write(folder, out or folder)
    if written.torn:
        terminal.console().print(
            f"{written.torn} bytes at the end of the journal are no whole record (torn, or being "
            "written); they were left out"
        )
    files = {path.name: str(path) for path in written.files}
    terminal.listing({**files, "frames": written.frames}, as_json)


@app.command(rich_help_panel=DRIVE, epilog="Example: stemscout stop runs/nion")
def stop(
    folder: Annotated[Path, typer.Argument(help="The folder of the run under way.")],
    reason: Annotated[str, typer.Option(help="For the journal.")] = "a person stopped it",
    as_json: AsJson = False,
) -> None:
    """Stop what a run drives, from anywhere on its machine, and say whether the beam is blanked."""
    from ..hardware.stopping import press

    told = press(folder, reason)
    if as_json:
        print(json.dumps({"answer": told.answer, "seconds": told.seconds}))
    else:
        print(told.answer)
    if not told.confirmed:
        raise typer.Exit(NOT_BLANKED)


@app.command(
    rich_help_panel=DRIVE,
    epilog="Examples:  stemscout serve --env StemScout/GrapheneDefects-v0   |   stemscout serve "
    "--microscope nion: --port 50051   |   stemscout serve --init-credentials mine --host tem1",
)
def serve(
    env: Simulated = None,
    microscope: Annotated[str | None, typer.Option(help=f"By its address: {ADDRESSES}.")] = None,
    host: Annotated[str, typer.Option(help="Where to listen; here alone by default.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 50051,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the journal; new, or of an earlier serving.")
    ] = None,
    max_charge: Annotated[float | None, Number("Electrons that are never exceeded.")] = None,
    max_spot_dose: Annotated[float | None, Number("e/Å² at any one spot.")] = None,
    credentials: Annotated[
        Path | None,
        typer.Option(help="DIR/server, of certificates and tokens; needed beyond here."),
    ] = None,
    init_credentials: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Make DIR/server, DIR/control, DIR/observe, for --host, and end."
        ),
    ] = None,
) -> None:
    """Let other programs drive a microscope over gRPC, as if it were theirs."""
    from ..envs.addresses import of_environment
    from ..envs.live_source import LIVE_DWELL_US
    from ..hardware import credentials as made
    from ..hardware.journal import Journal, read
    from ..hardware.replayed import Told
    from ..hardware.server import Server
    from ..hardware.stopping import StopButton

    if init_credentials is not None:
        made.make(init_credentials, [host])
        print(
            f"{init_credentials / made.SERVER} is for serve --credentials and stays here; give "
            f"{init_credentials / made.CONTROL} to whoever may drive the microscope, and "
            f"{init_credentials / made.OBSERVE} to whoever may look on and stop it"
        )
        return
    if (env is None) == (microscope is None):
        raise ValueError("give either --env or --microscope, and not both")
    given = (str(microscope), LIVE_DWELL_US) if env is None else of_environment(env)
    shown = None if credentials is None else made.Credentials.of_server(credentials)
    limits = {"max_charge_e": max_charge, "max_spot_dose_e_per_a2": max_spot_dose}
    folder = out or Path("runs") / "serve"
    asked = {k: v for k, v in limits.items() if v is not None}
    with Journal(folder) as journal:
        earlier = list(read(folder)) if journal.count else []
        journal.write("begin", {"serves": given[0], "limits": limits})
        with (
            _driven(*given, asked, journal) as guard,
            closing(StopButton(folder, guard.stop)),
            guard,
        ):
            tell_of_units(guard)
            if any(record.kind == "open" for record in earlier):  # its totals go on
                told = Told.of(earlier)
                guard.ledger.resume(told.frames, told.unanswered)
            with Server(guard, host, port, shown) as server:
                print(f"{guard.open().name} at grpc://{host}:{server.port}", flush=True)
                server.wait()


def tell_of_units(guard: Guard) -> None:
    """Say at the terminal where distances were never held against a known specimen."""
    from ..hardware.microscope import UNITS_UNVERIFIED

    told = guard.open()
    if not told.units_verified:
        terminal.console().print(f"{told.name}: {UNITS_UNVERIFIED}")


@contextmanager
def guarded_by(configuration: dict[str, Any], journal: Journal) -> Iterator[Guard]:
    """A guard in front of the microscope of a configuration, not opened yet."""
    from ..envs.live_source import LIVE_DWELL_US

    dwell = configuration["env_options"].get("dwell_us", LIVE_DWELL_US)
    with _driven(
        configuration["microscope"],
        dwell,
        configuration["limits"],
        journal,
        approve=_approve if configuration["approve"] else None,
        dry_run=configuration["dry_run"],
        heartbeat_s=SILENCE_S,
        credentials=configuration.get("credentials"),
    ) as guard:
        yield guard


@contextmanager
def _driven(
    address: str,
    dwell_us: float,
    limits: dict[str, Any],
    journal: Journal,
    credentials: str | None = None,
    **modes: Any,
) -> Iterator[Guard]:
    """A guard in front of a microscope, not opened yet; whether it is left dark is said."""
    from ..envs.addresses import connect
    from ..hardware.credentials import Credentials
    from ..hardware.emergency import NOT_CONFIRMED
    from ..hardware.guard import guarded

    shown = None if credentials is None else Credentials.of_client(Path(credentials))
    microscope = connect(address, dwell_us, shown)
    guard = guarded(microscope, limits or None, journal, **modes)
    try:
        with terminal.leaving_on_terminate():
            yield guard
    finally:
        if guard.parting.answer == NOT_CONFIRMED:
            terminal.console().print(guard.parting.answer)


def _run(
    configuration: dict[str, Any],
    microscope: Microscope,
    journal: Journal,
    folder: Any,
    record: Callable[[str, dict[str, Any]], object],
    as_json: bool,
    told: Told | None = None,
) -> None:
    from ..agents.experiment import Experiment
    from ..benchmarks import single
    from ..envs.live import LiveEnv
    from ..views.report import facts_of

    env, agent = made(configuration, microscope)
    assert isinstance(env, LiveEnv)
    wishes = None if told is None else told.wishes
    experiment = Experiment(env, agent, configuration["seed"], record=record, wishes=wishes)
    command = command_line()
    shown = {"agent": configuration["agent"], "budget": env.rasters}
    try:
        with terminal.interruptible(experiment), terminal.progress(shown) as on_step:
            summary = single.record(experiment, folder, configuration, command, on_step)
        if not experiment.stopped:
            journal.write("end", {"ended": summary["ended"]})
    finally:
        env.close()
    if lost := getattr(env.microscope, "lost", 0):
        terminal.console().print(
            f"at {lost} looks the patch that drift is told by was not recognised; drift was then "
            "held to be what it had been"
        )
    if as_json:
        print(json.dumps({**summary, "folder": str(folder.path)}))
    else:
        report = str(folder.path / "report.html")
        terminal.listing({**facts_of(summary), "report": report}, False)
    if experiment.stopped:
        again = f"stemscout resume {shlex.quote(str(folder.path))}"
        terminal.console().print(f"Stopped; to go on: {again}")
        raise typer.Exit(INTERRUPTED)


def _approve(request: Request | Unblank) -> bool:
    """Ask at the terminal; whoever says nothing has not approved."""
    from ..hardware.microscope import ScanRequest, Unblank

    if isinstance(request, Unblank):
        return typer.confirm("the beam on again?", default=False, err=True)
    y, x = request.centre_yx_nm if isinstance(request, ScanRequest) else request.yx_nm
    what = "frame" if isinstance(request, ScanRequest) else type(request).__name__
    return typer.confirm(f"{what} at ({y:.2f}, {x:.2f}) nm?", default=False, err=True)
