"""Training by reinforcement: it goes on exactly, ends where nothing is gained, refuses the rest."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from stemscout.agents.learned import checkpoint, policies, reinforce
from stemscout.agents.learned.actor import ALGORITHMS, AS_FRAMES, Preference
from stemscout.agents.learned.cloning import TEACHERS, clone
from stemscout.agents.learned.detector import Detector
from stemscout.agents.learned.members import cells_of, pool
from stemscout.agents.learned.outlook import CHANNELS
from stemscout.agents.learned.own_belief import OwnBelief
from stemscout.agents.learned.rehearsal import Rehearsal
from stemscout.agents.learned.rehearsal_env import SCALE, RehearsalEnv
from stemscout.agents.learned.reinforce import Settings, Watch, train
from stemscout.agents.learned.weights import load
from stemscout.agents.perception.sightings import Layers

ID = "StemScout/FerroelectricDomains-v0"
LAYERS, CELLS = Layers.of("bifeo3"), cells_of("bifeo3")
SMALL = {"width": 6, "dilations": (1, 2)}
ARGUMENTS = {
    "ppo": {"batch_size": 10, "n_epochs": 2},
    "maskable-ppo": {"batch_size": 10, "n_epochs": 2},
    "recurrent-ppo": {"batch_size": 10, "n_epochs": 1},
    "dqn": {"learning_starts": 4, "buffer_size": 40, "batch_size": 4, "train_freq": 2},
    "sac": {"learning_starts": 4, "buffer_size": 40, "batch_size": 4, "train_freq": 2},
}


@pytest.fixture(scope="module")
def shown():
    return pool("bifeo3", 6)


@pytest.fixture(autouse=True)
def at_hand(monkeypatch, shown):
    """Few specimens, a detector that is never wrong, and few episodes to judge by."""
    monkeypatch.setattr(Detector, "of", classmethod(lambda cls, name: cls.perfect(LAYERS)))
    monkeypatch.setattr(reinforce, "pool", lambda *_: shown)
    monkeypatch.setattr(reinforce, "JUDGED", 2)


def settings(name, **options):
    given = {
        "steps": 40,
        "side_by_side": 2,
        "budget": 0.02,
        "belief": "none",
        "evaluate": 1,
        "network": SMALL,
        "algorithm": ARGUMENTS[name],
    }
    return Settings(**{**given, **options})


def environment(shown, n=3, action="frame", budget=0.04, seed=0, belief=None, whole=False):
    detector = Detector.perfect(LAYERS)
    rehearsal = Rehearsal(shown, LAYERS, CELLS, detector, np.random.default_rng(seed), n)
    return RehearsalEnv(rehearsal, belief, budget, action, whole)


def alike(one, other):
    pairs = itertools.zip_longest(sorted(one.items()), sorted(other.items()))
    return all(a[0] == b[0] and torch.equal(a[1], b[1]) for a, b in pairs)


class TestEnvironment:
    def test_it_is_one_as_stable_baselines_takes_them(self, shown):
        env = environment(shown)
        maps = env.reset()
        assert env.observation_space.shape == (len(CHANNELS), 31, 31)
        assert all(env.observation_space.contains(m) for m in maps)
        assert env.action_space.n == 31 * 31
        for k in range(env.frames):
            masks = np.stack(env.env_method("action_masks"))
            assert (~masks).sum() == 3 * k
            maps, _, over, infos = env.step(masks.argmax(axis=1))
            assert over.all() == (k == env.frames - 1)
        assert all("terminal_observation" in i and not i["TimeLimit.truncated"] for i in infos)
        assert maps[:, CHANNELS.index("taken")].sum() == 0

    def test_what_is_earned_is_the_area_under_the_curve(self, shown):
        env = environment(shown, budget=0.1)
        env.reset()
        seen, earned = [], np.zeros(3)
        for _ in range(env.frames):
            before = (env.rehearsal.weight * env.rehearsal.told.shares).sum(axis=(1, 2))
            _, rewards, over, infos = env.step(TEACHERS["oracle"](env.rehearsal))
            if not over.any():
                after = (env.rehearsal.weight * env.rehearsal.told.shares).sum(axis=(1, 2))
                seen.append(after)
                assert (after >= before).all()
            earned += rewards
        # Recall is a step function, and changes when a frame is complete.
        area = np.sum(seen, axis=0) / env.frames
        assert earned / SCALE == pytest.approx(area, rel=1e-4)
        assert [i["episode"]["r"] for i in infos] == pytest.approx(earned, rel=1e-4)

    def test_a_place_takes_the_nearest_frame_that_is_left(self, shown):
        env = environment(shown, action="place")
        env.reset()
        corner = np.full((3, 2), -1.0, np.float32)
        env.step(corner)
        assert env.rehearsal.taken[:, 0, 0].all()
        env.step(corner)
        assert (env.rehearsal.taken.reshape(3, -1).sum(axis=1) == 2).all()
        assert (env.rehearsal.taken[:, 0, 1] | env.rehearsal.taken[:, 1, 0]).all()

    def test_what_cannot_be_is_refused(self, shown):
        with pytest.raises(ValueError, match="unknown action 'jump'"):
            environment(shown, action="jump")
        with pytest.raises(ValueError, match="pays for no frame"):
            environment(shown, budget=0.001)


def test_a_policy_begins_with_what_can_be_expected():
    """Before any training it takes the frame of which most is expected, on fields of any size."""
    torch.manual_seed(0)
    for shape in ((31, 31), (12, 40)):
        maps = torch.rand(4, len(CHANNELS), *shape)
        choice = Preference()(maps).argmax(dim=1)
        expected = maps[:, CHANNELS.index("expected")].flatten(1)
        assert torch.equal(choice, expected.argmax(dim=1))


def killed_at_second_checkpoint(monkeypatch, algorithm, given, kept):
    save, times = checkpoint.save, itertools.count()

    def killed(*args):
        save(*args)
        if next(times) == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint, "save", killed)
    with pytest.raises(KeyboardInterrupt):
        train(algorithm, ID, given, 3, kept)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_algorithm_trains_and_goes_on_exactly(algorithm, tmp_path, monkeypatch):
    """A training that is killed between two rollouts ends as one that was not."""
    whole = train(algorithm, ID, settings(algorithm), 3)
    kept = tmp_path / "checkpoint.pt"
    killed_at_second_checkpoint(monkeypatch, algorithm, settings(algorithm), kept)
    later = train(algorithm, ID, settings(algorithm), 3, kept)
    assert later.card == whole.card
    assert alike(later.members[0], whole.members[0])
    other = train(algorithm, ID, settings(algorithm), 4)
    assert not alike(other.members[0], whole.members[0])


class TestOwnBelief:
    @pytest.fixture(autouse=True)
    def begun(self, monkeypatch, file):
        belief = load(file).member()
        monkeypatch.setattr(reinforce, "belief_of", lambda specimen: belief)
        return belief

    def test_it_begins_with_what_the_frozen_one_says(self, shown, begun):
        frozen, tuned = environment(shown, belief=begun), environment(shown, whole=True)
        assert tuned.observation_space.shape[1:] == CELLS.shape
        choice = np.array([100, 300, 700])
        for env in (frozen, tuned):
            env.reset()
        for env in (frozen, tuned):
            env.step(choice)
        maps = torch.from_numpy(frozen.observed())
        own = OwnBelief(LAYERS, begun)(torch.from_numpy(tuned.observed()))
        assert torch.allclose(own, maps, atol=1e-5)

    @pytest.mark.parametrize("algorithm", AS_FRAMES)
    def test_it_is_trained_with_the_policy_and_goes_on_exactly(
        self, algorithm, begun, tmp_path, monkeypatch
    ):
        given = settings(algorithm, belief="tuned")
        before = {k: v.clone() for k, v in begun.state_dict().items()}
        whole = train(algorithm, ID, given, 3)
        assert alike(before, begun.state_dict())
        kept = {k.removeprefix("own.belief."): v for k, v in whole.members[0].items()}
        assert any(not torch.equal(kept[k], v) for k, v in before.items())
        path = tmp_path / "checkpoint.pt"
        killed_at_second_checkpoint(monkeypatch, algorithm, given, path)
        assert alike(train(algorithm, ID, given, 3, path).members[0], whole.members[0])

    def test_it_is_kept_with_the_policy(self, tmp_path, shown):
        made = train("ppo", ID, settings("ppo", belief="tuned"), 0)
        path = tmp_path / "tuned.safetensors"
        policies.save(path, policies.together([made]))
        maps = torch.from_numpy(environment(shown, whole=True).reset())
        again = policies.load(path).preference()
        assert torch.allclose(again(maps), made.preference()(maps), atol=0.05)

    @pytest.mark.parametrize("algorithm", ["recurrent-ppo", "sac"])
    def test_algorithms_without_preferences_tune_none(self, algorithm):
        with pytest.raises(ValueError, match="tunes no belief"):
            settings(algorithm, belief="tuned").check(algorithm)
        with pytest.raises(ValueError, match="none to be brief"):
            settings(algorithm, brief=True).check(algorithm)


@pytest.mark.parametrize("algorithm", AS_FRAMES)
def test_a_brief_training_calculates_in_bfloat16_and_goes_on_exactly(
    algorithm, tmp_path, monkeypatch
):
    given = settings(algorithm, brief=True)
    whole = train(algorithm, ID, given, 3)
    assert all(v.dtype == torch.float32 for v in whole.members[0].values())
    assert not whole.preference().trunk.brief
    kept = tmp_path / "checkpoint.pt"
    killed_at_second_checkpoint(monkeypatch, algorithm, given, kept)
    assert alike(train(algorithm, ID, given, 3, kept).members[0], whole.members[0])


def test_briefly_it_prefers_almost_the_same():
    torch.manual_seed(0)
    net, maps = Preference(), torch.rand(4, len(CHANNELS), 31, 31)
    torch.nn.init.normal_(net.last.weight, std=0.3)
    exactly = net(maps)
    net.trunk.brief = True
    briefly = net(maps)
    assert briefly.dtype == torch.float32
    assert 0 < (briefly - exactly).abs().max() < 0.05 * exactly.std()


def test_it_ends_where_nothing_is_gained(monkeypatch):
    reached = iter([0.3, 0.4, 0.4, 0.35, 0.5, 0.6])
    monkeypatch.setattr(reinforce, "area", lambda *_: next(reached))
    made = train("ppo", ID, settings("ppo", steps=4000, patience=2), 0)
    assert made.card["area"] == 0.4
    assert [a for _, a in made.card["curve"]] == [0.3, 0.4, 0.4, 0.35]


def test_harder_specimens_join_one_after_the_other(monkeypatch):
    levels = []
    monkeypatch.setattr(Watch, "look", lambda self, model: levels.append(self.env.rehearsal.levels))
    made = settings("ppo", steps=400, curriculum=("easy", "medium", "hard"), eased=0.5)
    monkeypatch.setattr(
        Watch, "best_state", {"mlp_extractor.actor.x": torch.zeros(1)}, raising=False
    )
    train("ppo", ID, made, 0)
    assert levels[0] == ("easy",)
    assert levels[-1] == ("easy", "medium", "hard")
    assert [len(of) for of in levels] == sorted(len(of) for of in levels)


def test_what_a_teacher_would_do_is_cloned(shown):
    env = environment(shown, n=8, budget=0.2)
    torch.manual_seed(0)
    actor, losses = Preference(8, (1, 2)), []
    clone(actor, env, "grid", 150, lambda step, loss: losses.append(loss))
    assert np.mean(losses[-5:]) < 0.9 * np.mean(losses[:5])
    with pytest.raises(ValueError, match="unknown teacher 'owl'; there are: oracle, grid"):
        clone(actor, env, "owl", 1)


def test_the_grid_teacher_spreads_its_frames(shown):
    env = environment(shown, n=1, budget=0.5)
    env.reset()
    places = []
    for _ in range(9):
        (choice,) = TEACHERS["grid"](env.rehearsal)
        places.append(np.unravel_index(choice, (31, 31)))
        env.step(np.array([choice]))
    apart = [np.hypot(*np.subtract(a, b)) for a, b in itertools.combinations(places, 2)]
    assert min(apart) > 8


class TestRefused:
    @pytest.mark.parametrize(
        ("text", "sentence"),
        [
            ("other: {steps: 5}", f"has nothing for {ID}; it has"),
            (f"{ID}: [1, 2]", "is no table"),
            (f"{ID}: {{steps: 5, stepz: 6}}", "unknown key stepz under"),
            (f"{ID}: {{budget: 0.4}}", "lacks steps"),
            (f"{ID}: {{steps: 0}}", "steps is 0; it must be an integer, at least 1"),
            (f"{ID}: {{steps: 5, budget: 2}}", r"budget is 2; it must lie in \(0, 1\]"),
            (f"{ID}: {{steps: 5, network: {{depth: 3}}}}", "network has no depth"),
            (f"{ID}: {{steps: 5, algorithm: {{n_steps: 3}}}}", "n_steps is the length"),
            (f"{ID}: {{steps: 5, cloned: 3}}", "cloned needs a teacher"),
            (f"{ID}: {{steps: 5, belief: deep}}", "belief is 'deep'; there are: none, frozen"),
            (f"{ID}: {{steps: 5, brief: 1}}", "brief is 1; it must be true or false"),
            (f"{ID}: {{steps: 5, steps: 6}}", "'steps' in line 1 is there already"),
            (f"{ID}: {{steps: [", "not readable YAML"),
        ],
    )
    def test_hyper_parameters_of_no_use(self, text, sentence, tmp_path):
        path = tmp_path / "hyper.yaml"
        path.write_text(text)
        with pytest.raises(ValueError, match=sentence):
            Settings.of("ppo", ID, path)

    def test_a_file_that_is_not_there(self, tmp_path):
        with pytest.raises(ValueError, match="there is no file"):
            Settings.of("ppo", ID, tmp_path / "none.yaml")

    @pytest.mark.parametrize("algorithm", ALGORITHMS)
    def test_the_package_has_sound_ones_for_every_environment(self, algorithm):
        for env_id in reinforce.IDS.values():
            assert Settings.of(algorithm, env_id).steps > 0

    def test_arguments_that_the_algorithm_does_not_take(self):
        wrong = settings("ppo", algorithm={"gama": 0.9})
        with pytest.raises(ValueError, match=r"ppo does not take these arguments: .*gama"):
            train("ppo", ID, wrong, 0)

    def test_a_curriculum_of_difficulties_that_there_are_not(self):
        with pytest.raises(ValueError, match="no specimens are harder; there are: easy, medium"):
            train("ppo", ID, settings("ppo", curriculum=("easy", "harder")), 0)

    def test_an_environment_that_nobody_measured(self):
        with pytest.raises(ValueError, match="nothing is rehearsed of 'CartPole-v1'"):
            train("ppo", "CartPole-v1", settings("ppo"), 0)

    def test_checkpoints_that_are_cut_short_or_of_another_training(self, tmp_path):
        kept = tmp_path / "checkpoint.pt"
        train("ppo", ID, settings("ppo", steps=20), 0, kept)
        whole = kept.read_bytes()
        with pytest.raises(ValueError, match="is of another training"):
            train("ppo", ID, settings("ppo", steps=20), 1, kept)
        kept.write_bytes(whole[:-200])
        with pytest.raises(ValueError, match="is no checkpoint, or a damaged one"):
            train("ppo", ID, settings("ppo", steps=20), 0, kept)


class TestFiles:
    @pytest.fixture
    def held(self):
        torch.manual_seed(0)
        members = tuple(Preference(6, (1, 2)).state_dict() for _ in range(3))
        made = [
            policies.Policies("bifeo3", "ppo", dict(SMALL), "none", (m,), {"area": a, "seed": k})
            for k, (m, a) in enumerate(zip(members, (0.4, 0.2, 0.3), strict=True))
        ]
        return policies.together(made)

    def test_what_is_kept_comes_back(self, held, tmp_path):
        path = tmp_path / "three.safetensors"
        policies.save(path, held)
        again = policies.load(path)
        assert again.card == held.card
        assert again.card["median"] == 2
        maps = torch.rand(1, len(CHANNELS), 31, 31)
        assert torch.allclose(again.preference()(maps), held.preference(2)(maps), atol=0.02)

    def test_a_file_cut_short_or_of_something_else_is_refused(self, held, tmp_path):
        path = tmp_path / "three.safetensors"
        policies.save(path, held)
        path.write_bytes(path.read_bytes()[:-64])
        with pytest.raises(ValueError, match="damaged"):
            policies.load(path)
        with pytest.raises(ValueError, match="no policy 'nothing'"):
            policies.path_of("nothing")

    @pytest.mark.parametrize("algorithm", AS_FRAMES)
    def test_the_actor_alone_is_kept_of_those_that_prefer_frames(self, algorithm):
        made = train(algorithm, ID, settings(algorithm, steps=8), 0)
        assert set(made.members[0]) == set(Preference(**SMALL).state_dict())
        assert made.preference()(torch.rand(1, len(CHANNELS), 31, 31)).shape == (1, 961)
