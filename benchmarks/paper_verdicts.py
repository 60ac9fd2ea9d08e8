"""What the numbers of the paper's protocol say of its claims, in sentences.

Creange et al. (2022) claim that where features are large and well defined all workflows work, and
complexity buys nothing; and that where they are small and ill defined, DCNN and rVAE open what
the linear workflow misses.  The rules by which numbers are held against both, and against
the published curve, are fixed here before there are any.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from .paper import LAST, MEASURES, WAYS, Difference, Line
from .tables import Cell

WORKS = 0.8  # of the similarity at step 30, from which a workflow has its map
LARGE = ("nio", "simulated-nio")  # pillars: features as large as a window, or larger
SMALL = ("simulated-graphene", "simulated-bfo")  # defects and walls, thinner than a window
SMALL_RECORDED = ("graphene", "bfo")  # the same, and nobody has marked what they show
NOTHING = 0.05  # of what is found: to have no more than so much more is to have bought nothing
# Read off the published figures for NiO-LSMO, by perception: SSIM by step, and the share of the
# feature pixels at the last one where it is told.
PUBLISHED: Mapping[str, Mapping[int, float]] = {
    "linear": {2: 0.40, 10: 0.77, 20: 0.90, 30: 0.93, 50: 0.93},
    "rvae": {2: 0.49, 10: 0.58, 20: 0.73, 30: 0.75, 50: 0.80},
}
COLLECTED: Mapping[str, float] = {"linear": 0.60}
NEAR = 0.1  # of the published similarity, at steps 10 and 30
Judged = tuple[str | None, str]  # a verdict, and the sentence that has it


def verdicts(found: Sequence[Line], apart: Sequence[Difference]) -> dict[str, list[str]]:
    """What the numbers say of the published curve and of both claims, in sentences under a title.

    Returns:
        By title, none where nothing was run that tells.
    """
    said = {
        "The published curve": _summed(_against_published(found)),
        "Large, well-defined features: do all workflows work?": _summed(
            [s for way in WAYS for p in LARGE for s in _works(found, p, way)]
        ),
        "And does complexity buy nothing there?": _summed(
            [s for way in WAYS for p in LARGE for s in _buys(apart, p, way, False)]
        ),
        "Small, ill-defined features: do the others open what the linear one misses?": _summed(
            [s for way in WAYS for p in SMALL for s in _buys(apart, p, way, True)]
        ),
        "The same on recorded images, whose truth nobody knows: does each find its own map?": (
            _summed([s for way in WAYS for p in SMALL_RECORDED for s in _works(found, p, way)])
        ),
    }
    return {title: sentences for title, sentences in said.items() if sentences}


def _summed(judged: Sequence[Judged]) -> list[str]:
    """Sentences, each with its verdict if it has one, after how many there are of each."""
    counts = Counter(verdict for verdict, _ in judged if verdict is not None)
    total = sum(counts.values())
    sentences = [sentence for _, sentence in judged]
    if total < 2:
        return sentences
    each = ", ".join(f"{verdict}: {n}" for verdict, n in counts.most_common())
    return [f"Of {total} {each}.", *sentences]


def _against_published(found: Sequence[Line]) -> list[Judged]:
    said: list[Judged] = []
    for of in found:
        wanted = PUBLISHED.get(of.perception)
        if of.picture != "nio" or wanted is None or not of.oracle_descriptors:
            continue
        told = [(n, of.ssim[n]) for n in (10, 30)]
        each = [(n, float(i.value), wanted[n]) for n, i in told if i is not None]
        if not each:
            continue
        near = all(abs(own - theirs) <= NEAR for _, own, theirs in each)
        numbers = " and ".join(f"{own:.2f} ({theirs:.2f}) at step {n}" for n, own, theirs in each)
        verdict = f"{'within' if near else 'not within'} {NEAR:g}"
        said.append(
            (verdict, f"{of.label}: {numbers}, the published value in brackets; {verdict}.")
        )
        if of.by_their_rule is not None and of.perception in COLLECTED:
            sentence = (
                f"{of.label} has collected {float(of.by_their_rule.value):.2f} of the feature "
                f"pixels at step {LAST} by the notebooks' rule; published: "
                f"{COLLECTED[of.perception]:.2f}."
            )
            said.append((None, sentence))
    return said


def _works(found: Sequence[Line], picture: str, way: bool) -> list[Judged]:
    """Whether each workflow has its own map at step 30."""
    said: list[Judged] = []
    for of in found:
        if of.picture != picture or not of.everywhere or of.oracle_descriptors != way:
            continue
        at = of.ssim[30]
        if at is None:
            continue
        verdict = "works" if at.low >= WORKS else "does not work" if at.high < WORKS else "may work"
        sentence = (
            f"{of.label} on {picture} {verdict}: SSIM {Cell.of(at).whole} at step 30, of the "
            f"{WORKS:g} that are asked for; descriptors {WAYS[way]}."
        )
        said.append((verdict, sentence))
    return said


def _buys(apart: Sequence[Difference], picture: str, way: bool, wanted: bool) -> list[Judged]:
    """Whether the others find more than the linear workflow, and whether the paper says so."""
    said: list[Judged] = []
    for d in apart:
        if d.picture != picture or d.way != way:
            continue
        more, less = d.real and d.value.low > 0, d.real and d.value.high < 0
        nothing = d.value.high <= NOTHING
        what = (
            "has more than"
            if more
            else "has less than"
            if less
            else "has no more than"
            if nothing
            else "cannot be told from"
        )
        # That nothing could be told apart is a sign of nothing.
        holds, fails = (more, less or nothing) if wanted else (not more and (less or nothing), more)
        verdict = "holds" if holds else "does not hold" if fails else "undecided"
        sentence = (
            f"{d.one} {what} {d.other} on {picture}, as far as these seeds tell: a difference of "
            f"{Cell.of(d.value).whole} {MEASURES[d.measure]}, p = {d.p:.3f}; descriptors "
            f"{WAYS[way]}. The claim: {verdict}."
        )
        said.append((f"the claim {verdict}" if verdict != "undecided" else verdict, sentence))
    return said
