"""Training: it learns, it may be broken off, and it goes on with what a user has labelled."""

from __future__ import annotations

from itertools import islice, pairwise

import numpy as np
import pytest
import torch

from stemscout.agents.perception.dcnn import training
from stemscout.agents.perception.dcnn.labelled import Labelled, LabelledScenes
from stemscout.agents.perception.dcnn.legend import LEGENDS
from stemscout.agents.perception.dcnn.scenes import SIDE, Scenes, prepared, shape_at
from stemscout.agents.perception.dcnn.segmenter import Segmenter

WIDTHS = (4, 8)


def parameters(network):
    return torch.cat([p.detach().ravel() for p in network.parameters()])


@pytest.fixture(scope="module", autouse=True)
def quick():
    """In 60 steps, rather than thousands."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "WARM", 5)
        patch.setattr(training, "EVERY", 10)
        yield


@pytest.fixture(scope="module")
def trained(quick):
    losses = []
    members = training.train(
        Scenes("nio_lsmo", 0), 60, widths=WIDTHS, report=lambda p: losses.append(p.loss)
    )
    return members, losses


def test_it_learns(trained):
    _, losses = trained
    assert losses[-1] < 0.9 * losses[0]


def test_there_is_a_snapshot_for_each_cycle_and_no_two_are_the_same(trained):
    members, _ = trained
    assert len(members) == len(training.CYCLES)
    found = [parameters(m) for m in members]
    assert all(not torch.equal(a, b) for a, b in pairwise(found))
    assert not any(m.training for m in members)


def test_the_rate_falls_in_every_cycle_and_begins_anew():
    ends = [550, 700, 850, 1000]
    rates = [training.rate_at(k, ends) for k in range(1000)]
    assert max(rates) <= 1.0
    for begin, end in zip([0, *ends], ends, strict=False):
        assert rates[end - 1] < 0.1 * max(rates[begin:end])
    assert np.argmax(rates) < 550


def test_the_same_seed_gives_the_same_network(trained):
    again = training.train(Scenes("nio_lsmo", 0), 60, widths=WIDTHS)
    assert torch.equal(parameters(again[-1]), parameters(trained[0][-1]))


def test_one_that_was_broken_off_ends_as_one_that_was_not(trained, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "KEEP", 30)
    path = tmp_path / "kept.pt"

    def stop(progress):
        if progress.step == 50:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        training.train(Scenes("nio_lsmo", 0), 60, widths=WIDTHS, report=stop, checkpoint=path)
    seen = []
    members = training.train(
        Scenes("nio_lsmo", 0),
        60,
        widths=WIDTHS,
        checkpoint=path,
        report=lambda p: seen.append(p.step),
    )
    assert torch.equal(parameters(members[-1]), parameters(trained[0][-1]))
    assert len(members) == len(trained[0])


@pytest.mark.parametrize("content", [b"", b"no checkpoint"])
def test_a_damaged_checkpoint_is_refused(content, tmp_path):
    path = tmp_path / "kept.pt"
    path.write_bytes(content)
    with pytest.raises(
        ValueError,
        match=r"cannot go on from .*: it is damaged, or no checkpoint; remove it to begin anew",
    ):
        training.train(Scenes("nio_lsmo", 0), 60, widths=WIDTHS, checkpoint=path)


@pytest.mark.parametrize(
    ("other", "sentence"),
    [
        ({"steps": 60}, "it is of a training with another steps"),
        ({"seed": 1}, r"with another seed: seed \[0, 0\]"),
        ({"scenes": Scenes("wse2", 0)}, "with another specimen: specimen mos2"),
    ],
)
def test_a_checkpoint_of_another_training_is_refused(other, sentence, tmp_path, monkeypatch):
    """Networks of MoS2 and of WSe2 are of one size."""
    monkeypatch.setattr(training, "KEEP", 3)
    own = {"scenes": Scenes("mos2", 0), "steps": 21, "seed": 0, "widths": WIDTHS}
    path = tmp_path / "kept.pt"
    training.train(**own, checkpoint=path)
    with pytest.raises(ValueError, match=sentence):
        training.train(**{**own, **other}, checkpoint=path)


def test_too_few_steps_are_refused():
    with pytest.raises(ValueError, match="19 steps; there must be at least 20"):
        training.train(Scenes("nio_lsmo", 0), 19)


class TestLabelled:
    """A user's own images."""

    LABELS = {
        "unit": "px",
        "classes": [{"name": "si3"}, {"name": "hole"}],
        "features": [
            {"class": "si3", "position": [60, 40]},
            {"class": "hole", "position": [90, 99]},
        ],
    }

    @pytest.fixture
    def image(self):
        y, x = np.mgrid[:160, :200]
        spots = np.exp(-((y - 60) ** 2 + (x - 40) ** 2) / 8.0)
        return spots + np.exp(-((y - 90) ** 2 + (x - 99) ** 2) / 50.0)

    def test_labels_are_painted_where_the_picture_has_them(self, image):
        made = Labelled.of("graphene", image, 0.02, self.LABELS)
        channel = LEGENDS["graphene"].channels.index("si3")
        known = [channel, LEGENDS["graphene"].channels.index("hole")]
        shown = 0
        for picture, painted in islice(LabelledScenes((made,)), 40):
            assert picture.shape == (SIDE, SIDE)
            assert np.flatnonzero(np.isfinite(painted).any(axis=(1, 2))).tolist() == known
            if np.nanmax(painted[channel]) > 0.9:
                shown += 1
                at = np.unravel_index(np.nanargmax(painted[channel]), (SIDE, SIDE))
                assert picture[at] > 1.0
        assert shown > 5

    @pytest.mark.parametrize("shape", [(160, 200), (100, 90), (50, 60)])
    def test_whatever_is_shown_has_its_label_or_is_not_asked_for(self, shape):
        """Spots all over, also at the border and, in small images, in what mirrors show of them."""
        y, x = np.mgrid[: shape[0], : shape[1]]
        at = [(a, b) for a in range(4, shape[0] - 4, 23) for b in range(4, shape[1] - 4, 23)]
        spots = sum(np.exp(-((y - a) ** 2 + (x - b) ** 2) / 8.0) for a, b in at)
        labels = {
            "unit": "px",
            "classes": [{"name": "si3", "context_radius": 1}],
            "features": [{"class": "si3", "position": p} for p in at],
        }
        made = Labelled.of("graphene", spots, 0.02, labels)
        channel = LEGENDS["graphene"].channels.index("si3")
        asked = bright = 0
        for picture, painted in islice(LabelledScenes((made,)), 40):
            known = np.isfinite(painted[channel])
            asked += known.mean() / 40
            spot = known & (picture > 0.7 * picture.max())
            bright += spot.sum()
            assert (painted[channel][spot] > 0.4).all()
        assert bright > 500
        assert (asked > 0.99) == (min(shape) * 0.02 > 2**0.5 * SIDE * made.truth.legend.pixel_nm)

    def test_points_that_no_label_may_name_are_not_asked_for(self, image):
        """Nearer to the border than their context radius; lines may reach to it."""
        point = {"class": "hole", "position": [90, 99]}
        line = {"class": "boundary", "polyline": [[0, 20], [159, 30]]}
        labels = {
            "unit": "px",
            "classes": [
                {"name": "hole", "context_radius": 3},
                {"name": "boundary", "shape": "segment"},
            ],
            "features": [point, line],
        }
        made = Labelled.of("graphene", image, 0.02, labels)
        channels = made.truth.legend.channels
        pictures = [painted for _, painted in islice(LabelledScenes((made,)), 60)]
        asked = [
            np.mean([np.isfinite(p[channels.index(name)]) for p in pictures])
            for name in ("hole", "boundary", "si3")
        ]
        assert 0.9 < asked[0] < asked[1]
        assert asked[1] > 0.999
        assert asked[2] == 0.0

    @pytest.mark.parametrize("relative", [0.25, 0.5, 1.0, 2.0])
    def test_scenes_are_as_noisy_as_what_the_network_looks_at(self, relative):
        """Of fine pixels many are averaged, when it looks and when it learns."""
        pixel = relative * LEGENDS["graphene"].pixel_nm
        noise = np.random.default_rng(0).normal(size=(400, 400))
        labels = {
            "unit": "px",
            "classes": [{"name": "hole"}],
            "features": [{"class": "hole", "position": [200, 200]}],
        }
        made = Labelled.of("graphene", noise, pixel, labels)
        learned = np.std([picture for picture, _ in islice(LabelledScenes((made,)), 20)])
        own = LEGENDS["graphene"].pixel_nm
        looked = prepared(noise, shape_at(noise.shape, (pixel, pixel), own)).std()
        assert learned == pytest.approx(looked, rel=0.15)

    def test_only_what_is_labelled_is_learned_from(self, image):
        logits = torch.zeros(1, 2, 4, 4, requires_grad=True)
        truth = torch.ones(1, 2, 4, 4)
        truth[0, 1] = torch.nan
        truth[0, 0, 2] = torch.nan
        training.cost(logits, truth, torch.ones(2)).backward()
        known = torch.isfinite(truth)
        assert logits.grad[known].abs().min() > 0
        assert not logits.grad[~known].any()

    def test_training_goes_on_with_both_in_turn(self, image, network_of):
        made = Labelled.of("graphene", image, 0.02, self.LABELS)
        start = network_of(len(LEGENDS["graphene"].channels))
        before = parameters(start).clone()
        members = training.train(
            Scenes("graphene", 0), 20, start=start, beside=LabelledScenes((made,)), rate=1e-3
        )
        assert not torch.equal(parameters(members[-1]), before)

    def test_classes_that_the_network_does_not_know_are_refused(self, image):
        cat = {"class": "cat", "position": [60, 40]}
        labels = {"unit": "px", "classes": [{"name": "cat"}], "features": [cat]}
        with pytest.raises(ValueError, match="labels of cat; the network for graphene knows: si3"):
            Labelled.of("graphene", image, 0.02, labels)

    @pytest.mark.parametrize(
        "bad", [np.zeros((8, 8)), np.zeros((64, 64, 3)), np.full((64, 64), np.nan)]
    )
    def test_images_that_are_none_are_refused(self, bad):
        with pytest.raises(ValueError, match="an image of shape"):
            Labelled.of("graphene", bad, 0.02, self.LABELS)

    @pytest.mark.parametrize("pixel", [0.0, -0.02, np.nan, np.inf])
    def test_pixels_of_no_size_are_refused(self, image, pixel):
        with pytest.raises(ValueError, match=r"pixels of .* nm; they must be above 0 and finite"):
            Labelled.of("graphene", image, pixel, self.LABELS)

    @pytest.mark.parametrize(
        ("name", "shape", "drawn", "sentence"),
        [
            (
                "si3",
                "segment",
                {"polyline": [[20, 20], [90, 90]]},
                "labels of si3 as a segment; the network for graphene tells it as a point, each "
                "given by its 'position'",
            ),
            (
                "boundary",
                "point",
                {"position": [60, 40]},
                "labels of boundary as a point; the network for graphene tells it as a segment, "
                "each given by its 'polyline'",
            ),
        ],
    )
    def test_labels_of_another_shape_are_refused(self, image, name, shape, drawn, sentence):
        labels = {
            "unit": "px",
            "classes": [{"name": name, "shape": shape}],
            "features": [{"class": name, **drawn}],
        }
        with pytest.raises(ValueError, match=sentence):
            Labelled.of("graphene", image, 0.02, labels)

    def test_images_that_the_network_would_not_look_at_are_refused(self, image):
        with pytest.raises(ValueError, match=r"pixels of 0\.5 nm; .* larger than 0\.0609 nm"):
            Labelled.of("graphene", image, 0.5, self.LABELS)
        with pytest.raises(ValueError, match=r"160 x 200 px of 0\.001 nm; .* least 0\.188 nm a"):
            Labelled.of("graphene", image, 0.001, self.LABELS)

    def test_images_that_show_nothing_where_they_are_trained_on_are_refused(self, image):
        flat = np.full((160, 400), 3.0)
        with pytest.raises(ValueError, match="the image is constant where it is to be trained on"):
            Labelled.of("graphene", flat, 0.02, self.LABELS)
        flat[:, 300:] = image[:, :100]
        Labelled.of("graphene", flat, 0.02, self.LABELS)
        with pytest.raises(ValueError, match="the image is constant where it is to be trained on"):
            Labelled.of("graphene", flat, 0.02, self.LABELS, hold_out=0.25)

    def test_a_strip_is_held_out_to_be_scored_on(self, network_of, weights_file):
        """No scene shows any of it, and what is claimed there is held against the labels there."""
        image = np.random.default_rng(0).normal(0.0, 1.0, (200, 400))
        image[:, 300:] += 1000.0
        places = [[100, 100], [100, 350]]
        labels = {
            "unit": "px",
            "classes": [{"name": "hole"}],
            "features": [{"class": "hole", "position": p} for p in places],
        }
        made = Labelled.of("graphene", image, 0.02, labels, hold_out=0.25)
        assert made.held_out == 100
        for picture, _ in islice(LabelledScenes((made,)), 60):
            assert np.ptp(picture) < 10.0, "the strip is far brighter"
        found = LabelledScenes((made,)).score(Segmenter(weights_file))
        assert set(found) == {"hole"}
        assert found["hole"].true == 1
        assert Labelled.of("graphene", image, 0.02, labels).score(Segmenter(weights_file)) == {}
        with pytest.warns(UserWarning, match=r"nothing is held out of an image of 8 nm: the strip"):
            assert Labelled.of("graphene", image, 0.02, labels, hold_out=0.1).held_out == 0
