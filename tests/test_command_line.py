"""The command line as a user meets it: every call is a process of its own."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

TIMEOUT_S = 120


def stemscout(*arguments, cwd=None):
    return subprocess.run(
        [sys.executable, "-m", "stemscout", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        cwd=cwd,
    )


@pytest.fixture
def image(lattice_image, tmp_path) -> Path:
    path = tmp_path / "mine.png"
    Image.fromarray(lattice_image).save(path)
    return path


def test_help_reads_like_a_table_of_contents():
    done = stemscout("--help")
    assert done.returncode == 0
    for word in ("demo", "run", "envs", "agents", "worlds", "simulate", "bench"):
        assert word in done.stdout


@pytest.mark.parametrize(
    "command",
    [
        ("demo",),
        ("run",),
        ("envs",),
        ("agents",),
        ("worlds",),
        ("simulate",),
        ("bench", "run"),
        ("bench", "throughput"),
        ("bench", "navigation"),
    ],
)
def test_every_command_has_help_with_an_example(command):
    done = stemscout(*command, "--help")
    assert done.returncode == 0
    assert f"stemscout {' '.join(command)}" in done.stdout


def test_lists():
    for command, known in (("envs", "StemScout/GrapheneDefects-v0"), ("agents", "linear-bo")):
        done = stemscout(command)
        assert done.returncode == 0
        assert known in done.stdout
        assert known in json.loads(stemscout(command, "--json").stdout)


def test_version():
    import stemscout as package

    assert stemscout("--version").stdout.strip() == package.__version__


def test_a_recording_from_file_to_report(image, tmp_path):
    out = tmp_path / "run"
    done = stemscout(
        *("run", "--image", image, "--pixel-nm", 0.05, "--agent", "linear-bo"),
        *("--budget", 0.05, "--seed", 0, "--out", out, "--json"),
    )
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert summary["spent"]["frames"] == 14
    assert summary["scores"]["seen"] is None
    assert (out / "report.html").stat().st_size > 50_000


def test_labels_make_a_recording_scored_like_any_other(image, tmp_path):
    labels = {
        "unit": "px",
        "classes": [{"name": "spot"}],
        "features": [
            {"class": "spot", "position": [y, x]} for y in (60, 140, 220) for x in (80, 160, 240)
        ],
    }
    path = tmp_path / "labels.json"
    path.write_text(json.dumps(labels))
    asked = ("run", "--image", image, "--pixel-nm", 0.05, "--agent", "oracle", "--labels")
    done = stemscout(*asked, path, "--budget", 0.1, "--out", tmp_path / "o", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["scores"]["seen"] == 1.0
    refused(stemscout(*asked, tmp_path / "none.json"), "none.json")


def test_the_same_seed_repeats_the_run(tmp_path):
    paths = []
    for k in range(2):
        done = stemscout(
            *("run", "--env", "StemScout/GrapheneDefects-v0", "--agent", "linear-bo"),
            *("--budget", 0.08, "--seed", 3, "--out", tmp_path / str(k)),
        )
        assert done.returncode == 0, done.stderr
        with (tmp_path / str(k) / "trajectory.csv").open() as handle:
            rows = list(csv.DictReader(handle))
        paths.append([(r["y_nm"], r["x_nm"], r["target"]) for r in rows])
    assert paths[0] == paths[1]


def test_demo_needs_neither_torch_nor_abtem(tmp_path):
    code = (
        "import sys; sys.argv = ['stemscout', 'demo', '--out', 'here', '--json']\n"
        "from stemscout.__main__ import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
        "assert not {'torch', 'abtem', 'ase'} & set(sys.modules), 'heavy'\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert summary["spent"]["frames"] == 14
    assert summary["scores"]["seen"] > 0
    assert (tmp_path / "here" / "report.html").exists()


def test_ctrl_c_stops_at_the_next_frame_and_writes_everything(tmp_path):
    out = tmp_path / "run"
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "stemscout", "run", "--env", "StemScout/GrapheneDefects-v0"),
            *("--agent", "linear-bo", "--budget", "1.0", "--out", str(out)),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ},
    )
    deadline = time.monotonic() + TIMEOUT_S
    while len(list(out.glob("frames/*.npz"))) < 6:
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    summary = json.loads((out / "run.json").read_text())
    frames = len(list(out.glob("frames/*.npz")))
    assert summary["ended"] == "stopped by a person"
    assert summary["spent"]["frames"] == frames < 256
    assert len((out / "trajectory.csv").read_text().splitlines()) == frames + 1
    assert (out / "report.html").exists()


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("STEMSCOUT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_simulate_keeps_a_world_and_shows_its_picture(tmp_path, own_cache):
    out = tmp_path / "w.npz"
    asked = ("simulate", "graphene", "--seed", 3, "--fov-nm", 6)
    done = stemscout(*asked, "--out", out)
    assert done.returncode == 0, done.stderr
    told = dict(line.split(maxsplit=1) for line in done.stdout.splitlines())
    assert told["features"] == "8"
    assert np.asarray(Image.open(tmp_path / "w.png")).std() > 10
    assert (own_cache / told["world"] / "header.json").exists()
    assert stemscout(*asked, "--out", out).returncode == 2
    again = stemscout(*asked, "--picture", tmp_path / "again.png")
    assert (
        dict(line.split(maxsplit=1) for line in again.stdout.splitlines())["world"] == told["world"]
    )


def test_the_same_world_may_be_asked_for_again(tmp_path, own_cache):
    """Its picture is named after its address; another world's is another."""
    asked = ("simulate", "mos2", "--seed", 3, "--fov-nm")
    told = [stemscout(*asked, side, "--json", cwd=tmp_path) for side in (8, 8, 7)]
    assert [d.returncode for d in told] == [0, 0, 0], told[1].stderr
    first, again, other = (json.loads(d.stdout) for d in told)
    assert again == first
    assert first["world"][:8] in first["picture"]
    assert other["picture"] != first["picture"]
    assert len(list(tmp_path.glob("*.png"))) == 2


def test_simulate_prints_one_json_object(tmp_path, own_cache):
    """And a specimen with one level needs no difficulty, a world may have a margin."""
    done = stemscout(
        *("simulate", "composite", "--margin-nm", 1),
        *("--picture", tmp_path / "c.png", "--json"),
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert set(told) == {"world", "features", "picture"}
    made = json.loads((own_cache / told["world"] / "header.json").read_text())["header"]["made"]
    assert made["recipe"]["difficulty"] == "hard"
    assert made["recipe"]["margin_nm"] == 1.0


def test_a_file_is_written_even_if_the_cache_cannot_be(tmp_path, monkeypatch):
    """The world would be lost otherwise, and an abtem one takes hours."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("STEMSCOUT_CACHE", str(tmp_path / "file" / "cache"))
    out = tmp_path / "w.npz"
    asked = ("simulate", "graphene", "--seed", 3, "--fov-nm", 6)
    refused(
        stemscout(*asked, "--out", out),
        "w.npz' is written, but the world is not kept: the cache",
        "cannot be written (Not a directory); name a folder of your own in the variable STEMSCOUT",
    )
    assert np.load(out)["coefficients_haadf"].std() > 0
    assert (tmp_path / "w.png").exists()
    refused(stemscout(*asked, cwd=tmp_path), "cannot be written (Not a directory)")
    refused(stemscout(*asked, "--renderer", "abtem", cwd=tmp_path), "STEMSCOUT_CACHE")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "w.npz", "w.png"]


def test_a_picture_on_a_full_disk_leaves_nothing(tmp_path, own_cache):
    """So that the same command can be given again."""
    asked = [*("simulate", "graphene", "--fov-nm", "6", "--picture", str(tmp_path / "p.png"))]
    code = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from stemscout.__main__ import main\n"
        "write = Path.write_bytes\n"
        "def full(path, data):\n"
        "    resource.setrlimit(resource.RLIMIT_FSIZE, (9_000, 9_000))\n"
        "    return write(path, data)\n"
        "Path.write_bytes = full\n"
        f"sys.argv = ['stemscout', *{asked!r}]\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    refused(done, "no room for", "p.png: it needs up to 1 MB; nothing was written")
    assert [p.name for p in tmp_path.iterdir()] == ["cache"]
    assert stemscout(*asked).returncode == 0


def test_a_world_of_an_older_format_is_listed_reported_and_cleaned(tmp_path, own_cache):
    from stemscout.simulators.cache import Cache

    address = stemscout(
        *("simulate", "mos2", "--fov-nm", 6, "--picture", tmp_path / "m.png")
    ).stdout.split()[1]
    header, arrays = Cache().read(address)
    made = header["made"]
    older = {**header, "made": {**made, "versions": {**made["versions"], "format": 1}}}
    Cache().put("01d01d01", older, arrays)
    Cache().put("feedbeef", {"nothing": "of ours"}, {})
    (own_cache / address / "kind.npy").write_bytes(b"damaged")
    for _ in range(2):  # a listing removes nothing
        listed = stemscout("worlds", "--json")
        assert listed.returncode == 0, listed.stderr
        lines = json.loads(listed.stdout)
        assert "unreadable (format 1; this version reads 2)" in lines["01d01d01"]
        assert "unreadable (it holds no world" in lines["feedbeef"]
        assert "kind.npy has 7 bytes" in lines[address]
    refused(
        stemscout("worlds", "export", "01d01d01", tmp_path / "x.npz"),
        "format 1; this version reads 2",
    )
    found = stemscout("worlds", "verify", "--json")
    assert found.returncode == 1
    problems = json.loads(found.stdout)
    assert problems["01d01d01"] == "format 1; this version reads 2"
    assert json.loads(stemscout("worlds", "clean", "--json").stdout) == {"removed": 3}
    assert stemscout("worlds", "verify").returncode == 0


def test_worlds_are_listed_verified_exported_imported_and_cleaned(tmp_path, own_cache):
    done = stemscout("simulate", "mos2", "--fov-nm", 6, "--picture", tmp_path / "m.png")
    address = done.stdout.split()[1]
    listed = json.loads(stemscout("worlds", "--json").stdout)
    assert "mos2, medium, seed 0, 6 nm, 8 features" in listed[address]
    assert any("abtem" in line for line in listed.values()), "the shipped ones, too"
    sound = stemscout("worlds", "verify", "--json")
    assert sound.returncode == 0
    assert set(json.loads(sound.stdout).values()) == {"sound"}

    kept = tmp_path / "m.npz"
    assert stemscout("worlds", "export", address, kept).returncode == 0
    victim = next((own_cache / address).glob("coefficients*.npy"))
    data = bytearray(victim.read_bytes())
    data[-3] ^= 0xFF
    victim.write_bytes(data)
    broken = stemscout("worlds", "verify", "--json")
    assert broken.returncode == 1
    assert json.loads(broken.stdout)[address] != "sound"
    cleaned = json.loads(stemscout("worlds", "clean", "--json").stdout)
    assert cleaned["removed"] == 1
    assert address not in json.loads(stemscout("worlds", "--json").stdout)
    assert stemscout("worlds", "import", kept).stdout.strip() == address
    assert address in json.loads(stemscout("worlds", "--json").stdout)
    assert stemscout("worlds", "clean", "--all").returncode == 0
    assert address not in json.loads(stemscout("worlds", "--json").stdout)


def test_timings_are_figures_by_part():
    timed = json.loads(stemscout("bench", "throughput", "--vs", "CartPole-v1", "--json").stdout)
    parts, ways = timed["parts_us"], {r["way"]: r for r in timed["throughput"]}
    assert [r["environments"] for r in timed["throughput"]] == [1, 1, 64, 64, 64, 64, 1]
    assert ways["CartPole-v1, single"]["steps_per_s"] > 0
    assert parts["step"] > parts["frame (acquire)"] > 0
    assert parts["NumPy's Poisson draw of one frame"] > 0


def refused(done, *sentences):
    """Exit code 2, one sentence on standard error, nothing on standard output."""
    assert done.returncode == 2, (done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    for sentence in sentences:
        assert sentence in " ".join(done.stderr.replace("│", " ").split()), done.stderr
    assert done.stdout == ""


ENV = ("--env", "StemScout/GrapheneDefects-v0")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("bench", "navigation", "--seeds", "0"), "0 seeds; there must be at least 1"),
        (("bench", "navigation", "--seeds", "few"), "'few' is not an integer >= 0"),
        (("bench", "navigation", "--scheduler", "0"), "scheduler"),
        (("fly",), "unknown command 'fly'; there are:"),
        (("bench", "fly"), "unknown command 'fly'; there are:"),
        (("run",), "give either --env or --image"),
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
        (("run", *ENV, "--component", "9"), "component 9; linear-bo has components 0 to 3"),
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
def test_bad_input_is_one_sentence(tmp_path, arguments, sentence):
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
def test_bad_images_are_one_sentence(tmp_path, kind):
    values, sentence = bad_images()[kind]
    np.save(tmp_path / "a.npy", values)
    out = tmp_path / "out"
    refused(
        stemscout("run", "--image", tmp_path / "a.npy", "--pixel-nm", 0.05, "--out", out), sentence
    )
    assert not out.exists()


@pytest.mark.parametrize("pixel", ["0", "-0.1", "nan"])
def test_bad_pixel_sizes(image, tmp_path, pixel):
    done = stemscout("run", "--image", image, "--pixel-nm", pixel, "--out", tmp_path / "o")
    refused(done, "pixel size")


def test_a_missing_pixel_size(image, tmp_path):
    refused(stemscout("run", "--image", image, "--out", tmp_path / "o"), "does not say its pixel")


def test_a_file_that_is_no_image(tmp_path):
    (tmp_path / "a.png").write_text("hello")
    done = stemscout("run", "--image", tmp_path / "a.png", "--pixel-nm", 1, "--out", tmp_path / "o")
    refused(done, "cannot be read as an image")


def test_the_oracle_has_nothing_to_know_of_a_recording(image, tmp_path):
    done = stemscout(
        *("run", "--image", image, "--pixel-nm", 0.05, "--agent", "oracle", "--out", tmp_path / "o")
    )
    refused(done, "the oracle needs the truth")
    assert not (tmp_path / "o").exists()


def test_a_folder_that_holds_a_run_is_left_alone(tmp_path):
    arguments = ("run", *ENV, "--agent", "grid", "--budget", "0.02", "--out", tmp_path / "o")
    assert stemscout(*arguments).returncode == 0
    before = (tmp_path / "o" / "run.json").read_bytes()
    refused(stemscout(*arguments), "already holds a run")
    assert (tmp_path / "o" / "run.json").read_bytes() == before


def test_debug_shows_the_traceback(tmp_path):
    done = stemscout("run", *ENV, "--agent", "chess", "--debug")
    assert done.returncode == 2
    assert "Traceback" in done.stderr


@pytest.mark.parametrize(
    ("name", "pixel_nm", "frames"),
    [
        ("NiO_LSMO_435px.png", 0.046, 57),
        ("BFO_435px.png", 0.071, 57),
        ("Si-Graphene_435px.png", 0.0235, 57),
    ],
)
def test_the_papers_images(images, tmp_path, name, pixel_nm, frames):
    """27 px frames of a 435 px image; 20 % of a raster of 17 x 17 is 57 of them."""
    done = stemscout(
        *("run", "--image", images / name, "--pixel-nm", pixel_nm, "--agent", "linear-bo"),
        *("--budget", 0.2, "--seed", 0, "--out", tmp_path / "o", "--json"),
    )
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert summary["spent"]["frames"] == frames
    assert summary["reference_frame"]["shape_yx"] == [27, 27]


def test_linear_bo_goes_to_the_pillars(images, tmp_path):
    """On NiO-LSMO more of its frames lie on the pillars than the pillars' share of the field."""
    out = tmp_path / "o"
    done = stemscout(
        *("run", "--image", images / "NiO_LSMO_435px.png", "--pixel-nm", 0.046),
        *("--budget", 0.2, "--out", out),
    )
    assert done.returncode == 0, done.stderr
    whole = np.asarray(Image.open(images / "NiO_LSMO_435px.png"), dtype=float)
    tiles = whole[: 16 * 27, : 16 * 27].reshape(16, 27, 16, 27).swapaxes(1, 2).reshape(-1, 27, 27)
    contrast = tiles.std(axis=(1, 2))  # pillars are smoother than the matrix
    threshold = contrast.mean() - contrast.std()
    taken = [np.load(p)["data_recorded"].std() for p in sorted((out / "frames").glob("*.npz"))]
    share = np.mean(contrast < threshold)
    assert np.mean(np.array(taken[5:]) < threshold) > 1.5 * share
