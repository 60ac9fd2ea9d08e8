"""Simulated worlds: simulate, and worlds list, verify, clean, export, import."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..views import terminal
from .options import AsJson, Number, Seed, group

app = group("Specimens.")
worlds = group("Simulated worlds, shipped and cached.")
WORLDS = "Specimens"
app.add_typer(worlds, name="worlds", rich_help_panel=WORLDS)


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
    difficulty: Annotated[
        str | None,
        typer.Option(help="easy, medium or hard; medium by default, or the only one there is."),
    ] = None,
    renderer: Annotated[str, typer.Option(help="fast, or abtem: minutes to hours.")] = "fast",
    split: Annotated[str, typer.Option(help="train, validation or test.")] = "test",
    margin_nm: Annotated[
        float, Number("Imaged beyond the field, for a beam that may drift there.")
    ] = 0.0,
    defocus_nm: Annotated[
        float, Number("Beyond what the specimen's optics have; underfocus is positive.")
    ] = 0.0,
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
    as_json: AsJson = False,
) -> None:
    """Make a world and keep it in the cache: generate a specimen and image it once.

    An interrupted abtem simulation goes on where it was when the same command
    is given again.
    """
    from ..simulators import cache, exchange, files, multislice, schedulers, world
    from ..simulators.specimens import check_difficulty, default_difficulty, specimen_module
    from ..views import worlds as view

    module = specimen_module(specimen)
    if difficulty is None:
        difficulty = default_difficulty(specimen)
    check_difficulty(specimen, difficulty)
    schedulers.check_scheduler(scheduler)
    multislice.check_bound(memory_gib)
    recipe = world.Recipe(
        specimen,
        difficulty,
        *world.specimen_seed(seed, split),
        module.FIELD_NM if fov_nm is None else fov_nm,
        renderer,
        world.detectors(specimen, renderer),
        margin_nm,
        defocus_nm,
    )
    # The world's address tells its picture from that of any other.
    own = Path(f"{specimen}-{difficulty}-{seed}-{recipe.digest[:8]}.png")
    shown = picture or (own if out is None else out.with_suffix(".png"))
    exchange.check_suffix(out)
    if shown.suffix.lower() != ".png":
        raise ValueError(f"the picture {str(shown)!r} must end in .png")
    for target in (out, shown):
        if target is not None and target != own and target.exists():
            raise FileExistsError(f"{str(target)!r} exists; nothing is overwritten")
    store = cache.Cache()
    found = store.get(recipe.digest)
    if found is not None:
        made = world.unpack(*found)
    elif renderer == "fast":
        made = world.open_world(recipe)
    else:
        with store.writable(), terminal.rows_of_tiles() as report:
            made = world.render_abtem(
                recipe, store.rows_folder(recipe.digest), report, scheduler, memory_gib
            )
    # The file that was asked for comes first: it is written even if the cache cannot be.
    if out is not None:
        view.export(made, out)
    lost = None
    try:
        world.keep(made)
        store.forget_rows(made.digest)
    except OSError as error:
        if out is None:
            raise
        lost = error
    if not shown.exists():
        shown.parent.mkdir(parents=True, exist_ok=True)
        png = view.picture(made)
        with files.part_of(shown, len(png)) as part:
            part.write_bytes(png)
    if lost is not None:
        raise OSError(f"{str(out)!r} is written, but the world is not kept: {lost}") from lost
    terminal.listing(
        {
            "world": made.digest,
            "features": len(made.specimen.feature_class),
            "picture": str(shown),
            **({} if out is None else {"file": str(out)}),
        },
        as_json,
    )


@worlds.callback(invoke_without_command=True)
def worlds_list(ctx: typer.Context, as_json: AsJson = False) -> None:
    """The simulated worlds in the package and in the cache, a line each."""
    from ..views import worlds as view

    if ctx.invoked_subcommand is None:
        terminal.listing(view.everything(), as_json)


@worlds.command("verify", epilog="Example: stemscout worlds verify")
def worlds_verify(as_json: AsJson = False) -> None:
    """Check every world in the package and in the cache against its checksums."""
    from ..views import worlds as view

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
    """Remove damaged, half-written and unreadable worlds from the cache."""
    from ..views import worlds as view

    terminal.listing({"removed": view.cleaned(everything, older_than_days)}, as_json)


@worlds.command("export", epilog="Example: stemscout worlds export 3f2a91c07de4b856 g3.hspy")
def worlds_export(
    world: Annotated[str, typer.Argument(help="Its address, or the name of a shipped one.")],
    file: Annotated[Path, typer.Argument(help="The file to write: .npz, .hspy or .tif.")],
) -> None:
    """Write a world as a file that HyperSpy opens."""
    from ..views import worlds as view

    view.export(view.named(world), file)
    print(file)


@worlds.command("import", epilog="Example: stemscout worlds import g3.hspy")
def worlds_import(
    file: Annotated[Path, typer.Argument(help="A .npz or .hspy file that was exported.")],
) -> None:
    """Read an exported world into the cache."""
    from ..simulators.world import keep
    from ..views import worlds as view

    print(keep(view.imported(file)))
