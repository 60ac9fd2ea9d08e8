"""The cards of the networks in the package, as a page.

    python docs/cards.py

writes docs/cards.md.
"""

from pathlib import Path

from stemscout.agents.perception.dcnn import card, weights
from stemscout.agents.perception.dcnn.legend import LEGENDS
from stemscout.agents.perception.dcnn.scoring import BORDER_NM, COLUMN_TOLERANCE_NM

HEAD = f"""# How good the networks in the package are

What the network of each specimen tells, on scenes of validation specimens of all difficulties
that neither its training nor the choice of its thresholds has seen: as the reference frame shows
them (HAADF, reference dose), and over the whole spread of training (pixels of 0.5 to 2.6 of the
network's own, a quarter to six times the dose, defocus, stretch, MAADF and all disturbances).
Columns count as right within {COLUMN_TOLERANCE_NM:g} nm, points within the tolerance of their
class, lines along their length within it, without what is nearer to the border than
{BORDER_NM:g} nm; areas count by their pixels. *off* is the root mean square distance of those
that are right. Written by `python docs/cards.py` from the cards that the files carry; the same
table is printed by `stemscout train dcnn` at its end.
"""


def page() -> str:
    parts = [HEAD]
    for specimen in LEGENDS:
        header = weights.load(weights.path_of(specimen))[1]
        made, on = header.card["made"], header.card["scored_on"]
        parts.append(
            f"\n## {specimen}\n{made['steps']:,} steps, seed {made['seed']}; {on['scenes']} scenes "
            f"of either kind; reliable up to noise of {header.card['noise']:.2f} of the "
            "deviation.\n\n"
            "| tells | there | precision | recall | F1 | off, pm | F1 over the spread |\n"
            "|---|---|---|---|---|---|---|\n"
        )
        for row in card.rows(header):
            name, true, *shares, off, spread = row.values()
            cells = [name, f"{true:,}", *(f"{s:.2f}" for s in shares)]
            cells += ["" if off is None else f"{off:.0f}", f"{spread:.2f}"]
            parts.append("| " + " | ".join(cells) + " |\n")
        untold = [s for s in header.card["limits"] if s.startswith("It does not tell")]
        parts += ["\n", " ".join(untold), "\n"] if untold else []
    return "".join(parts)


if __name__ == "__main__":
    Path(__file__).with_name("cards.md").write_text(page())
