"""An experiment that was journalled, seen again: the same decisions over the same frames.

Nothing is driven and nothing is written; pausing and stepping are a spectator's.
"""

from __future__ import annotations

from collections.abc import Callable

from ...agents.experiment import Experiment, Step
from ...hardware.errors import AcquisitionError
from ...hardware.replayed import Replayed
from .session import Session

READ_ONLY = "this is a replay"
WATCHED = 5.0  # frames a second


def replay(
    experiment: Experiment, replayed: Replayed, torn: int = 0, speed: float = WATCHED
) -> Session:
    """A session that may be watched, and not steered; it ends where the journal does.

    Args:
        experiment: as it was begun, over ``replayed``, with the wishes that people had.
        replayed: the microscope, without any instrument behind it.
        torn: bytes at the end of the journal that are no whole record.
        speed: frames a second at most.

    Raises:
        ValueError: a speed that is none.
    """
    if not 0 < speed < float("inf"):
        raise ValueError(f"a speed of {speed:g} frames a second; it must be above 0 and finite")

    def drive(on_step: Callable[[Step], None]) -> None:
        try:
            seen(on_step)
        except AcquisitionError:
            if replayed.replaying:
                raise
        if not replayed.replaying:
            session.note(f"the journal ends here, after frame {len(experiment.steps)}")

    def seen(on_step: Callable[[Step], None]) -> None:
        strayed = altered = False
        for step in experiment:
            on_step(step)
            if replayed.strayed and not strayed:
                strayed = True
                session.note(
                    f"before frame {replayed.strayed[0] + 1} it decides otherwise than recorded; "
                    "the frames are those of the journal"
                )
            if getattr(replayed, "altered", ()) and not altered:
                altered = True
                session.note(
                    f"frame {step.index + 1} is simulated otherwise today than it was recorded; "
                    "the features seen may be others"
                )
            if not replayed.replaying:
                return
            experiment.dwell(1.0 / speed)

    session = Session(experiment, drive, read_only=READ_ONLY)
    if torn:
        session.note(
            f"{torn} bytes at the end of the journal are no whole record (torn, or being "
            "written); they are left out"
        )
    return session
