"""What an instrument does to an image: each by its formula, seeded, and off at zero."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stemscout.hardware import ScanRegion, ScanRequest
from stemscout.hardware.coordinates import deflection
from stemscout.hardware.costs import CostModel
from stemscout.hardware.errors import Unsupported
from stemscout.simulators.exposure import Exposure
from stemscout.simulators.grid import Grid
from stemscout.simulators.imperfections import (
    PRESETS,
    BeamDamage,
    ContaminationGrowth,
    Counting,
    DetectorResponse,
    Drift,
    Flyback,
    Hysteresis,
    Imperfections,
    LineJitter,
    Scanner,
    ScanRotationError,
    named,
)
from stemscout.simulators.simulated import SimulatedMicroscope
from stemscout.simulators.world import Recipe, open_world, shipped

REQUEST = ScanRequest((0.0, 0.0), (1.5, 1.5), (64, 64), 24.0)
COSTS = CostModel()


@pytest.fixture(scope="module")
def wide():
    """A world that shows enough beyond its field for every imperfection."""
    return open_world(Recipe("graphene", "easy", 3, (2, 0, 0), 8.0, margin_nm=1.2))


@pytest.fixture(scope="module")
def broad():
    """A world with room for moves of 8 nm, which shows far enough beyond its field."""
    return open_world(Recipe("graphene", "easy", 3, (2, 0, 0), 18.0, margin_nm=12.0))


def microscope(world, seed=0, **parts):
    made = SimulatedMicroscope(world, seed, imperfections=Imperfections(**parts))
    made.open()
    return made


def scanner(seed=0, **parts):
    return Scanner(Imperfections(**parts), np.random.default_rng(seed))


class TestCounting:
    def test_electrons_are_counted_where_nothing_is_said(self):
        assert Imperfections().counting == Counting()
        assert all(preset.counting == Counting() for preset in PRESETS.values())

    def test_the_default_counts_every_electron_as_ever(self, wide):
        """The same frame as the sampler gives of the same seed."""
        from stemscout.simulators.noise import poisson
        from stemscout.simulators.scan import sample

        expected = np.empty((64, 64))
        sample(wide.coefficients["haadf"], wide.grid, REQUEST, (0.0, 0.0), expected)
        expected *= wide.optics.electrons_per_us * REQUEST.dwell_us
        drawn = poisson(expected, np.random.default_rng(4))
        assert np.array_equal(microscope(wide, 4).acquire(REQUEST).image, drawn)

    def test_off_it_shows_what_is_expected(self, wide):
        plain = microscope(wide, 1, counting=None)
        first = plain.acquire(REQUEST).image
        assert first.dtype == np.float32
        assert np.array_equal(first, plain.acquire(REQUEST).image)
        counted = microscope(wide, 2)
        mean = np.mean([counted.acquire(REQUEST).image for _ in range(300)], axis=0)
        pull = (mean - first) / np.sqrt((first + 1e-9) / 300)
        assert np.abs(pull).max() < 6

    @pytest.mark.parametrize("efficiency", [1.0, 0.6])
    def test_what_is_counted_is_poissons(self, efficiency):
        counts = Counting(efficiency).counts(np.full((400, 400), 20.0), np.random.default_rng(0))
        assert counts.mean() == pytest.approx(20.0 * efficiency, rel=0.005)
        assert counts.var() == pytest.approx(20.0 * efficiency, rel=0.02)

    def test_full_scale_follows_the_efficiency(self, wide):
        """What is counted is read: half the electrons, half of white."""
        whole, half = (
            microscope(wide, counting=Counting(e)).capabilities.full_scale["haadf"]
            for e in (1.0, 0.5)
        )
        assert half == pytest.approx((0.0, 0.5 * whole[1]))


class TestDetector:
    ELECTRONS = np.full((400, 400), 8.0, np.float32)

    def read(self, **parameters):
        response = DetectorResponse(**parameters)
        read = response.readings(self.ELECTRONS, np.random.default_rng(0))
        assert response.reading_of(8.0) == pytest.approx(read.mean(), abs=0.05)
        return read

    def test_without_parameters_it_reads_electrons(self):
        assert np.array_equal(self.read(), self.ELECTRONS)

    def test_gain_alone(self):
        assert (self.read(gain=2.5) == 20.0).all()

    def test_offset_alone(self):
        assert (self.read(offset=10.0) == 18.0).all()

    def test_dark_noise_alone(self):
        read = self.read(dark_noise=3.0)
        assert read.mean() == pytest.approx(8.0, abs=0.05)
        assert read.std() == pytest.approx(3.0, abs=0.03)

    def test_saturation_alone(self):
        assert (self.read(saturation_e=5.0) == 5.0).all()
        assert (self.read(saturation_e=9.0) == 8.0).all()

    def test_gain_offset_and_dark_noise(self):
        response = DetectorResponse(gain=2.5, offset=10.0, dark_noise=3.0)
        read = response.readings(np.full((400, 400), 8.0, np.float32), np.random.default_rng(0))
        assert read.mean() == pytest.approx(30.0, abs=0.05)
        assert read.std() == pytest.approx(3.0, abs=0.03)
        assert response.reading_of(8.0) == 30.0

    def test_saturation(self):
        response = DetectorResponse(gain=1.0, offset=0.0, dark_noise=0.0, saturation_e=100.0)
        electrons = np.array([[50.0, 100.0, 1e6]], np.float32)
        assert response.readings(electrons, np.random.default_rng(0)).tolist() == [[50, 100, 100]]

    def test_full_scale_is_in_readings(self, wide):
        plain = microscope(wide).capabilities.full_scale["haadf"]
        read = microscope(wide, detector=DetectorResponse(3.0, 7.0)).capabilities.full_scale
        assert read["haadf"] == pytest.approx((7.0, 7.0 + 3.0 * plain[1]))


class TestScanning:
    def test_jitter_moves_lines(self):
        off = scanner(jitter=LineJitter(0.02)).displacement(
            replace(REQUEST, shape_yx=(4096, 64)), COSTS
        )
        assert off.by_row_nm.std(axis=0) == pytest.approx([0.02, 0.02], rel=0.05)
        assert not off.by_column_nm.any()
        assert np.abs(off.by_row_nm).max() <= 2 * LineJitter(0.02).reach_nm

    def test_flyback_is_felt_at_the_start_of_a_line_and_dies_out(self):
        off = scanner(flyback=Flyback(0.1, 48.0)).displacement(REQUEST, COSTS)
        lag = off.by_column_nm[:, 1] + off.mean_yx_nm[1]
        assert lag[0] == pytest.approx(0.1)
        assert lag[2] == pytest.approx(0.1 / np.e)
        assert lag[-1] < 1e-8
        assert not off.by_column_nm[:, 0].any()

    @settings(max_examples=20, deadline=None)
    @given(speed=st.floats(0.0, 50.0), most=st.floats(0.01, 5.0), time=st.floats(0.0, 1e5))
    def test_drift_starts_with_its_speed_and_never_exceeds_its_limit(self, speed, most, time):
        drift = Drift(speed, most)
        assert 0.0 <= drift.distance_nm(time) <= most
        first = drift.distance_nm(1e-3)
        assert first == pytest.approx(speed / 60 * 1e-3, rel=0.05, abs=1e-12)

    def test_drift_goes_on_from_frame_to_frame(self):
        drifting = scanner(drift=Drift(60.0, 100.0))
        means = [drifting.displacement(REQUEST, COSTS).mean_yx_nm for _ in range(3)]
        steps = np.linalg.norm(np.diff(means, axis=0), axis=1)
        # A nanometre a second, less what the exponential has lost by then.
        assert steps == pytest.approx(COSTS.time_s(REQUEST), rel=0.02)

    def test_hysteresis_lags_behind_a_move_and_catches_up(self):
        hysteresis = Hysteresis(0.1, 10.0, 0.05)
        assert hysteresis.moved((0.0, 0.0), (2.0, 0.0)) == pytest.approx((-0.2, 0.0))
        lagging = scanner(hysteresis=hysteresis)
        lagging.displacement(REQUEST, COSTS)
        off = lagging.displacement(replace(REQUEST, centre_yx_nm=(2.0, 0.0)), COSTS)
        lag = off.by_row_nm[:, 0] + off.mean_yx_nm[0]
        since = COSTS.offset_settle_us * 1e-6
        since = since + np.arange(64) * (64 * 24.0 + COSTS.flyback_us) * 1e-6
        assert lag == pytest.approx(-0.2 * np.exp(-since / 0.05))

    @settings(max_examples=30, deadline=None)
    @given(moves=st.lists(st.tuples(st.floats(-50, 50), st.floats(-50, 50)), max_size=6))
    def test_lags_add_up_and_never_exceed_their_limit(self, moves):
        hysteresis, free = Hysteresis(0.01, 0.15), Hysteresis(0.01, 1e9)
        lag = all_of_it = (0.0, 0.0)
        for move in moves:
            lag = hysteresis.moved(lag, move)
            all_of_it = free.moved(all_of_it, move)
            assert np.hypot(*lag) <= 0.15 + 1e-12
        assert all_of_it == pytest.approx(-0.01 * np.array(moves).reshape(-1, 2).sum(axis=0))

    def test_hysteresis_is_bounded_and_needs_a_move(self):
        lagging = scanner(hysteresis=Hysteresis(0.5, 0.15, 10.0))
        assert lagging.displacement(REQUEST, COSTS).mean_yx_nm == (0.0, 0.0)
        far = replace(REQUEST, centre_yx_nm=(0.0, 8.0))
        mean = lagging.displacement(far, COSTS).mean_yx_nm
        assert -0.15 <= mean[1] < -0.1

    def test_hysteresis_follows_the_probe_not_the_axes_of_the_scan(self):
        """Turned by a quarter, a scan centre at x = 4 lies at y = 4."""
        lagging = scanner(hysteresis=Hysteresis(0.1, 10.0, 1e6))
        lagging.displacement(REQUEST, COSTS)
        turned = replace(REQUEST, centre_yx_nm=(0.0, 4.0), rotation_rad=np.pi / 2)
        assert lagging.displacement(turned, COSTS).mean_yx_nm == pytest.approx((-0.4, 0), abs=1e-6)
        # The same place under other axes: no move, and no other lag.
        same = replace(REQUEST, centre_yx_nm=(4.0, 0.0))
        assert lagging.displacement(same, COSTS).mean_yx_nm == pytest.approx((-0.4, 0), abs=1e-6)

    def test_a_lag_outlives_a_frame_and_decays_in_its_time(self):
        lagging = scanner(hysteresis=Hysteresis(0.1, 10.0, 0.15))
        lagging.displacement(REQUEST, COSTS)
        far = replace(REQUEST, centre_yx_nm=(0.0, 8.0))
        first, second = (lagging.displacement(far, COSTS).mean_yx_nm[1] for _ in range(2))
        passed = COSTS.time_s(REQUEST, 8.0)  # the way to the first of them included
        assert second == pytest.approx(first * np.exp(-passed / 0.15))

    @pytest.mark.parametrize("decay_s", [1e9, 0.15])
    @pytest.mark.parametrize("way", ["scan offset", "beam shift", "stage"])
    def test_a_move_lags_alike_whatever_made_it(self, broad, way, decay_s):
        """By as much, less what its time lets it catch up; the probe goes against the stage."""
        lagging = microscope(broad, hysteresis=Hysteresis(0.05, 10.0, decay_s))
        lagging.acquire(replace(REQUEST, centre_yx_nm=(0.0, -4.0)))
        at, waited = -4.0, 0.0
        if way == "scan offset":
            at = 4.0
        elif way == "beam shift":
            lagging.set_beam_shift((0.0, 8.0))
            waited = COSTS.shift_time_s()
        else:
            lagging.move_stage((0.0, -8.0))
            waited = COSTS.stage_time_s((0.0, 8.0))
        lagging.acquire(replace(REQUEST, centre_yx_nm=(0.0, at)))
        rows = COSTS.offset_settle_us * 1e-6 + np.arange(64) * (64 * 24.0 + COSTS.flyback_us) * 1e-6
        shift = (0.0, 0.0) if way == "scan offset" else (0.0, 8.0)
        lag = np.array(lagging.last_exposure.shift_yx_nm) - shift
        expected = -0.4 * np.exp(-(waited + rows) / decay_s).mean()
        assert lag == pytest.approx([0.0, expected], abs=1e-9)

    def test_a_stage_move_takes_time_to_drift_in(self, broad):
        """At a nanometre a second it has settled at 12 nm soon; the time decides how far it is."""
        drifting = microscope(broad, drift=Drift(60.0, 12.0))
        drifting.acquire(REQUEST)
        before = np.array(drifting.last_exposure.shift_yx_nm)
        drifting.move_stage((4.0, 0.0))
        drifting.move_stage((-4.0, 0.0))
        drifting.set_beam_shift((-4.0, 0.0))
        drifting.acquire(REQUEST)
        gone = np.hypot(*(np.array(drifting.last_exposure.shift_yx_nm) - before))
        moves = COSTS.stage_time_s((4.0, 0.0)) + COSTS.stage_time_s((8.0, 0.0)) + 0.01
        passed = moves + COSTS.time_s(REQUEST)
        direction = drifting.scanner.direction
        before = float(before @ direction)
        assert gone == pytest.approx((12.0 - before) * -np.expm1(-passed / 12.0), rel=1e-6)

    def test_flyback_runs_along_the_lines_of_a_turned_scan(self):
        plain, turned = (
            scanner(flyback=Flyback()).displacement(replace(REQUEST, rotation_rad=r), COSTS)
            for r in (0.0, np.pi / 2)
        )
        assert turned.by_column_nm[:, 0] == pytest.approx(plain.by_column_nm[:, 1])
        assert turned.by_column_nm[:, 1] == pytest.approx(0.0, abs=1e-12)

    def test_the_rotation_error_is_one_for_an_episode(self):
        turned = scanner(rotation=ScanRotationError(0.01))
        angles = {turned.displacement(REQUEST, COSTS).rotation_rad for _ in range(3)}
        assert len(angles) == 1
        drawn = [scanner(s, rotation=ScanRotationError(0.01)).rotation_rad for s in range(400)]
        assert np.std(drawn) == pytest.approx(0.01, rel=0.15)
        assert np.abs(drawn).max() <= 0.03

    def test_offsets_are_about_their_mean(self):
        off = scanner(jitter=LineJitter(), flyback=Flyback(), drift=Drift()).displacement(
            REQUEST, COSTS
        )
        assert off.by_row_nm.mean(axis=0) == pytest.approx([0, 0], abs=1e-12)
        assert off.by_column_nm.mean(axis=0) == pytest.approx([0, 0], abs=1e-12)

    def test_a_displaced_scan_shows_what_lies_there(self, wide):
        """Drift by d shows what a shift of the beam by d would."""
        from stemscout.simulators.scan import sample

        image = wide.coefficients["haadf"]
        shifted, displaced = np.empty((64, 64)), np.empty((64, 64))
        sample(image, wide.grid, REQUEST, (0.3, -0.2), shifted)
        offsets = (np.full((64, 2), 0.1), np.tile([0.2, -0.3], (64, 1)))
        sample(image, wide.grid, REQUEST, (0.0, 0.0), displaced, offsets)
        assert displaced == pytest.approx(shifted, rel=1e-6, abs=1e-12)

    def test_the_exposure_tells_where_the_beam_was(self, wide):
        drifting = microscope(wide, drift=Drift(600.0, 1.0))
        for _ in range(5):
            drifting.acquire(REQUEST)
        exposure = drifting.last_exposure
        assert np.hypot(*exposure.shift_yx_nm) == pytest.approx(1.0, abs=0.05)
        assert exposure.region.centre_yx_nm == (0.0, 0.0)

    def test_a_world_that_shows_too_little_is_refused(self, world):
        with pytest.raises(ValueError, match=r"margin_nm of at least 0\.60"):
            microscope(world, drift=Drift())


class TestGrowth:
    GRID = Grid.over((8.0, 8.0), 0.04)

    def exposure(self, dose=1e6):
        return Exposure(ScanRegion((0.5, -0.5), (2.0, 2.0)), (0.0, 0.0), 0.02, dose)

    def grown(self, exposure, spread_nm=0.1):
        """What one exposure adds, in nm, at every node; nothing but at those it names."""
        whole = np.zeros(self.GRID.shape_yx, np.float32)
        growth = ContaminationGrowth(1e-7, spread_nm)
        top, bottom, left, right = growth.deposit(exposure, self.GRID, 1.0, whole)
        touched = np.zeros(whole.shape, dtype=bool)
        touched[top:bottom, left:right] = True
        assert not whole[~touched].any()
        return whole

    def test_carbon_grows_with_the_dose_where_the_beam_was(self):
        whole = self.grown(self.exposure())
        y, x = (o + np.arange(n) * 0.04 for o, n in zip(
            self.GRID.origin_yx_nm, self.GRID.shape_yx, strict=True))  # fmt: skip
        inner = np.ix_(np.abs(y - 0.5) < 0.6, np.abs(x + 0.5) < 0.6)
        assert whole[inner] == pytest.approx(0.1, rel=1e-3)
        outer = whole[np.ix_(np.abs(y - 0.5) > 1.5, np.abs(x + 0.5) > 1.5)]
        assert not outer.any()
        assert self.grown(self.exposure(2e6)) == pytest.approx(2 * whole)

    @settings(max_examples=20, deadline=None)
    @given(angle=st.floats(-np.pi, np.pi), y=st.floats(-1.5, 1.5), x=st.floats(-1.5, 1.5))
    def test_it_grows_where_a_turned_scan_was(self, angle, y, x):
        """As much as dose times area, half as high at the border of what the beam covered."""
        exposure = Exposure(ScanRegion((y, x), (1.0, 2.0), angle), (0.2, 0.1), 0.02, 1e6)
        whole = self.grown(exposure)
        assert whole.sum() * 0.04**2 == pytest.approx(0.1 * 1.0 * 2.0, rel=2e-3)
        axes = (
            o + np.arange(n) * 0.04
            for o, n in zip(self.GRID.origin_yx_nm, self.GRID.shape_yx, strict=True)
        )
        nodes = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)
        agree = exposure.covers(nodes) == (whole.ravel() > 0.05)
        assert agree.mean() > 0.99

    def test_what_a_scan_error_turns_is_turned_about_the_axis(self):
        """By some mrad the middle moves; the blur of the edges hides the rest."""
        for angle in (0.004, 0.0121):
            region = ScanRegion((2.0, -2.0), (1.5, 1.5), angle)
            exposure = Exposure(region, (0.0, 0.0), 0.02, 1e6)
            grown = self.grown(exposure, 0.3)
            y = self.GRID.origin_yx_nm[0] + np.arange(self.GRID.shape_yx[0]) * 0.04
            x = self.GRID.origin_yx_nm[1] + np.arange(self.GRID.shape_yx[1]) * 0.04
            middle = (grown.sum(1) @ y / grown.sum(), grown.sum(0) @ x / grown.sum())
            assert middle == pytest.approx(deflection((2.0, -2.0), angle), abs=2e-3)

    def test_frames_grow_brighter_where_the_beam_was(self, wide):
        growing = microscope(wide, growth=ContaminationGrowth(2e-5))
        first = growing.acquire(REQUEST).image.mean()
        for _ in range(3):
            growing.acquire(REQUEST)
        assert growing.acquire(REQUEST).image.mean() > 1.2 * first
        elsewhere = replace(REQUEST, centre_yx_nm=(-3.0, -3.0))
        fresh = microscope(wide).acquire(elsewhere).image.mean()
        assert growing.acquire(elsewhere).image.mean() == pytest.approx(fresh, rel=0.1)

    def test_the_world_itself_stays_what_it_is(self, wide):
        before = wide.coefficients["haadf"].copy()
        growing = microscope(wide, growth=ContaminationGrowth(1e-5))
        growing.acquire(REQUEST)
        assert np.array_equal(wide.coefficients["haadf"], before)
        assert not np.array_equal(growing.evolution.coefficients["haadf"], before)


def test_everything_is_seeded(wide):
    """The same seed gives the same frames, imperfections and all; another seed others."""
    frames = []
    for seed in (5, 5, 6):
        m = SimulatedMicroscope(wide, seed, imperfections=PRESETS["realistic"])
        m.open()
        frames.append(np.stack([m.acquire(REQUEST).image for _ in range(3)]))
    assert np.array_equal(frames[0], frames[1])
    assert not np.array_equal(frames[0], frames[2])


def test_zero_is_off(wide):
    """Amplitudes of zero give the pristine frame, on average over many."""
    nothing = Imperfections(
        detector=DetectorResponse(1.0, 0.0, 0.0, 1e12),
        jitter=LineJitter(0.0),
        flyback=Flyback(0.0),
        drift=Drift(0.0),
        rotation=ScanRotationError(0.0),
        hysteresis=Hysteresis(0.0, 0.0),
        growth=ContaminationGrowth(0.0),
    )
    noisy = SimulatedMicroscope(wide, 1, imperfections=nothing)
    noisy.open()
    image = np.mean([noisy.acquire(REQUEST).image for _ in range(200)], axis=0)
    plain = microscope(wide, 2)
    other = np.mean([plain.acquire(REQUEST).image for _ in range(200)], axis=0)
    pull = (image - other) / np.sqrt((image + other + 1e-9) / 200)
    assert np.abs(pull).max() < 6
    assert noisy.last_exposure == plain.last_exposure


def test_pristine_is_the_default(wide):
    a, b = SimulatedMicroscope(wide, 1), SimulatedMicroscope(wide, 1, imperfections="pristine")
    for m in (a, b):
        m.open()
    assert np.array_equal(a.acquire(REQUEST).image, b.acquire(REQUEST).image)


def test_abtem_worlds_refuse_change():
    world = open_world(shipped("nio_lsmo", "medium"))
    for parts in ({"growth": ContaminationGrowth()}, {"damage": BeamDamage()}):
        with pytest.raises(Unsupported, match="only the fast renderer"):
            microscope(world, **parts)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Counting(0.0), "Counting: efficiency is 0.0; .* above 0 and at most 1"),
        (lambda: Counting(1.1), "Counting: efficiency is 1.1"),
        (lambda: Counting(float("nan")), "Counting: efficiency is nan"),
        (lambda: DetectorResponse(gain=0.0), "gain 0.0"),
        (lambda: DetectorResponse(gain=float("inf")), "gain inf .* finite"),
        (lambda: DetectorResponse(dark_noise=-1.0), "dark noise -1.0"),
        (lambda: DetectorResponse(saturation_e=0.0), "saturation 0.0"),
        (lambda: LineJitter(-0.1), "LineJitter: sigma_nm is -0.1"),
        (lambda: Flyback(decay_us=0.0), "Flyback: decay_us is 0.0"),
        (lambda: Drift(-1.0), "Drift: speed_nm_per_min is -1.0"),
        (lambda: Drift(1.0, 0.0), "Drift: max_nm is 0.0"),
        (lambda: ScanRotationError(float("nan")), "sigma_rad is nan"),
        (lambda: Hysteresis(decay_s=0.0), "Hysteresis: decay_s is 0.0"),
        (lambda: ContaminationGrowth(-1.0), "a rate of -1.0 nm"),
        (lambda: BeamDamage({"S": -1.0}), "a cross-section of -1.0 barn for S"),
        (lambda: named("awful"), "unknown imperfections 'awful'; there are: pristine, realistic"),
    ],
)
def test_bad_parameters(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()
