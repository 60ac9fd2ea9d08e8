"""The card of a network: how it was made, how good it is, and where that ends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .legend import LEGENDS
from .scenes import DEFOCUS_NM, DOSES, PIXELS, STRETCH, Scenes, Spread, noise_of
from .scoring import Tally, score
from .segmenter import Segmenter
from .weights import Header, load, save

if TYPE_CHECKING:
    from .network import UNet

SEED = 1000  # of the scenes that a network is scored on
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
    scores = {
        name: plain(score(segmenter, islice(_validation(specimen, spread), count)))
        for name, spread in SPREADS.items()
    }
    noise = [noise_of(s.image) for s in islice(_validation(specimen, Spread()), count)]
    trained = {
        "renderer": "fast, HAADF and MAADF, all difficulties",
        "pixel_nm": [p * legend.pixel_nm for p in PIXELS],
        "doses": list(DOSES),
        "defocus_nm": DEFOCUS_NM,
        "stretch": STRETCH,
        "noise": [round(float(np.percentile(noise, p)), 3) for p in (0.5, 99.5)],
    }
    card = {"made": dict(made), "trained_on": trained, "scenes": count, "scores": scores}
    header = replace(header, card=card)
    save(path, load(path)[0], header)
    return header


def _validation(specimen: str, spread: Spread) -> Any:
    return Scenes(specimen, SEED, split=1, spread=spread).scenes()


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
