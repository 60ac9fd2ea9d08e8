"""The paper's workflows by the paper's protocol: stemscout paper."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from ..views import terminal
from .bench import run_in
from .options import AsJson, group, whole

app = group("The paper.")


@app.command(
    rich_help_panel="Measure",
    epilog="Examples: stemscout paper   |   stemscout paper --seeds 3 --out results/few   |   "
    "stemscout paper --only nio",
)
def paper(
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("results/paper"),
    seeds: Annotated[
        int | None,
        typer.Option(parser=whole, metavar="INTEGER", help="So many; 10 by default."),
    ] = None,
    scheduler: Annotated[
        str | None,
        typer.Option(help="A number of workers, or the address of a Dask scheduler."),
    ] = None,
    only: Annotated[
        str | None,
        typer.Option(help="Make the figure of this picture alone, of the results that are there."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Creange et al. 2022 again: its workflows on its three materials, by its own protocol.

    Recorded images are those of the folder that STEMSCOUT_IMAGES names.  Given again, it
    finishes the rest, and makes paper.html anew.
    """
    from ..benchmarks import paper as protocol
    from ..benchmarks.paper_page import write_figure, write_page
    from ..benchmarks.paper_verdicts import verdicts
    from ..benchmarks.results import Results
    from ..simulators.schedulers import check_scheduler

    if only is not None:
        for path in write_figure(Results(out), only):
            terminal.console().print(f"figure    {path}")
        return
    if scheduler is not None:
        check_scheduler(scheduler)
    suite, left_out = protocol.suite(seeds)
    results = run_in(suite, out, left_out, scheduler, suite.name)
    again = f"stemscout paper --out {shlex.quote(str(out))}"
    again += "" if seeds is None else f" --seeds {seeds}"
    runs = protocol.runs_of(results)
    terminal.console().print(f"page      {write_page(results, runs, again)}")
    found, apart = protocol.lines(results, runs), protocol.differences(results, runs)
    if as_json:
        rows = protocol.rows_of(found)
        said = verdicts(found, apart)
        lines = {"rows": rows, "differences": protocol.rows_of_differences(apart)}
        terminal.listing({**lines, "verdicts": said, "left_out": left_out}, True)
        return
    terminal.table(protocol.rows_of(found), False)
    terminal.paragraphs([""])
    for title, sentences in verdicts(found, apart).items():
        terminal.paragraphs([title, *sentences])
