"""What the commands share: groups that list what there is, and the options of most."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

INTERRUPTED = 130


class Commands(TyperGroup):
    """Unknown names list the known ones."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and self.get_command(ctx, args[0]) is None:
            known = ", ".join(self.list_commands(ctx))
            raise ValueError(f"unknown command {args[0]!r}; there are: {known}")
        return super().resolve_command(ctx, args)


def group(about: str) -> typer.Typer:
    """Commands under one name."""
    return typer.Typer(cls=Commands, help=about, add_completion=False)


def number(text: str | float) -> float:
    """A number, or a sentence that holds what was given instead."""
    try:
        return float(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a number") from None


def whole(text: str | int) -> int:
    try:
        number = int(text)
    except ValueError:
        number = -1
    if number < 0:
        raise typer.BadParameter(f"{text!r} is not an integer >= 0")
    return number


def Number(help: str, **options: Any) -> Any:
    return typer.Option(parser=number, metavar="NUMBER", help=help, **options)


Simulated = Annotated[str | None, typer.Option(help="A simulated specimen; see `envs`.")]
Decides = Annotated[str, typer.Option(help="Who decides; see `agents`.")]
PixelSize = Annotated[
    float | None, Number("Pixel size of the image in nm, where the file says none.")
]
Seed = Annotated[
    int,
    typer.Option(
        parser=whole, metavar="INTEGER", help="An integer from 0; the same one repeats the run."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")]
Image = Annotated[
    Path | None,
    typer.Option(help="Your own micrograph: .npy, PNG, TIFF, or what RosettaSciIO reads."),
]
Difficulty = Annotated[str | None, typer.Option(help="easy, medium (default) or hard; with --env.")]
Out = Annotated[Path | None, typer.Option(help="Folder for the results; it must be new or empty.")]

ADDRESSES = (
    "sim://graphene, nion:, grpc://host:port, your own as module:callable; or, all three "
    "unverified on hardware, temscript:, autoscript:, pyjem:"
)
LIVE: Any = {"rich_help_panel": "With --microscope"}
Instrument = Annotated[
    str | None,
    typer.Option(help=f"A live one by its address: {ADDRESSES}.", **LIVE),
]
BudgetFrames = Annotated[int | None, typer.Option(min=1, help="Frames instead of rasters.", **LIVE)]
BudgetCharge = Annotated[float | None, Number("Electrons instead of rasters.", **LIVE)]
BudgetTime = Annotated[
    float | None, Number("Seconds of instrument time, besides or instead.", **LIVE)
]
BeamCurrent = Annotated[
    float | None, Number("Declared, where the instrument does not know it.", **LIVE)
]
FrameSide = Annotated[float | None, Number("Side of the frames.", **LIVE)]
FramePixels = Annotated[int | None, typer.Option(min=1, help="Pixels to a side.", **LIVE)]
Dwell = Annotated[float | None, Number("Of the frames.", **LIVE)]
Detector = Annotated[str | None, typer.Option(help="The first by default.", **LIVE)]
MaxCharge = Annotated[
    float | None, Number("Electrons that are never exceeded, whatever the agent.", **LIVE)
]
MaxSpotDose = Annotated[float | None, Number("e/Å² at any one spot, never exceeded.", **LIVE)]
DriftEvery = Annotated[
    int | None,
    typer.Option(min=1, help="Look for drift every so many frames, and follow it.", **LIVE),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Check and record everything, send nothing.", **LIVE)
]


def command_line() -> str:
    """What repeats this command."""
    return shlex.join(["stemscout", *sys.argv[1:]])


def free(path: Path) -> Path:
    """The path, or the first of path-2, path-3 ... that does not exist."""
    number, found = 2, path
    while found.exists():
        found, number = path.with_name(f"{path.name}-{number}"), number + 1
    return found


def check_suffix(out: Path) -> None:
    """ValueError unless it names a file of weights."""
    if out.suffix != ".safetensors":
        raise ValueError(f"{out}; weights are written as .safetensors")


def check_writable(path: Path) -> None:
    """Whether a file can be written in the end: by beginning it, for nothing else tells surely.

    Its folder is made, and a file that is there is left as it is.

    Raises:
        ValueError: it cannot be.
    """
    try:
        there = path.exists()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.open("ab").close()
    except OSError as error:
        raise ValueError(f"{path} cannot be written: {error.strerror}") from error
    if not there:
        path.unlink()
