"""Worlds from the command line: simulated, kept, listed, verified, exported."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
from PIL import Image


def test_simulate_keeps_a_world_and_shows_its_picture(stemscout, tmp_path, own_cache):
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


def test_the_same_world_may_be_asked_for_again(stemscout, tmp_path, own_cache):
    """Its picture is named after its address; another world's is another."""
    asked = ("simulate", "mos2", "--seed", 3, "--fov-nm")
    told = [stemscout(*asked, side, "--json", cwd=tmp_path) for side in (8, 8, 7)]
    assert [d.returncode for d in told] == [0, 0, 0], told[1].stderr
    first, again, other = (json.loads(d.stdout) for d in told)
    assert again == first
    assert first["world"][:8] in first["picture"]
    assert other["picture"] != first["picture"]
    assert len(list(tmp_path.glob("*.png"))) == 2


def test_simulate_prints_one_json_object(stemscout, tmp_path, own_cache):
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


def test_a_file_is_written_even_if_the_cache_cannot_be(refused, stemscout, tmp_path, monkeypatch):
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


def test_a_picture_on_a_full_disk_leaves_nothing(refused, stemscout, tmp_path, own_cache):
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


def test_a_world_of_an_older_format_is_listed_reported_and_cleaned(
    refused, stemscout, tmp_path, own_cache
):
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


def test_worlds_are_listed_verified_exported_imported_and_cleaned(stemscout, tmp_path, own_cache):
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


def test_timings_are_figures_by_part(stemscout):
    timed = json.loads(stemscout("bench", "throughput", "--vs", "CartPole-v1", "--json").stdout)
    parts, ways = timed["parts_us"], {r["way"]: r for r in timed["throughput"]}
    assert [r["environments"] for r in timed["throughput"]] == [1, 1, 64, 64, 64, 64, 1]
    assert ways["CartPole-v1, single"]["steps_per_s"] > 0
    assert parts["step"] > parts["frame (acquire)"] > 0
    assert parts["NumPy's Poisson draw of one frame"] > 0
