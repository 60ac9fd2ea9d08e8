"""How long segmentation networks take for one image: ours, and AtomAI's where it is installed.

All are asked for the same image of 128 x 128 px, on one thread and taking turns: the network
alone, and with what comes before and after it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..agents.perception.dcnn import claims, weights
from ..agents.perception.dcnn.legend import LEGENDS
from ..agents.perception.dcnn.network import WIDTHS, UNet, probabilities
from ..agents.perception.dcnn.scenes import SIDE, standard
from ..agents.perception.dcnn.segmenter import Segmenter
from ..hardware.microscope import ScanRequest
from ..simulators.simulated import SimulatedMicroscope
from ..simulators.specimens import default_difficulty, specimen_module
from ..simulators.world import Recipe, open_world, specimen_seed
from .perception_peers import ATOMAI, PEERS, SEGMENTERS, Peer, segmentor
from .threads import one_thread
from .timing import in_turns_ms

IMAGE_PX = 128
PASSES = 60  # of each, after those that do not count
NEW, SHIPS = "new", "shipped"
OWN = "stemscout, "
F32 = NDArray[np.float32]
Spread = tuple[float, float]  # median and 95th percentile
Call = Callable[[], object]


@dataclass(frozen=True)
class Pass:
    """How long a network takes for one image.

    Attributes:
        network: by name; ours by the specimens that they are for.
        weights: ``shipped``, or ``new``, with which it takes as long.
        parameters: of the network.
        network_ms: alone, from an image that is ready for it to probabilities.
        image_ms: from counts to probabilities.
        claims_ms: from counts to columns and point features; None of new weights, which see
            something or nothing anywhere.
    """

    network: str
    weights: str
    parameters: int
    network_ms: Spread
    image_ms: Spread
    claims_ms: Spread | None


@dataclass(frozen=True, eq=False)
class _Timed:
    """A network, and what is called of it."""

    network: str
    weights: str
    parameters: int
    calls: tuple[Call, ...]  # alone, with the image, and where it makes sense with claims


def passes(peers: Sequence[Peer] = PEERS, repeats: int = PASSES, seed: int = 0) -> list[Pass]:
    """Our network for each specimen, and the peers' that are at hand.

    Where the package has no weights for a specimen, a new network of the same size is timed.
    AtomAI's are told to tell as many classes as the first of ours.

    Args:
        peers: that are at hand.
        repeats: passes of each.
        seed: of the images.
    """
    names = list(LEGENDS)
    first = _image(names[0], seed)
    with (
        TemporaryDirectory() as folder,
        one_thread(),
        torch.random.fork_rng(devices=[]),
    ):
        torch.manual_seed(seed)
        timed = [_own(name, _image(name, seed), Path(folder)) for name in names]
        if ATOMAI in peers:
            classes = len(LEGENDS[names[0]].channels)
            timed += [_atomai(name, classes, first) for name in SEGMENTERS]
        times = in_turns_ms([c for t in timed for c in t.calls], repeats)
    found = []
    for of in timed:
        spreads = [_spread(t) for t in times[: len(of.calls)]]
        times = times[len(of.calls) :]
        with_claims = spreads[2] if len(spreads) > 2 else None
        alone, image = spreads[:2]
        found.append(Pass(of.network, of.weights, of.parameters, alone, image, with_claims))
    return found


def _image(name: str, seed: int) -> F32:
    """Counts (128, 128) of a test specimen at the network's own pixels."""
    module = specimen_module(name)
    difficulty = default_difficulty(name)
    entropy, key = specimen_seed(seed, "test")
    world = open_world(Recipe(name, difficulty, entropy, key, module.FIELD_NM))
    side = IMAGE_PX * LEGENDS[name].pixel_nm
    dwell = module.LEVELS[difficulty].dwell_us
    request = ScanRequest((0.0, 0.0), (side, side), (IMAGE_PX, IMAGE_PX), dwell)
    microscope = SimulatedMicroscope(world, seed, dwell)
    microscope.open()
    return microscope.acquire(request).image


def _own(name: str, image: F32, folder: Path) -> _Timed:
    """Our network for a specimen, by the weights in the package or by new ones."""
    legend = LEGENDS[name]
    ships = (weights.SHIPPED / f"{name}.safetensors").exists()
    if not ships:
        header = weights.Header(name, legend.pixel_nm, legend.channels, WIDTHS, 1)
        weights.save(folder / f"{name}.safetensors", [UNet(len(legend.channels))], header)
    segmenter = Segmenter(name if ships else folder / f"{name}.safetensors")
    pixel = (legend.pixel_nm,) * 2
    ready = standard(image, (SIDE, SIDE))[None]
    calls: list[Call] = [
        partial(probabilities, segmenter.members, ready),
        partial(segmenter.look, image, pixel),
    ]

    def claimed() -> None:
        seen = segmenter.look(image, pixel)
        claims.columns(seen)
        claims.points(seen)

    if ships:
        calls.append(claimed)
    count = sum(p.numel() for p in segmenter.members[0].parameters())
    return _Timed(OWN + name, SHIPS if ships else NEW, count, tuple(calls))


def _atomai(name: str, classes: int, image: F32) -> _Timed:
    """One of AtomAI's, as its ``Segmentor`` has it."""
    model = segmentor(name, classes)
    network = model.net.eval()
    ready = torch.from_numpy(standard(image))[None, None]

    def alone() -> Any:
        with torch.inference_mode():
            return torch.softmax(network(ready), dim=1).numpy()

    whole = partial(model.predict, image, compute_coords=False, verbose=False)
    count = sum(p.numel() for p in network.parameters())
    return _Timed(f"AtomAI, {name}", NEW, count, (alone, whole))


def _spread(times_ms: NDArray[np.float64]) -> Spread:
    return float(np.median(times_ms)), float(np.percentile(times_ms, 95))


def lines(found: Sequence[Pass]) -> list[dict[str, str]]:
    """The table: medians, with the 95th percentiles behind them."""

    def shown(spread: Spread | None) -> str:
        return "" if spread is None else f"{spread[0]:.1f} ({spread[1]:.1f})"

    return [
        {
            "network": f.network,
            "weights": f.weights,
            "parameters": f"{f.parameters / 1e6:.2f} million",
            "network, ms": shown(f.network_ms),
            "with the image, ms": shown(f.image_ms),
            "with claims, ms": shown(f.claims_ms),
        }
        for f in found
    ]


def remarks(found: Sequence[Pass]) -> list[str]:
    """What has to be known of the table."""
    said = ["Times are medians, with the 95th percentile in brackets."]
    own = [f for f in found if f.network.startswith(OWN)]
    new = [f for f in own if f.weights == NEW]
    if new:
        which = (
            "any specimen" if new == own else ", ".join(f.network.removeprefix(OWN) for f in new)
        )
        said.append(
            f"The package has no weights for {which}: new ones take as long, and nothing is "
            "claimed of what they see."
        )
    if len(own) < len(found):
        said.append("AtomAI's networks are new, too; its search for atoms is left out.")
    return said
