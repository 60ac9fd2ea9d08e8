"""``stemscout paper``: what it refuses before anything runs."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--seeds", "0"), "0 seeds; there must be at least 1"),
        (("--seeds", "few"), "'few' is not an integer >= 0"),
        (("--scheduler", "moon"), "moon"),
        (("--only", "nio"), "holds no results of a suite"),
    ],
)
def test_bad_input_is_one_sentence(stemscout, refused, arguments, sentence, tmp_path):
    refused(stemscout("paper", *arguments, cwd=tmp_path), sentence)
    assert not list(tmp_path.iterdir())


def test_help_has_an_example_and_names_the_folder_of_images(stemscout):
    said = stemscout("paper", "--help").stdout
    assert "stemscout paper --seeds 3" in " ".join(said.split())
    assert "STEMSCOUT_IMAGES" in said
