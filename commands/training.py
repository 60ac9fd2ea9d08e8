"""Training: of the networks that perceive."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..views import terminal
from .options import AsJson, Number, Seed, check_suffix, check_writable, group

if TYPE_CHECKING:
    from ..agents.perception.rvae import RvaePerception

app = group("Training of networks and policies.")


@app.command(
    epilog="Examples:  stemscout train dcnn --specimen graphene --out mine.safetensors   |   "
    "stemscout train dcnn --specimen graphene --image mine.png --labels mine.json "
    "--pixel-nm 0.02 --out tuned.safetensors"
)
def dcnn(
    specimen: Annotated[str, typer.Option(help="A kind of specimen that a network is known for.")],
    out: Annotated[Path, typer.Option(help="The file of weights to write, .safetensors.")],
    steps: Annotated[
        int | None,
        typer.Option(min=20, help="Batches of 16 scenes; 12000, or 600 on labelled images."),
    ] = None,
    seed: Seed = 0,
    start: Annotated[
        str | None,
        typer.Option("--from", help="Weights to begin with: a specimen's own, or a file."),
    ] = None,
    image: Annotated[
        list[Path] | None, typer.Option(help="A labelled image; may be given several times.")
    ] = None,
    labels: Annotated[
        list[Path] | None, typer.Option(help="Its labels (JSON), in the order of the images.")
    ] = None,
    pixel_nm: Annotated[
        float | None, Number("Side of a pixel of the labelled images, in nm.")
    ] = None,
    hold_out: Annotated[
        float,
        Number("Share of each labelled image, at its right, that it is scored on instead."),
    ] = 0.25,
    scenes: Annotated[
        int, typer.Option(min=1, help="Scenes of validation specimens that it is scored on.")
    ] = 600,
    checkpoint: Annotated[
        Path | None,
        typer.Option(help="Written every 600 steps; given again, training goes on there."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Train a segmentation network on simulated scenes without end, or on labelled images too.

    Writes the weights and, beside them, a picture of how right its confidence is; prints
    precision and recall of everything that it tells.
    """
    from ..agents.perception.dcnn.legend import LEGENDS

    if specimen not in LEGENDS:
        raise ValueError(f"no network is known for {specimen!r}; there are: {', '.join(LEGENDS)}")
    check_suffix(out)
    if not 0 <= hold_out < 1:
        raise ValueError(f"--hold-out {hold_out:g}; it must be at least 0 and below 1")
    beside = _labelled(specimen, image or [], labels or [], pixel_nm, hold_out, seed)
    if beside is not None and start is None:
        start = specimen
    _train(specimen, out, steps, seed, start, beside, scenes, checkpoint, as_json)


def _labelled(
    specimen: str,
    images: list[Path],
    labels: list[Path],
    pixel_nm: float | None,
    hold_out: float,
    seed: int,
) -> Any:
    """Scenes of labelled images; None without any."""
    from ..agents.perception.dcnn.labelled import Labelled, LabelledScenes
    from ..simulators.images import read_image

    if len(images) != len(labels):
        raise ValueError(
            f"{len(images)} images and {len(labels)} files of labels; there must be one for each"
        )
    if not images:
        return None
    if pixel_nm is None:
        raise ValueError("labelled images need --pixel-nm")
    made = []
    for image, own in zip(images, labels, strict=True):
        read = read_image(image).image
        try:
            made.append(Labelled.of(specimen, read, pixel_nm, own, hold_out))
        except ValueError as error:
            raise ValueError(f"{image}: {error}") from error
    return LabelledScenes(tuple(made), seed)


def _train(
    specimen: str,
    out: Path,
    steps: int | None,
    seed: int,
    start: str | None,
    beside: Any,
    count: int,
    checkpoint: Path | None,
    as_json: bool,
) -> None:
    import torch

    from ..agents.perception.dcnn import card, network, training, weights
    from ..agents.perception.dcnn.scenes import Scenes
    from ..agents.perception.dcnn.segmenter import Segmenter
    from ..views.perception import calibration_figure

    torch.set_num_threads(1)
    begin, rate = None, training.RATE
    widths: tuple[int, ...] = network.WIDTHS
    if start is not None:
        members, header = weights.load(weights.path_of(start), specimen)
        begin, widths, rate = members[-1], header.widths, training.RATE / 10
    for path in (out, checkpoint):
        if path is not None:
            check_writable(path)
    taken = steps or (training.STEPS if beside is None else training.TUNING)
    with terminal.steps(f"train {specimen}", taken) as report:
        snapshots = training.train(
            Scenes(specimen, seed),
            taken,
            seed,
            widths,
            begin,
            lambda p: report(p.step, f"loss {p.loss:.4f}"),
            checkpoint,
            beside,
            rate,
        )
    made = {"steps": taken, "seed": seed, "from": start, "labelled": beside is not None}
    written = card.write(out, specimen, snapshots, widths, made, count)
    own: list[dict[str, Any]] = []
    if beside is not None:
        assert start is not None
        before, after = (
            card.plain(beside.score(Segmenter(weights.path_of(w)))) for w in (start, out)
        )
        written = card.add(out, {"labelled": {"before": before, "after": after}})
        own = [
            {
                "held out of yours": name,
                "true": after[name]["true"],
                "F1 before": before[name]["f1"],
                "F1 after": after[name]["f1"],
            }
            for name in after
        ]
    calibration_figure(written).savefig(out.with_suffix(".png"))
    if as_json:
        print(json.dumps(card.as_json(written)))
    else:
        terminal.table(card.rows(written), as_json)
        if own:
            terminal.table(own, as_json)
        terminal.listing({"weights": str(out), "picture": str(out.with_suffix(".png"))}, as_json)


@app.command(
    epilog="Examples:  stemscout train rvae --specimen mos2 --descriptor raw --out mos2.safetensors"
    "   |   stemscout train rvae --specimen mos2 --network mos2 --out columns.safetensors"
)
def rvae(
    specimen: Annotated[str, typer.Option(help="A kind of specimen.")],
    out: Annotated[Path, typer.Option(help="The file of weights to write, .safetensors.")],
    frames: Annotated[
        int, typer.Option(min=2, help="Reference frames of training specimens that it sees.")
    ] = 2000,
    steps: Annotated[int, typer.Option(min=1, help="Of Adam on 100 patches each.")] = 4000,
    seed: Seed = 0,
    descriptor: Annotated[
        str | None, typer.Option(help="What a patch shows of its window: fft (default), or raw.")
    ] = None,
    window: Annotated[
        float | None, Number("Side of a window, as a share of the frame; 0.5 by default.")
    ] = None,
    overlap: Annotated[
        float | None, Number("Of neighbouring windows, as a share of a window; 0.5 by default.")
    ] = None,
    network: Annotated[
        str | None,
        typer.Option(help="Patches about the columns that it finds: a specimen's own, or a file."),
    ] = None,
    around_nm: Annotated[
        float | None, Number("Half the side of a patch about a column, in nm; 0.3 by default.")
    ] = None,
    latents: Annotated[int, typer.Option(min=1, help="Of the content.")] = 2,
    translation: Annotated[
        bool, typer.Option("--translation", help="Shifts are no content either.")
    ] = False,
    scale: Annotated[
        bool, typer.Option("--scale", help="Changes of scale are no content either.")
    ] = False,
    skip: Annotated[
        bool, typer.Option("--skip", help="The decoder's layers are all given the latents.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Train a rotationally invariant VAE on patches of simulated frames, before any run.

    They are windows, or, with a network, lie about the columns that it finds. Prints how well it
    reconstructs patches of validation specimens, and by how much its content moves when they are
    turned.
    """
    import torch

    from ..agents.perception import vae_patches, vae_training

    check_suffix(out)
    torch.set_num_threads(1)
    options = {"latents": latents, "translation": translation, "scale": scale, "skip": skip}
    windows = {"descriptor": descriptor, "window": window, "overlap": overlap}
    perception = _cutter(specimen, windows, network, around_nm, options)
    check_writable(out)
    fewer = max(2, frames // 10)
    shown, held_out, clean = (
        vae_patches.patches_of(perception, vae_patches.frames_of(specimen, *which))
        for which in (
            (frames, seed, "train"),
            (fewer, seed, "validation"),
            (fewer, seed, "validation", False),
        )
    )
    made = vae_training.train(shown, steps, seed, **options)
    card: dict[str, Any] = {
        "frames": frames,
        "patches": len(shown),
        "steps": steps,
        "seed": seed,
        **vae_training.card(made, held_out, clean),
        "limits": vae_patches.limits_of(specimen, perception),
    }
    vae_training.save_weights(out, made, perception.cut, specimen, card)
    terminal.listing({"specimen": specimen, **card, "weights": str(out)}, as_json)


def _cutter(
    specimen: str,
    windows: dict[str, Any],
    network: str | None,
    around_nm: float | None,
    options: dict[str, Any],
) -> RvaePerception:
    """The perception that cuts frames into windows, or about a network's columns."""
    from ..agents.perception.dcnn.perception import check_classes
    from ..agents.perception.dcnn_rvae import AROUND_NM, DcnnRvaePerception
    from ..agents.perception.rvae import RvaePerception
    from ..simulators.specimens import specimen_module

    given = {k: v for k, v in windows.items() if v is not None}
    if network is None:
        if around_nm is not None:
            raise ValueError("--around-nm is of patches about columns; it needs --network")
        return RvaePerception(**given, **options)
    if given:
        raise ValueError(f"--{next(iter(given))} is of windows; patches about columns have none")
    around = AROUND_NM if around_nm is None else around_nm
    perception = DcnnRvaePerception(network, around, **options)
    assert perception.segmenter is not None
    check_classes(perception.segmenter, [c.name for c in specimen_module(specimen).CLASSES])
    return perception
