"""The paper's protocol as a whole: its suite, one table of what came of it, and what that says.

Creange, Dyck, Vasudevan, Ziatdinov & Kalinin, Mach. Learn.: Sci. Technol. 3 (2022) 015024, make
two claims.  Where features are large and well defined all workflows work, and complexity buys
nothing; where they are small and ill defined, DCNN and rVAE open what the linear workflow misses.
``paper_verdicts`` holds the numbers against both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import statistics
from .pictures import RECORDED, SIMULATED, missing
from .protocol import STEPS
from .results import Results
from .statistics import Interval
from .suite import Suite, label_of, load_suite
from .tables import Cell, Rows
from .workflows import PREFIX, Setting

SUITE = "paper"
SIMPLE = "linear"  # the perception of the workflow that the others are held against
WAYS = {True: "fitted on all windows", False: "fitted online"}
RECONSTRUCTION = "dcnn-rvae"
LAST = STEPS[-1]
# Of truth, what workflows are held against each other by.  A feature is shown by 16 windows, so
# that soon all are found, in whatever order; how many of these windows were taken tells longer.
MEASURES = {
    "over_chance": "of the features found",
    "shown_over_chance": "of the windows that show one",
}
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Line:
    """A workflow on a picture.

    Attributes:
        picture, label: which.
        perception: the workflow, by its perception.
        oracle_descriptors: its way.
        everywhere: it runs on all pictures of the suite; the others stand beside them.
        runs, failed: over the seeds; what failed scores what it had by then.
        ssim: interquartile mean by step.
        collected, by_their_rule: of the feature pixels, by Otsu's threshold and by the
            notebooks' rule, after the last batch.
        shown, features, over_chance, shown_over_chance: as of ``protocol.scores``; None of a
            recorded picture.
    """

    picture: str
    label: str
    perception: str
    oracle_descriptors: bool
    everywhere: bool
    runs: int
    failed: int
    ssim: Mapping[int, Interval | None]
    collected: Interval | None
    by_their_rule: Interval | None
    shown: Interval | None
    features: Interval | None
    over_chance: Interval | None
    shown_over_chance: Interval | None


@dataclass(frozen=True)
class Difference:
    """Between two workflows on the same simulated specimens, in what they found of the truth.

    Attributes:
        picture, way: where.
        measure: a key of ``MEASURES``.
        one, other: labels; ``value`` is by how much the one has more, the mean over all
            batches, its interquartile mean over specimens.
        p: by swapping, adjusted over what answers the same question: whether anything finds more
            on this picture, this way (Holm).  Over the whole table, ten seeds could tell nothing.
    """

    picture: str
    way: bool
    measure: str
    one: str
    other: str
    value: Interval
    p: float

    @property
    def real(self) -> bool:
        """The interval leaves out 0, and the p-value is at most 0.05."""
        return bool((self.value.low > 0 or self.value.high < 0) and self.p <= 0.05)


def at_hand(suite: Suite) -> tuple[Suite, list[str]]:
    """A suite of the protocol without the pictures that are not there, and a sentence for each.

    Raises:
        ValueError: nothing is left.
    """
    why = {e: missing(e.removeprefix(PREFIX)) for e in suite.environments}
    environments = tuple(e for e in suite.environments if why[e] is None)
    left_out = [f"{e} is left out: {of}" for e, of in why.items() if of is not None]
    agents = []
    for agent in suite.agents:
        pictures = agent.get("pictures")
        kept = None if pictures is None else [p for p in pictures if p in environments]
        if kept is None:
            agents.append(agent)
        elif kept:
            agents.append({**agent, "pictures": kept})
        else:
            left_out.append(f"{label_of(agent)} is left out: its pictures are")
    if not environments or not agents:
        raise ValueError(f"suite {suite.name!r}: nothing is left; {'; '.join(left_out)}")
    return replace(suite, environments=environments, agents=tuple(agents)), left_out


def suite(seeds: int | None = None) -> tuple[Suite, list[str]]:
    """The paper's suite with what is at hand, on its seeds or on so many.

    Raises:
        ValueError: no seeds.
    """
    if seeds is not None and seeds < 1:
        raise ValueError(f"{seeds} seeds; there must be at least 1")
    whole = load_suite(SUITE)
    return at_hand(whole if seeds is None else replace(whole, specimens=tuple(range(seeds))))


Place = tuple[str, str]  # picture, label
Runs = dict[Place, dict[int, dict[str, Any]]]


def runs_of(results: Results) -> Runs:
    """The records of each workflow on each picture by seed, in the suite's order.

    Raises:
        ValueError: the folder holds something else, or nothing finished.
    """
    if results.kind != "protocol":
        raise ValueError(f"{str(results.folder)!r} holds no runs of the paper's protocol")
    found: Runs = {
        (e.removeprefix(PREFIX), label_of(a)): {}
        for e in results.suite["environments"]
        for a in results.suite["agents"]
        if Setting.of(a).runs_on(e)
    }
    for record in results.records():
        job = record["job"]
        found[job["environment"].removeprefix(PREFIX), job["label"]][job["specimen"]] = record
    found = {place: dict(sorted(of.items())) for place, of in found.items() if of}
    if not found:
        raise ValueError(f"{str(results.folder)!r} holds no finished run yet; run the suite")
    return found


def lines(results: Results, runs: Runs) -> list[Line]:
    """The table: a line for each workflow on each picture."""
    settings = {label_of(a): Setting.of(a) for a in results.suite["agents"]}
    return [
        _line(picture, label, settings[label], list(of.values()))
        for (picture, label), of in runs.items()
    ]


def _line(picture: str, label: str, setting: Setting, records: Sequence[Any]) -> Line:
    def of(name: str, step: int | None = None) -> Interval | None:
        held = [r["scores"][name] for r in records]
        own = [h if step is None or h is None else h[str(step)] for h in held]
        if any(v is None for v in own):
            return None
        return statistics.interval(statistics.interquartile_mean, [np.array(own)])

    return Line(
        picture,
        label,
        setting.perception,
        setting.oracle_descriptors,
        setting.pictures is None,
        len(records),
        sum(r["failed"] for r in records),
        {n: of("ssim", n) for n in STEPS},
        of("collected", LAST),
        of("by_their_rule", LAST),
        of("shown", LAST),
        of("features", LAST),
        of("over_chance"),
        of("shown_over_chance"),
    )


def rows_of(found: Sequence[Line]) -> Rows:
    """The table as people read it."""
    return [
        {
            "picture": of.picture,
            "workflow": of.label,
            "descriptors": WAYS[of.oracle_descriptors],
            "runs": str(of.runs) + (f", {of.failed} failed" if of.failed else ""),
            **{f"SSIM {n}": Cell.of(of.ssim[n]).whole for n in STEPS},
            f"collected {LAST}": Cell.of(of.collected).whole,
            "by their rule": Cell.of(of.by_their_rule).whole,
            "shown": Cell.of(of.shown).whole,
            "features": Cell.of(of.features).whole,
            "over chance": Cell.of(of.over_chance).whole,
            "shown over chance": Cell.of(of.shown_over_chance).whole,
        }
        for of in found
    ]


def differences(results: Results, runs: Runs) -> list[Difference]:
    """Of every workflow that runs on all pictures over the linear one, on simulated specimens.

    A workflow whose perception was trained beforehand and learns nothing in a run has but one
    line; it is compared in both ways.
    """
    return [
        d
        for picture in SIMULATED
        for way in WAYS
        for d in _over_simple(results, runs, picture, way)
    ]


def _over_simple(
    results: Results, runs: Mapping[Any, Any], picture: str, way: bool
) -> list[Difference]:
    """The answers to one question."""
    labels = {p: m for p, m in _of_way(results, way).items() if (picture, m) in runs}
    simple = labels.pop(SIMPLE, None)
    if simple is None:
        return []
    found: list[Difference] = []
    tests: list[float] = []
    for one in labels.values():
        for measure in MEASURES:
            pair = _paired(runs[picture, one], runs[picture, simple], measure)
            if pair is None:
                continue
            value = statistics.interval(statistics.difference, *pair)
            # Of the means, which all pairs have a part in; of the middle half few.
            tests.append(statistics.swap_test(statistics.difference_of_means, *pair))
            found.append(Difference(picture, way, measure, one, simple, value, 1.0))
    adjusted = statistics.holm(tests) if tests else []
    return [replace(d, p=p) for d, p in zip(found, adjusted, strict=True)]


def _of_way(results: Results, way: bool) -> dict[str, str]:
    """By perception, the label of the workflow with it that runs on all pictures."""
    of: dict[str, dict[bool, str]] = {}
    for agent in results.suite["agents"]:
        setting = Setting.of(agent)
        if setting.pictures is None:
            own = of.setdefault(setting.perception, {})
            own.setdefault(setting.oracle_descriptors, label_of(agent))
    return {p: labels.get(way, next(iter(labels.values()))) for p, labels in of.items()}


def _paired(
    one: Mapping[int, Any], other: Mapping[int, Any], measure: str
) -> tuple[Any, Any] | None:
    """Scores of both on the specimens that both have, as strata."""
    both = [(one[s]["scores"][measure], other[s]["scores"][measure]) for s in one if s in other]
    sound = [pair for pair in both if None not in pair]
    if not sound:
        return None
    first, second = np.array(sound, dtype=np.float64).T
    return [first], [second]


def rows_of_differences(found: Sequence[Difference]) -> Rows:
    """The table of differences as people read it."""
    return [
        {
            "picture": d.picture,
            "descriptors": WAYS[d.way],
            "measure": MEASURES[d.measure],
            "more by": d.one,
            "than by": d.other,
            "difference": Cell.of(d.value).whole,
            "p": f"{d.p:.3f}",
            "real": "yes" if d.real else "no",
        }
        for d in found
    ]


def remarks(results: Results, runs: Runs) -> list[str]:
    """What has to be known of all of it, in sentences."""
    wanted = len(results.jobs())
    there = sum(len(of) for of in runs.values())
    failed = sum(r["failed"] for of in runs.values() for r in of.values())
    seeds = len(results.suite["specimens"])
    said = []
    if there < wanted:
        said.append(f"Unfinished: {there} of {wanted} runs are there.")
    if failed:
        word = "run" if failed == 1 else "runs"
        said.append(f"{failed} {word} failed; what they had by then is scored.")
    if seeds < 10:
        said.append(f"Only {seeds} seeds: intervals over so few claim more than they can.")
    without = [n for n in (*RECORDED, *SIMULATED) if n not in {p for p, _ in runs}]
    if without:
        said.append(f"Pictures without any run: {', '.join(without)}.")
    perceptions = {Setting.of(a).perception for a in results.suite["agents"]}
    if RECONSTRUCTION in perceptions:
        said.append(
            "The third workflow, in which atoms found by a network feed the rVAE, is a "
            "reconstruction: its notebook is not public in full."
        )
    else:
        said.append(
            "The third workflow, in which atoms found by a network feed the rVAE, is not among "
            "these; it would be a reconstruction, for its notebook is not public in full."
        )
    return said
