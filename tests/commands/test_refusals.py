"""What the command line refuses, it refuses in one sentence."""

from __future__ import annotations

import numpy as np
import pytest

ENV = ("--env", "StemScout/GrapheneDefects-v0")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("bench", "navigation", "--seeds", "0"), "0 seeds; there must be at least 1"),
        (("bench", "navigation", "--seeds", "few"), "'few' is not an integer >= 0"),
        (("bench", "navigation", "--scheduler", "0"), "scheduler"),
        (("bench", "perception", "--seeds", "0"), "0 seeds; there must be at least 1"),
        (("bench", "perception", "--epochs", "0"), "0 epochs; there must be at least 1"),
        (("bench", "perception", "--no-peers", "--patches", "4"), "4 patches; there must be at"),
        (("fly",), "unknown command 'fly'; there are:"),
        (("bench", "fly"), "unknown command 'fly'; there are:"),
        (("run",), "give one of --env, --image and --microscope"),
        (("run", "--env", "Go-v0"), "unknown environment 'Go-v0'; there are: StemScout/"),
        (("run", *ENV, "--agent", "chess"), "unknown agent 'chess'; there are: raster"),
        (("run", *ENV, "--budget", "0"), "a budget of 0.0; it must be above 0 and at most 1"),
        (("run", *ENV, "--budget", "1.01"), "a budget of 1.01"),
        (("run", *ENV, "--budget", "nan"), "a budget of nan"),
        (("run", *ENV, "--budget", "much"), "'much' is not a number"),
        (("run", *ENV, "--seed", "-1"), "'-1' is not an integer >= 0"),
        (("run", *ENV, "--difficulty", "epic"), "unknown difficulty 'epic'"),
        (("run", *ENV, "--renderer", "paint"), "unknown renderer 'paint'"),
        (("run", *ENV, "--split", "exam"), "unknown split 'exam'"),
        (("run", *ENV, "--agent", "grid", "--component", "1"), "grid has no option component"),
        (("run", *ENV, "--component", "9"), "component 9; there are components 0 to 3"),
        (("run", *ENV, "--component", "-1"), "'-1' is not an integer >= 0"),
        (("run", *ENV, "--decomposition", "magic"), "unknown decomposition 'magic'"),
        (("run", *ENV, "--engine", "steam"), "unknown engine 'steam'; there are: grid, skopt"),
        (("run", *ENV, "--option", "batch"), "--option 'batch'; it must be NAME=VALUE"),
        (("run", *ENV, "--option", "batch=two"), "batch is 'two'; it must be an integer"),
        (
            ("run", *ENV, "--engine", "grid", "--option", "engine=skopt"),
            "--option 'engine=skopt'; engine was given already",
        ),
        (("run", *ENV, "--pixel-nm", "0.1"), "--pixel-nm only goes with --image"),
        (("run", *ENV, "--labels", "l.json"), "--labels only goes with --image"),
        (("run", "--env", "StemScout/Recorded-v0"), "a recording is given by --image"),
        (("run", "--env", "StemScout/Live-v0"), "a live microscope is given to gymnasium.make"),
        (("run", *ENV, "--out", "/dev/null/sub"), "is a file"),
        (
            ("simulate", "graphene", "--fov-nm", "1e5"),
            "a field of 100000.0 nm; it must be above 0 and at most 200 nm",
        ),
        (
            ("simulate", "mos2", "--renderer", "abtem", "--fov-nm", "190", "--memory-gib", "0.5"),
            "more than the 0.5 GiB allowed; ask for a smaller field or allow more memory",
        ),
        (("simulate", "composite", "--difficulty", "easy"), "it is made only at: hard"),
        (("simulate", "mos2", "--scheduler", "soon"), "scheduler 'soon'; it must be a number of"),
        *(
            (("simulate", "mos2", f"--memory-gib={bad}"), f"a memory bound of {bad} GiB")
            for bad in ("nan", "inf", "-1", "0")
        ),
        (("simulate", "mos2", "--margin-nm", "nan"), "a margin of nan nm; it must be at least 0"),
        (
            ("simulate", "mos2", "--out", "g.tif", "--picture", "g.tif"),
            "the picture 'g.tif' must end in .png",
        ),
        (("worlds", "export", "feedbeef", "x.npz"), "no world 'feedbeef'; there are:"),
        (("worlds", "import", "none.npz"), "none.npz"),
        (("worlds", "clean", "--older-than-days", "-1"), "-1"),
        (("bench", "simulate", "--specimen", "diamond"), "unknown specimen 'diamond'"),
        (("run", "--image", "none.png", "--pixel-nm", "0.1"), "no image file at 'none.png'"),
        (("simulate", "diamond"), "unknown specimen 'diamond'; there are: graphene"),
        (("simulate", "graphene", "--fov-nm", "2"), "a field of 2.0 nm"),
        (("simulate", "graphene", "--out", "w.png"), "must end in one of .npz, .hspy, .tif"),
        (
            ("bench", "run", "nothing"),
            "unknown suite 'nothing'; there are: exact, half, matrix, navigation",
        ),
        (("bench", "report", "here", "--only", "heat"), "unknown figure 'heat'; there are: positi"),
        (("bench", "compare", "here", "there"), "'here' holds no results of a suite"),
    ],
)
def test_bad_input_is_one_sentence(refused, stemscout, tmp_path, arguments, sentence):
    refused(stemscout(*arguments, cwd=tmp_path), sentence)
    assert list(tmp_path.iterdir()) == []


def bad_images():
    rng = np.random.default_rng(0)
    good = rng.random((300, 300))
    holed = good.copy()
    holed[5, 7] = np.nan
    return {
        "three dimensions": (np.zeros((3, 300, 300)), "must have two dimensions"),
        "NaN": (holed, "1 of the image's 90000 pixels are NaN or infinite"),
        "constant": (np.ones((300, 300)), "constant"),
        "small": (good[:100, :100], "its shorter side must have at least 256 px"),
    }


@pytest.mark.parametrize("kind", bad_images())
def test_bad_images_are_one_sentence(refused, stemscout, tmp_path, kind):
    values, sentence = bad_images()[kind]
    np.save(tmp_path / "a.npy", values)
    out = tmp_path / "out"
    refused(
        stemscout("run", "--image", tmp_path / "a.npy", "--pixel-nm", 0.05, "--out", out), sentence
    )
    assert not out.exists()


@pytest.mark.parametrize("pixel", ["0", "-0.1", "nan"])
def test_bad_pixel_sizes(refused, stemscout, image, tmp_path, pixel):
    done = stemscout("run", "--image", image, "--pixel-nm", pixel, "--out", tmp_path / "o")
    refused(done, "pixel size")


def test_a_missing_pixel_size(refused, stemscout, image, tmp_path):
    refused(stemscout("run", "--image", image, "--out", tmp_path / "o"), "does not say its pixel")


def test_a_file_that_is_no_image(refused, stemscout, tmp_path):
    (tmp_path / "a.png").write_text("hello")
    done = stemscout("run", "--image", tmp_path / "a.png", "--pixel-nm", 1, "--out", tmp_path / "o")
    refused(done, "cannot be read as an image")


def test_the_oracle_has_nothing_to_know_of_a_recording(refused, stemscout, image, tmp_path):
    done = stemscout(
        *("run", "--image", image, "--pixel-nm", 0.05, "--agent", "oracle", "--out", tmp_path / "o")
    )
    refused(done, "the oracle needs the truth")
    assert not (tmp_path / "o").exists()


def test_a_folder_that_holds_a_run_is_left_alone(refused, stemscout, tmp_path):
    arguments = ("run", *ENV, "--agent", "grid", "--budget", "0.02", "--out", tmp_path / "o")
    assert stemscout(*arguments).returncode == 0
    before = (tmp_path / "o" / "run.json").read_bytes()
    refused(stemscout(*arguments), "already holds a run")
    assert (tmp_path / "o" / "run.json").read_bytes() == before


def test_debug_shows_the_traceback(stemscout, tmp_path):
    done = stemscout("run", *ENV, "--agent", "chess", "--debug")
    assert done.returncode == 2
    assert "Traceback" in done.stderr
