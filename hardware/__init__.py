"""What a microscope is: the contract, coordinates, limits and costs."""

from .costs import CostModel
from .errors import (
    AbortedError,
    AcquisitionError,
    ConnectionLost,
    LimitError,
    MicroscopeError,
    Unsupported,
)
from .limits import check
from .microscope import (
    BeamShift,
    Capabilities,
    Frame,
    Limits,
    Microscope,
    ScanRegion,
    ScanRequest,
    StageMove,
    State,
)

__all__ = [
    "AbortedError",
    "AcquisitionError",
    "BeamShift",
    "Capabilities",
    "ConnectionLost",
    "CostModel",
    "Frame",
    "LimitError",
    "Limits",
    "Microscope",
    "MicroscopeError",
    "ScanRegion",
    "ScanRequest",
    "StageMove",
    "State",
    "Unsupported",
    "check",
]
