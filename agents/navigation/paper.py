"""The protocol of Creange et al. (2022), as its published notebooks set it.

The notebooks (github.com/nccreang/AE_Workflows) optimise with GPim
(github.com/ziatdinovmax/GPim); both were read for what they do, and this is written anew.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import inf
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...envs.numbers import is_number
from ..agent import Context, Needs
from .acquisition import ACQUISITIONS
from .believer import LENGTH_STEPS, bounds
from .gp import Belief, LatticeGP
from .navigator import PITCH, Bools, Candidates, Decision, Floats, Situation
from .seeding import Seeds

OFFERED = ("PI", "EI", "mean+sigma", "sigma")
BORDER = 3  # candidates along each edge that the published run leaves out
Indices = NDArray[np.int64]


class Paper:
    """The paper's Bayesian optimisation: batches by the probability of improvement.

    One seed point, then ``steps`` batches: of the ``among`` best candidates by the
    acquisition, up to ``batch`` that lie at least one length scale apart, filled up at
    random.  The process has a rational-quadratic kernel whose length scale lies within 1 and
    20 steps between candidates, and is fitted anew as points come in.

    By default the protocol is *mended*: no candidate is taken twice, a batch holds as many
    different new ones as there are, the incumbent is the best posterior mean at measured
    points, ξ is in standard deviations of the process so that units do not matter, and
    candidates whose values are the same to a computer are told apart
    (``mended_batch``).  ``faithful`` does what the published code does, repeats included:
    its batches (``published_batch``) stall once the acquisition has underflowed to 0 on
    everything new; its incumbent is the greatest of all means *and standard deviations* at
    measured points, because GPim takes the maximum over the pair that its prediction
    returns; σ includes the noise; ξ is absolute; and nothing within 3 candidates of the edge
    is measured.  Repeated frames cost charge as all do; a candidate's latest reading counts.

    Differences that remain: the hyper-parameters are those of the greatest posterior density
    (``likelihood``), not what 300 steps of Adam come to; the process has a mean that is
    fitted, where GPim's is 0; and of the seed frame alone nothing is concluded, so that the
    first batch lies where least is known.

    Args:
        acquisition: ``PI`` as published; ``EI``, ``sigma``, or ``mean+sigma`` (mean + 4σ,
            the notebooks' custom one).
        exploration: ξ of ``PI`` and ``EI``, κ of ``mean+sigma``; None for 0.01 and 4.
        faithful: repeat the published run, its mistakes included.
        batch: frames of one step.
        among: how many of the best candidates a batch is chosen from.
        steps: batches until it ends.
        seed_frames: frames taken first.
        seeding: where they lie (``Seeds``).
        length_scale_nm: bounds of the length scale; None for 1 and 20 steps.
        noise: variance of the targets' noise, in variances of the process; None fits it.
        border: candidates along each edge that are left out; None for 3 where faithful,
            else 0.

    Raises:
        ValueError: no such acquisition or number.
    """

    name = "paper"
    privileged = False
    needs = Needs()

    def __init__(
        self,
        acquisition: str = "PI",
        exploration: float | None = None,
        faithful: bool = False,
        batch: int = 10,
        among: int = 500,
        steps: int = 50,
        seed_frames: int = 1,
        seeding: str = "sobol",
        length_scale_nm: Sequence[float] | None = None,
        noise: float | None = None,
        border: int | None = None,
    ) -> None:
        if acquisition not in OFFERED:
            known = ", ".join(OFFERED)
            raise ValueError(f"unknown acquisition {acquisition!r}; there are: {known}")
        if not isinstance(faithful, bool):
            raise ValueError(f"faithful is {faithful!r}; it must be true or false")
        counts = (("batch", batch, 1), ("among", among, 1), ("steps", steps, 1))
        border = (BORDER if faithful else 0) if border is None else border
        for what, value, least in (*counts, ("border", border, 0)):
            if not (is_number(value, Integral) and least <= value < inf):
                raise ValueError(f"{what} is {value!r}; it must be an integer >= {least}")
        if noise is not None and not (is_number(noise) and 0 < noise < inf):
            raise ValueError(f"a noise of {noise!r}; it must be above 0 and finite, or left out")
        self.acquisition, self.of = acquisition, ACQUISITIONS[acquisition]
        self.faithful, self.batch, self.among, self.steps = faithful, batch, among, steps
        self.border, self.noise = border, noise
        self.seeds = Seeds(seed_frames, seeding, least=1)
        self.length_scale_nm = None if length_scale_nm is None else bounds(length_scale_nm)
        self.exploration = self.of.exploration
        if exploration is not None:
            self.steer(exploration)

    @property
    def settings(self) -> dict[str, Any]:
        return {
            "acquisition": self.acquisition,
            "exploration": self.exploration,
            "faithful": self.faithful,
            "batch": self.batch,
            "among": self.among,
            "steps": self.steps,
            "seed_frames": self.seeds.count,
            "seeding": self.seeds.seeding,
            "kernel": "rational-quadratic",
            "length_steps": LENGTH_STEPS if self.length_scale_nm is None else None,
            "length_scale_nm": self.length_scale_nm,
            "noise": self.noise,
            "border": self.border,
            "pitch_frames": PITCH,
        }

    def reset(self, context: Context, rng: np.random.Generator) -> None:
        """Raises ValueError where the border leaves nothing of the field."""
        self.context, self.rng = context, rng
        self.candidates = Candidates.of(context)
        rows, columns = self.candidates.shape
        inside = np.zeros((rows, columns), dtype=bool)
        inside[self.border : rows - self.border, self.border : columns - self.border] = True
        if not inside.any():
            raise ValueError(
                f"a border of {self.border} leaves nothing of {rows} x {columns} candidates; take "
                "a smaller one, or a larger field"
            )
        self.inside = inside.ravel()
        self.seeds.reset(context, self.candidates, rng)
        step_nm = PITCH * min(context.reference.fov_yx_nm)
        least, most = self.length_scale_nm or (LENGTH_STEPS[0] * step_nm, LENGTH_STEPS[1] * step_nm)
        self.gp = LatticeGP("rational-quadratic", (least, most), self.noise, refit=1)
        self.gp.reset(self.candidates)
        self.done = 0  # batches

    def decide(self, situation: Situation) -> Decision | None:
        free = self.candidates.free(self.context, situation) & self.inside
        if not free.any() or self.done >= self.steps:
            return None
        seed = self.seeds.next(situation, free)
        if seed is not None:
            return seed
        belief = self.believe(situation)
        count = min(self.batch, max(1, situation.left))
        if self.faithful:
            values, chosen = self._as_published(belief, situation, free, count)
        else:
            values, chosen = self._mended(belief, free, count)
        self.done += 1
        maps = {
            "posterior mean": (belief.mean, "target"),
            "uncertainty": (belief.sigma, "target"),
            "acquisition": (values, self.of.words if belief.scale > 0.0 else "uncertainty"),
        }
        reason = self._reason(belief, values, chosen, int(np.sum(~free[chosen])))
        return Decision.at(self.context, self.candidates.centres_yx_nm[chosen], reason, maps)

    def believe(self, situation: Situation) -> Belief:
        """Of every candidate, by the targets there are; by positions alone where there are none.

        To ask changes nothing: the next decision is what it would have been.
        """
        known = situation.known
        use = np.flatnonzero(known if known.any() else ~known)
        if self.faithful:
            at = self.candidates.nearest(situation.measured_yx_nm[use])
            use = np.array(list({int(a): k for a, k in zip(at, use, strict=True)}.values()))
        targets = np.where(known, situation.targets, 0.0)
        return self.gp.update(situation.measured_yx_nm[use], targets[use], situation.dose[use])

    def _mended(self, belief: Belief, free: Bools, count: int) -> tuple[Floats, list[int]]:
        """Values, NaN where a candidate is out of the question, and the candidates chosen."""
        values = belief.relative
        order = values
        if belief.scale > 0.0 and self.of.value is not None:
            values = self.of.value(belief, self.exploration)
            # By how many standard deviations it improves: this orders as PI does, and goes
            # on to do so where that has underflowed.
            gain = belief.mean - belief.best - self.exploration * belief.scale
            order = gain / np.maximum(belief.sigma, 1e-12 * belief.scale)
        chosen = mended_batch(
            values,
            order,
            free,
            self.candidates.centres_yx_nm,
            belief.length_nm,
            min(count, int(free.sum())),
            self.among,
            self.rng,
        )
        return np.where(free, values, np.nan), chosen

    def _as_published(
        self, belief: Belief, situation: Situation, free: Bools, count: int
    ) -> tuple[Floats, list[int]]:
        """The same, with what is measured still in the question, but for the seed frames."""
        measured = self.candidates.nearest(situation.measured_yx_nm)
        used = np.zeros(len(free), dtype=bool)
        used[measured] = True
        centres = self.candidates.centres_yx_nm
        offered = self.candidates.allowed(self.context, situation) & self.inside
        offered[measured[: self.seeds.count]] = False
        values = belief.relative
        if belief.scale > 0.0 and self.of.value is not None:
            sigma = np.sqrt(belief.sigma**2 + self.gp.noise_at_reference())
            best = float(belief.mean[measured].max())
            if self.acquisition == "PI":
                best = max(best, float(sigma[measured].max()))
            absolute = replace(belief, sigma=sigma, best=best, scale=1.0)
            values = self.of.value(absolute, self.exploration)
        values = np.where(offered, values, np.nan)
        chosen = published_batch(
            values, used, centres, belief.length_nm, self.batch, self.among, self.rng
        )
        return values, chosen[:count]

    def _reason(self, belief: Belief, values: Floats, chosen: list[int], again: int) -> str:
        """Of the batch: true of each of its frames."""
        at, words = chosen[0], self.of.words
        if belief.scale <= 0.0:
            reason = "all targets are equal so far, so it begins where it knows least"
        elif self.of.gain and values[at] <= 0.0:
            begins = "at the first 0 of the list" if self.faithful else "where least is missing"
            reason = f"{words} has underflowed to 0 wherever it is new, so it begins {begins}"
        else:
            reason = (
                f"it begins where {words} is highest (mean {belief.mean[at]:.3g} ± "
                f"{belief.sigma[at]:.2g}, best mean so far {belief.best:.3g})"
            )
        again_said = f", {again} of them measured before" if again else ""
        return f"a batch of {len(chosen)}, {belief.length_nm:.2g} nm apart{again_said}: {reason}"

    def steer(self, exploration: float) -> None:
        if self.acquisition == "sigma":
            raise ValueError("paper with sigma is curious about all alike; there is none to set")
        if not (is_number(exploration) and 0 <= exploration < inf):
            raise ValueError(f"an exploration of {exploration}; it must be at least 0")
        self.exploration = float(exploration)

    def save(self) -> dict[str, Any]:
        return {
            "rng": self.rng.bit_generator.state,
            "seeds": self.seeds.save(),
            "gp": self.gp.save(),
            "exploration": self.exploration,
            "done": self.done,
        }

    def restore(self, state: Mapping[str, Any], situation: Situation) -> None:
        self.rng.bit_generator.state = state["rng"]
        self.seeds.restore(state["seeds"])
        self.gp.restore(state["gp"])
        self.exploration = float(state["exploration"])
        self.done = int(state["done"])


def published_batch(
    values: Floats,
    used: Bools,
    yx: Floats,
    apart: float,
    count: int,
    among: int,
    rng: np.random.Generator,
) -> list[int]:
    """A batch as GPim's ``boptimizer`` makes it, the stall included.

    The best candidates are listed, greatest first.  The first of them that was not used is
    looked for, and the batch begins at *the first that has its value*: where many are 0, for
    a probability of improvement underflows about 38 σ below the incumbent, that is the first
    of the zeros, used or not.  From there on down the list the greatest is taken and all
    within ``apart`` of it are dropped, used or not.  So once everything new is worth 0, the
    same batch is taken at every step, nothing is learned, and nothing changes: the stall.
    (Noise in the readings widens σ, and keeps the probability above 0, and the run going.)
    (Equals are listed from the last candidate to the first; GPim's sort leaves that open.)

    Args:
        values: (n,) of the candidates; NaN where masked.  At least one is not.
        used: (n,) which were measured.
        yx: (n, 2) positions.
        apart: the least distance between two of a batch, in units of the positions; a batch
            that is not full is filled with random ones of the list, whichever they are.
        count: of a batch.
        among: length of the list.
        rng: fills, and decides where all of the list was used.

    Returns:
        ``count`` indices, which may repeat what was used, and each other.
    """
    order = np.argsort(values, kind="stable")
    listed = order[: np.count_nonzero(~np.isnan(values))][::-1][:among]  # NaN are sorted last
    of, new = values[listed], ~used[listed]
    first = int(new.argmax()) if new.any() else int(rng.integers(len(listed)))
    listed = listed[int((of == of[first]).argmax()) :]
    chosen = _apart(listed, yx, apart, count)
    filling = rng.integers(len(listed), size=count - len(chosen))
    return [*chosen, *listed[filling].tolist()]


def mended_batch(
    values: Floats,
    then: Floats,
    free: Bools,
    yx: Floats,
    apart: float,
    count: int,
    among: int,
    rng: np.random.Generator,
) -> list[int]:
    """A batch by the same rule that never repeats.

    Args:
        values: (n,) of the candidates.
        then: (n,) by which equal values are ordered; where this is equal, too, chance orders.
        free: (n,) which may be chosen.
        yx: (n, 2) positions.
        apart: the least distance between two of a batch; one that is not full is filled with
            random ones of the list.
        count: of a batch; at most as many as are free.
        among: length of the list; never shorter than the batch.
        rng: fills, and orders equals.

    Returns:
        ``count`` different indices of free candidates.
    """
    there = np.flatnonzero(free)
    order = np.lexsort((rng.permutation(len(there)), then[there], values[there]))[::-1]
    listed = there[order][: max(among, count)]
    chosen = _apart(listed, yx, apart, count)
    rest = np.setdiff1d(listed, chosen)
    return [*chosen, *rng.choice(rest, count - len(chosen), replace=False).tolist()]


def _apart(listed: Indices, yx: Floats, apart: float, count: int) -> list[int]:
    """Down the list, those that lie farther than ``apart`` from all that were taken before."""
    chosen: list[int] = []
    left = np.ones(len(listed), dtype=bool)
    places = yx[listed]
    while left.any() and len(chosen) < count:
        k = int(left.argmax())
        chosen.append(int(listed[k]))
        left &= np.hypot(*(places - places[k]).T) > apart
    return chosen
