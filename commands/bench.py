"""Measure and compare: bench run, throughput, navigation, simulate."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from ..views import terminal
from .options import AsJson, Seed, group

app = group("Measure and compare agents.")


@app.command("run", epilog="Example: stemscout bench run smoke")
def bench_run(
    suite: Annotated[str, typer.Argument(help="smoke, half, or a YAML file.")],
    as_json: AsJson = False,
) -> None:
    """Every agent of a suite on the same specimens."""
    from ..benchmarks.suite import load_suite, run_suite

    console = terminal.console()
    rows = run_suite(
        load_suite(suite),
        lambda r: console.print(f"{r.agent} on {r.seed}: seen {r.seen:.2f} in {r.seconds:.0f} s"),
    )
    terminal.table([asdict(r) for r in rows], as_json)


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


@app.command(epilog="Example: stemscout bench navigation")
def navigation(as_json: AsJson = False) -> None:
    """Time of one Bayesian-optimisation decision."""
    from ..benchmarks.timing import decision_seconds

    times = {f"after {n} observations": round(s, 3) for n, s in decision_seconds().items()}
    terminal.listing(times, as_json, "s")


@app.command("simulate", epilog="Example: stemscout bench simulate --specimen graphene")
def bench_simulate(
    specimen: Annotated[
        list[str] | None, typer.Option(help="Only this one; may be given several times.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Time, memory and agreement of the renderers, with plain abTEM beside them."""
    from ..benchmarks.simulate import rows
    from ..simulators.specimens import SPECIMENS

    console = terminal.console()
    found = []
    for row in rows(specimen or SPECIMENS):
        console.print(f"{row.specimen}, {row.renderer}: {row.seconds:.3g} s")
        found.append(asdict(row))
    terminal.table(found, as_json)
