"""Navigators that look and follow up: what they follow, and what they zoom into."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stemscout.agents.agent import Needs
from stemscout.agents.catalogue import make_agent
from stemscout.agents.experiment import Experiment
from stemscout.agents.navigation.adaptive import Lawnmower, Operator, evenly, mown
from stemscout.agents.navigation.overview import overview
from stemscout.envs.actions import OperatorAction
from stemscout.envs.registration import make_env
from stemscout.hardware import CostModel, Frame, ScanRequest, State

FOV = 1.5
ROWS, COLUMNS = 8, 12  # contiguous frames in the field of the fixtures


def wall(y, x):
    """A slanting wall about a frame wide, upon a background that wavers a little."""
    return 5.0 * (abs(y - 0.4 * x) < 0.8) + 0.1 * np.sin(7 * y + 11 * x)


def patch(y, x):
    """A bright patch of radius 2.5 nm."""
    return 5.0 * (np.hypot(y + 2, x - 4) < 2.5) + 0.1 * np.sin(7 * y + 11 * x)


def rows_of(centres):
    return np.rint((centres[:, 0] + 5.25) / FOV).astype(int)


def columns_of(centres):
    return np.rint((centres[:, 1] + 8.25) / FOV).astype(int)


def wide(image, fov_yx_nm=(12.0, 18.0), centre=(0.0, 0.0), dwell_us=1.25):
    request = ScanRequest(centre, fov_yx_nm, image.shape, dwell_us)
    data = {"haadf": image.astype(np.float32)}
    return Frame(request, request.region, data, len(image), None, 0.0, State())


def survey_of(function, noise=0.0, seed=0):
    """A picture of the whole field in 128 x 128 pixels."""
    y, x = (np.arange(128) + 0.5) / 128 * 12 - 6, (np.arange(128) + 0.5) / 128 * 18 - 9
    image = np.array([[function(a, b) for b in x] for a in y]) + 10.0
    return wide(image + np.random.default_rng(seed).normal(0, noise, image.shape))


@given(rows=st.integers(1, 20), columns=st.integers(1, 20), frames=st.floats(0.1, 500))
def test_everything_is_mown_once_and_the_first_lines_are_within_the_budget(rows, columns, frames):
    order, first = mown((rows, columns), frames)
    assert sorted(order) == list(range(rows * columns))
    assert 1 <= first <= max(1.0, frames)


@given(rows=st.integers(1, 20), columns=st.integers(2, 20))
def test_lines_are_mown_to_and_fro(rows, columns):
    order, first = mown((rows, columns), rows * columns)
    assert first == rows * columns
    steps = np.abs(np.diff(np.array(np.divmod(order, columns)), axis=1)).sum(axis=0)
    assert (steps == 1).all(), "every frame lies beside the one before"


@given(places=st.integers(1, 50), count=st.integers(1, 50))
def test_even_places_are_distinct_and_leave_equal_margins(places, count):
    count = min(places, count)
    chosen = evenly(places, count)
    assert len(set(chosen.tolist())) == count
    assert abs(chosen[0] - (places - 1 - chosen[-1])) <= 1


def test_where_nothing_stands_out_the_lawnmower_mows(ready, run):
    lawnmower = ready(Lawnmower(reserve=0.4), frames=40)  # 24 of them: 2 lines of 12
    centres, _ = run(lawnmower, lambda y, x: 0.0, 40)
    rows = rows_of(centres)
    assert rows[:24].tolist() == [2] * 12 + [6] * 12
    assert columns_of(centres)[:24].tolist() == [*range(12), *range(11, -1, -1)]
    assert len(np.unique(centres.round(6), axis=0)) == 40
    assert not set(rows[24:]) & {2, 6}, "then it mows between the lines"


def test_the_lawnmower_follows_a_wall(ready, situation):
    """From where its first line crosses it to both ends, before it mows on."""
    lawnmower = ready(Lawnmower(), frames=60)
    centres, targets, reasons = np.empty((0, 2)), [], []
    for left in range(60, 0, -1):
        decision = lawnmower.decide(situation(centres, targets, left))
        centres = np.vstack([centres, decision.centre_yx_nm])
        targets.append(wall(*decision.centre_yx_nm))
        reasons.append(decision.reason.split(" frame ")[0])
    every = lawnmower.candidates.centres_yx_nm
    on_wall = np.flatnonzero(np.array(targets) > 2)
    assert len(on_wall) == sum(wall(*c) > 2 for c in every), "all of it is found"
    assert set(reasons[5 : on_wall[-1] + 1]) == {"follows up"}
    assert on_wall[-1] < 45
    assert reasons[-1] == "mows on"


def test_the_lawnmower_says_what_it_follows_and_why(ready, situation):
    lawnmower = ready(Lawnmower(), frames=60)
    line = lawnmower.candidates.centres_yx_nm[lawnmower.order[:7]]
    targets = np.array([0.0, 0.1, 0.2, 0.1, 0.0, 0.2, 5.0])
    decision = lawnmower.decide(situation(line, targets))
    assert np.hypot(*(np.array(decision.centre_yx_nm) - line[6])) < 1.5 * FOV
    # The median is 0.1, and so is the median deviation from it: 4.9 / (1.4826 * 0.1).
    assert decision.reason == "follows up frame 6, which stands out (33.1 MADs)"
    calm = lawnmower.decide(situation(line, np.where(targets > 1, 0.2, targets)))
    assert calm.reason == "mows on"
    assert calm.centre_yx_nm == pytest.approx(
        lawnmower.candidates.centres_yx_nm[lawnmower.order[7]]
    )
    few = lawnmower.decide(situation(line[3:], targets[3:]))
    assert few.reason == "mows on", "of four frames nobody knows what is ordinary"


def test_frames_that_follow_up_do_not_become_the_rule(ready, situation):
    """The mown line says what is ordinary, however many frames lie where something was found."""
    lawnmower = ready(Lawnmower(), frames=60)
    every = lawnmower.candidates.centres_yx_nm
    line = lawnmower.order[:10]
    cluster = np.array([k * COLUMNS + j for k in (2, 3, 4) for j in (5, 6, 7, 8, 9)])
    cells = np.concatenate([line, cluster])
    targets = np.where(np.isin(cells, cluster), 5.0, 0.1 * (cells % 3))
    decision = lawnmower.decide(situation(every[cells], targets))
    assert "follows up frame 24" in decision.reason
    assert np.hypot(*(every[cluster[-1]] - decision.centre_yx_nm)) < 1.5 * FOV


@pytest.mark.parametrize("navigator", [Lawnmower, Operator])
def test_targets_that_nobody_has_or_that_are_all_equal_stop_nobody(
    navigator, ready, run, situation
):
    for value in (np.nan, 3.0, np.inf):
        centres, _ = run(ready(navigator()), lambda y, x, v=value: v, 30)
        assert len(np.unique(centres.round(6), axis=0)) == 30


@pytest.mark.parametrize("navigator", [Lawnmower, Operator])
def test_when_all_is_measured_nothing_is_left(navigator, ready, situation):
    made = ready(navigator())
    every = made.candidates.centres_yx_nm
    assert made.decide(situation(every, np.arange(len(every)))) is None
    one = made.decide(situation(every[1:], np.arange(len(every) - 1)))
    assert one.centre_yx_nm == pytest.approx(every[0])


@pytest.mark.parametrize("navigator", [Lawnmower, Operator])
def test_units_of_the_target_do_not_matter(navigator, ready, run):
    plain, _ = run(ready(navigator(), frames=60), patch, 60)
    scaled, _ = run(ready(navigator(), frames=60), lambda y, x: 1e3 * patch(y, x) - 7, 60)
    assert np.array_equal(plain, scaled)


def test_the_operator_finds_a_bright_patch_by_its_own_coarse_grid(ready, run):
    operator = ready(Operator(share=0.4), frames=60)
    _, targets = run(operator, patch, 60)
    assert operator.coarse == 24
    every = operator.candidates.centres_yx_nm
    inside = np.array([patch(*c) for c in every]) > 2
    assert (targets > 2).sum() == inside.sum(), "all of it"
    zoom = targets[operator.coarse : operator.coarse + inside.sum()]
    assert (zoom > 2).mean() > 0.4, "at once"


def test_the_operator_reads_the_survey_that_is_granted(ready, run):
    operator = ready(Operator(), frames=20, survey=survey_of(patch, noise=1.0))
    assert operator.coarse == 0
    centres, targets = run(operator, patch, 9)
    assert (targets > 2).sum() >= 5, "it goes where the survey is bright"
    steps = np.hypot(*np.diff(centres, axis=0).T)
    assert (steps < 1.5 * FOV).mean() > 0.6, "frame beside frame"
    inside = np.array([patch(*c) for c in operator.candidates.centres_yx_nm]) > 2
    _, targets = run(operator, patch, 20)
    assert (targets > 2).sum() == inside.sum()


def test_frames_that_show_nothing_outweigh_the_survey(ready, run):
    """Contamination is bright on the survey, and no target."""
    both = lambda y, x: patch(y, x) + 8.0 * (np.hypot(y - 3, x + 5) < 2.5)  # noqa: E731
    operator = ready(Operator(), frames=50, survey=survey_of(both))
    _, targets = run(operator, patch, 50)
    every = operator.candidates.centres_yx_nm
    inside = np.array([patch(*c) for c in every]) > 2
    assert (targets > 2).sum() == inside.sum()


def test_the_strongest_region_comes_first_and_the_reason_says_so(ready, situation):
    operator = ready(Operator(share=0.4), frames=60)
    coarse = operator.candidates.centres_yx_nm[operator.order[: operator.coarse]]
    two = lambda y, x: patch(y, x) + 9.0 * (np.hypot(y - 3, x + 5) < 1.6)  # noqa: E731
    targets = np.array([two(*c) for c in coarse])
    decision = operator.decide(situation(coarse, targets))
    assert decision.reason.startswith(
        "zooms into the strongest of 2 regions above Otsu's threshold"
    )
    assert np.hypot(*np.subtract(decision.centre_yx_nm, (3, -5))) < 3
    values, unit = decision.maps["what stands out"]
    assert values.shape == (ROWS * COLUMNS,)
    assert np.isfinite(values).all()
    assert unit


def test_an_overview_tells_what_is_odd_and_0_where_it_shows_nothing(ready):
    candidates = ready(Operator()).candidates
    odd = overview([survey_of(patch)], candidates, State())
    bright = np.array([patch(*c) for c in candidates.centres_yx_nm]) > 2
    assert odd[bright].min() > np.median(odd[~bright])
    left = overview(
        [wide(survey_of(patch).image[:, :64], (12.0, 9.0), (0.0, -4.5))], candidates, State()
    )
    assert (left.reshape(ROWS, COLUMNS)[:, 6:] == 0).all()
    assert left.reshape(ROWS, COLUMNS)[:, :6].any()


def test_two_dwells_make_one_picture(ready):
    candidates = ready(Operator()).candidates
    image = survey_of(patch).image
    left = wide(image[:, :64], (12.0, 9.0), (0.0, -4.5), dwell_us=1.0)
    right = wide(3 * image[:, 64:], (12.0, 9.0), (0.0, 4.5), dwell_us=3.0)
    whole = wide(image, dwell_us=1.0)
    two, one = (overview(f, candidates, State()) for f in ([left, right], [whole]))
    assert two == pytest.approx(one, rel=1e-4)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Lawnmower(reserve=1.0), "a reserve of 1.0; it must be a share of the budget"),
        (lambda: Lawnmower(threshold=0), "a threshold of 0 MADs; it must be above 0"),
        (lambda: Lawnmower(threshold=np.nan), "above 0, and finite"),
        (lambda: Operator(share=-0.1), "a share of -0.1; it must be a share of the budget"),
        (lambda: Operator(share="all"), "a share of 'all'"),
        (lambda: Operator(free=1), "free is 1; it must be true or false"),
        (lambda: Lawnmower().steer(0.5), "lawnmower follows what stands out"),
        (lambda: Operator().steer(0.5), "operator goes by what it sees"),
    ],
)
def test_bad_input_is_refused(make, says):
    with pytest.raises(ValueError, match=says):
        make()


def test_a_free_operator_needs_actions_that_choose_frames(ready):
    assert Operator().needs == Needs()
    assert Operator(free=True).needs == Needs(action="operator")
    with pytest.raises(ValueError, match="needs the action 'operator'"):
        ready(Operator(free=True))


@pytest.fixture
def ran(graphene):
    """Runs the operator on graphene; the experiment."""

    def start(free=False, budget=0.4, **options):
        agent = make_agent("operator", free=free)
        env = graphene(budget=budget, action=agent.needs.action, **options)
        experiment = Experiment(env, agent, 1)
        experiment.run()
        return experiment

    return start


@pytest.mark.parametrize("survey", ["none", "low"])
def test_the_operator_spends_its_budget_exactly(ran, survey):
    """As many reference frames as are paid for, after the survey."""
    experiment = ran(survey=survey)
    episode = experiment.env.episode
    context = experiment.context()
    assert len(experiment.steps) == context.frames
    assert episode.exhausted
    assert context.frames == (102 if survey == "none" else 101)


def test_the_free_operator_surveys_by_wide_frames_and_zooms_in(ran):
    experiment = ran(free=True)
    reference = experiment.env.source.reference
    fov = np.array([s.request.fov_yx_nm[0] for s in experiment.steps])
    dwell = np.array([s.request.dwell_us for s in experiment.steps])
    assert fov[:16] == pytest.approx(4 * reference.side_nm, rel=1e-5)
    assert fov[16:] == pytest.approx(reference.side_nm, rel=1e-5)
    assert dwell[:16] == pytest.approx(reference.dwell_us / 8, rel=1e-5)
    assert dwell[16:] == pytest.approx(reference.dwell_us, rel=1e-5)
    spent = experiment.steps[-1].spent
    assert 0.4 - 1 / 256 < spent <= 0.4 * (1 + 1e-9), "and leaves less than a frame"
    assert "zooms into the strongest" in experiment.steps[16].explanation.sentence
    centres = {tuple(np.round(s.request.centre_yx_nm, 4)) for s in experiment.steps[16:]}
    assert len(centres) == len(experiment.steps) - 16


def test_wide_frames_have_no_target_and_teach_the_perception_nothing(ran):
    experiment = ran(free=True)
    assert all(s.target is None for s in experiment.steps[:16])
    assert all(s.target is not None for s in experiment.steps[18:])
    agent = experiment.agent
    situation = agent.situation()
    assert len(situation.frames) == len(experiment.steps)
    count = len(experiment.steps) - 16
    assert len(situation.measured_yx_nm) == len(situation.targets) == count
    assert len(situation.descriptors) == len(situation.dose) == count
    assert situation.left == 1


def test_the_free_operator_saved_and_restored_goes_on_alike(graphene):
    env = graphene(budget=0.2, action="operator")
    for taken in (5, 20):
        experiment = Experiment(env, make_agent("operator", free=True), seed=4)
        stream = iter(experiment)
        for _ in range(taken):
            next(stream)
        agent, twin = experiment.agent, make_agent("operator", free=True)
        twin.reset(experiment.context(), 4)
        twin.restore(agent.save(), env.episode.history)
        assert np.array_equal(twin.act(None), agent.act(None))


def test_the_free_operator_scans_no_forbidden_place(graphene):
    env = graphene(budget=0.2, action="operator")
    experiment = Experiment(env, make_agent("operator", free=True), seed=1)
    experiment.steer(forbid=[((-12.0, -12.0), (12.0, 0.0))])
    steps = experiment.run()
    assert len(steps) > 8
    for step in steps:
        assert step.request.centre_yx_nm[1] - step.request.fov_yx_nm[1] / 2 >= -1e-4


def test_wide_frames_grow_until_a_share_of_the_budget_pays_for_them(context):
    operator = Operator(free=True, share=0.2)
    reference = context().reference
    fields = {}
    for frames in (100, 2):
        made = replace(
            context(frames),
            actions=OperatorAction((12.0, 18.0), reference),
            costs=CostModel(flyback_us=0.0),
        )
        operator.reset(made, np.random.default_rng(0))
        fields[frames] = [f.fov_yx_nm[0] for f in operator.wide]
    assert fields[100] == [6.0] * 6
    assert fields[2] == [12.0] * 2


def test_the_free_operator_runs_on_a_recording(recorded):
    """Nothing is finer than its pixels, and there is one dwell."""
    env = recorded(budget=0.2, action="operator")
    steps = Experiment(env, make_agent("operator", free=True), seed=0).run()
    assert steps[0].request.fov_yx_nm[0] > 3 * env.source.reference.side_nm
    assert steps[-1].request.fov_yx_nm[0] == pytest.approx(env.source.reference.side_nm)


def test_a_person_may_look_at_the_whole_field_in_mid_run():
    """Any workflow takes note of a frame of another scale, and learns nothing from it."""
    env = make_env("StemScout/GrapheneDefects-v0", split="test", budget=0.1, action="operator")
    env.reset(seed=0)
    agent = make_agent("contrast-random")
    agent.reset(Experiment(env, agent).context(), 0)
    reference = env.episode.reference
    for centre in ((0.0, 0.0), (3.0, 3.0), (-3.0, 3.0)):
        agent.observe(env.episode.take(reference.at(centre)))
    before = agent.situation()
    overlook = replace(reference.at((0.0, 0.0)), fov_yx_nm=env.episode.field_yx_nm)
    agent.observe(env.episode.take(overlook))
    after = agent.situation()
    assert np.array_equal(after.targets, before.targets)
    assert len(after.frames) == len(before.frames) + 1
    assert after.left == before.left - 1
    assert agent.target([env.episode.history[-1]]) is None
