"""The recorded microscope: an image, replayed as if it were being scanned."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..hardware.coordinates import deflection, pixel_offsets_nm
from ..hardware.costs import ELECTRONS_PER_PA_US, CostModel
from ..hardware.microscope import YX, Capabilities, Limits, ScanRegion, ScanRequest
from .virtual import F32, VirtualMicroscope

DETECTOR = "recorded"
PIXEL_NM = (1e-4, 1e6)  # beyond these somebody gave another unit


class RecordedMicroscope(VirtualMicroscope):
    """Sub-scans read the nearest pixels of an image.

    The recording holds one reference dose for each pixel; reading a pixel again
    is charged again.  Frames of the image's own pixel size snap to its pixels,
    and report the region they snapped to.

    Args:
        image: (rows, columns), finite.
        pixel_nm: side of a pixel.
        full_scale: readings shown black and white; by default the range of an
            8-bit image, or else the least and greatest value of the recording, as
            its recorder would have set it.
        dwell_us, beam_current_pa: declared; only their product matters, and it
            cancels in relative budgets.
        electrons: where given, Poisson noise is added as if full scale were
            this many electrons.
        rng: where that noise comes from.
        name: how the recording is called.

    Attributes:
        dose_e_per_a2: what one reading of a pixel stands for.

    Raises:
        ValueError: an image of other dimensions, with values that are not
            finite, or constant; a pixel size that is not above 0.
    """

    def __init__(
        self,
        image: NDArray[Any],
        pixel_nm: float,
        full_scale: tuple[float, float] | None = None,
        dwell_us: float = 10.0,
        beam_current_pa: float = 50.0,
        electrons: float | None = None,
        rng: np.random.Generator | int = 0,
        name: str = "recorded image",
    ) -> None:
        values = _checked(image)
        low, high = PIXEL_NM
        if not low <= pixel_nm <= high:
            raise ValueError(
                f"pixel size {pixel_nm} nm; it must be above 0, and between {low:g} and {high:g} nm"
            )
        if electrons is not None and not 0 < electrons <= 1e9:
            raise ValueError(f"{electrons} electrons at full scale; allowed is up to 1e9")
        self.image = values
        self.pixel_nm = float(pixel_nm)
        self.electrons = electrons
        self.rng = np.random.default_rng(rng)
        rows, columns = values.shape
        field = (rows * self.pixel_nm, columns * self.pixel_nm)
        limits = Limits(
            field_yx_nm=field,
            fov_nm=(self.pixel_nm, max(field)),
            pixel_nm=(self.pixel_nm, max(field)),
            shape_px=(1, max(rows, columns)),
            dwell_us=(dwell_us, dwell_us),
            detectors=(DETECTOR,),
            stage_nm=(-max(field) / 2, max(field) / 2),
            beam_shift_nm=(-max(field) / 2, max(field) / 2),
        )
        self.full_scale = full_scale or _range(image)
        capabilities = Capabilities(
            name=f"{name}, {rows} x {columns} px of {self.pixel_nm:g} nm",
            limits=limits,
            detectors=(DETECTOR,),
            full_scale={DETECTOR: self.full_scale},
            region_of_interest="native",
            can_abort=False,
            can_blank=True,
            can_blank_while_busy=True,
            units_verified=False,
            simulated=True,
        )
        # One dose for each pixel and nothing between them.
        costs = CostModel(flyback_us=0.0, offset_settle_us=0.0, travel_us_per_nm=0.0)
        super().__init__(capabilities, costs, beam_current_pa)
        electrons_sent = beam_current_pa * ELECTRONS_PER_PA_US * dwell_us
        self.dose_e_per_a2 = electrons_sent / (self.pixel_nm**2 * 100.0)

    def _scan(self, request: ScanRequest, shift_yx_nm: YX) -> tuple[ScanRegion, dict[str, F32]]:
        shape, region = request.shape_yx, request.region
        native = request.rotation_rad == 0.0 and all(
            abs(p / self.pixel_nm - 1.0) < 1e-6 for p in request.pixel_yx_nm
        )
        if native:
            first = [self._first(request, shift_yx_nm, axis) for axis in (0, 1)]
            values = self.image[first[0] : first[0] + shape[0], first[1] : first[1] + shape[1]]
            centre = [
                (first[a] + shape[a] / 2 - self.image.shape[a] / 2) * self.pixel_nm - shift_yx_nm[a]
                for a in (0, 1)
            ]
            region = ScanRegion((centre[0], centre[1]), request.fov_yx_nm)
        else:
            y = request.centre_yx_nm[0] + pixel_offsets_nm(request.fov_yx_nm[0], shape[0])
            x = request.centre_yx_nm[1] + pixel_offsets_nm(request.fov_yx_nm[1], shape[1])
            scan = np.stack(np.broadcast_arrays(y[:, None], x[None, :]), axis=-1)
            at = deflection(scan, request.rotation_rad) + np.asarray(shift_yx_nm)
            size = np.asarray(self.image.shape)
            index = np.rint(at / self.pixel_nm + size / 2 - 0.5).astype(int)
            index = np.clip(index, 0, size - 1)  # a half-pixel at the border
            values = self.image[index[..., 0], index[..., 1]]
        return region, {DETECTOR: self._noisy(values)}

    def _first(self, request: ScanRequest, shift_yx_nm: YX, axis: int) -> int:
        """Index of the image pixel that the frame's first pixel falls on."""
        size, pixels = self.image.shape[axis], request.shape_yx[axis]
        corner = request.centre_yx_nm[axis] + shift_yx_nm[axis] - request.fov_yx_nm[axis] / 2
        nearest = int(np.floor(corner / self.pixel_nm + size / 2 + 0.5))
        return int(min(max(nearest, 0), size - pixels))

    def _noisy(self, values: F32) -> F32:
        if self.electrons is None:
            return values.copy()
        black, white = self.full_scale
        expected = np.clip((values - black) / (white - black), 0.0, None) * self.electrons
        counts = self.rng.poisson(expected)
        return np.asarray(black + counts / self.electrons * (white - black), dtype=np.float32)


def _checked(image: NDArray[Any]) -> F32:
    if image.ndim != 2:
        raise ValueError(
            f"an image of shape {image.shape}; it must have two dimensions, rows and columns"
        )
    if image.dtype.kind not in "iufb":
        raise ValueError(f"an image of type {image.dtype}; it must hold real numbers")
    if image.size == 0:
        raise ValueError(f"an image of shape {image.shape} holds no pixel")
    bad = image.size - int(np.isfinite(image).sum())
    if bad:
        raise ValueError(f"{bad} of the image's {image.size} pixels are NaN or infinite")
    low, high = float(image.min()), float(image.max())
    if low == high:
        raise ValueError(f"the image is constant ({low:g}); there is nothing to find")
    with np.errstate(over="ignore"):
        values = np.array(image, dtype=np.float32)
    if not np.isfinite(values).all() or np.abs(values - image).max() > 1e-3 * (high - low):
        raise ValueError(
            f"values from {low:g} to {high:g} lose their contrast in single precision; subtract "
            "an offset, or rescale them"
        )
    return values


def _range(image: NDArray[Any]) -> tuple[float, float]:
    if image.dtype.kind in "iu" and image.dtype.itemsize == 1:
        info = np.iinfo(image.dtype)
        return float(info.min), float(info.max)
    return float(np.min(image)), float(np.max(image))
