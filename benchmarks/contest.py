"""What a suite of navigators may hold.

Its environments are targets, `navigation/bumps` and others; its agents navigators or rivals;
its specimens seeds.  The only difficulty is `as is`.  A variant says how long a hunt goes on:

| option         | meaning                                                        | default |
|----------------|----------------------------------------------------------------|---------|
| `observations` | how many are made, and what the navigator is told it may make  | 500     |
| `told`         | so many are told of, at random candidates, before it chooses   | 0       |
| `decisions`    | after so many the hunt ends                                    | all     |
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Integral
from typing import Any

from ..envs.numbers import is_number
from .rivals import contestant
from .targets import SIDE, TARGETS

PREFIX = "navigation/"  # of environments that are targets
DIFFICULTY = "as is"
COUNTS = (50, 100, 200, 500)  # observations at which hunts are scored
IDLE = ("split", "budget", "readings", "track", "survey")  # without meaning here


@dataclass(frozen=True)
class Length:
    """How long a hunt goes on; the module's table tells what each entry means.

    Raises:
        ValueError: a number that is none, or more observations than candidates.
    """

    observations: int = COUNTS[-1]
    told: int = 0
    decisions: int | None = None

    def __post_init__(self) -> None:
        for name, value, least, most in (
            ("observations", self.observations, 1, SIDE * SIDE),
            ("told", self.told, 0, SIDE * SIDE - 1),
            ("decisions", 1 if self.decisions is None else self.decisions, 1, SIDE * SIDE),
        ):
            if not (is_number(value, Integral) and least <= value <= most):
                raise ValueError(
                    f"{name} is {value!r}; it must be an integer from {least} to {most}"
                )
        if self.told >= self.observations:
            raise ValueError(
                f"{self.told} observations are told first, of {self.observations}; at least one "
                "must be left to the navigator"
            )

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Length:
        """From the options of a variant; ValueError for unknown ones."""
        unknown = sorted(set(options) - set(cls.__dataclass_fields__))
        if unknown:
            known = ", ".join(cls.__dataclass_fields__)
            raise ValueError(f"unknown option {', '.join(unknown)}; navigators have: {known}")
        return cls(**options)


def check(suite: Any, plain: Mapping[str, Any]) -> None:
    """Refuse what could not be run.

    Args:
        suite: of navigators.
        plain: what its entries are where nobody sets them.

    Raises:
        ValueError: an unknown target, navigator or option, or an entry without meaning.
    """
    known = [PREFIX + name for name in TARGETS]
    for environment in suite.environments:
        if environment not in known:
            raise ValueError(f"unknown target {environment!r}; there are: {', '.join(known)}")
    for key, only in {"difficulties": (DIFFICULTY,), **{k: plain[k] for k in IDLE}}.items():
        if getattr(suite, key) != only:
            raise ValueError(
                f"{key} is {getattr(suite, key)!r}; where navigators are compared it must be "
                f"{only!r}"
            )
    for agent in suite.agents:
        made = contestant(**{k: v for k, v in agent.items() if k != "label"})
        if made.privileged:
            raise ValueError(f"{made.name} needs the truth of a specimen, and a target has none")
    for name, options in suite.variants:
        try:
            Length.of(options)
        except ValueError as error:
            raise ValueError(f"variant {name}: {error}") from error
