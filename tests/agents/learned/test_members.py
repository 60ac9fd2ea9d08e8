"""Several networks of one training: finished where they were broken off, judged by validation."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from stemscout.agents.learned import members, weights
from stemscout.agents.learned.detector import Detector
from stemscout.agents.perception.sightings import Layers

LAYERS = Layers.of("bifeo3")


@pytest.fixture(scope="module")
def shown():
    return members.pool("bifeo3", 6)


@pytest.fixture(autouse=True)
def unerring(monkeypatch):
    monkeypatch.setattr(Detector, "of", classmethod(lambda cls, name: cls.perfect(LAYERS)))


def alike(one, other):
    both = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in both)


def test_what_was_broken_off_is_finished(shown, tmp_path):
    whole, parts = tmp_path / "whole.safetensors", tmp_path / "parts.safetensors"
    at_once = members.train("bifeo3", range(3), 4, shown, whole)
    assert not alike(*at_once.members[:2]), "seeds make no difference"
    members.train("bifeo3", range(2), 4, shown, parts)
    trained = []
    later = members.train("bifeo3", range(3), 4, shown, parts, lambda seed, p: trained.append(seed))
    assert set(trained) == {2}
    assert all(alike(a, b) for a, b in zip(at_once.members, later.members, strict=True))
    assert later.card == at_once.card == {"steps": 4, "specimens": 6, "seeds": [0, 1, 2]}


@pytest.mark.parametrize("other", [{"steps": 5}, {"seeds": [3, 4]}, {"count": 5}])
def test_another_training_is_not_written_over(shown, tmp_path, other):
    file = tmp_path / "own.safetensors"
    members.train("bifeo3", [0], 2, shown, file)
    before = file.read_bytes()
    with pytest.raises(ValueError, match="of another training"):
        members.train(
            "bifeo3",
            other.get("seeds", [0, 1]),
            other.get("steps", 2),
            shown[: other.get("count", 6)],
            file,
        )
    assert file.read_bytes() == before


def test_the_median_on_validation_stands_for_all(shown, tmp_path, monkeypatch):
    held = members.train("bifeo3", range(3), 1, shown, tmp_path / "three.safetensors")
    reached = iter([{"medium": 0.5}, {"medium": 0.1}, {"medium": 0.3}])
    monkeypatch.setattr(members, "areas", lambda *_: next(reached))
    monkeypatch.setattr(members, "pool", lambda *_: shown)
    judged = members.validated(held)
    assert judged.card["median"] == 2
    assert judged.member() is judged.members[2]
    file = tmp_path / "judged.safetensors"
    weights.save(file, judged)
    assert weights.load(file).card == judged.card


def test_probabilities_are_held_against_what_there_is(shown):
    class Base(torch.nn.Module):
        """Says of every cell what share of all cells holds something, or ten times that."""

        def __init__(self, times):
            super().__init__()
            there = np.mean([np.minimum(g.amounts, 1.0).mean(axis=(1, 2)) for g in shown], axis=0)
            self.p = torch.tensor(times * there[: len(LAYERS.classes)], dtype=torch.float32)

        def forward(self, given):
            shape = (len(given), -1, *given.shape[2:])
            return torch.logit(self.p)[None, :, None, None].expand(shape)

    right, wrong = (members.calibration(Base(times), "bifeo3", shown) for times in (1.0, 10.0))
    assert min(sum(right["cells"]), sum(wrong["cells"])) > 0
    assert right["error"] < 0.2 * wrong["error"]
    assert wrong["error"] == pytest.approx(
        np.average(np.subtract(wrong["said"], wrong["there"]), weights=wrong["cells"]), rel=0.05
    )
