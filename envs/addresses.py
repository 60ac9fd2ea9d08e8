"""The addresses under which microscopes are found."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from importlib import import_module
from importlib.machinery import PathFinder
from importlib.util import find_spec
from urllib.parse import parse_qsl, urlsplit

import numpy as np

from ..hardware.adapter import Adapter
from ..hardware.credentials import CONTROL, Credentials
from ..hardware.microscope import Microscope
from ..simulators.simulated import SimulatedMicroscope
from ..simulators.specimens import specimen_module
from .live_source import LIVE_DWELL_US
from .sources import SpecimenSource, noise_seed


def connect(
    address: str, dwell_us: float = LIVE_DWELL_US, credentials: Credentials | None = None
) -> Microscope:
    """The microscope at an address, not yet opened.

    Args:
        address: ``scheme:...`` or ``scheme://...``, with a scheme out of ``SCHEMES``; or
            ``module:callable`` of one's own, which is called without arguments and gives a
            microscope, in a process of its own.
        dwell_us: of the reference frame, which a simulated one states its full scale for.
        credentials: of a client that may control, where a server asks for them.

    Raises:
        ValueError: an address that is none, an unknown scheme or option (the known
            ones are listed), credentials for what asks for none or that do not suffice, or what
            the scheme refuses.
    """
    scheme, mark, _ = address.partition(":")
    known = ", ".join([*(written for written, _ in SCHEMES.values()), OWN])
    if not mark:
        raise ValueError(f"{address!r} is no address of a microscope; there are: {known}")
    own = scheme not in SCHEMES
    if own and not _is_own(address):
        raise ValueError(f"{address!r}: unknown scheme {scheme!r}; there are: {known}")
    if own and not _is_there(scheme):
        raise ValueError(
            f"{address!r}: {scheme!r} is neither a scheme nor a module that Python finds from "
            f"{os.getcwd()}; there are: {known}"
        )
    if credentials is None:
        made = _own if own else SCHEMES[scheme][1]
        return made(address, dwell_us)
    if scheme != "grpc":
        raise ValueError(f"{address!r}: credentials only go with {SCHEMES['grpc'][0]}")
    if CONTROL not in credentials.tokens:
        raise ValueError(
            "these credentials are for looking on; whoever drives a microscope needs those of "
            "DIR/control"
        )
    return _remote(address, dwell_us, credentials)


def of_environment(env_id: str) -> tuple[str, float]:
    """A simulated microscope over a specimen of an environment: its address, and its dwell in µs.

    Raises:
        ValueError: there is no such environment, or it shows no specimen of one kind.
    """
    from .registration import ENVIRONMENTS

    if env_id not in ENVIRONMENTS:
        raise ValueError(f"unknown environment {env_id!r}; there are: {', '.join(ENVIRONMENTS)}")
    module, _, name = ENVIRONMENTS[env_id][0].partition(":")
    kind = getattr(import_module(f"...{module}", __name__), name)
    if not hasattr(kind, "specimen"):
        raise ValueError(f"{env_id} shows no specimen of its own; give --microscope")
    levels = specimen_module(kind.specimen).LEVELS
    level = "medium" if "medium" in levels else next(iter(levels))
    return f"sim://{kind.specimen}?difficulty={level}", float(levels[level].dwell_us)


def _simulated(address: str, dwell_us: float) -> Microscope:
    name, options = _parts(address, {"difficulty": "medium", "seed": "0"})
    if not name:
        raise ValueError(f"{address!r} must be {SCHEMES['sim'][0]}")
    return simulated(name, options["difficulty"], _whole(address, options, "seed"), dwell_us)


def simulated(specimen: str, difficulty: str, seed: int, dwell_us: float) -> SimulatedMicroscope:
    """A simulated microscope over a training specimen; its display is stated for a dwell."""
    source = SpecimenSource(specimen, difficulty)
    world = source.open_world(source.recipe(seed, "train", 0, None))
    rng = np.random.default_rng(noise_seed(seed, "train", 0))
    return SimulatedMicroscope(world, rng, dwell_us)


def _temscript(address: str, dwell_us: float) -> Microscope:
    known = {"specimen": "graphene", "difficulty": "medium", "seed": "0", "field_at_1x_m": ""}
    name, options = _parts(address, known)
    if not name:
        rehearsed = {k: options[k] for k in ("specimen", "difficulty")}
        given = {**rehearsed, "seed": _whole(address, options, "seed"), "dwell_us": dwell_us}
        return Adapter("stemscout.envs.addresses:rehearsed_temscript", given)
    host, _, port = name.rpartition(":")
    try:
        scale = float(options["field_at_1x_m"])
    except ValueError:
        scale = 0.0
    if not host or not port.isdigit() or not scale > 0:
        raise ValueError(f"{address!r} must be {SCHEMES['temscript'][0]}")
    there = {"host": host, "port": int(port), "field_at_1x_m": scale}
    instrument = f"temscript://{host.lower()}:{int(port)}"
    return Adapter("stemscout.hardware.temscript:remote", there, instrument=instrument)


def _autoscript(address: str, dwell_us: float) -> Microscope:
    name, _ = _parts(address, {})
    host, _, port = name.rpartition(":")
    if not host or not port.isdigit():
        raise ValueError(f"{address!r} must be {SCHEMES['autoscript'][0]}")
    there = {"host": host, "port": int(port)}
    instrument = f"autoscript://{host.lower()}:{int(port)}"
    return Adapter("stemscout.hardware.autoscript:remote", there, instrument=instrument)


def _pyjem(address: str, dwell_us: float) -> Microscope:
    name, options = _parts(address, {"nm_per_count": "", "field_at_1x_nm": ""})
    try:
        a, b, c, d = map(float, options["nm_per_count"].split(","))
        scale = float(options["field_at_1x_nm"])
    except ValueError:
        scale = 0.0
    if name or not scale > 0:
        raise ValueError(f"{address!r} must be {SCHEMES['pyjem'][0]}")
    given = {"nm_per_count": [[a, b], [c, d]], "field_at_1x_nm": scale}
    return Adapter("stemscout.hardware.pyjem:here", given, instrument="pyjem:")


def _own(address: str, dwell_us: float) -> Microscope:
    """One's own: what the address names is called in a process of its own."""
    return Adapter(address, instrument=address)


def rehearsed_temscript(specimen: str, difficulty: str, seed: int, dwell_us: float) -> Microscope:
    """temscript's server and client with a simulated specimen between them."""
    from ..simulators.temscript import served

    microscope = simulated(specimen, difficulty, seed, dwell_us)
    return served(microscope, microscope.capabilities.detectors[0])


def _nion(address: str, dwell_us: float) -> Microscope:
    name, options = _parts(address, {"sample": "0", "seed": "0"})
    if name:
        raise ValueError(f"{address!r} must be {SCHEMES['nion'][0]}")
    given = {key: _whole(address, options, key) for key in options}
    return Adapter("stemscout.hardware.nion:simulated", given)


def _recorded(address: str, dwell_us: float) -> Microscope:
    from ..hardware.journal import read
    from ..hardware.replayed import Recorded, Told

    folder = address.partition(":")[2]  # a path is no URL
    if not folder:
        raise ValueError(f"{address!r} must be {SCHEMES['journal'][0]}")
    return Recorded(Told.of(read(folder)))


def _remote(address: str, dwell_us: float, credentials: Credentials | None = None) -> Microscope:
    from ..hardware.remote import RemoteMicroscope

    return RemoteMicroscope(address, credentials)


UNVERIFIED = "(unverified on hardware)"
OWN = "module:callable of your own"
# How each is written, and what makes it.
SCHEMES: dict[str, tuple[str, Callable[[str, float], Microscope]]] = {
    "sim": ("sim://<specimen>?difficulty=medium&seed=0", _simulated),
    "nion": ("nion:?sample=0&seed=0", _nion),
    "grpc": ("grpc://host:port", _remote),
    "journal": ("journal:<folder of a run>", _recorded),
    "temscript": (
        f"temscript://host:port?field_at_1x_m=0.1 {UNVERIFIED}, or temscript: to rehearse",
        _temscript,
    ),
    "autoscript": (f"autoscript://host:port {UNVERIFIED}", _autoscript),
    "pyjem": (f"pyjem:?nm_per_count=a,b,c,d&field_at_1x_nm=100 {UNVERIFIED}", _pyjem),
}


def _is_own(address: str) -> bool:
    """Whether it may be ``module:callable``, by how it is written."""
    module, _, name = address.partition(":")
    return all(part.isidentifier() for part in (*module.split("."), name))


def _is_there(module: str) -> bool:
    """Whether Python finds the package of a module, which is not imported here.

    Its process begins in the working folder and looks there, as ``python -m`` does.
    """
    package = module.partition(".")[0]
    known = package in sys.modules or find_spec(package) is not None
    return known or PathFinder.find_spec(package, [""]) is not None


def _parts(address: str, known: dict[str, str]) -> tuple[str, dict[str, str]]:
    """The name in an address, and its options."""
    parts = urlsplit(address)
    scheme = parts.scheme
    name = parts.netloc or parts.path
    if (parts.netloc and parts.path.strip("/")) or parts.fragment:
        raise ValueError(f"{address!r} must be {SCHEMES[scheme][0]}")
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    unknown = sorted({key for key, _ in pairs} - set(known))
    if unknown:
        raise ValueError(
            f"{address!r}: unknown option {', '.join(unknown)}; there are: {', '.join(known)}"
        )
    if len(dict(pairs)) < len(pairs):
        raise ValueError(f"{address!r}: an option is given twice")
    return name, {**known, **dict(pairs)}


def _whole(address: str, options: dict[str, str], name: str) -> int:
    text = options[name]
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"{address!r}: the {name} is {text!r}; it must be an integer >= 0")
    return int(text)
