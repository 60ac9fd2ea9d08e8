"""Every agent in the catalogue keeps the same promises."""

from __future__ import annotations

import json
import time
from dataclasses import replace

import numpy as np
import pytest

from stemscout.agents.agent import Agent
from stemscout.agents.catalogue import (
    AGENTS,
    LOOKS_WITH,
    NAVIGATORS,
    PERCEPTIONS,
    make_agent,
)
from stemscout.agents.experiment import Experiment
from stemscout.agents.navigation.seeding import seed_frames_for
from stemscout.benchmarks.scores import seen_curve
from stemscout.envs.registration import ENVIRONMENTS, make_env

BUDGET = 0.06  # 15 frames of 256


@pytest.fixture(params=AGENTS)
def name(request):
    return request.param


@pytest.fixture
def run(graphene):
    """Runs an agent on a small budget; the experiment."""

    def start(agent, seed=2, budget=BUDGET, **options):
        made = make_agent(agent) if isinstance(agent, str) else agent
        experiment = Experiment(graphene(budget=budget, **options), made, seed)
        experiment.run()
        return experiment

    return start


@pytest.fixture
def passing(graphene):
    """Runs an agent on a small budget; every step as it was when it was taken."""

    def start(agent):
        return list(Experiment(graphene(budget=BUDGET), make_agent(agent), seed=2))

    return start


def centres(experiment):
    return [s.request.centre_yx_nm for s in experiment.steps]


def test_spends_its_budget_and_no_more(run, name):
    experiment = run(name)
    assert len(experiment.steps) == 15 or name.endswith("oracle")
    assert experiment.steps[-1].spent <= BUDGET * (1 + 1e-9)
    assert [s.index for s in experiment.steps] == list(range(len(experiment.steps)))


def test_same_seed_same_path(run, name):
    assert centres(run(name)) == centres(run(name))


def test_takes_reference_frames_inside_the_field_and_none_twice(run, name):
    experiment = run(name)
    reference = experiment.env.source.reference
    for step in experiment.steps:
        assert step.request.shape_yx == reference.shape_yx
        assert step.request.dwell_us == reference.dwell_us
    assert len(set(centres(experiment))) == len(experiment.steps)


def test_only_the_privileged_are_told_the_truth(graphene, name):
    agent = make_agent(name)
    env = graphene(budget=BUDGET)
    env.reset(seed=0)
    context = Experiment(env, agent).context()
    assert (context.truth is not None) == agent.privileged
    assert agent.privileged == ("oracle" in name or "true" in name)


def test_explains_itself_in_one_sentence(passing, name):
    before = None
    for step in passing(name):
        assert step.explanation.sentence
        assert "\n" not in step.explanation.sentence
        for name_of_map, field in step.explanation.maps.items():
            assert field.values.shape == (len(field.y_nm), len(field.x_nm))
            assert field.unit
            if name_of_map == "acquisition":  # blank where a frame was taken already
                assert np.isnan(field.values).any()
                if before is not None and np.array_equal(before, field.values, equal_nan=True):
                    continue  # one of a batch: the first of it went to the highest
                before = field.values
                there = np.unravel_index(np.nanargmax(field.values), field.values.shape)
                centre = (field.y_nm[there[0]], field.x_nm[there[1]])
                assert centre == pytest.approx(step.request.centre_yx_nm, abs=1e-5)
            else:
                assert np.isfinite(field.values).all()


def test_saved_and_restored_it_decides_the_same(graphene, name):
    env = graphene(budget=0.2)
    experiment = Experiment(env, make_agent(name), seed=4)
    stream = iter(experiment)
    for _ in range(8):
        next(stream)
    agent = experiment.agent
    state = json.loads(json.dumps(agent.save()))
    twin = make_agent(name)
    twin.reset(experiment.context(), 4)
    twin.restore(state, env.episode.history)
    observation = env.observations.observe()
    assert np.array_equal(twin.act(observation), agent.act(observation))


@pytest.mark.parametrize("name", ["linear-bo", "contrast-search", "lawnmower", "operator"])
def test_a_stage_that_moves_in_mid_run_leads_to_no_repeats(graphene, name):
    """What was measured lies elsewhere in scan coordinates then, and new frames beside it."""
    env = graphene(budget=0.15)
    experiment = Experiment(env, make_agent(name), seed=0)
    experiment.steer(forbid=[((-12.0, -12.0), (12.0, -11.0))])  # what the move leads away from
    for step in experiment:
        if step.index == 7:
            env.episode.microscope.move_stage((0.0, 1.0), 10.0)
    assert len(set(centres(experiment)[8:])) == len(experiment.steps) - 8 > 20


def test_in_the_middle_of_a_batch_a_restored_agent_knows_why(graphene):
    env = graphene(budget=0.2)
    experiment = Experiment(env, make_agent("linear-bo", batch=4), seed=4)
    stream = iter(experiment)
    for _ in range(7):
        next(stream)
    agent = experiment.agent
    assert len(agent.waiting) == 2
    twin = make_agent("linear-bo", batch=4)
    twin.reset(experiment.context(), 4)
    twin.restore(json.loads(json.dumps(agent.save())), env.episode.history)
    observation = env.observations.observe()
    for _ in range(3):  # the rest of the batch, and a decision
        assert np.array_equal(twin.act(observation), agent.act(observation))
        ours, theirs = agent.explain(), twin.explain()
        assert theirs.sentence == ours.sentence
        assert set(theirs.maps) == set(ours.maps)


def test_restored_it_explains_what_it_did_last(graphene):
    env = graphene(budget=BUDGET)
    experiment = Experiment(env, make_agent("contrast-bo"), seed=0)
    steps = [step for _, step in zip(range(8), experiment, strict=False)]
    agent, twin = experiment.agent, make_agent("contrast-bo")
    twin.reset(experiment.context(), 0)
    twin.restore(json.loads(json.dumps(agent.save())), env.episode.history)
    assert twin.explain().sentence == agent.explain().sentence
    assert "nothing left" not in twin.explain().sentence
    assert len(steps) == 8


def test_what_is_forbidden_is_a_piece_of_the_specimen(graphene):
    """After the stage has moved it lies elsewhere under the scan, and nothing else is forbidden."""
    env = graphene(budget=BUDGET)
    experiment = Experiment(env, make_agent("raster"), seed=0)
    next(iter(experiment))
    agent, frame = experiment.agent, env.episode.history[-1]
    agent.steer(forbid=[((1.0, 2.0), (3.0, 5.0))])
    assert agent.situation().forbidden == (((1.0, 2.0), (3.0, 5.0)),)
    agent.observe(replace(frame, state=replace(frame.state, stage_yx_nm=(4.0, -1.0))))
    assert agent.situation().forbidden == (((5.0, 1.0), (7.0, 4.0)),)
    twin = make_agent("raster")
    twin.reset(experiment.context(), 0)
    twin.restore(json.loads(json.dumps(agent.save())), agent.frames)
    assert twin.situation().forbidden == agent.situation().forbidden


@pytest.mark.parametrize("wrong", [[((0.0, np.nan), (1.0, 1.0))], [((0.0, 1.0),)]])
def test_a_forbidden_region_that_is_none_is_refused(graphene, wrong):
    env = graphene(budget=BUDGET)
    env.reset(seed=0)
    agent = make_agent("raster")
    agent.reset(Experiment(env, agent).context(), 0)
    with pytest.raises(ValueError, match="two corners"):
        agent.steer(forbid=wrong)


def test_forbidden_regions_are_never_scanned(graphene, name):
    env = graphene(budget=BUDGET)
    experiment = Experiment(env, make_agent(name), seed=1)
    experiment.steer(forbid=[((-12.0, -12.0), (12.0, 0.0))])
    steps = experiment.run()
    assert steps
    assert all(step.request.centre_yx_nm[1] - 0.75 >= -1e-6 for step in steps)


def test_curiosity_and_targets_are_refused_by_those_that_have_none(graphene, name):
    agent = make_agent(name)
    env = graphene(budget=BUDGET)
    env.reset(seed=0)
    agent.reset(Experiment(env, agent).context(), 0)
    perception, _, navigator = name.rpartition("-")
    for wish, has in (
        ({"target": 1}, bool(perception or LOOKS_WITH.get(name))),
        ({"exploration": 0.5}, navigator in ("bo", "paper")),
    ):
        if has:
            agent.steer(**wish)
        else:
            with pytest.raises(ValueError, match=navigator):
                agent.steer(**wish)


@pytest.mark.filterwarnings("ignore:pixels of:UserWarning", "ignore:noise is:UserWarning")
def test_runs_on_a_recording(recorded, name):
    """Which classes are sought there nobody says; a network has to be named."""
    options = {"network": "graphene"} if "dcnn" in name else {}
    experiment = Experiment(recorded(budget=0.05), make_agent(name, **options), seed=0)
    if experiment.agent.privileged:
        with pytest.raises(ValueError, match="needs the truth"):
            experiment.run()
        return
    if options:
        with pytest.raises(ValueError, match="no network is known for these classes: none; name"):
            Experiment(recorded(budget=0.05), make_agent(name), seed=0).run()
    steps = experiment.run()
    assert len(steps) == int(0.05 * 16 * 18)
    assert all(s.fraction == 0.0 for s in steps)


def test_unknown_agents_and_options_list_the_known():
    with pytest.raises(ValueError, match="unknown agent 'chess'; there are: raster, grid, random"):
        make_agent("chess")
    with pytest.raises(ValueError, match="grid has no option component; it has: none"):
        make_agent("grid", component=1)
    with pytest.raises(ValueError, match="component 4; there are components 0 to 3"):
        make_agent("linear-bo", component=4)
    with pytest.raises(ValueError, match="true-bo has no option window; it has: component, sca"):
        make_agent("true-bo", window=0.5)
    with pytest.raises(ValueError, match="unknown agent 'bo'"):  # it pursues what nobody tells
        make_agent("bo")
    with pytest.raises(ValueError, match="unknown engine 'steam'; there are: grid, skopt, deep"):
        make_agent("linear-bo", engine="steam")
    with pytest.raises(ValueError, match="engine 'skopt' has no option kernel; it has: seed_"):
        make_agent("linear-bo", engine="skopt", kernel="rbf")
    with pytest.raises(ValueError, match="engine 'grid' has no option surrogate; it has: acq"):
        make_agent("linear-bo", surrogate="RF")
    with pytest.raises(ValueError, match=r"window half and overlap 0\.75; they must lie in"):
        make_agent("linear-bo", window="half")


def test_any_perception_goes_with_any_navigator():
    assert set(AGENTS) >= {f"{p}-{n}" for p in PERCEPTIONS for n in NAVIGATORS}
    agent = make_agent("linear-bo", decomposition="nmf", window=0.25, seeding="corner", noise=0.1)
    assert agent.settings["perception"]["decomposition"] == "nmf"
    assert agent.settings["perception"]["window"] == 0.25
    assert agent.settings["navigator"]["seeding"] == "corner"
    assert agent.settings["navigator"]["noise"] == 0.1


def test_one_that_looks_goes_by_its_own_name_with_the_perception_that_the_table_says(run):
    assert make_agent("lawnmower", threshold=4.0).settings == {
        "navigator": {"name": "lawnmower", "reserve": 0.4, "threshold": 4.0},
        "perception": {"name": "contrast"},
        "scalarizer": "oddity",
    }
    assert make_agent("operator").name == "operator"
    assert centres(run("lawnmower")) == centres(run("contrast-lawnmower"))


def test_the_oracle_is_the_upper_bound(run):
    areas = {}
    for agent in ("oracle", "grid", "random", "raster"):
        experiment = run(agent, budget=0.4)
        areas[agent] = seen_curve(experiment.env.episode, experiment.env.truth).area()
    assert areas["oracle"] > 0.8
    assert areas["oracle"] > 2 * max(areas["grid"], areas["random"], areas["raster"])


def test_raster_is_contiguous_from_the_corner(run):
    path = centres(run("raster", budget=0.1))
    assert path[0] == pytest.approx((-11.25, -11.25))
    assert path[1] == pytest.approx((-11.25, -9.75))
    assert path[16] == pytest.approx((-9.75, -11.25))


def test_linear_bo_begins_with_five_seed_frames_and_then_believes(passing):
    steps = passing("linear-bo")
    assert all("seed frame" in s.explanation.sentence for s in steps[:5])
    assert not any(s.explanation.maps for s in steps[:5])
    assert set(steps[5].explanation.maps) == {"posterior mean", "uncertainty", "acquisition"}
    assert steps[-1].explanation.chosen in range(4)
    assert steps[-1].target is not None


def seeds_of(env, **options):
    """How many seed frames linear-bo takes; the number that its settings record."""
    agent = make_agent("linear-bo", **options)
    steps = Experiment(env, agent, seed=0).run()
    seeds = [s for s in steps if "seed frame" in s.explanation.sentence]
    assert steps[: len(seeds)] == seeds
    assert len(steps) > len(seeds)
    assert agent.settings["navigator"]["seed_frames"] == len(seeds)
    return len(seeds)


def test_a_default_field_and_a_recording_start_from_five_frames(graphene, recorded):
    assert seeds_of(graphene(budget=BUDGET)) == 5
    assert seeds_of(recorded(budget=BUDGET)) == 5


def test_a_shipped_world_starts_from_two_frames():
    """It holds about 6 x 6 reference frames."""
    options = {"renderer": "abtem", "terminate_when_done": False}
    assert seeds_of(make_env("StemScout/NiOPillars-v0", **options)) == 2
    assert seeds_of(make_env("StemScout/NiOPillars-v0", **options), seed_frames=4) == 4


@pytest.mark.parametrize(
    "id_", [n for n in ENVIRONMENTS if "Recorded" not in n and "Live" not in n]
)
def test_every_default_field_is_wide(id_):
    assert seed_frames_for(make_env(id_).source) == 5


def test_one_agent_goes_from_a_wide_field_to_a_small_one_and_back(graphene):
    agent = make_agent("linear-bo")
    small = make_env("StemScout/NiOPillars-v0", renderer="abtem")
    for env, count in ((graphene(budget=BUDGET), 5), (small, 2), (graphene(budget=BUDGET), 5)):
        env.reset(seed=0)
        agent.reset(Experiment(env, agent).context(), 0)
        assert agent.navigator.seeds.count == count


def test_a_person_changes_the_component_in_mid_run(graphene):
    experiment = Experiment(graphene(budget=BUDGET), make_agent("linear-bo"), seed=0)
    chosen = []
    for step in experiment:
        chosen.append(step.explanation.chosen)
        if step.index == 7:
            experiment.steer(target=2)
    assert chosen[8:] == [2] * 7


def test_a_person_drags_the_target_to_a_point_of_the_manifold(graphene):
    experiment = Experiment(graphene(budget=BUDGET), make_agent("rvae-bo"), seed=0)
    point = {"point": [0.5, -0.5]}
    told = []
    for step in experiment:
        told.append(step.explanation.target)
        if step.index == 7:
            experiment.steer(target=point)
    assert told[6:10] == ["variation", "variation", point, point]
    shown = experiment.steps[-1].explanation
    manifold = shown.manifold
    assert manifold.pictures.shape == (len(manifold.second), len(manifold.first), 32, 32)
    means = shown.descriptors
    for values, along in ((means[:, 0], manifold.first), (means[:, 1], manifold.second)):
        step = along[1] - along[0]
        assert along[0] - step / 2 < values.min()
        assert values.max() < along[-1] + step / 2
    one = experiment.agent.perception.decoded(np.array([[manifold.first[2], manifold.second[1]]]))
    assert np.abs(manifold.pictures[1, 2]).max() > 0.0
    assert one.shape == (1, 32, 32)


@pytest.mark.parametrize("name", ["linear-bo", "dcnn-bo"])
def test_what_cannot_be_decoded_has_no_manifold(graphene, name):
    (*_, last) = Experiment(graphene(budget=0.03), make_agent(name), seed=0)
    assert last.explanation.manifold is None


@pytest.mark.parametrize("name", ["dcnn-bo", "dcnn-rvae-bo"])
def test_a_network_tells_what_is_where_in_the_latest_frame(graphene, name):
    experiment = Experiment(graphene(budget=0.03), make_agent(name), seed=0)
    for step in experiment:
        told = experiment.agent.segmented(step.frame)
        carbon = told.names.index("C") + 1
        assert told.values.max() <= len(told.names)
        assert 0.1 < (told.values == carbon).mean() < 0.9
    assert make_agent("random").segmented(step.frame) is None


@pytest.mark.parametrize("component", [0, 1, 2])
def test_a_persons_component_stays_what_it_is(recorded, component):
    """From one fit to the next the pursued picture never turns into its opposite."""
    agent = make_agent("linear-bo", component=component)
    pictures = []
    for step in Experiment(recorded(budget=0.12), agent, seed=1):
        assert step.explanation.chosen == component
        if step.explanation.components is not None:
            pictures.append(step.explanation.components[component].ravel())
    assert len(pictures) > 20
    settled = np.array(pictures[4:])
    settled /= np.linalg.norm(settled, axis=1)[:, None]
    likeness = (settled[1:] * settled[:-1]).sum(axis=1)
    assert likeness.min() > -0.5
    assert np.median(likeness) > 0.9


def test_an_experiment_may_be_run_again(graphene):
    experiment = Experiment(graphene(budget=BUDGET), make_agent("random"), seed=0)
    first = [s.request for s in experiment.run()]
    assert [s.request for s in experiment.run()] == first


def test_stop_takes_no_further_frame(graphene):
    experiment = Experiment(graphene(), make_agent("random"), seed=0)
    for step in experiment:
        if step.index == 3:
            experiment.stop()
    assert len(experiment.env.episode.history) == 4


def test_pause_waits_for_resume(graphene):
    import threading

    experiment = Experiment(graphene(budget=BUDGET), make_agent("random"), seed=0)
    stream = iter(experiment)
    next(stream)
    experiment.pause()
    taken = []
    other = threading.Thread(target=lambda: taken.extend(stream))
    other.start()
    other.join(0.3)
    assert len(experiment.env.episode.history) == 1, "a paused experiment took a frame"
    experiment.resume()
    other.join(20)
    assert len(taken) == 14


def test_ones_own_agent_needs_three_methods(run):
    class Corner(Agent):
        """Scans the corners, as docs/add-your-agent will."""

        name = "corner"

        def reset(self, context, seed):
            self.context, self.left = context, [(-1.0, -1.0), (1.0, 1.0)]

        def act(self, observation):
            return np.array(self.left.pop(), np.float32) if self.left else None

        def observe(self, frame):
            pass

    experiment = run(Corner())
    assert centres(experiment) == [(11.25, 11.25), (-11.25, -11.25)]


@pytest.mark.parametrize("survey", ["none", "low"])
def test_an_agent_is_given_the_survey_that_it_pays_for(survey):
    env = make_env("StemScout/GrapheneDefects-v0", survey=survey, budget=0.1)
    agent = make_agent("grid")
    experiment = Experiment(env, agent, 0)
    next(iter(experiment))
    if survey == "none":
        assert agent.context.survey is None
    else:
        assert agent.context.survey is env.episode.survey
        assert agent.context.survey.image.shape == (128, 128)


def test_perception_says_by_how_much_it_exceeds_the_scan_that_feeds_it(graphene):
    env, slow = graphene(budget=0.02), make_agent("contrast-bo")
    look = slow.perception.features

    def slowly(frames):
        time.sleep(0.15)
        return look(frames)

    slow.perception.features = slowly
    steps = Experiment(env, slow, 0).run()
    assert sum(s.scan_s for s in steps) == pytest.approx(steps[-1].time_s)
    for step in steps:
        assert 0.15 <= step.perception_s <= step.latency_s
        assert step.behind_s == pytest.approx(step.perception_s - step.scan_s)
        assert step.behind_s > 0.0
    swift = Experiment(graphene(budget=0.02), make_agent("raster"), 0).run()
    assert {(s.perception_s, s.behind_s) for s in swift} == {(0.0, 0.0)}
