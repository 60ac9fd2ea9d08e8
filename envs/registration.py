"""What there is to ``gym.make``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import gymnasium as gym

if TYPE_CHECKING:
    from .scan_env import ScanEnv

NAMESPACE = "StemScout"

ENVIRONMENTS = {
    f"{NAMESPACE}/GrapheneDefects-v0": (
        "envs.graphene_defects:GrapheneDefectsEnv",
        "silicon substitutions and vacancies in graphene, 24 nm field",
    ),
    f"{NAMESPACE}/Recorded-v0": (
        "envs.recorded:RecordedEnv",
        "your own image (image=, pixel_nm=), replayed as a microscope",
    ),
}


def register_all() -> None:
    """Register every id once; repeated calls do nothing, and nothing heavy is imported."""
    root = __name__.rsplit(".", 2)[0]
    for name, (entry, _) in ENVIRONMENTS.items():
        if name not in gym.registry:
            gym.register(id=name, entry_point=f"{root}.{entry}")


def make_env(name: str, **options: Any) -> ScanEnv:
    """The bare environment of an id, without Gymnasium's wrappers, for the experiment loop.

    Raises:
        ValueError: an unknown id or option; the message lists the known ones.
    """
    if name not in ENVIRONMENTS:
        raise ValueError(f"unknown environment {name!r}; there are: {', '.join(ENVIRONMENTS)}")
    register_all()
    try:
        env = gym.make(name, disable_env_checker=True, **options).unwrapped
    except TypeError as error:
        raise ValueError(f"{name}: {error}") from error
    return cast("ScanEnv", env)
