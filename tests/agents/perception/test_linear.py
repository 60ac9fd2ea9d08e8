"""Linear perception: windows, what is kept of them, components."""

from __future__ import annotations

import json
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest

from stemscout.agents.catalogue import make_agent
from stemscout.agents.perception.decompositions import DECOMPOSITIONS, INCREMENTAL
from stemscout.agents.perception.linear import SETTLED, LinearPerception
from stemscout.agents.perception.windows import DESCRIPTORS
from stemscout.agents.scalarizers import Variation, frame_means

SHOWN = SimpleNamespace(  # all that it asks of a context
    full_scale={"haadf": (0.0, 1.0)}, reference=SimpleNamespace(dwell_us=10.0)
)


def lattice(period, count, seed, size=32, bright=1.0):
    """Images (count, size, size) of a square lattice at random phases."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size]
    phases = rng.uniform(0, 2 * np.pi, (count, 2))
    images = [
        np.cos(2 * np.pi * y / period + a) + np.cos(2 * np.pi * x / period + b) for a, b in phases
    ]
    return bright * np.array(images) + rng.normal(0, 0.1, (count, size, size))


@pytest.fixture(params=DECOMPOSITIONS)
def perception(request):
    made = LinearPerception(request.param)
    made.reset(SHOWN, seed=3)
    return made


@pytest.fixture(scope="module")
def frames():
    """Twenty frames of one phase, and five of another."""
    return np.concatenate([lattice(8.0, 20, 1), lattice(5.0, 5, 2)])


def even(count):
    return np.full(count, 1 / count)


def fitted(perception, images, shares=None):
    """What the frames hold of each component, and what of that is pursued by default."""
    features = [perception.described(i) for i in images]
    weights = even(len(images)) if shares is None else shares
    perception.fit(features, weights)
    pieces, variation = perception.describe(features), Variation()
    variation.fit(pieces, weights)
    return frame_means(pieces), variation(pieces)


def test_the_first_component_tells_the_phases_apart(perception, frames):
    scores = fitted(perception, frames)[0][:, 0]
    low, high = sorted([scores[:20], scores[20:]], key=np.mean)
    assert low.max() < high.min()


def test_the_rare_phase_is_pursued(perception, frames):
    _, target = fitted(perception, frames)
    assert target[20:].min() > target[:20].max()


def test_what_is_rare_in_the_field_stays_rare_when_the_search_has_found_it(perception, frames):
    """Sixty-five frames of the rare phase, but they stand for a fifth of the field."""
    many = np.concatenate([frames, lattice(5.0, 60, 3)])
    shares = np.concatenate([np.full(20, 0.8 / 20), np.full(65, 0.2 / 65)])
    _, target = fitted(perception, many, shares)
    assert target[20:].mean() > target[:20].mean()


def test_components_come_in_the_order_of_variance(perception, frames):
    scores, _ = fitted(perception, frames)
    assert (np.diff(scores.var(axis=0)) <= 1e-9).all()


@pytest.mark.parametrize("descriptor", DESCRIPTORS)
@pytest.mark.parametrize("name", DECOMPOSITIONS)
def test_any_decomposition_goes_with_any_descriptor(name, descriptor, frames):
    made = LinearPerception(name, descriptor=descriptor)
    made.reset(SHOWN, seed=0)
    scores, target = fitted(made, frames)
    assert scores.shape == (25, 4)
    if descriptor != "raw":  # phases are random, and pixels know nothing else
        assert target[20:].mean() > target[:20].mean()
    assert len(made.components) == 4
    assert made.components.ndim == 3


@pytest.mark.parametrize("name", INCREMENTAL)
def test_incrementally_it_learns_from_new_frames_alone_and_to_the_same_end(name, frames):
    """Frame by frame, as they come; and what was learned is not learned again."""
    made = LinearPerception(name, incremental=True)
    made.reset(SHOWN, seed=0)
    mixed = np.random.default_rng(0).permutation(len(frames))
    features = [made.described(i) for i in frames[mixed]]
    for k in range(2, len(features) + 1):
        made.fit(features[:k], even(k))
    before = made.components.copy()
    made.fit(features, even(len(features)))
    assert np.array_equal(made.components, before)
    pieces, variation = made.describe(features), Variation()
    variation.fit(pieces, even(len(pieces)))
    target, rare = variation(pieces), mixed >= 20
    assert target[rare].min() > target[~rare].max()


def test_incrementally_a_step_needs_as_many_windows_as_components(frames):
    made = LinearPerception(window=1.0, incremental=True)
    made.reset(SHOWN, seed=0)
    features = [made.described(i) for i in frames[:9]]
    for k in range(2, 10):
        made.fit(features[:k], even(k))
        assert np.isfinite(np.concatenate(made.describe(features[:k]))).all()


def refits(name, count):
    """Correlations (fits, components) of what frames hold of a component, from fit to fit.

    Frames are sums of two lattices, each as strong as it happens to be; the first show one
    alone, the other alone, and neither.  For NMF, whose components need not be orthogonal, the
    other one varies the more from the eighth on.
    """
    rng = np.random.default_rng(0)
    one, other = rng.uniform(0, 2, 25), rng.uniform(0, 1, 25)
    one[:3], other[:3] = (2, 0, 0), (0, 1, 0)
    if name == "nmf":
        other[8:] *= 4
    images = one[:, None, None] * lattice(8.0, 25, 1) + other[:, None, None] * lattice(4.0, 25, 2)
    made = LinearPerception(name, n_components=count)
    made.reset(SHOWN, seed=0)
    features = [made.described(i) for i in images]
    seen = []
    for k in range(SETTLED, len(features) + 1):
        made.fit(features[:k], even(k))
        seen.append(frame_means(made.describe(features)).T)
    return np.array(
        [[np.corrcoef(a, b)[0, 1] for a, b in zip(*two, strict=True)] for two in pairwise(seen)]
    )


@pytest.mark.parametrize(("name", "count"), [("pca", 2), ("svd", 2), ("nmf", 2), ("nfindr", 3)])
def test_components_keep_their_numbers_and_signs_from_fit_to_fit(name, count):
    """All that the frames tell apart, in every fit; endmembers are three, for one is empty."""
    assert refits(name, count).min() > 0.95


def test_independent_components_keep_them_in_most_fits():
    """They are sought anew each time, and may become others."""
    found = refits("ica", 2)
    assert np.median(found, axis=0).min() > 0.99
    assert (found > 0.9).mean(axis=0).min() > 0.7


@pytest.mark.parametrize(
    "options",
    [
        *({"decomposition": d} for d in DECOMPOSITIONS),
        {"incremental": True},
        {"descriptor": "structure"},
    ],
    ids=str,
)
def test_one_that_goes_on_learns_what_the_other_would_have(options, frames):
    mixed = np.random.default_rng(1).permutation(len(frames))
    first, twin = LinearPerception(**options), LinearPerception(**options)
    for made in (first, twin):
        made.reset(SHOWN, seed=0)
    features = [first.described(i) for i in frames[mixed]]
    for k in range(2, 20):
        first.fit(features[:k], even(k))
    twin.restore(json.loads(json.dumps(first.save())))
    for k in (20, 21, 25):
        for made in (first, twin):
            made.fit(features[:k], even(k))
        expected, found = (np.concatenate(m.describe(features)) for m in (first, twin))
        assert np.array_equal(found, expected)


def test_windows_that_were_not_scanned_are_left_out(perception, frame_of, frames):
    made = perception.features(
        [frame_of(frames[0]), frame_of(frames[0], 20), frame_of(frames[0], 3)]
    )
    assert [len(f) for f in made] == [25, 10, 0]
    assert np.array_equal(made[1], made[0][:10])
    perception.fit([*made, *made], np.full(6, 1 / 6))
    described = perception.describe([*made, *made])
    assert [len(d) for d in described[:3]] == [25, 10, 0]


def test_windows_with_what_is_no_number_are_left_out(perception, frame_of, frames):
    bad = frames[0].copy()
    bad[0, 0] = np.nan
    (found,) = perception.features([frame_of(bad)])
    assert len(found) == 24
    assert np.isfinite(found).all()


def test_frames_of_which_nothing_is_left_have_no_target(perception, frame_of):
    nothing = perception.features([frame_of(np.full((32, 32), np.nan))] * 3)
    perception.fit(nothing, even(3))
    assert [d.shape for d in perception.describe(nothing)] == [(0, 4)] * 3


def test_saturated_frames_are_described_as_they_are(perception, frames):
    bright = np.clip(frames + 3.0, None, 2.0)
    scores, target = fitted(perception, bright)
    assert np.isfinite(scores).all()
    assert np.isfinite(target).all()


def test_same_seed_same_scores(frames):
    first, second = LinearPerception("nmf"), LinearPerception("nmf")
    for p in (first, second):
        p.reset(SHOWN, seed=7)
    assert np.array_equal(fitted(first, frames)[0], fitted(second, frames)[0])


def test_of_components_that_are_not_there_yet_a_frame_holds_nothing(perception):
    scores, _ = fitted(perception, lattice(8.0, 1, 0, size=4))  # one window
    assert scores.shape == (1, 4)
    assert not scores[:, 1:].any()
    assert len(perception.components) == 4
    assert perception.components[0].any()
    assert not perception.components[1:].any()


@pytest.mark.parametrize("descriptor", DESCRIPTORS)
@pytest.mark.parametrize("name", DECOMPOSITIONS)
def test_a_window_a_frame_does_no_harm(name, descriptor, frames):
    made = LinearPerception(name, window=1.0, descriptor=descriptor)
    made.reset(SHOWN, seed=0)
    features = [made.described(i) for i in frames[:6]]
    for k in range(1, 7):
        made.fit(features[:k], even(k))
        scores = frame_means(made.describe(features))
        assert scores.shape == (6, 4)
        assert np.isfinite(scores).all()
        assert np.isfinite(made.components).all()


@pytest.mark.parametrize("shape", [(1, 5), (2, 2), (3, 7), (8, 4)])
@pytest.mark.parametrize("descriptor", DESCRIPTORS)
@pytest.mark.parametrize("name", DECOMPOSITIONS)
def test_frames_of_a_few_pixels_do_no_harm(name, descriptor, shape):
    made = LinearPerception(name, descriptor=descriptor)
    made.reset(SHOWN, seed=0)
    rng = np.random.default_rng(0)
    features = [made.described(rng.random(shape)) for _ in range(6)]
    for k in range(1, 7):
        made.fit(features[:k], even(k))
        assert np.isfinite(frame_means(made.describe(features))).all()
    assert np.isfinite(made.components).all()


def test_one_component_asked_of_one_sample():
    made = LinearPerception(n_components=1, window=1.0)
    made.reset(SHOWN, seed=0)
    scores, _ = fitted(made, lattice(8.0, 1, 0))
    assert scores.shape == (1, 1)
    assert np.isfinite(scores).all()


def test_constant_frames_do_no_harm(perception):
    scores, target = fitted(perception, np.ones((3, 16, 16)))
    assert np.isfinite(scores).all()
    assert np.isfinite(target).all()


@pytest.mark.parametrize("descriptor", DESCRIPTORS)
def test_constant_frames_do_no_harm_to_any_descriptor(descriptor):
    made = LinearPerception(descriptor=descriptor)
    made.reset(SHOWN, seed=0)
    assert np.isfinite(fitted(made, np.ones((3, 16, 16)))[0]).all()


def test_odd_frames_of_a_recording(perception):
    """27 px, as of a 435 px image: windows of 14 px at 75 % overlap."""
    assert perception.described(np.random.default_rng(0).random((27, 27))).shape == (16, 8, 8)


def test_a_search_goes_by_whatever_is_chosen(recorded):
    """Every scalarizer, in a run; and changed in mid-run."""
    from stemscout.agents.experiment import Experiment

    for options in (
        {"scalarizer": "rarest"},
        {"scalarizer": "distance", "descriptor": "radial"},
        {"component": "component 2", "decomposition": "nfindr"},
        {"scalarizer": {"direction": [1, 0, 0, 0]}, "incremental": True},
    ):
        experiment = Experiment(recorded(budget=0.05), make_agent("linear-bo", **options), seed=0)
        for step in experiment:
            if step.index == 8:
                experiment.steer(target={"region": [[-1, -1], [-1, 1], [1, 0]]})
        assert step.index > 8
        assert list(experiment.agent.settings["scalarizer"]) == ["region"]


@pytest.mark.parametrize(
    "scalarizer",
    [3, {"direction": [1, 0, 0, 0]}, {"region": [[-1e9, -1e9], [-1e9, 1e9], [1e9, 0]]}, "rarest"],
    ids=str,
)
def test_what_is_chosen_may_be_there_later_than_the_first_frames(recorded, scalarizer):
    """With a window a frame the fourth component needs four frames; targets are numbers before."""
    from stemscout.agents.experiment import Experiment

    agent = make_agent("linear-bo", window=1.0, scalarizer=scalarizer)
    steps = Experiment(recorded(budget=0.05), agent, seed=0).run()
    assert len(steps) > 8
    assert steps[0].target is None
    assert np.isfinite([s.target for s in steps[1:]]).all()
    assert agent.target([s.frame for s in steps]).any()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            {"decomposition": "magic"},
            "unknown decomposition 'magic'; there are: pca, svd, nmf, ica",
        ),
        ({"n_components": 0}, "0 components"),
        (
            {"descriptor": "smell"},
            "unknown descriptor 'smell'; there are: fft, raw, radial, structure",
        ),
        ({"decomposition": "nfindr", "n_components": 9}, "9 endmembers; there may be 8"),
        ({"decomposition": "ica", "incremental": True}, "ica is not incremental; these are: pca"),
        ({"zoom": 0}, "zoom 0"),
        ({"zoom": 2, "descriptor": "raw"}, "only the descriptor fft is zoomed"),
        ({"window": 0.0}, "window 0.0"),
        ({"overlap": 1.0}, "overlap 1.0"),
        ({"window": "abc"}, "window abc and overlap"),
        ({"overlap": True}, "overlap True"),
        ({"incremental": "maybe"}, "it must be true or false"),
    ],
)
def test_bad_settings(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        LinearPerception(**options)
