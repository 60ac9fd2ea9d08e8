"""StemScout/Live-v0: a microscope as it is."""

from __future__ import annotations

from typing import Any

from ..hardware.microscope import VERBS, Microscope
from .addresses import connect
from .budget import Budget
from .live_source import LIVE_DWELL_US, LiveSource
from .scan_env import ScanEnv
from .tasks import check_task

USUAL_BUDGET = 0.4


class LiveEnv(ScanEnv):
    """A microscope as it is: nobody knows what it will show.

    ## Description
    The microscope is anything that satisfies ``hardware/microscope.py``, or an
    address of one.  It is opened when the environment is made, kept open over all
    episodes, and closed, with its beam blanked, by ``close()``; ``reset`` unblanks the
    beam, and neither reopens nor moves anything.  The field is what its scan can reach
    about the axis at that moment; its limits bound every action, and what they do
    not allow is refused when the environment is made.  Its own errors come through
    ``step`` and ``reset`` as they are, and no truth is known, not even of a simulated one.

    ``sim://<specimen>?difficulty=medium&seed=0`` is a simulated microscope, over the
    training specimen that ``reset(seed=0)`` shows in the specimen's own id; ``nion:`` is Nion
    Swift's simulated one, in a process of its own.

    The reference frame is square.  By default its side is a sixteenth of the field's
    shorter side, it has 64 pixels to a side and a dwell of 1 µs, or the nearest that
    the microscope's limits allow; frames are taken with its first detector.  Dwells
    that show something are the specimen's affair: give ``dwell_us``, the one that the
    microscope states its full scale for.

    ## Action space, observation space
    As in ``StemScout/GrapheneDefects-v0``, over this field and these frames.  Stage and
    beam shift count from where they stand at ``reset``.

    ## Reward
    0.0.

    ## Budget
    ``budget`` is charge, in rasters of the whole field, 0.4 by default; it takes a known
    beam current, measured or declared by the instrument or by ``beam_current_pa``.
    ``charge_e`` is the same in electrons.
    Besides or instead there is ``time_budget_s``, instrument time, and ``frames``, a
    number of frames, the survey among them; given one of these and no ``budget``, charge
    is without limit.  Where nobody knows the current, ``info["charge_e"]`` is NaN once a
    frame was taken, and ``info["spent"]`` counts rasters by their beam-on time.
    ``info["charge_left"]`` is the share of frames left where those end sooner.

    ## End of the episode
    Never terminated; truncated when what is left does not pay for another frame.

    ## Arguments
    ``microscope``; ``frame_nm``, ``frame_px``, ``dwell_us`` and ``detector`` of the reference
    frame; ``beam_current_pa`` where the instrument does not know it; ``budget``,
    ``charge_e``, ``time_budget_s``, ``frames``; and those of ``ScanEnv`` that need no truth:
    ``action``, ``observation``, ``survey``, ``render_mode``.  Seeds steer agents, not the
    microscope.  An environment of this kind can be neither pickled nor copied.
    """

    def __init__(
        self,
        microscope: Microscope | str,
        frame_nm: float | None = None,
        frame_px: int | None = None,
        dwell_us: float | None = None,
        detector: str | None = None,
        beam_current_pa: float | None = None,
        budget: float | None = None,
        time_budget_s: float | None = None,
        frames: int | None = None,
        charge_e: float | None = None,
        **options: Any,
    ) -> None:
        if callable(options.setdefault("task", "explore")):
            raise ValueError(
                "a task of one's own; nobody knows what a live microscope shows, and "
                "its one task is explore"
            )
        check_task(options["task"], None)
        if budget is not None and charge_e is not None:
            raise ValueError("budget and charge_e are both charge; give one of them")
        if budget is None and charge_e is None and time_budget_s is None and frames is None:
            budget = USUAL_BUDGET
        address = microscope if isinstance(microscope, str) else None
        dwell = LIVE_DWELL_US if dwell_us is None else dwell_us
        found = connect(microscope, dwell) if isinstance(microscope, str) else _checked(microscope)
        try:
            source = LiveSource(
                found, frame_nm, frame_px, dwell_us, detector, beam_current_pa, address
            )
            if charge_e is not None:
                budget = source.rasters(charge_e)
            whole = 1.0 if budget is None else budget
            super().__init__(source, budget=whole, time_budget_s=time_budget_s, **options)
            self.charge_budget, self.frames = budget, frames
            # Refused now and not at the first reset.
            self._check_start(self._new_budget(source.current_pa), source.current_pa)
        except BaseException:
            if address is not None:  # nobody else holds it
                found.close()
            raise

    def _new_budget(self, beam_current_pa: float | None) -> Budget:
        return Budget.relative(
            self.charge_budget,
            self.source.field_yx_nm,
            self.source.reference,
            self.source.costs,
            beam_current_pa,
            self.time_budget_s,
            self.frames,
            self.actions.cheapest,
        )

    @property
    def rasters(self) -> float:
        """What the budget pays for, in rasters of the whole field."""
        assert isinstance(self.source, LiveSource)
        return self._new_budget(self.source.current_pa).total

    @property
    def microscope(self) -> Microscope:
        """The one there is."""
        assert isinstance(self.source, LiveSource)
        return self.source.live

    def _begin(self, specimen: int | None) -> None:
        """An episode on the one microscope, whatever the seed."""
        if specimen is not None:
            raise ValueError(
                "options['specimen'] chooses a generated specimen; a live microscope shows the "
                "one that is in it"
            )
        if self.microscope.state().blanked:  # as ``close`` left it
            self.microscope.blank(False)
        super()._begin(None)

    def close(self) -> None:
        """Close the microscope, which blanks its beam; repeated calls are harmless."""
        try:
            self.microscope.close()
        finally:
            super().close()

    def __reduce__(self) -> Any:
        raise TypeError(
            "StemScout/Live-v0 holds an open microscope, which can be neither pickled nor copied; "
            "make another environment from its address instead"
        )


def _checked(microscope: Any) -> Microscope:
    """An object that can do all that a microscope must."""
    missing = [verb for verb in VERBS if not callable(getattr(microscope, verb, None))]
    if isinstance(microscope, type) or missing:
        lacks = f"lacks {', '.join(missing)}" if missing else "is a class; give an object of it"
        raise ValueError(
            f"{microscope!r} is no microscope: it {lacks}. Give an object that satisfies "
            "hardware.microscope.Microscope, or an address such as sim://graphene?seed=0"
        )
    found: Microscope = microscope
    return found
