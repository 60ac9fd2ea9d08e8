"""StemScout: environments and agents for autonomous scanning transmission electron microscopy.

Importing it registers ``StemScout/...`` with Gymnasium.
"""

from .envs.registration import ENVIRONMENTS, register_all

__version__ = "0.1.0"
__all__ = ["ENVIRONMENTS", "__version__", "register_all"]

register_all()
