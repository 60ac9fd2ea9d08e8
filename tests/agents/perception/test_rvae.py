"""rVAE perception: windows, patches, latents; trained between the frames."""

from __future__ import annotations

import json
import warnings
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest

from stemscout.agents.catalogue import make_agent
from stemscout.agents.experiment import Experiment
from stemscout.agents.perception import rvae
from stemscout.agents.perception.rvae import DESCRIPTORS, FIRST_STEPS, RvaePerception
from stemscout.agents.perception.vae_training import Cut, save_weights, train
from stemscout.agents.scalarizers import Variation, frame_means
from stemscout.simulators.specimens import specimen_module


def task(specimen=None):
    """All that it asks of a context: of a task without classes, or with those of a specimen."""
    classes = () if specimen is None else specimen_module(specimen).CLASSES
    names = tuple(c.name for c in classes)
    reference = SimpleNamespace(dwell_us=10.0)
    return SimpleNamespace(full_scale={"haadf": (0.0, 1.0)}, reference=reference, class_names=names)


SHOWN = task()


def lattice(period, count, seed, size=32):
    """Images (count, size, size) of a square lattice at random phases and angles."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size]
    images = []
    for angle, a, b in rng.uniform(0, 2 * np.pi, (count, 3)):
        along = y * np.cos(angle) - x * np.sin(angle)
        across = y * np.sin(angle) + x * np.cos(angle)
        images.append(
            np.cos(2 * np.pi * along / period + a) + np.cos(2 * np.pi * across / period + b)
        )
    return np.array(images) + rng.normal(0, 0.1, (count, size, size))


@pytest.fixture(scope="module")
def frames():
    """Sixteen frames of one phase and four of another, mixed; True where it is the other."""
    images = np.concatenate([lattice(8.0, 16, 1), lattice(5.0, 4, 2)])
    mixed = np.random.default_rng(0).permutation(20)
    return images[mixed], mixed >= 16


@pytest.fixture
def perception():
    return begun()


def begun(seed=3, **options):
    made = RvaePerception(**options)
    made.reset(SHOWN, seed)
    return made


def even(count):
    return np.full(count, 1 / count)


def fitted(perception, images, first=2):
    """Frame by frame, as in a run; the frames' mean latents, and what is pursued by default."""
    features = [perception.patches(i) for i in images]
    for k in range(first, len(features) + 1):
        perception.fit(features[:k], even(k))
    pieces, variation = perception.describe(features), Variation()
    variation.fit(pieces, even(len(pieces)))
    return frame_means(pieces), variation(pieces)


def test_the_rare_phase_is_pursued_however_it_is_turned(perception, frames):
    images, rare = frames
    _, target = fitted(perception, images)
    assert target[rare].min() > target[~rare].max()


def test_a_turned_frame_has_the_same_latents(perception, frames):
    images, _ = frames
    fitted(perception, images)
    upright, turned = (
        perception.describe([perception.patches(np.ascontiguousarray(np.rot90(i, k)))])[0]
        for i, k in ((images[0], 0), (images[0], 1))
    )
    found, expected = (np.sort(d, axis=0) for d in (turned, upright))
    spread = np.concatenate(perception.describe([perception.patches(i) for i in images])).std()
    assert np.abs(found - expected).max() < 0.1 * spread


@pytest.mark.parametrize("descriptor", DESCRIPTORS)
def test_patches_have_one_size_whatever_the_window(descriptor):
    for size, count in ((64, 9), (27, 4), (128, 9)):
        image = np.random.default_rng(0).random((size, size))
        found = begun(descriptor=descriptor).patches(image)
        assert found.shape == (count, 32, 32)
        assert found.dtype == np.float32
    assert found.any()
    assert begun(descriptor=descriptor, window=0.05).patches(image).shape[1:] == (32, 32)


def test_raw_patches_of_their_own_size_are_the_windows():
    image = np.random.default_rng(0).random((64, 64))
    found = begun(descriptor="raw").patches(image)
    assert np.array_equal(found[0], image[:32, :32].astype(np.float32))
    assert np.array_equal(found[-1], image[32:, 32:].astype(np.float32))


def test_the_first_fit_takes_more_steps_and_each_goes_on_from_the_last(frames):
    made = begun(training_steps=3)
    features = [made.patches(i) for i in frames[0][:6]]
    done = []
    for k in (2, 3, 3, 6):  # of frames that it has learned from it learns nothing more
        made.fit(features[:k], even(k))
        done.append(made._training.done)
    assert done == [FIRST_STEPS + 3, FIRST_STEPS + 6, FIRST_STEPS + 6, FIRST_STEPS + 9]


def test_latents_keep_their_meaning_from_fit_to_fit(perception, frames):
    features = [perception.patches(i) for i in frames[0]]
    seen = []
    for k in range(6, 21):
        perception.fit(features[:k], even(k))
        seen.append(np.concatenate(perception.describe(features[:6])).ravel())
    agree = [np.corrcoef(a, b)[0, 1] for a, b in pairwise(seen)]
    assert min(agree) > 0.9


@pytest.mark.parametrize("options", [{}, {"descriptor": "raw", "translation": True}], ids=str)
def test_one_that_goes_on_learns_what_the_other_would_have(options, frames):
    images, _ = frames
    first, twin = begun(**options), begun(**options)
    features = [first.patches(i) for i in images]
    for k in range(2, 12):
        first.fit(features[:k], even(k))
    twin.restore(json.loads(json.dumps(first.save())))
    for k in (11, 12, 20):  # to the frames of before, and to new ones
        for made in (first, twin):
            made.fit(features[:k], even(k))
        expected, found = (np.concatenate(m.describe(features)) for m in (first, twin))
        assert np.array_equal(found, expected)


def test_same_seed_same_latents(frames):
    once, again, other = (fitted(begun(seed), frames[0][:5])[0] for seed in (7, 7, 8))
    assert np.array_equal(once, again)
    assert not np.array_equal(once, other)


def test_a_reset_forgets_everything(perception, frames):
    once, _ = fitted(perception, frames[0][:5])
    perception.reset(SHOWN, 3)
    assert perception.components is None
    assert np.array_equal(fitted(perception, frames[0][:5])[0], once)


def test_pictures_are_what_changes_along_each_latent(frames):
    made = begun(latents=3)
    assert made.components is None
    fitted(made, frames[0][:4])
    assert made.names == ("latent 0", "latent 1", "latent 2")
    assert made.components.shape == (3, 32, 32)
    ends = made.network.walk(3)
    assert made.components[1] == pytest.approx(ends[1, 2] - ends[1, 0], abs=1e-5)
    assert np.abs(made.components).max() > 0.0
    assert made.reach(0.05) == (5.0, "1/nm")
    raw = begun(descriptor="raw")
    raw.patches(frames[0][0])
    assert raw.reach(0.05) == (8 * 0.05, "nm")


def test_windows_that_were_not_scanned_or_hold_no_numbers_are_left_out(
    perception, frame_of, frames
):
    bad = frames[0][1].copy()
    bad[0, 0] = np.nan
    made = perception.features(
        [
            frame_of(frames[0][0]),
            frame_of(frames[0][0], 20),
            frame_of(frames[0][0], 3),
            frame_of(bad),
        ]
    )
    assert [len(f) for f in made] == [9, 3, 0, 8]
    assert np.array_equal(made[1], made[0][:3])
    perception.fit(made, even(4))
    described = perception.describe(made)
    assert [d.shape for d in described] == [(9, 2), (3, 2), (0, 2), (8, 2)]
    assert np.isfinite(np.concatenate(described)).all()


def test_frames_of_which_nothing_is_left_have_no_target(perception, frame_of, frames):
    nothing = perception.features([frame_of(np.full((32, 32), np.nan))] * 3)
    perception.fit(nothing, even(3))
    assert [d.shape for d in perception.describe(nothing)] == [(0, 2)] * 3
    assert perception.components is None
    some = [*nothing, perception.patches(frames[0][0])]
    perception.fit(some, even(4))
    assert len(perception.describe(some)[3]) == 9


@pytest.mark.parametrize("descriptor", DESCRIPTORS)
def test_constant_and_saturated_frames_do_no_harm(descriptor, frames):
    images = np.concatenate([np.ones((3, 32, 32)), np.clip(frames[0][:3] + 3.0, None, 2.0)])
    scores, target = fitted(begun(descriptor=descriptor), images)
    assert np.isfinite(scores).all()
    assert np.isfinite(target).all()


@pytest.fixture(scope="module")
def trained(frames, tmp_path_factory, one_thread):
    """Weights trained beforehand, as anybody would; said to be of graphene."""
    patches = np.concatenate([RvaePerception().patches(i) for i in frames[0]])
    path = tmp_path_factory.mktemp("weights") / "graphene.safetensors"
    save_weights(path, train(patches, 150, latents=2), Cut("fft", window=0.5), "graphene")
    return path


def test_with_weights_it_knows_from_the_first_fit(trained, frames):
    images, rare = frames
    made = begun(weights=str(trained), training_steps=0)
    before = made.network.arrays()
    _, target = fitted(made, images, first=20)
    assert target[rare].min() > target[~rare].max()
    after = made.network.arrays()
    assert all(np.array_equal(after[k], before[k]) for k in before)
    goes_on = begun(weights=str(trained))
    fitted(goes_on, images, first=20)
    changed = goes_on.network.arrays()
    assert any(not np.array_equal(changed[k], before[k]) for k in before if k[:6] == "layers")
    goes_on.reset(SHOWN, 0)
    assert all(np.array_equal(v, before[k]) for k, v in goes_on.network.arrays().items())


def test_weights_that_are_shipped_go_by_their_name(trained, monkeypatch):
    monkeypatch.setattr(rvae, "SHIPPED", trained.parent)
    made = begun(weights="graphene")
    assert made.settings["weights"] == "graphene"
    with pytest.raises(ValueError, match=r"no weights 'others': .* shipped are: graphene"):
        RvaePerception(weights="others")


def test_shipped_weights_are_those_of_the_tasks_classes(trained, monkeypatch):
    monkeypatch.setattr(rvae, "SHIPPED", trained.parent)
    made = RvaePerception(weights="shipped", training_steps=0)
    made.reset(task("graphene"), 0)
    expected = begun(weights=str(trained)).network.arrays()
    assert all(np.array_equal(v, expected[k]) for k, v in made.network.arrays().items())
    assert made.settings["weights"] == "shipped"
    sentence = "no weights are shipped for the classes of wse2; there are some for: graphene"
    with pytest.raises(ValueError, match=sentence):
        made.reset(task("wse2"), 0)
    with pytest.raises(ValueError, match="no weights are shipped for this task's classes; there"):
        made.reset(task(), 0)
    with pytest.raises(ValueError, match="trained with latents 2, and 3 is asked for"):
        RvaePerception(weights="shipped", latents=3).reset(task("graphene"), 0)


def test_weights_of_another_specimen_begin_with_a_warning(trained):
    made = RvaePerception(weights=str(trained))
    sentence = "were trained on graphene, and the classes of this task are those of mos2"
    with pytest.warns(UserWarning, match=sentence) as warned:
        made.reset(task("mos2"), 0)
    assert len(warned) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for specimen in ("graphene", None):  # its own, and one that nobody knows
            made.reset(task(specimen), 0)
        RvaePerception().reset(task("mos2"), 0)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            {"descriptor": "raw"},
            r"trained on windows \(fft\) of 0\.5 of the frame, and windows \(raw\) of 0\.5 of the "
            "frame are asked for",
        ),
        ({"window": 0.4}, r"and windows \(fft\) of 0\.4 of the frame are asked for"),
        ({"latents": 3}, "trained with latents 2, and 3 is asked for"),
        ({"scale": True}, "trained with scale False, and True is asked for"),
    ],
)
def test_weights_of_other_options_are_refused(trained, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        RvaePerception(weights=str(trained), **options)


def test_damaged_weights_are_refused_before_the_run(trained, tmp_path):
    path = tmp_path / "cut.safetensors"
    path.write_bytes(trained.read_bytes()[:1000])
    with pytest.raises(ValueError, match=r"cut\.safetensors is no safetensors file, or a damaged"):
        make_agent("rvae-bo", weights=str(path))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"descriptor": "radial"}, "unknown descriptor 'radial'; there are: fft, raw"),
        ({"window": 0.0}, "window 0.0"),
        ({"overlap": 1.0}, "overlap 1.0"),
        ({"window": "abc"}, "window abc and overlap"),
        ({"overlap": True}, "overlap True"),
        ({"latents": 0}, "0 latents; there must be 1 to 32"),
        ({"latents": 2.5}, "2.5 latents"),
        ({"training_steps": 0}, "training_steps is 0; it must be an integer, at least 1"),
        ({"weights": "none.safetensors"}, "neither a file nor shipped"),
        ({"weights": 3}, "no weights 3"),
    ],
)
def test_bad_settings(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        RvaePerception(**options)


def test_a_search_goes_by_it(recorded):
    """In a run, over windows of 14 px; what is pursued is changed in the middle of it."""
    agent = make_agent("rvae-bo", scalarizer="rarest", training_steps=1)
    experiment = Experiment(recorded(budget=0.06), agent, seed=0)
    for step in experiment:
        if step.index == 8:
            experiment.steer(target="latent 1")
    assert step.index > 8
    assert step.explanation.components.shape == (2, 32, 32)
    assert step.explanation.chosen == 1
    assert np.isfinite(agent.target([s.frame for s in experiment.steps])).all()
    assert agent.settings["perception"]["name"] == "rvae"


def test_a_run_that_is_resumed_decides_as_if_it_had_not_been_broken_off(recorded):
    env = recorded(budget=0.2)
    experiment = Experiment(env, make_agent("rvae-bo"), seed=4)
    stream = iter(experiment)
    for _ in range(8):
        next(stream)
    agent, twin = experiment.agent, make_agent("rvae-bo")
    state = json.loads(json.dumps(agent.save()))
    twin.reset(experiment.context(), 4)
    twin.restore(state, env.episode.history)
    observation = env.observations.observe()
    assert np.array_equal(twin.act(observation), agent.act(observation))
    assert np.array_equal(twin._targets(), agent._targets())
