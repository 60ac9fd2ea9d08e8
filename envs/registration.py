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
        "silicon, vacancies, holes and a grain boundary in graphene, 24 nm field",
    ),
    f"{NAMESPACE}/MoS2Defects-v0": (
        "envs.mos2_defects:MoS2DefectsEnv",
        "vacancies, substitutions and a phase boundary in MoS2, 24 nm field",
    ),
    f"{NAMESPACE}/NiOPillars-v0": (
        "envs.nio_pillars:NiOPillarsEnv",
        "NiO pillars and tiny inclusions in La0.7Sr0.3MnO3, 28.8 nm field",
    ),
    f"{NAMESPACE}/FerroelectricDomains-v0": (
        "envs.ferroelectric_domains:FerroelectricDomainsEnv",
        "domain walls in BiFeO3, 28.8 nm field",
    ),
    f"{NAMESPACE}/Nanoparticles-v0": (
        "envs.nanoparticles:NanoparticlesEnv",
        "junctions between gold particles on a carbon film, 96 nm field",
    ),
    f"{NAMESPACE}/Composite-v0": (
        "envs.composite:CompositeEnv",
        "several materials far apart, 96 nm field; hard only",
    ),
    f"{NAMESPACE}/Recorded-v0": (
        "envs.recorded:RecordedEnv",
        "your own image (image=, pixel_nm=), replayed as a microscope",
    ),
    f"{NAMESPACE}/Live-v0": (
        "envs.live:LiveEnv",
        "a microscope (microscope=, an object or an address) as it is",
    ),
}
LIVE = f"{NAMESPACE}/Live-v0"  # one microscope: no two of it side by side, no frame twice


def register_all() -> None:
    """Register every id once; repeated calls do nothing, and nothing heavy is imported."""
    root = __name__.rsplit(".", 2)[0]
    for name, (entry, _) in ENVIRONMENTS.items():
        if name not in gym.registry:
            path = f"{root}.{entry}"
            gym.register(
                id=name,
                entry_point=path,
                vector_entry_point=None if name == LIVE else f"{path.split(':')[0]}:make_vector",
                nondeterministic=name == LIVE,
            )


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
