"""The command line `stemscout`."""

from __future__ import annotations

import sys
import traceback
from typing import Annotated

import typer

from .commands import bench, console, experiments, learning, live, paper, training, worlds
from .commands.options import INTERRUPTED, Commands
from .hardware.errors import MicroscopeError

BAD_INPUT = 2

app = typer.Typer(
    cls=Commands,
    help="Autonomous scanning transmission electron microscopy: environments, agents, benchmarks.",
    epilog="Start with: stemscout demo",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(experiments.app)
app.add_typer(console.app)
app.add_typer(live.app)
app.add_typer(worlds.app)
training.app.add_typer(learning.app)
app.add_typer(training.app, name="train", rich_help_panel="Train", no_args_is_help=True)
app.add_typer(paper.app)
app.add_typer(bench.app, name="bench", rich_help_panel="Measure", no_args_is_help=True)


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
        _tell(error)
        sys.exit(BAD_INPUT)
    except MicroscopeError as error:
        if debug:
            traceback.print_exc()
        _tell(error)
        sys.exit(1)
    except Exception as error:  # ours to mend; still no page of code at the command line
        if debug:
            traceback.print_exc()
        what = f"{type(error).__name__}: {error}"
        print(f"stemscout: unexpected {what}; --debug shows where", file=sys.stderr)
        sys.exit(1)


def _tell(error: BaseException) -> None:
    """In one sentence, and what became of the beam where that is known."""
    print("; ".join([f"stemscout: {error}", *getattr(error, "__notes__", ())]), file=sys.stderr)


if __name__ == "__main__":
    main()
