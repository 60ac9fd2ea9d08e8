"""A microscope given as an object or an address, without any truth."""

from __future__ import annotations

import copy
import pickle
import threading
import warnings
from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest

from stemscout.agents.catalogue import make_agent
from stemscout.agents.experiment import Experiment
from stemscout.envs import addresses, live, testing
from stemscout.envs.budget import Budget, BudgetError
from stemscout.envs.live_source import KeptOpen
from stemscout.envs.registration import make_env
from stemscout.hardware import CostModel, ScanRequest
from stemscout.hardware.conformance import CHECKS, Bench
from stemscout.hardware.errors import ConnectionLost, LimitError, MicroscopeError
from stemscout.hardware.microscope import Microscope
from stemscout.simulators.simulated import SimulatedMicroscope

LIVE = "StemScout/Live-v0"
SIM = "sim://graphene?difficulty=easy&seed=5"
MIDDLE = np.zeros(2, np.float32)


class Instrument:
    """Somebody's adapter: it counts what is asked of it, and may know less than a simulator.

    Args:
        world: what it scans.
        current: whether it knows its beam current.
        limits: other limits than the simulator's, by name.
        stage_yx_nm: where its stage stands, in its own coordinates.
        lost_after: frames after which the connection is gone.
        blanked: it is opened with its beam blanked.
        capabilities: others than the simulator's, by name.
    """

    def __init__(
        self,
        world,
        current=True,
        limits=None,
        stage_yx_nm=(0.0, 0.0),
        lost_after=None,
        blanked=False,
        **capabilities,
    ):
        self.inner = SimulatedMicroscope(world, 0, 1.0)
        told = self.inner.capabilities
        more = {"limits": replace(told.limits, **(limits or {})), **capabilities}
        self.inner.capabilities = replace(told, **more)
        self.current, self.lost_after, self.blanked = current, lost_after, blanked
        self.stage = np.asarray(stage_yx_nm)
        self.calls = []
        self.waits = []
        self.lock = threading.Lock()  # a thing that can be neither copied nor pickled

    def open(self):
        self.calls.append("open")
        told = self.inner.open()
        if self.blanked:
            self.inner.blank(True)
        return told

    def state(self):
        return self._as_told(self.inner.state())

    def move_stage(self, yx_nm, timeout_s=30.0):
        y, x = np.asarray(yx_nm) - self.stage
        return self._as_told(self.inner.move_stage((float(y), float(x)), timeout_s))

    def set_beam_shift(self, yx_nm):
        return self._as_told(self.inner.set_beam_shift(yx_nm))

    def acquire(self, request, timeout_s=60.0):
        self.calls.append("acquire")
        self.waits.append(timeout_s)
        if self.lost_after is not None and self.calls.count("acquire") > self.lost_after:
            raise ConnectionLost("the column's computer does not answer")
        frame = self.inner.acquire(request, timeout_s)
        charge = frame.charge_e if self.current else None
        return replace(frame, charge_e=charge, state=self._as_told(frame.state))

    def blank(self, on):
        self.calls.append(f"blank {on}")
        return self._as_told(self.inner.blank(on))

    def abort(self):
        self.inner.abort()

    def close(self):
        self.calls.append("close")
        self.inner.close()

    def _as_told(self, state):
        y, x = self.stage + state.stage_yx_nm
        state = replace(state, stage_yx_nm=(float(y), float(x)))
        return state if self.current else replace(state, beam_current_pa=None, current_source=None)


@pytest.fixture
def make(world):
    """Makes bare live environments; the first argument may be a microscope."""
    made = []

    def environment(microscope=None, **options):
        given = Instrument(world) if microscope is None else microscope
        made.append(make_env(LIVE, microscope=given, **options))
        return made[-1]

    yield environment
    for env in made:
        env.close()


@pytest.fixture
def unknown(world):
    """A microscope of which nobody knows the beam current."""
    return Instrument(world, current=False)


def run(env, count):
    """What a number of steps give, by random actions."""
    env.action_space.seed(0)
    return [env.step(env.action_space.sample()) for _ in range(count)]


class TestOneMicroscope:
    def test_is_opened_once_and_kept_over_episodes(self, world, make):
        instrument = Instrument(world)
        env = make(instrument)
        for seed in (0, None, 7):
            env.reset(seed=seed)
            run(env, 2)
        assert instrument.calls == ["open"] + ["acquire"] * 6

    def test_keeps_its_noise_whatever_the_seed(self, world, make):
        """An instrument does not start over."""
        env = make(Instrument(world), dwell_us=24.0)
        images = []
        for _ in range(2):
            env.reset(seed=3)
            env.step(MIDDLE)
            images.append(env.episode.history[0].image)
        assert not np.array_equal(*images)

    @pytest.mark.parametrize("steps", [0, 1])
    def test_is_closed_with_the_environment(self, world, make, steps):
        instrument = Instrument(world)
        env = make(instrument)
        if steps:
            env.reset(seed=0)
            env.step(MIDDLE)
        env.close()
        env.close()
        assert "close" in instrument.calls
        assert instrument.inner._state.blanked

    def test_once_closed_raises_its_own_error(self, make):
        env = make()
        env.reset(seed=0)
        env.close()
        with pytest.raises(ConnectionLost, match="is closed"):
            env.step(MIDDLE)
        with pytest.raises(ConnectionLost, match="is closed"):
            env.reset()

    def test_once_lost_raises_its_own_error(self, world, make):
        env = make(Instrument(world, lost_after=2))
        env.reset(seed=0)
        run(env, 2)
        with pytest.raises(ConnectionLost, match="the column's computer does not answer"):
            env.step(MIDDLE)
        assert len(env.episode.history) == env.episode.budget.spent_frames == 2, "nothing is paid"

    def test_is_unblanked_when_an_episode_begins(self, world, make):
        instrument = Instrument(world, blanked=True)
        env = make(instrument, dwell_us=24.0)
        assert "blank False" not in instrument.calls, "not before somebody starts"
        env.reset(seed=0)
        env.step(MIDDLE)
        assert instrument.calls == ["open", "blank False", "acquire"]
        assert env.episode.history[0].image.any()

    def test_may_be_used_again_by_another_environment(self, world, make):
        instrument = Instrument(world)
        make(instrument).close()
        env = make(instrument)
        env.reset(seed=0)
        assert env.step(MIDDLE)[4]["charge_e"] > 0.0

    def test_stands_where_it_stands(self, world, make):
        """The field lies about the axis, wherever the stage is."""
        instrument = Instrument(world, stage_yx_nm=(150_000.0, -80_000.0))
        env = make(instrument)
        env.reset(seed=0)
        observation = env.step(MIDDLE)[0]
        mask = observation["mosaic"][1] > 0
        assert mask[31:33, 31:33].all()
        assert mask.sum() <= 6 * 6
        state = env.episode.history[0].state
        assert state.stage_yx_nm == (0.0, 0.0)
        moved = env.episode.microscope.move_stage((0.5, -0.25))
        assert moved.stage_yx_nm == pytest.approx((0.5, -0.25))
        assert instrument.state().stage_yx_nm == pytest.approx((150_000.5, -80_000.25))
        env.reset()
        assert env.episode.microscope.state().stage_yx_nm == (0.0, 0.0), "the next one is here"

    def test_long_frames_are_waited_for(self, world, make):
        instrument = Instrument(world)
        env = make(instrument)
        env.reset(seed=0)
        env.step(MIDDLE)
        long = ScanRequest((0.0, 0.0), (0.5, 0.5), (200, 200), 2000.0)
        assert instrument.waits == [60.0]
        env.episode.microscope.acquire(long)
        assert instrument.waits[1] > CostModel().time_s(long) > 60.0

    def test_can_be_neither_pickled_nor_copied(self, make):
        env = make()
        for how in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(TypeError, match="can be neither pickled nor copied"):
                how(env)

    def test_goes_through_gymnasium_without_a_word(self, world):
        """Whose wrappers must not try to copy it."""
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            env = gym.make(LIVE, microscope=Instrument(world))
            env.reset(seed=0)
            env.step(MIDDLE)
            env.close()
        assert gym.spec(LIVE).nondeterministic


class TestNothingIsKnown:
    def test_reward_is_0_and_nothing_terminates(self, make):
        env = make(budget=0.1)
        env.reset(seed=0)
        assert env.truth is None
        ends = run(env, 25)
        assert {reward for _, reward, *_ in ends} == {0.0}
        assert not any(terminated for _, _, terminated, *_ in ends)
        assert [truncated for *_, truncated, _ in ends] == [False] * 24 + [True]

    def test_not_even_to_the_privileged(self, make):
        env = make(SIM, privileged=True)
        _, info = env.reset(seed=0)
        assert info["truth"] is None
        assert env.source.classes is None
        with pytest.raises(ValueError, match="has none to tell"):
            Experiment(env, make_agent("oracle")).run()

    def test_nor_where_the_electrons_of_a_simulated_one_went(self, make):
        env = make(SIM)
        env.reset(seed=0)
        run(env, 3)
        assert env.episode.exposures == []

    @pytest.mark.parametrize(
        ("task", "sentence"),
        [
            ("discover", "the task 'discover' needs the truth; for this microscope: explore"),
            ("win", "unknown task 'win'"),
            (lambda specimen, reference: None, "its one task is explore"),
        ],
        ids=["of an id", "of none", "of one's own"],
    )
    def test_explore_is_the_only_task(self, world, task, sentence):
        instrument = Instrument(world)
        with pytest.raises(ValueError, match=sentence):
            make_env(LIVE, microscope=instrument, task=task)
        assert instrument.calls == [], "refused before anything is opened"

    def test_specimens_cannot_be_chosen(self, make):
        env = make()
        with pytest.raises(ValueError, match="shows the one that is in it"):
            env.reset(seed=0, options={"specimen": 3})


class TestLimits:
    def test_the_reference_frame_follows_from_them(self, make):
        reference = make().source.reference
        assert reference.fov_yx_nm == (0.5, 0.5), "a sixteenth of 8 nm"
        assert reference.shape_yx == (64, 64)
        assert reference.dwell_us == 1.0
        assert reference.detectors == ("haadf",)

    @pytest.mark.parametrize(
        ("limits", "frame"),
        [
            ({"dwell_us": (3.0, 9.0)}, (0.5, 64, 3.0)),
            ({"dwell_us": (0.1, 0.5)}, (0.5, 64, 0.5)),
            ({"fov_nm": (1.0, 8.0)}, (1.0, 64, 1.0)),
            ({"shape_px": (1, 32)}, (0.5, 32, 1.0)),
            ({"shape_px": (128, 512)}, (0.5, 128, 1.0)),
            ({"pixel_nm": (0.02, 1.0)}, (0.5, 25, 1.0)),
            ({"pixel_nm": (0.0, 0.005)}, (0.5, 100, 1.0)),
            ({"field_yx_nm": (8.0, 4.0)}, (0.25, 64, 1.0)),
        ],
        ids=str,
    )
    def test_defaults_go_to_what_is_allowed(self, world, make, limits, frame):
        reference = make(Instrument(world, limits=limits)).source.reference
        given = (reference.fov_yx_nm[0], reference.shape_yx[0], reference.dwell_us)
        assert given == pytest.approx(frame)

    @pytest.mark.parametrize(
        ("wish", "sentence"),
        [
            ({"frame_nm": 9.0}, "field of view 9 nm; allowed is 0.2 to 8 nm"),
            ({"frame_nm": 0.1}, "field of view 0.1 nm"),
            ({"frame_px": 5000}, "frame side 5000 px; allowed is 1 to 4096 px"),
            ({"frame_px": 1000}, "pixel size 0.0005 nm; allowed is 0.002"),
            ({"dwell_us": 0.01}, "dwell 0.01 µs; allowed is 0.1 to 10000 µs"),
            ({"dwell_us": 0}, "dwell_us is 0; it must be a finite number above 0"),
            ({"dwell_us": float("nan")}, "dwell_us is nan"),
            ({"frame_nm": "wide"}, "frame_nm is 'wide'"),
            ({"frame_px": 64.5}, "frame_px is 64.5; it must be an integer above 0"),
            ({"frame_px": True}, "frame_px is True"),
            ({"detector": "eels"}, "unknown detector 'eels'; there are: haadf"),
            ({"survey": "low"}, "survey='low' is not possible here: .*8 x 8 nm|field of view"),
        ],
    )
    def test_what_is_given_is_taken_as_it_is_or_refused(self, world, make, wish, sentence):
        limits = {"fov_nm": (0.2, 4.0)} if "survey" in wish else {}
        with pytest.raises(ValueError, match=sentence):
            make(Instrument(world, limits=limits), **wish)

    def test_every_action_lies_within_them(self, world, make):
        """The corners of the action space are those of the microscope's field."""
        env = make(Instrument(world, limits={"field_yx_nm": (4.0, 6.0)}))
        env.reset(seed=0)
        for corner in ((-1.0, -1.0), (1.0, 1.0)):
            env.step(np.array(corner, np.float32))
        reached = [f.request.centre_yx_nm for f in env.episode.history]
        assert reached == [pytest.approx((-1.875, -2.875)), pytest.approx((1.875, 2.875))]
        with pytest.raises(LimitError, match="reaches beyond the field"):
            env.episode.take(env.source.reference.at((2.0, 0.0)))

    def test_a_microscope_without_sub_scans_is_refused(self, world, make):
        with pytest.raises(ValueError, match="scans its whole field only"):
            make(Instrument(world, region_of_interest="none"))


UNKNOWN = "the beam current is unknown, so charge cannot be counted; declare the current, or set"


class TestBudgets:
    def test_are_charge_where_the_current_is_known(self, make):
        env = make()
        assert env.reset(seed=0)[1]["charge_left"] == 1.0
        assert env.episode.budget.total == 0.4
        run(env, 102)
        assert env.episode.exhausted

    @pytest.mark.parametrize("wish", [{}, {"budget": 0.2}, {"budget": 0.2, "frames": 9}])
    def test_of_charge_are_refused_where_nobody_knows_it(self, unknown, make, wish):
        with pytest.raises(BudgetError, match=UNKNOWN):
            make(unknown, **wish)

    def test_of_frames_need_no_current(self, unknown, make):
        env = make(unknown, frames=5)
        for _ in range(2):  # in the second episode, too
            env.reset(seed=0)
            assert [truncated for *_, truncated, _ in run(env, 5)] == [False] * 4 + [True]
        with pytest.raises(gym.error.ResetNeeded):
            env.step(MIDDLE)
        assert len(env.episode.history) == 5, "a frame beyond the budget is not taken"

    def test_of_time_need_no_current(self, unknown, make):
        one = CostModel().time_s(make().source.reference.at((0.0, 0.0)))
        env = make(unknown, time_budget_s=4.5 * one)
        env.reset(seed=0)
        assert [env.step(MIDDLE)[3] for _ in range(4)] == [False] * 3 + [True]

    def test_a_declared_current_counts_as_the_instruments_own(self, world, unknown, make):
        known = Instrument(world)
        known.open()
        env = make(unknown, beam_current_pa=known.state().beam_current_pa)
        told = []
        for each in (env, make(known)):
            each.reset(seed=0)
            told.append(run(each, 3)[-1][4])
        assert {**told[0], "request": None} == {**told[1], "request": None}
        frame = env.episode.history[0]
        assert frame.charge_e > 0
        assert frame.state.current_source == "declared"
        assert env.source.settings["declared_beam_current_pa"] == env.episode.beam_current_pa

    def test_a_current_that_the_instrument_knows_is_not_declared(self, make):
        with pytest.raises(ValueError, match=r"the microscope itself says .* pA; leave out"):
            make(beam_current_pa=50.0)

    @pytest.mark.parametrize(
        ("wish", "sentence"),
        [
            ({"frames": 0}, "a budget of 0 frames; it must be an integer, at least 1"),
            ({"frames": 2.5}, "a budget of 2.5 frames"),
            ({"frames": True}, "a budget of True frames"),
            ({"budget": 1.5}, "a budget of 1.5; it must be above 0 and at most 1"),
            ({"budget": 0.001}, "does not pay for one frame"),
            ({"time_budget_s": 0.0}, "a time budget of 0.0 s"),
            ({"time_budget_s": 1e-6}, "one frame takes"),
            ({"time_budget_s": float("inf")}, "above 0, and finite"),
            ({"beam_current_pa": -3.0}, "beam_current_pa is -3.0"),
        ],
    )
    def test_that_make_no_sense_are_refused_at_once(self, make, wish, sentence):
        with pytest.raises(ValueError, match=sentence):
            make(**wish)

    def test_of_several_kinds_end_with_the_first(self, make):
        for wish in ({"budget": 0.4, "frames": 3}, {"budget": 3.2 / 256, "frames": 50}):
            env = make(**wish)
            env.reset(seed=0)
            assert [truncated for *_, truncated, _ in run(env, 3)] == [False, False, True]

    def test_the_survey_is_one_of_the_frames(self, unknown, make):
        env = make(unknown, frames=3, survey="low", dwell_us=4.0)
        env.reset(seed=0)
        assert [truncated for *_, truncated, _ in run(env, 2)] == [False, True]

    def test_what_nobody_knows_is_not_called_nothing(self, unknown, make):
        """Electrons are NaN; rasters follow from beam-on time, which is in proportion."""
        env = make(unknown, frames=32)
        _, info = env.reset(seed=0)
        assert info["charge_e"] == info["spent"] == 0.0
        observation, *_, info = run(env, 8)[-1]
        assert np.isnan(info["charge_e"])
        assert info["spent"] == pytest.approx(8 / 256)
        assert info["charge_left"] == 0.75
        assert observation["left"] == pytest.approx([0.75, 1.0])

    def test_agents_know_how_many_frames_there_are(self, unknown, make):
        one = CostModel().time_s(make().source.reference.at((0.0, 0.0)))
        for wish in ({"frames": 20}, {"time_budget_s": 20.4 * one}):
            env = make(unknown, **wish)
            env.reset(seed=0)
            context = Experiment(env, make_agent("grid")).context()
            assert context.frames == 20
            assert context.beam_current_pa is None
        assert len(Experiment(make(unknown, frames=20), make_agent("grid")).run()) == 20

    def test_a_charge_that_a_frame_does_not_tell_is_reckoned(self, world, make):
        """An instrument that forgets its current in mid-run does not scan for nothing."""
        instrument = Instrument(world)
        env = make(instrument)
        env.reset(seed=0)
        before = env.step(MIDDLE)[4]["charge_e"]
        instrument.current = False
        assert env.step(MIDDLE)[4]["charge_e"] == pytest.approx(2 * before)

    def test_no_limit_at_all_is_no_budget(self, make):
        source = make().source
        with pytest.raises(BudgetError, match="no budget; set one of charge, time or frames"):
            Budget.relative(None, source.field_yx_nm, source.reference, source.costs, 50.0)


class TestAddresses:
    def test_a_simulated_one_shows_the_training_specimen_of_its_id(self, make):
        ours, theirs = make(SIM), make_env("StemScout/GrapheneDefects-v0", difficulty="easy")
        theirs.reset(seed=5)
        shown = ours.source.live.world.specimen
        assert np.array_equal(shown.feature_yx_nm, theirs.truth.feature_yx_nm)
        assert ours.source.settings["address"] == SIM

    def test_difficulty_and_seed_may_be_left_out(self):
        recipe = live.connect("sim://graphene").world.recipe
        assert (recipe.difficulty, recipe.entropy) == ("medium", 0)

    def test_its_display_is_stated_for_the_reference_dwell(self, make):
        bright = []
        for dwell in (8.0, 80.0):
            env = make(SIM, dwell_us=dwell)
            env.reset(seed=0)
            env.step(MIDDLE)
            bright.append(env.episode.display(env.episode.history[0]).mean())
        assert bright[0] == pytest.approx(bright[1], rel=0.1)
        assert bright[0] > 0.05

    @pytest.mark.parametrize(
        ("address", "sentence"),
        [
            ("graphene", "is no address of a microscope; there are: sim://.*, nion:"),
            ("", "is no address of a microscope"),
            ("tem://titan:5000", "unknown scheme 'tem'; there are: sim://"),
            ("tem://titan:5000", r"autoscript://host:port \(unverified on hardware\)"),
            ("tem://titan:5000", r"field_at_1x_m=0.1 \(unverified on hardware\)"),
            ("tem://titan:5000", r"field_at_1x_nm=100 \(unverified on hardware\)"),
            ("tem://titan:5000", "module:callable of your own$"),
            ("tem:titan", "'tem' is neither a scheme nor a module that Python finds from /.*sim:"),
            ("no_such.part:make", "'no_such.part' is neither a scheme nor a module"),
            ("my-module:make", "unknown scheme 'my-module'"),
            ("sim://butter", "unknown specimen 'butter'; there are: graphene"),
            ("sim://", r"must be sim://<specimen>\?difficulty=medium&seed=0"),
            ("nion:usim", r"must be nion:\?sample=0&seed=0"),
            ("temscript://tem1:8080", "must be temscript://host:port"),
            ("temscript://tem1?field_at_1x_m=0.1", "must be temscript://host:port"),
            ("autoscript://tem1", "must be autoscript://host:port"),
            ("pyjem:?nm_per_count=1,2&field_at_1x_nm=5", "must be pyjem:"),
            ("pyjem:", "must be pyjem:"),
            ("grpc://here", "must be grpc://host:port"),
            ("journal:", "must be journal:<folder of a run>"),
            ("nion:?sample=three", "the sample is 'three'; it must be an integer >= 0"),
            ("sim://graphene/5", r"must be sim://<specimen>\?difficulty=medium&seed=0"),
            ("sim://graphene?difficulty=mild", "unknown difficulty 'mild'; there are: easy"),
            ("sim://composite", "it is made only at: hard"),
            ("sim://graphene?seed=-1", "the seed is '-1'; it must be an integer >= 0"),
            ("sim://graphene?seed=", "the seed is ''"),
            ("sim://graphene?colour=red", "unknown option colour; there are: difficulty, seed"),
            ("sim://graphene?seed=1&seed=2", "an option is given twice"),
        ],
    )
    def test_that_are_none_are_refused(self, make, address, sentence):
        with pytest.raises(ValueError, match=sentence):
            make(address)

    def test_what_an_address_opened_is_closed_when_the_environment_fails(self, world, monkeypatch):
        instrument = Instrument(world)
        monkeypatch.setitem(addresses.SCHEMES, "test", ("test:", lambda *_: instrument))
        with pytest.raises(ValueError, match="unknown action"):
            make_env(LIVE, microscope="test://here", action="teleport")
        assert instrument.calls[-1] == "close"

    def test_what_a_person_holds_is_left_to_them(self, world):
        instrument = Instrument(world)
        with pytest.raises(ValueError, match="unknown action"):
            make_env(LIVE, microscope=instrument, action="teleport")
        assert "close" not in instrument.calls

    @pytest.mark.parametrize(
        ("given", "sentence"),
        [
            (None, "is no microscope: it lacks open, state, move_stage"),
            (SimulatedMicroscope, "it is a class; give an object of it"),
            (np.zeros((9, 9)), "is no microscope: it lacks open"),
        ],
        ids=["nothing", "a class", "an image"],
    )
    def test_what_is_no_microscope_is_refused(self, given, sentence):
        with pytest.raises(ValueError, match=sentence):
            make_env(LIVE, microscope=given)

    def test_a_microscope_must_be_given(self):
        with pytest.raises(ValueError, match="microscope"):
            make_env(LIVE)


@pytest.mark.parametrize(
    "check",
    [c for c in testing.CHECKS if c is not testing.check_copies],
    ids=lambda c: c.__name__,
)
def test_keeps_the_promises_of_every_environment(check):
    check(lambda **more: make_env(LIVE, microscope=SIM, **more))


@pytest.mark.parametrize("agent", ["grid", "linear-bo"])
def test_agents_run_on_it_unchanged(make, agent):
    env = make(SIM, dwell_us=40.0, budget=0.05)
    assert len(Experiment(env, make_agent(agent), seed=0).run()) == 12


class TestAsAnEpisodeSeesIt:
    @pytest.mark.parametrize("known", [True, False], ids=["current known", "current declared"])
    @pytest.mark.parametrize(
        "check",
        [c for name, c in CHECKS.items() if name != "close_blanks_and_may_be_repeated"],
        ids=lambda c: c.__name__,
    )
    def test_a_kept_microscope_is_a_microscope(self, check, known, world, conforms):
        """But for ``open`` after ``close``: it stays closed."""
        instrument = Instrument(world, current=known, stage_yx_nm=(900.0, 40.0))
        bench = Bench(ScanRequest((0.0, 0.0), (2.4, 1.92), (80, 64), 4000.0))
        capabilities = instrument.open()
        kept = KeptOpen(instrument, capabilities, CostModel(), None if known else 50.0)
        assert isinstance(kept, Microscope)
        conforms(check, kept, bench)

    def test_a_frame_cut_short_is_charged_for_what_was_scanned(self, world):
        instrument = Instrument(world, current=False)
        capabilities = instrument.open()
        whole = instrument.acquire
        instrument.acquire = lambda *more: replace(whole(*more), valid_rows=16)
        kept = KeptOpen(instrument, capabilities, CostModel(), 50.0)
        request = ScanRequest((0.0, 0.0), (1.0, 1.0), (64, 64), 1.0)
        quarter = CostModel().charge_e(request, 50.0) / 4
        assert kept.acquire(request).charge_e == pytest.approx(quarter)

    def test_once_closed_it_stays_closed(self, world):
        instrument = Instrument(world)
        kept = KeptOpen(instrument, instrument.open(), CostModel())
        kept.close()
        kept.open()
        with pytest.raises(MicroscopeError, match="is closed"):
            kept.state()
