"""StemScout: environments and agents for autonomous scanning transmission electron microscopy.

Importing it registers ``StemScout/...`` with Gymnasium and imports nothing heavy; ``Agent``,
``Experiment``, ``make_agent``, ``make_env`` and ``view`` are there when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .envs.registration import ENVIRONMENTS, make_env, register_all

if TYPE_CHECKING:
    from .agents.agent import Agent
    from .agents.catalogue import make_agent
    from .agents.experiment import Experiment
    from .views.notebook import view

__version__ = "0.1.0"
__all__ = [
    "ENVIRONMENTS",
    "Agent",
    "Experiment",
    "__version__",
    "make_agent",
    "make_env",
    "register_all",
    "view",
]

_LAZY = {
    "Agent": ".agents.agent",
    "Experiment": ".agents.experiment",
    "make_agent": ".agents.catalogue",
    "view": ".views.notebook",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


register_all()
