"""What the environments over simulated specimens share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from ..simulators.imperfections import Imperfections
from .scan_env import ScanEnv
from .sources import SpecimenSource


class SpecimenEnv(ScanEnv):
    """A ``ScanEnv`` over specimens of one kind; its options are ``SpecimenSource``'s too."""

    specimen: ClassVar[str]
    default_difficulty: ClassVar[str] = "medium"

    def __init__(
        self,
        difficulty: str | None = None,
        renderer: str = "fast",
        imperfections: str | Mapping[str, Any] | Imperfections = "pristine",
        field_nm: float | None = None,
        dose: float = 1.0,
        defocus_nm: float = 0.0,
        **options: Any,
    ) -> None:
        source = SpecimenSource(
            self.specimen,
            self.default_difficulty if difficulty is None else difficulty,
            renderer,
            imperfections,
            field_nm,
            dose,
            defocus_nm,
        )
        super().__init__(source, **options)
