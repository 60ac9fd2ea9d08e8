"""The card of a network: how it was made, how good it is, and where that ends."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .claims import FEATURE
from .legend import LEGENDS, Legend
from .noise import noise_of
from .scenes import DEFOCUS_NM, DOSES, PIXELS, STRETCH, Scene, Scenes, Spread
from .scoring import BINS, Tally, add_up, score
from .segmenter import EVEN, Segmenter
from .weights import Header, load, save

if TYPE_CHECKING:
    from .network import UNet

SEED = 1000  # of the scenes that a network is scored on; thresholds are chosen on the next
PER_WORLD = 8  # scenes of one specimen: many specimens, lest one defect be scored many times
FEWEST = 10  # features, to choose a threshold by
HARDLY = 0.02  # of F1: what a few features more or less would change
TOLD = 0.5  # F1: what is found less well is not told
RELIABLE = 0.8  # F1, mean of that of columns and that of features
PLAIN = Spread(
    pixels=(1.0, 1.0),
    plain=1.0,
    doses=(1.0, 1.0),
    defocus_nm=0.0,
    disturbed=0.0,
    haadf=1.0,
    power=0.0,
)
SPREADS: Mapping[str, Spread] = {"reference": PLAIN, "spread": Spread()}


def write(
    path: Path,
    specimen: str,
    members: Sequence[UNet],
    widths: tuple[int, ...],
    made: Mapping[str, Any],
    count: int,
) -> Header:
    """Save networks, score the last, and save them again with their card.

    Args:
        path: of the file of weights.
        specimen: that they are for.
        members: snapshots of one training.
        widths: of their levels.
        made: steps, seed, and what they began with.
        count: validation scenes of either kind: as the reference frame is, and of the whole
            spread that training saw.
    """
    legend = LEGENDS[specimen]
    header = Header(specimen, legend.pixel_nm, legend.channels, widths, len(members))
    save(path, members, header)
    segmenter = Segmenter(path)
    some = score(
        segmenter,
        islice(_validation(specimen, PLAIN, SEED + 1), count),
        dict.fromkeys((*legend.features, *legend.as_area), FEATURE),
    )
    thresholds = {n: best_threshold(t) for n, t in some.items() if n in legend.features}
    card: dict[str, Any] = {
        "made": dict(made),
        "trained_on": {
            "renderer": "fast, HAADF and MAADF, all difficulties",
            "pixel_nm": [p * legend.pixel_nm for p in PIXELS],
            "doses": list(DOSES),
            "defocus_nm": DEFOCUS_NM,
            "stretch": STRETCH,
        },
        "thresholds": thresholds,
    }
    scores: dict[str, dict[str, Tally]] = {}
    noise: list[tuple[float, dict[str, Tally]]] = []
    for name, spread in SPREADS.items():
        own = []
        for scene in islice(_validation(specimen, spread), count):
            own.append(score(segmenter, [scene], thresholds))
            if spread is not PLAIN:
                noise.append((noise_of(scene.image), _sought(own[-1], legend)))
        scores[name] = add_up(own)
    card |= {
        "noise": greatest_noise(noise),
        "scored_on": {
            "specimens": "validation, HAADF at the reference dose; and as training varies them",
            "seed": SEED,
            "scenes": count,
        },
        "scores": {name: plain(of) for name, of in scores.items()},
        "limits": [
            "It has seen simulations alone, by the fast renderer, of the defects that they have.",
            "Columns under contamination are neither asked for nor held against it.",
            f"Pixels beyond {PIXELS[0]:g} to {PIXELS[1]:g} of its own, and more noise than "
            f"`noise`, of an image's deviation, are beyond what it is good at.",
            *untold(scores["reference"]),
        ],
    }
    header = replace(header, card=card)
    save(path, members, header)
    return header


def untold(scores: Mapping[str, Tally]) -> list[str]:
    """A sentence for each channel that is not told, though it is there to be told."""
    return [
        f"It does not tell {name}: F1 {tally.f1:.2f} as the reference frame shows it."
        for name, tally in scores.items()
        if tally.true and tally.f1 < TOLD
    ]


def add(path: Path, more: Mapping[str, Any]) -> Header:
    """Write more into the card of a file."""
    members, header = load(path)
    header = replace(header, card={**header.card, **more})
    save(path, members, header)
    return header


def best_threshold(tally: Tally) -> float:
    """From which confidence on the claims of a class have the highest F1, or hardly less.

    Of those within ``HARDLY`` of it the nearest to a half, which it is too where there are few.
    """
    if tally.true < FEWEST:
        return EVEN
    claimed, right = (
        np.cumsum(of[::-1])[::-1].astype(float) for of in (tally.claimed_at, tally.right_at)
    )
    f1 = 2.0 * right / np.maximum(tally.true + claimed, 1.0)
    edges = np.arange(BINS) / BINS
    sound = (edges >= FEATURE - 1e-9) & (f1 >= f1.max() - HARDLY)
    return float(min(edges[sound], key=lambda t: abs(t - EVEN), default=EVEN))


def greatest_noise(scenes: Sequence[tuple[float, Mapping[str, Tally]]]) -> float:
    """Up to which noise, as a share of the deviation, a network is reliable.

    Scenes, each with tallies of columns and of features, are put in order of their noise, and in
    ``BINS`` lots of it.  A lot is reliable where the F1, the mean of both, is at least
    ``RELIABLE``; the limit is that which most lots agree with, reliable up to it and not beyond.
    Lots in which nothing is sought tell nothing.
    """
    ordered = sorted(scenes, key=lambda s: s[0])
    noise, reliable = [0.0], []
    for lot in np.array_split(np.arange(len(ordered)), BINS):
        whole = add_up(ordered[k][1] for k in lot)
        f1 = [tally.f1 for tally in whole.values() if tally.true]
        if f1:
            noise.append(max(ordered[k][0] for k in lot))
            reliable.append(float(np.mean(f1)) >= RELIABLE)
    if not reliable:
        return 1.0
    agree = [sum(reliable[:k]) + sum(not r for r in reliable[k:]) for k in range(len(noise))]
    return round(noise[int(np.argmax(agree))], 3)


def _sought(own: Mapping[str, Tally], legend: Legend) -> dict[str, Tally]:
    """All columns together, and all features: points, or lines where there are no points."""
    points = [c for c, b in zip(legend.channels, legend.blobs, strict=True) if b]
    features = [c for c in legend.features if c in points] or list(legend.features)
    found = {"columns": Tally(), "features": Tally()}
    for name, channels in zip(found, (legend.kinds, features), strict=True):
        for channel in channels:
            found[name].count(own[channel])
    return found


def _validation(specimen: str, spread: Spread, seed: int = SEED) -> Iterator[Scene]:
    return Scenes(specimen, seed, split=1, spread=spread, per_world=PER_WORLD).scenes()


def plain(tallies: Mapping[str, Tally]) -> dict[str, Any]:
    """Tallies as JSON."""
    return {
        name: {
            "true": t.true,
            "claimed": t.claimed,
            "right": t.right,
            "precision": round(t.precision, 4),
            "recall": round(t.recall, 4),
            "f1": round(t.f1, 4),
            "off_pm": round(1e3 * float(np.sqrt(np.mean(np.square(t.off_nm)))), 2)
            if t.off_nm
            else None,
            "claimed_at": t.claimed_at.tolist(),
            "right_at": t.right_at.tolist(),
        }
        for name, t in tallies.items()
    }


def rows(header: Header) -> list[dict[str, Any]]:
    """The scores as a table, a row for each channel."""
    first, second = (header.card["scores"][name] for name in SPREADS)
    return [
        {
            "channel": name,
            "true": first[name]["true"],
            "precision": first[name]["precision"],
            "recall": first[name]["recall"],
            "F1": first[name]["f1"],
            "off, pm": first[name]["off_pm"],
            "F1 over the spread": second[name]["f1"],
        }
        for name in header.channels
    ]


def as_json(header: Header) -> dict[str, Any]:
    """All of it."""
    return asdict(header)
