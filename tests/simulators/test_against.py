"""The fast renderer against the shipped worlds: slopes, peaks, and what the page says of them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from stemscout.simulators.against import SHOWN, against_world, rows, worlds

PHYSICS = Path(__file__).parents[2] / "docs" / "physics.md"


@pytest.mark.parametrize("name", worlds())
class TestShipped:
    """No calibration has seen these specimens; tiles of the oxides are of another size."""

    def test_both_annular_detectors_are_held_against_it(self, name):
        assert [of.detector for of in against_world(name)] == ["haadf", "maadf"]

    def test_contrast_is_nearly_that_of_multislice(self, name):
        for of in against_world(name):
            assert 0.85 <= of.slope <= 1.1, of.detector

    def test_columns_are_nearly_as_bright_as_by_multislice(self, name):
        for of in against_world(name):
            assert of.peak_error
            for species, error in of.peak_error.items():
                assert abs(error) <= 0.2, (of.detector, species)

    def test_the_page_tells_of_it_as_it_is(self, name):
        """`python -m stemscout.simulators.against` makes the rows anew."""
        told = re.findall(rf"^\| `{name}` \| \w+ADF \|.*$", PHYSICS.read_text(), re.MULTILINE)
        assert told == list(rows(name))


def test_what_hardly_shows_is_left_out():
    """The one W, V and Se of a small field tell of the noise of that one column."""
    assert SHOWN > 1
    for of in against_world("mos2-medium"):
        assert {"Mo", "S"} <= set(of.peak_error)
        assert not {"W", "V", "Se"} & set(of.peak_error)
