"""What can go wrong at a microscope.

Each message says what was asked, what is allowed and what to do.
"""

from __future__ import annotations


class MicroscopeError(Exception):
    """The base of every error that a microscope raises.

    Attributes:
        sent: of a scan that failed behind a guard, whether electrons may have been sent.
    """

    sent: bool = False


class LimitError(MicroscopeError, ValueError):
    """A request beyond the limits; nothing was sent."""


class RefusedError(MicroscopeError):
    """A person did not approve of a request; nothing was sent.

    Attributes:
        request: what was refused, where it is known.
    """

    request: object = None


class LeaseError(MicroscopeError):
    """Somebody else has the microscope; nothing was sent."""


class JournalError(MicroscopeError):
    """A journal is damaged or cannot be written; where it cannot be written nothing is sent."""


class AbortedError(MicroscopeError):
    """An acquisition was stopped by ``abort``."""


class AcquisitionError(MicroscopeError):
    """The instrument failed to deliver a frame."""


class ConnectionLost(MicroscopeError, ConnectionError):
    """The instrument is closed or out of reach."""


class Unsupported(MicroscopeError, NotImplementedError):
    """The instrument cannot do what was asked."""
