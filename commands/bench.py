"""Measure and compare: bench run, report, verify, compare, throughput and the other timings."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from math import inf
from pathlib import Path
from typing import Annotated, Any

import typer

from ..views import terminal
from .options import AsJson, Number, Seed, group, whole

app = group("Measure and compare agents.")


@app.command(
    "run",
    epilog="Examples: stemscout bench run smoke --out results/smoke   |   stemscout bench run "
    "mine.yaml --out results/mine --scheduler tcp://host:8786",
)
def bench_run(
    suite: Annotated[
        str, typer.Argument(help="By name (docs/benchmark.md has them all), or a YAML file.")
    ],
    out: Annotated[
        Path | None, typer.Option(help="Folder for the results; by default results/ and its name.")
    ] = None,
    scheduler: Annotated[
        str | None,
        typer.Option(help="A number of workers, or the address of a Dask scheduler."),
    ] = None,
    patience: Annotated[float, Number("Seconds for a decision; then the agent hangs.")] = 300.0,
    mixed: Annotated[
        bool, typer.Option("--mixed", help="Go on where another version of stemscout began.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Every agent of a suite on the same specimens; given again, it finishes the rest."""
    from ..benchmarks import navigation, paper
    from ..benchmarks.leaderboard import Scores, leaderboard
    from ..benchmarks.results import row_of
    from ..benchmarks.suite import load_suite
    from ..simulators.schedulers import check_scheduler

    if scheduler is not None:
        check_scheduler(scheduler)
    if not 0 < patience < inf:
        raise ValueError(f"a patience of {patience:g} s; it must be above 0, and finite")
    wanted, left_out = load_suite(suite), []
    if wanted.kind != "episode":
        wanted, left_out = (paper if wanted.kind == "protocol" else navigation).at_hand(wanted)
    folder = out or Path("results") / wanted.name
    results = run_in(wanted, folder, left_out, scheduler, suite, patience, mixed)
    if wanted.kind == "hunt":
        _print_standings([folder], left_out, as_json)
        return
    if wanted.kind == "protocol":
        terminal.table(paper.rows_of(paper.lines(results, paper.runs_of(results))), as_json)
        return
    entries = leaderboard(Scores([row_of(r) for r in results.records()], wanted.population))
    terminal.table([_line(e) for e in entries], as_json)


def run_in(
    suite: Any,
    folder: Path,
    left_out: list[str],
    scheduler: str | None,
    given: str,
    patience: float = 300.0,
    mixed: bool = False,
) -> Any:
    """Run what is missing of a suite, and write its table."""
    from ..benchmarks.results import Results
    from ..benchmarks.runner import run_suite

    results = Results(folder, suite, given)
    for sentence in left_out:
        terminal.console().print(sentence)
    with terminal.episodes() as report:
        run_suite(suite, results, scheduler, patience, report, mixed)
    table = results.write_table()
    terminal.console().print(f"{len(results.records())} episodes in {table}")
    return results


def _print_standings(folders: list[Path], left_out: list[str], as_json: bool) -> None:
    """One table of navigators, and what has to be known of it."""
    from ..benchmarks import navigation

    found = navigation.standings(folders)
    if as_json:
        terminal.listing({"rows": [s.plain for s in found], "left_out": left_out}, True)
        return
    terminal.table(navigation.lines(found), False)
    terminal.paragraphs(["", *navigation.remarks(found), *left_out])


@app.command(
    epilog="Examples: stemscout bench report results/smoke   |   stemscout bench report "
    "results/smoke --only discovery"
)
def report(
    folder: Annotated[Path, typer.Argument(help="A folder that `bench run` has filled.")],
    only: Annotated[str | None, typer.Option(help="Make this figure alone, and no page.")] = None,
) -> None:
    """A page about the results, and its figures and tables for a paper."""
    from ..benchmarks.report import write_figure, write_report
    from ..benchmarks.results import Results

    if only is not None:
        for path in write_figure(folder, only):
            terminal.console().print(f"figure    {path}")
        return
    held = Results(folder).suite
    suite, at = (shlex.quote(str(v)) for v in (held.get("given", held["name"]), folder))
    command = f"stemscout bench run {suite} --out {at}\nstemscout bench report {at}"
    terminal.console().print(f"report    {write_report(folder, command)}")


def _line(entry: Any) -> dict[str, Any]:
    """An entry of a leaderboard as a row of figures, intervals as text."""
    from ..benchmarks.tables import Cell

    shown: dict[str, Any] = {"agent": entry.agent + (" (knows the truth)" * entry.privileged)}
    for name in ("area", "area_in_time", "seen", "position", "found", "flagged", "half"):
        shown[name] = Cell.of(getattr(entry, name)).whole
    return shown | {
        "latency_ms": round(entry.latency_ms[0], 2),
        "failed": f"{entry.failed} of {entry.episodes}",
    }


@app.command(
    epilog="Examples: stemscout bench verify results/smoke   |   stemscout bench verify "
    "results/smoke --sample 5"
)
def verify(
    folder: Annotated[Path, typer.Argument(help="A folder that `bench run` has filled.")],
    sample: Annotated[
        int | None, typer.Option(parser=whole, metavar="INTEGER", help="Only so many, by chance.")
    ] = None,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Replay recorded episodes: do their frames and findings give their scores?"""
    from ..benchmarks.replay import verify_folder

    found = verify_folder(folder, sample, seed)
    terminal.listing(asdict(found), as_json)
    if found.differ:
        raise typer.Exit(1)


@app.command(
    epilog="Examples: stemscout bench compare results/before results/after   |   stemscout bench "
    "compare before after --markdown changes.md"
)
def compare(
    a: Annotated[Path, typer.Argument(help="A folder that `bench run` has filled: before.")],
    b: Annotated[Path, typer.Argument(help="Another one: after.")],
    markdown: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write it as Markdown, too.")
    ] = None,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """What changed between two folders of results, and which differences are real."""
    from ..benchmarks import compare as compared

    found = compared.compare(a, b, seed)
    if markdown is not None:
        markdown.write_text(compared.markdown_of(found), encoding="utf-8")
    if as_json:
        terminal.listing(asdict(found), True)
        return
    terminal.paragraphs(compared.sentences(found))
    for rows in (compared.rows_of(found), compared.paces_of(found)):
        terminal.table(rows, False)
        print()
    terminal.paragraphs(compared.conclusion(found))


@app.command(
    epilog="Examples: stemscout bench throughput   |   stemscout bench throughput --vs "
    "ALE/Pong-v5 --vs MiniGrid-Empty-8x8-v0 --json"
)
def throughput(
    env: Annotated[str, typer.Option(help="An environment id.")] = "StemScout/GrapheneDefects-v0",
    vs: Annotated[
        list[str] | None, typer.Option(help="Another environment, timed in the same run.")
    ] = None,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Steps a second, single and vectorised, and the time of one step by part."""
    from ..benchmarks.throughput import rows
    from ..benchmarks.timing import step_times

    found = []
    for row in rows(env, vs or (), seed):
        if not as_json:
            terminal.console().print(f"{row.way}: {row.us_per_step:.1f} µs")
        found.append(asdict(row))
    parts = {k: round(v, 1) for k, v in step_times(env, seed).items()}
    if as_json:
        terminal.listing({"throughput": found, "parts_us": parts}, True)
    else:
        terminal.table(found, False)
        terminal.listing(parts, False, "µs")


@app.command(
    epilog="Examples: stemscout bench navigation   |   stemscout bench navigation --seeds 5 "
    "--out results/few --json"
)
def navigation(
    out: Annotated[Path, typer.Option(help="Folder for the three suites.")] = Path(
        "results/navigation"
    ),
    scheduler: Annotated[
        str | None,
        typer.Option(help="A number of workers, or the address of a Dask scheduler."),
    ] = None,
    seeds: Annotated[
        int | None,
        typer.Option(parser=whole, metavar="INTEGER", help="Only the first so many seeds."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Navigators and rivals on targets whose truth is known; given again, it finishes the rest."""
    from ..benchmarks import navigation as contest
    from ..simulators.schedulers import check_scheduler

    if scheduler is not None:
        check_scheduler(scheduler)
    said: list[str] = []
    folders = []
    for suite, left_out in contest.suites(seeds):
        folder = out / suite.name
        run_in(suite, folder, [s for s in left_out if s not in said], scheduler, suite.name)
        said += [s for s in left_out if s not in said]
        folders.append(folder)
    _print_standings(folders, said, as_json)


@app.command(
    epilog="Examples: stemscout bench console   |   stemscout bench console --frames 500 "
    "--browser --json"
)
def console(
    frames: Annotated[
        int, typer.Option(parser=whole, metavar="INTEGER", help="That are taken, above 200.")
    ] = 2000,
    per_second: Annotated[float, Number("Frames a second, above 0.")] = 20.0,
    agent: Annotated[str, typer.Option(help="Decides where they are.")] = "true-grid",
    browser: Annotated[
        bool, typer.Option("--browser", help="As Chromium without a head sees it (playwright).")
    ] = False,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """How far the console is behind a run, how soon it answers, and what it takes up."""
    from ..benchmarks import responsiveness

    measure = responsiveness.browsed if browser else responsiveness.measured
    found = [asdict(r) for r in measure(frames, per_second, agent, seed)]
    terminal.table(found, as_json)


@app.command("simulate", epilog="Example: stemscout bench simulate --specimen graphene")
def bench_simulate(
    specimen: Annotated[
        list[str] | None, typer.Option(help="Only this one; may be given several times.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Time, memory and agreement of the renderers, with plain abTEM beside them.

    Plain abTEM is called for graphene and nio_lsmo; for the latter that takes hours.
    """
    from ..benchmarks.simulate import rows
    from ..simulators.specimens import SPECIMENS

    console = terminal.console()
    found = []
    for row in rows(specimen or SPECIMENS):
        console.print(f"{row.specimen}, {row.renderer}: {row.seconds:.3g} s")
        found.append(asdict(row))
    terminal.table(found, as_json)


@app.command(
    epilog="Examples: stemscout bench perception   |   stemscout bench perception --no-peers "
    "--seeds 1 --epochs 5 --json"
)
def perception(
    peers: Annotated[
        bool, typer.Option("--peers/--no-peers", help="AtomAI and pyroVED too, where installed.")
    ] = True,
    seeds: Annotated[
        int, typer.Option(parser=whole, metavar="INTEGER", help="Of each autoencoder.")
    ] = 3,
    epochs: Annotated[
        int, typer.Option(parser=whole, metavar="INTEGER", help="Of each autoencoder.")
    ] = 20,
    patches: Annotated[
        int, typer.Option(parser=whole, metavar="INTEGER", help="That they are trained on.")
    ] = 5000,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Time of our segmentation networks, and what our autoencoder learns, beside those of others.

    With both peers it takes the better part of an hour: an epoch of theirs takes about 20 s.
    """
    from ..benchmarks import perception_fits, perception_passes
    from ..benchmarks.perception_peers import at_hand

    perception_fits.check(seeds, epochs)
    given = perception_fits.Patches.made(patches, seed=seed)
    there, left_out = at_hand() if peers else ([], [])
    passes = perception_passes.passes(there, seed=seed)
    with terminal.steps("autoencoders", seeds * epochs * (1 + len(there))) as report:
        fits = perception_fits.fits(given, seeds, epochs, there, report)
    if as_json:
        found = {"passes": [asdict(p) for p in passes], "fits": [asdict(f) for f in fits]}
        terminal.listing({**found, "noise": given.noise, "left_out": left_out}, True)
        return
    terminal.table(perception_passes.lines(passes), False)
    terminal.paragraphs(["", *perception_passes.remarks(passes)])
    terminal.table(perception_fits.lines(fits), False)
    terminal.paragraphs(["", *perception_fits.remarks(fits, given.noise), *left_out])
