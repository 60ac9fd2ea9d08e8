"""What a suite of the paper's workflows may hold.

Its environments are pictures, `paper/nio` and others; its agents workflows with the navigator
`paper`, as ``make_agent`` takes them; its specimens seeds.  The only difficulty is `as is`.  An
agent's entry may hold besides:

| key                  | meaning                                                       | default |
|----------------------|---------------------------------------------------------------|---------|
| `oracle_descriptors` | fitted on all windows before the first, as the paper does     | `false` |
| `beforehand`         | steps of training on all windows, where a perception trains   | none    |
| `pictures`           | only on these of the suite's                                  | all     |

Without `oracle_descriptors` descriptors are fitted anew before each batch on the windows
measured so far.  What they are held against is fitted on all windows in either case.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Integral
from typing import Any

from ..agents.agent import Agent
from ..agents.catalogue import make_agent
from ..agents.navigation.paper import Paper
from ..agents.workflow import Workflow
from ..envs.numbers import is_number
from .pictures import PICTURES, SIDE

PREFIX = "paper/"  # of environments that are pictures
DIFFICULTY = "as is"
NAVIGATOR = "-paper"  # how the name of every agent ends
TRAINED = "training_steps"  # the option of perceptions that train
IDLE = ("split", "budget", "readings", "track", "survey", "variants")  # without meaning here


@dataclass(frozen=True)
class Setting:
    """How a workflow is run; the module's table tells what each entry means.

    Attributes:
        options: of ``make_agent``, the name among them.
    """

    options: Mapping[str, Any]
    oracle_descriptors: bool = False
    beforehand: int | None = None
    pictures: tuple[str, ...] | None = None

    @classmethod
    def of(cls, agent: Mapping[str, Any]) -> Setting:
        """From an agent's entry.

        Raises:
            ValueError: an entry that cannot be.
        """
        own = {k: agent[k] for k in cls.__dataclass_fields__ if k in agent and k != "options"}
        options = {k: v for k, v in agent.items() if k not in own and k != "label"}
        pictures = own.get("pictures")
        if pictures is not None:
            if not isinstance(pictures, (list, tuple)) or not pictures:
                raise ValueError(f"pictures is {pictures!r}; it must be a list of some")
            own["pictures"] = tuple(pictures)
        if not isinstance(own.get("oracle_descriptors", False), bool):
            given = own["oracle_descriptors"]
            raise ValueError(f"oracle_descriptors is {given!r}; it must be true or false")
        steps = own.get("beforehand")
        if steps is not None and not (is_number(steps, Integral) and steps > 0):
            raise ValueError(f"beforehand is {steps!r}; it must be an integer above 0")
        return cls(options, **own)

    @property
    def perception(self) -> str:
        """The name of the workflow's perception, by which the paper's workflows are told."""
        return str(self.options["name"]).removesuffix(NAVIGATOR)

    def made(self) -> Workflow:
        """The workflow as it is run.

        Raises:
            ValueError: no such workflow, one of another navigator, or one that knows the truth.
        """
        return _workflow(make_agent(**self.options))

    def fitted_on_all(self) -> Workflow:
        """The same, trained as long on all windows as is asked for; not fitted yet."""
        steps = {} if self.beforehand is None else {TRAINED: self.beforehand}
        return _workflow(make_agent(**{**self.options, **steps}))

    def runs_on(self, environment: str) -> bool:
        return self.pictures is None or environment in self.pictures


def _workflow(agent: Agent) -> Workflow:
    if not (isinstance(agent, Workflow) and isinstance(agent.navigator, Paper)):
        raise ValueError(
            f"{agent.name} is no workflow of the protocol; name one as <perception>{NAVIGATOR}"
        )
    if agent.privileged:
        raise ValueError(f"{agent.name} is told the truth, and a recorded picture has none")
    return agent


def check(suite: Any, plain: Mapping[str, Any]) -> None:
    """Refuse what could not be run.

    Args:
        suite: of workflows.
        plain: what its entries are where nobody sets them.

    Raises:
        ValueError: an unknown picture, workflow or option, a batch that no picture has windows
            for, or an entry without meaning.
    """
    known = [PREFIX + name for name in PICTURES]
    for environment in suite.environments:
        if environment not in known:
            raise ValueError(f"unknown picture {environment!r}; there are: {', '.join(known)}")
    for key, only in {"difficulties": (DIFFICULTY,), **{k: plain[k] for k in IDLE}}.items():
        if getattr(suite, key) != only:
            raise ValueError(
                f"{key} is {getattr(suite, key)!r}; where the protocol is run it must be {only!r}"
            )
    for agent in suite.agents:
        setting = Setting.of(agent)
        unknown = [p for p in setting.pictures or () if p not in suite.environments]
        if unknown:
            raise ValueError(
                f"{agent['name']}: unknown picture {unknown[0]!r}; the suite has: "
                f"{', '.join(suite.environments)}"
            )
        navigator = setting.made().navigator
        setting.fitted_on_all()
        assert isinstance(navigator, Paper)
        first = max(navigator.batch, navigator.seeds.count or 0)
        if first > SIDE**2:
            raise ValueError(
                f"{agent['name']}: {first} windows at once, and a picture has {SIDE**2}; take fewer"
            )
