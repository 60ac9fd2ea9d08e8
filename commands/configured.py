"""What an experiment is made of: options that go together, and the agent and environment of them.

A configuration is plain data, as ``run.json`` and the journal hold it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..agents.agent import Agent
    from ..envs.scan_env import ScanEnv
    from ..hardware.microscope import Microscope

USUAL_BUDGET = 0.4
# What the options of a live experiment are called where they are used.
FRAMES = ("frame_nm", "frame_px", "dwell_us", "detector")
ENV = {name: name for name in (*FRAMES, "beam_current_pa")} | {
    "budget_frames": "frames",
    "budget_charge": "charge_e",
    "budget_time": "time_budget_s",
}
LIMITS = {"max_charge": "max_charge_e", "max_spot_dose": "max_spot_dose_e_per_a2"}
MODES = {"drift_every": None, "dry_run": False, "approve": False}


def configured(
    env: str | None,
    image: Path | None,
    microscope: str | None,
    *,
    agent: str,
    agent_options: Mapping[str, Any],
    budget: float | None,
    seed: int,
    simulated: Mapping[str, Any],
    recorded: Mapping[str, Any],
    live: Mapping[str, Any],
    survey: str | None = None,
    credentials: Path | None = None,
) -> dict[str, Any]:
    """The configuration of an experiment on one of three sources.

    Args:
        env, image, microscope: two of them None.
        agent, agent_options: who decides.
        budget: in rasters; None for the usual one, or where ``live`` has another.
        seed: of the environment and the agent.
        simulated, recorded, live: options that go with one source only, by the names of their
            flags; None, or False of what is a flag alone, where they were not given.
        survey: before the first frame.
        credentials: of a client, for a grpc:// microscope.

    Raises:
        ValueError: what does not go together, by the flags.
    """
    from ..hardware.credentials import Credentials

    if [env, image, microscope].count(None) != 2:
        raise ValueError("give one of --env, --image and --microscope, and not two")
    if credentials is not None:
        if not str(microscope).startswith("grpc://"):
            raise ValueError("--credentials only goes with --microscope grpc://host:port")
        Credentials.of_client(credentials)  # before anything is begun
    options: dict[str, Any]
    common = {"agent": agent, "agent_options": dict(agent_options), "seed": seed}
    if microscope is None:
        refuse(live, "only goes with --microscope")
    if microscope is not None:
        refuse({**recorded, **simulated}, "does not go with --microscope")
        options = {ENV[k]: v for k, v in live.items() if k in ENV and v is not None}
        if budget is not None:
            options["budget"] = budget
        limits = {LIMITS[k]: v for k, v in live.items() if k in LIMITS and v is not None}
        modes = {name: live.get(name, usual) for name, usual in MODES.items()}
        common |= {"microscope": microscope, "limits": limits, **modes}
        if credentials is not None:  # where they are, never what they hold
            common["credentials"] = str(credentials.absolute())
    else:
        common["budget"] = USUAL_BUDGET if budget is None else budget
        if image is not None:
            refuse(simulated, "only goes with --env; an image is what it is")
            given = {name: v for name, v in recorded.items() if v is not None}
            options = {"image": str(image), "pixel_nm": None, **given}
            common["env"] = "StemScout/Recorded-v0"
        else:
            if str(env).endswith("/Recorded-v0"):
                raise ValueError("a recording is given by --image and --pixel-nm, not by --env")
            if str(env).endswith("/Live-v0"):
                raise ValueError("a live microscope is given to gymnasium.make, as microscope=")
            refuse(recorded, "only goes with --image")
            options = {k: v for k, v in simulated.items() if v is not None}
            options.setdefault("split", "test")
            common["env"] = env
    if survey is not None:
        options["survey"] = survey
    return {**common, "env_options": options}


def stem_of(configuration: Mapping[str, Any]) -> str:
    """What a folder of such an experiment may be called after."""
    if "microscope" in configuration:
        return str(configuration["microscope"]).partition(":")[0]
    image = configuration["env_options"].get("image")
    return Path(image).stem if image else str(configuration["env"]).split("/")[-1]


def made(
    configuration: Mapping[str, Any], microscope: Microscope | None = None
) -> tuple[ScanEnv, Agent]:
    """The environment of a configuration, as its agent needs it, and the agent.

    Args:
        configuration: of ``configured``.
        microscope: that a live one is about, which is opened here; whoever made it closes it.
    """
    from .. import register_all
    from ..agents.catalogue import make_agent
    from ..envs.live import LiveEnv
    from ..envs.registration import make_env

    register_all()
    agent = make_agent(configuration["agent"], **configuration["agent_options"])
    wanted = {"action": agent.needs.action, "observation": agent.needs.observation}
    options = {**wanted, **configuration["env_options"]}
    if "microscope" in configuration:
        assert microscope is not None
        if configuration.get("drift_every"):
            microscope = _still(microscope, configuration)
        return LiveEnv(microscope, **options), agent
    options |= {"budget": configuration["budget"], "terminate_when_done": False}
    return make_env(configuration["env"], **options), agent


def _still(microscope: Microscope, configuration: Mapping[str, Any]) -> Microscope:
    """The microscope with its drift followed, by a patch of four frames' side in the middle.

    A frame's side about the field is left free, for frames that follow.
    """
    from ..envs.live_source import LiveSource
    from ..hardware.drift import DriftCorrected

    given = {k: v for k, v in configuration["env_options"].items() if k in FRAMES}
    frame = LiveSource(microscope, **given).reference.at((0.0, 0.0))
    limits = microscope.open().limits
    side = min(4 * frame.fov_yx_nm[0], limits.fov_nm[1], min(limits.field_yx_nm))
    px = min(2 * frame.shape_yx[0], limits.shape_px[1])
    patch = replace(frame, fov_yx_nm=(side, side), shape_yx=(px, px))
    every, margin = configuration["drift_every"], frame.fov_yx_nm[0]
    return DriftCorrected(microscope, patch, every, margin_nm=margin)


def refuse(options: Mapping[str, Any], why: str) -> None:
    """ValueError where any of them was given; each has the name of its flag."""
    given = [
        f"--{k.replace('_', '-')}" for k, v in options.items() if v is not None and v is not False
    ]
    if given:
        raise ValueError(f"{', '.join(given)} {why}")
