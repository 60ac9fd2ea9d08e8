"""What every microscope has to do, as checks that any adapter can be run through.

``CHECKS`` maps a name to a function of a *fresh, opened* microscope and a
``Bench``.  A check returns nothing when the promise holds, raises
``AssertionError`` with a sentence when it does not, and raises ``Skipped``
where the microscope declares that it cannot do what is checked.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from math import nan, pi

import numpy as np
from numpy.typing import NDArray

from .errors import ConnectionLost, LimitError, MicroscopeError
from .limits import check
from .microscope import Capabilities, Microscope, ScanRequest


class Skipped(Exception):
    """The microscope declares that it cannot do what this check is about."""


@dataclass(frozen=True)
class Bench:
    """What the checks scan.

    Attributes:
        wide: a frame about the axis with enough contrast and dose to be
            recognised, at most half as wide as the field.
        likeness: correlation above which two images show the same thing.
        frames: that are averaged into such an image, where one alone is too noisy.
        one_field_of_view: sub-scans keep that of the wide frame, and lie partly beyond it: for
            instruments whose magnification is not ours to set.
    """

    wide: ScanRequest
    likeness: float = 0.9
    frames: int = 1
    one_field_of_view: bool = False

    @property
    def part(self) -> ScanRequest:
        """A sub-scan off the centre, by whole pixels: of half the side, or of the same."""
        wide, (rows, columns) = self.wide, self.wide.shape_yx
        shape, off = (rows // 2, columns // 2), (-(rows // 8), columns // 8)
        if self.one_field_of_view:
            shape, off = (rows, columns), (-(rows // 8), columns // 4)
        pitch = wide.pixel_yx_nm
        # Its first pixel is one of the wide frame's, whatever the number of rows.
        first = [(n - m) // 2 + o for n, m, o in zip(wide.shape_yx, shape, off, strict=True)]
        fov = (shape[0] * pitch[0], shape[1] * pitch[1])
        y, x = (
            wide.centre_yx_nm[a] - wide.fov_yx_nm[a] / 2 + first[a] * pitch[a] + fov[a] / 2
            for a in (0, 1)
        )
        return replace(wide, centre_yx_nm=(y, x), fov_yx_nm=fov, shape_yx=shape)

    @property
    def small(self) -> ScanRequest:
        """A frame of fewer pixels: the sub-scan, or the wide frame more coarsely."""
        if not self.one_field_of_view:
            return self.part
        rows, columns = self.wide.shape_yx
        return replace(self.wide, shape_yx=(rows // 2, columns // 2))

    def image(self, m: Microscope, request: ScanRequest) -> NDArray[np.float32]:
        """What a request shows."""
        first = m.acquire(request)
        for k in range(1, self.frames):
            first.image[:] += (m.acquire(request).image - first.image) / (k + 1)
        return first.image


Check = Callable[[Microscope, Bench], None]


def _refused(call: Callable[[], object], error: type[MicroscopeError], what: str) -> None:
    """The call must raise that error, and say something."""
    try:
        call()
    except error as raised:
        sentence = str(raised)
    else:
        raise AssertionError(f"{what}: accepted")
    assert sentence, f"{what}: refused without a word"


def alike(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Pearson correlation of two images of one shape."""
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


def _shared(
    image: NDArray[np.float32], wide: ScanRequest, part: NDArray[np.float32], other: ScanRequest
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """What two images of the same pitch both show, as each shows it, by whole pixels."""
    ours, its = [], []
    for a, pitch in enumerate(wide.pixel_yx_nm):
        apart = other.centre_yx_nm[a] - wide.centre_yx_nm[a]
        first = round((apart - other.fov_yx_nm[a] / 2 + wide.fov_yx_nm[a] / 2) / pitch)
        low, high = max(0, first), min(wide.shape_yx[a], first + other.shape_yx[a])
        ours.append(slice(low, high))
        its.append(slice(low - first, high - first))
    return image[tuple(ours)], part[tuple(its)]


def opens_and_says_what_it_can(m: Microscope, bench: Bench) -> None:
    told = m.open()
    assert isinstance(told, Capabilities), f"open() answered {type(told).__name__}"
    assert told.detectors, "it has no detector"
    assert set(told.detectors) == set(told.limits.detectors), "limits name other detectors"
    assert set(told.full_scale) >= set(told.detectors), "a detector has no full scale"
    assert m.open() == told, "a second open() answers something else"
    assert isinstance(m, Microscope), "a verb of the contract is missing"


def knows_its_state(m: Microscope, bench: Bench) -> None:
    state = m.state()
    assert np.isfinite([*state.stage_yx_nm, *state.beam_shift_yx_nm]).all()
    assert (state.beam_current_pa is None) == (state.current_source is None), (
        "a current without a source, or a source without a current"
    )


def frame_answers_the_request(m: Microscope, bench: Bench) -> None:
    frame = m.acquire(bench.wide)
    assert frame.request == bench.wide
    assert set(frame.data) == set(bench.wide.detectors)
    for name, image in frame.data.items():
        assert image.shape == bench.wide.shape_yx, f"{name} has shape {image.shape}"
        assert np.isfinite(image).all(), f"{name} holds NaN"
    assert frame.valid_rows == bench.wide.shape_yx[0]
    off = np.subtract(frame.region.centre_yx_nm, bench.wide.centre_yx_nm)
    assert (np.abs(off) <= np.asarray(bench.wide.pixel_yx_nm)).all(), f"it scanned {off} nm off"


def frames_belong_to_the_caller(m: Microscope, bench: Bench) -> None:
    first = m.acquire(bench.wide)
    kept = first.image.copy()
    m.acquire(replace(bench.wide, centre_yx_nm=bench.part.centre_yx_nm))
    assert np.array_equal(first.image, kept), "a later frame changed an earlier one"


def every_frame_is_charged(m: Microscope, bench: Bench) -> None:
    small, large = m.acquire(bench.small), m.acquire(bench.wide)
    assert large.time_s > small.time_s > 0, "a larger frame takes no longer"
    if m.state().beam_current_pa is None:
        assert large.charge_e is None, "a charge without a known current"
        return
    assert large.charge_e is not None
    assert small.charge_e is not None
    assert large.charge_e > small.charge_e > 0, "a larger frame costs no more"
    again = m.acquire(bench.wide)
    assert again.charge_e == large.charge_e, "the same frame costs something else"


def limits_refuse_and_nothing_is_sent(m: Microscope, bench: Bench) -> None:
    wide, limits = bench.wide, m.open().limits
    field = limits.field_yx_nm
    rows = limits.shape_px[1] + 1
    wrong = {
        "beyond the field": replace(wide, centre_yx_nm=(field[0] / 2, 0.0)),
        "not a number": replace(wide, centre_yx_nm=(nan, 0.0)),
        "field of view too large": replace(wide, fov_yx_nm=(field[0] * 2, field[1] * 2)),
        "negative field of view": replace(wide, fov_yx_nm=(-1.0, -1.0)),
        "no pixels": replace(wide, shape_yx=(0, wide.shape_yx[1])),
        "too many pixels": replace(wide, shape_yx=(rows, rows)),
        "dwell too short": replace(wide, dwell_us=limits.dwell_us[0] / 2),
        "dwell too long": replace(wide, dwell_us=limits.dwell_us[1] * 2),
        "dwell not a number": replace(wide, dwell_us=nan),
        "rotation not a number": replace(wide, rotation_rad=nan),
        "unknown detector": replace(wide, detectors=("no such detector",)),
        "no detector": replace(wide, detectors=()),
    }
    before = m.state()
    for what, request in wrong.items():
        for send in (m.acquire, lambda r: check(r, limits, before.beam_current_pa)):
            _refused(partial(send, request), MicroscopeError, what)
    assert m.state() == before, "a refused request changed the state"


def moves_beyond_the_limits_are_refused(m: Microscope, bench: Bench) -> None:
    limits, before = m.open().limits, m.state()
    for verb, most in (
        (m.move_stage, limits.stage_nm[1]),
        (m.set_beam_shift, limits.beam_shift_nm[1]),
    ):
        for bad in ((most + 1.0, 0.0), (0.0, -most - 1.0), (nan, 0.0)):
            _refused(partial(verb, bad), LimitError, f"a move to {bad}")
    assert m.state() == before


def sub_scan_shows_its_part_of_the_wide_scan(m: Microscope, bench: Bench) -> None:
    if m.open().region_of_interest == "none":
        raise Skipped("no sub-scans here")
    wide, part = bench.wide, bench.part
    likeness = alike(*_shared(bench.image(m, wide), wide, bench.image(m, part), part))
    assert likeness > bench.likeness, f"the sub-scan shows something else ({likeness:.2f})"


def rotation_by_a_quarter_turn_is_rot90(m: Microscope, bench: Bench) -> None:
    limits = m.open().limits
    if not limits.rotation_rad[0] <= pi / 2 <= limits.rotation_rad[1]:
        raise Skipped("no rotation here")
    straight = bench.image(m, bench.wide)
    height, width = bench.wide.fov_yx_nm
    rows, columns = bench.wide.shape_yx
    turned = replace(
        bench.wide, rotation_rad=pi / 2, fov_yx_nm=(width, height), shape_yx=(columns, rows)
    )
    likeness = alike(bench.image(m, turned), np.rot90(straight, 1))
    assert likeness > bench.likeness, f"+π/2 is not np.rot90 ({likeness:.2f})"


def centre_is_in_rotated_coordinates(m: Microscope, bench: Bench) -> None:
    limits = m.open().limits
    if not limits.rotation_rad[0] <= pi / 2 <= limits.rotation_rad[1]:
        raise Skipped("no rotation here")
    part = bench.part
    (y, x), (height, width) = part.centre_yx_nm, part.fov_yx_nm
    # y = u sin φ and x = -v sin φ at a quarter turn: (v, u) = (-x, y).
    turned = replace(
        part,
        centre_yx_nm=(-x, y),
        fov_yx_nm=(width, height),
        shape_yx=part.shape_yx[::-1],
        rotation_rad=pi / 2,
    )
    likeness = alike(bench.image(m, turned), np.rot90(bench.image(m, part), 1))
    assert likeness > bench.likeness, f"the centre turns otherwise ({likeness:.2f})"


def beam_shift_moves_the_probe(m: Microscope, bench: Bench) -> None:
    limits, part = m.open().limits, bench.part
    offset = tuple(s * p for s, p in zip((3, -5), bench.wide.pixel_yx_nm, strict=True))
    if max(map(abs, offset)) > limits.beam_shift_nm[1]:
        raise Skipped("no beam shift here")
    moved = (part.centre_yx_nm[0] + offset[0], part.centre_yx_nm[1] + offset[1])
    there = bench.image(m, replace(part, centre_yx_nm=moved))
    told = m.set_beam_shift((offset[0], offset[1]))
    off = np.abs(np.subtract(told.beam_shift_yx_nm, offset)).max()
    allowed = min(m.open().shift_tolerance_nm, min(bench.wide.pixel_yx_nm) / 2)
    assert off <= allowed, f"the read-back is {off:g} nm off"
    likeness = alike(bench.image(m, part), there)
    m.set_beam_shift((0.0, 0.0))
    assert likeness > bench.likeness, f"a positive shift goes elsewhere ({likeness:.2f})"


def stage_carries_the_features(m: Microscope, bench: Bench) -> None:
    limits, part = m.open().limits, bench.part
    offset = tuple(s * p for s, p in zip((-4, 2), bench.wide.pixel_yx_nm, strict=True))
    if max(map(abs, offset)) > limits.stage_nm[1]:
        raise Skipped("no stage here")
    moved = (part.centre_yx_nm[0] - offset[0], part.centre_yx_nm[1] - offset[1])
    there = bench.image(m, replace(part, centre_yx_nm=moved))
    told = m.move_stage((offset[0], offset[1]))
    assert np.allclose(told.stage_yx_nm, offset, atol=0.01), "the read-back is off"
    likeness = alike(bench.image(m, part), there)
    m.move_stage((0.0, 0.0))
    assert likeness > bench.likeness, f"the stage goes elsewhere ({likeness:.2f})"


def blanked_beam_gives_no_signal(m: Microscope, bench: Bench) -> None:
    if not m.open().can_blank:
        raise Skipped("no blanker here")
    assert m.blank(True).blanked
    assert m.state().blanked
    frame = m.acquire(bench.wide)
    assert not frame.image.any(), "signal from a blanked beam"
    assert not frame.charge_e, "charge from a blanked beam"
    assert not m.blank(False).blanked
    assert m.acquire(bench.wide).image.any(), "no signal after unblanking"


def abort_without_a_scan_is_harmless(m: Microscope, bench: Bench) -> None:
    m.abort()
    assert m.acquire(bench.wide).valid_rows == bench.wide.shape_yx[0]


def close_blanks_and_may_be_repeated(m: Microscope, bench: Bench) -> None:
    m.close()
    m.close()
    for verb in (m.state, lambda: m.acquire(bench.wide)):
        _refused(verb, ConnectionLost, "a call to a closed microscope")
    m.open()
    if m.open().can_blank:
        assert m.state().blanked, "close() left the beam on"


CHECKS: dict[str, Check] = {
    function.__name__: function
    for function in (
        opens_and_says_what_it_can,
        knows_its_state,
        frame_answers_the_request,
        frames_belong_to_the_caller,
        every_frame_is_charged,
        limits_refuse_and_nothing_is_sent,
        moves_beyond_the_limits_are_refused,
        sub_scan_shows_its_part_of_the_wide_scan,
        rotation_by_a_quarter_turn_is_rot90,
        centre_is_in_rotated_coordinates,
        beam_shift_moves_the_probe,
        stage_carries_the_features,
        blanked_beam_gives_no_signal,
        abort_without_a_scan_is_harmless,
        close_blanks_and_may_be_repeated,
    )
}
