"""Training: it learns, it may be broken off, and it goes on with what a user has labelled."""

from __future__ import annotations

from itertools import islice, pairwise

import numpy as np
import pytest
import torch

from stemscout.agents.perception.dcnn import training
from stemscout.agents.perception.dcnn.labelled import Labelled, LabelledScenes
from stemscout.agents.perception.dcnn.legend import LEGENDS
from stemscout.agents.perception.dcnn.scenes import SIDE, Scenes
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
        shown = 0
        for picture, painted, known in islice(LabelledScenes((made,)), 40):
            assert picture.shape == (SIDE, SIDE)
            assert np.flatnonzero(known).tolist() == [
                channel,
                LEGENDS["graphene"].channels.index("hole"),
            ]
            if painted[channel].max() > 0.9:
                shown += 1
                at = np.unravel_index(painted[channel].argmax(), (SIDE, SIDE))
                assert picture[at] > 1.0
        assert shown > 5

    def test_only_what_is_labelled_is_learned_from(self, image):
        logits = torch.zeros(1, 2, 4, 4, requires_grad=True)
        known = torch.tensor([[1.0, 0.0]])
        training.cost(logits, torch.ones(1, 2, 4, 4), known, torch.ones(2)).backward()
        assert logits.grad[0, 0].abs().min() > 0
        assert not logits.grad[0, 1].any()

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

    def test_a_strip_is_held_out_to_be_scored_on(self, network_of, weights_file):
        """No scene shows any of it, and what is claimed there is held against the labels there."""
        image = np.zeros((200, 400))
        image[:, 300:] = np.random.default_rng(0).normal(10.0, 1.0, (200, 100))
        places = [[100, 100], [100, 350]]
        labels = {
            "unit": "px",
            "classes": [{"name": "hole"}],
            "features": [{"class": "hole", "position": p} for p in places],
        }
        made = Labelled.of("graphene", image, 0.02, labels, hold_out=0.25)
        assert made.held_out_nm == pytest.approx(2.0)
        for picture, _, _ in islice(LabelledScenes((made,)), 60):
            assert not picture.any(), "what is left is flat"
        found = LabelledScenes((made,)).score(Segmenter(weights_file))
        assert set(found) == {"hole"}
        assert found["hole"].true == 1
        assert Labelled.of("graphene", image, 0.02, labels).score(Segmenter(weights_file)) == {}
        with pytest.warns(UserWarning, match=r"nothing is held out of an image of 8 nm: the strip"):
            assert Labelled.of("graphene", image, 0.02, labels, hold_out=0.1).held_out_nm == 0.0
