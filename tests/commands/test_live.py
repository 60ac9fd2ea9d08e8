"""Experiments on a microscope from the command line: run, stop, resume."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys

import pytest

from stemscout.envs.addresses import connect
from stemscout.hardware import ScanRequest, credentials
from stemscout.hardware.credentials import Credentials
from stemscout.hardware.emergency import CONFIRMED, NOT_CONFIRMED
from stemscout.hardware.guard import guarded
from stemscout.hardware.journal import Journal, read
from stemscout.hardware.remote import RemoteMicroscope

SIM = ("--microscope", "sim://graphene?difficulty=easy", "--dwell-us", "24")


def kinds(folder):
    return [r.kind for r in read(folder)]


def path_of(folder):
    with (folder / "trajectory.csv").open() as file:
        return [(row["y_nm"], row["x_nm"]) for row in csv.DictReader(file)]


@pytest.fixture
def begun(tmp_path, eventually):
    """A run that goes on until somebody ends it, when it has taken some frames."""
    processes = []

    def begin(*arguments, frames=6):
        folder = tmp_path / "begun"
        command = [sys.executable, "-m", "stemscout", "run", *SIM, *arguments]
        process = subprocess.Popen(
            [*command, "--out", str(folder)], stderr=subprocess.PIPE, text=True
        )
        processes.append(process)
        log = folder / "journal.log"
        eventually(lambda: log.exists() and kinds(folder).count("frame") >= frames)
        return process, folder

    yield begin
    for process in processes:
        process.kill()
        process.wait()


def test_a_run_leaves_its_journal_beside_its_report(stemscout, tmp_path):
    out = tmp_path / "run"
    done = stemscout(
        "run", *SIM, "--agent", "random", "--budget-frames", "5", "--out", str(out), "--json"
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["spent"]["frames"] == 5
    each = ["decision", "command", "frame"]
    assert kinds(out) == ["begin", "open", *each * 5, "end", "close"]
    records = list(read(out))
    assert records[0].data["agent"] == "random"
    decision = next(r for r in records if r.kind == "decision")
    assert decision.data["sentence"]
    assert (out / "report.html").exists()
    assert not (out / "stop.json").exists()
    again = stemscout("resume", str(out))
    assert again.returncode == 2
    assert "has come to its end" in again.stderr


def test_another_agent_may_be_tried_on_what_was_recorded(stemscout, tmp_path):
    first, second = tmp_path / "run", tmp_path / "again"
    options = ("--budget-frames", "4", "--json")
    done = stemscout("run", *SIM, "--agent", "raster", *options, "--out", first)
    assert done.returncode == 0, done.stderr
    recorded = ("--microscope", f"journal:{first}", "--dwell-us", "24")
    done = stemscout("run", *recorded, "--agent", "linear-raster", *options, "--out", second)
    assert done.returncode == 0, done.stderr
    then, now = ([r.arrays for r in read(p) if r.kind == "frame"] for p in (first, second))
    assert len(now) == 4
    assert all((a[k] == b[k]).all() for a, b in zip(then, now, strict=True) for k in a)
    done = stemscout("run", *recorded, "--agent", "random", *options, "--out", tmp_path / "other")
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert "is in the journal; it holds 4, at 4 places" in " ".join(done.stderr.split())
    done = stemscout("run", "--microscope", f"journal:{tmp_path / 'no'}", "--agent", "raster")
    assert done.returncode != 0
    assert "there is no journal at" in done.stderr


def test_killed_it_resumes_with_the_same_next_decision(stemscout, begun, tmp_path):
    whole = tmp_path / "whole"
    options = ("--agent", "linear-bo", "--budget-frames", "24", "--seed", "3")
    done = stemscout("run", *SIM, *options, "--out", str(whole))
    assert done.returncode == 0, done.stderr
    process, folder = begun(*options, frames=7)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    taken = kinds(folder).count("frame")
    assert taken < 24
    done = stemscout("resume", str(folder), "--json")
    assert done.returncode == 0, done.stderr
    assert "otherwise than recorded" not in done.stderr
    assert json.loads(done.stdout)["spent"]["frames"] == 24
    # Noise is another after that, since a simulated instrument begins anew.
    assert path_of(folder)[: taken + 1] == path_of(whole)[: taken + 1]
    assert kinds(folder).count("frame") == 24
    assert kinds(folder).count("resume") == 1


def test_it_is_stopped_from_elsewhere_and_may_go_on(stemscout, begun):
    process, folder = begun("--agent", "random", "--budget", "0.9")
    done = stemscout("stop", str(folder), "--reason", "the door was opened")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == CONFIRMED
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "to go on: stemscout resume" in said
    stops = [r.data for r in read(folder) if r.kind == "stop"]
    assert [s["reason"] for s in stops] == ["the door was opened"]
    assert "end" not in kinds(folder)
    assert (folder / "report.html").exists()
    nobody = stemscout("stop", str(folder))
    assert nobody.returncode == 2
    assert "nothing is driven from" in nobody.stderr


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT])
def test_whoever_ends_it_the_beam_is_blanked(begun, sign):
    process, folder = begun("--agent", "random", "--budget", "0.9")
    process.send_signal(sign)
    process.communicate(timeout=60)
    assert process.returncode in (130, 143)
    assert kinds(folder)[-1] == "close"
    assert "trouble" not in list(read(folder))[-1].data


def test_a_dry_run_sends_nothing(stemscout, tmp_path):
    out = tmp_path / "dry"
    done = stemscout(
        "run", *SIM, "--agent", "raster", "--budget-frames", "3", "--dry-run", "--out", str(out)
    )
    assert done.returncode == 0, done.stderr
    frames = [r for r in read(out) if r.kind == "frame"]
    assert len(frames) == 3
    assert not any(r.arrays["haadf"].any() for r in frames)


def test_a_person_approves_of_every_frame(tmp_path):
    out = tmp_path / "asked"
    done = subprocess.run(
        [
            sys.executable, "-m", "stemscout", "run", *SIM, "--agent", "random",
            "--budget-frames", "2", "--approve", "--out", str(out),
        ],
        input="y\nn\ny\n", capture_output=True, text=True, timeout=120, check=False,
        env=os.environ,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert kinds(out).count("frame") == 2
    assert kinds(out).count("refused") == 1


def test_limits_end_it_whatever_the_agent_wants(stemscout, tmp_path):
    out = tmp_path / "limited"
    done = stemscout(
        "run", *SIM, "--agent", "raster", "--budget", "0.5", "--max-charge", "2e8",
        "--out", str(out),
    )  # fmt: skip
    assert done.returncode == 2
    assert "charge of all frames" in done.stderr
    assert "allowed is 0 to 2e+08 e" in done.stderr
    assert kinds(out)[-1] == "close"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            (*SIM, "--credentials", "mine/control"),
            "--credentials only goes with --microscope grpc://host:port",
        ),
        (
            ("--env", "StemScout/GrapheneDefects-v0", "--credentials", "mine/control"),
            "--credentials only goes with --microscope grpc://host:port",
        ),
        (
            ("--microscope", "grpc://127.0.0.1:9", "--credentials", "nowhere"),
            "nowhere holds no credentials of a client",
        ),
        (("--microscope", "tem://titan"), "unknown scheme 'tem'; there are: sim://"),
        (("--microscope", "nion"), "is no address of a microscope"),
        ((*SIM, "--budget", "0.1", "--budget-charge", "1e6"), "give one of them"),
        ((*SIM, "--budget-charge", "1e99"), "at most one raster of the whole field"),
        ((*SIM, "--env", "StemScout/GrapheneDefects-v0"), "give one of --env, --image and"),
        ((*SIM, "--difficulty", "hard"), "--difficulty does not go with --microscope"),
        (
            ("--env", "StemScout/GrapheneDefects-v0", "--budget-frames", "3", "--dry-run"),
            "--budget-frames, --dry-run only goes with --microscope",
        ),
    ],
)
def test_what_does_not_fit_is_refused(stemscout, tmp_path, arguments, sentence):
    done = stemscout("run", *arguments, "--agent", "random", "--out", str(tmp_path / "no"))
    assert done.returncode == 2
    assert sentence in done.stderr


def test_a_folder_without_a_journal_cannot_be_resumed(stemscout, tmp_path):
    done = stemscout("resume", str(tmp_path))
    assert done.returncode == 1
    assert "there is no journal at" in done.stderr


def test_a_served_microscope_is_driven_like_any_other(stemscout, tmp_path):
    served, out = tmp_path / "served", tmp_path / "run"
    command = [sys.executable, "-m", "stemscout", "serve", "--port", "0", "--out", str(served)]
    server = subprocess.Popen(
        [*command, "--env", "StemScout/GrapheneDefects-v0"], stdout=subprocess.PIPE, text=True
    )
    try:
        address = server.stdout.readline().split()[-1]
        assert address.startswith("grpc://127.0.0.1:")
        done = stemscout(
            "run", "--microscope", address, "--agent", "random", "--budget-frames", "4",
            "--dwell-us", "12", "--out", str(out),
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert kinds(out).count("frame") == kinds(served).count("frame") == 4
        assert stemscout("stop", str(served)).stdout.strip() == CONFIRMED
    finally:
        server.terminate()
        server.communicate(timeout=60)
    assert kinds(served)[-2:] == ["stop", "close"]


def test_credentials_are_made_once(stemscout, tmp_path):
    folder = tmp_path / "mine"
    done = stemscout("serve", "--init-credentials", str(folder), "--host", "tem1")
    assert done.returncode == 0, done.stderr
    said = " ".join(done.stdout.split())
    assert f"{folder}/server is for serve --credentials and stays here" in said
    assert f"{folder}/control to whoever may drive the microscope" in said
    assert f"{folder}/observe to whoever may look on and stop it" in said
    assert {p.name for p in folder.iterdir()} == {"server", "control", "observe"}
    assert stemscout("serve", "--init-credentials", str(folder)).returncode == 2


@pytest.fixture(scope="module")
def mine(tmp_path_factory):
    """Credentials for a server on the loopback, and for whoever drives or watches it."""
    folder = tmp_path_factory.mktemp("credentials") / "mine"
    credentials.make(folder, ["127.0.0.1"])
    return folder


def test_credentials_go_with_a_server_and_must_be_those_of_whoever_drives(mine):
    pytest.importorskip("grpc")
    control, observe = (Credentials.of_client(mine / end) for end in ("control", "observe"))
    assert isinstance(connect("grpc://127.0.0.1:9", credentials=control), RemoteMicroscope)
    with pytest.raises(ValueError, match="whoever drives a microscope needs those of DIR/control"):
        connect("grpc://127.0.0.1:9", credentials=observe)
    with pytest.raises(ValueError, match="credentials only go with grpc://host:port"):
        connect("sim://graphene", credentials=control)


def test_with_credentials_a_microscope_is_driven_and_resumed_over_tls(
    stemscout, mine, tmp_path, eventually
):
    pytest.importorskip("grpc")
    served, out = tmp_path / "served", tmp_path / "run"
    processes = []

    def begin(*arguments, **options):
        command = [sys.executable, "-m", "stemscout", *map(str, arguments)]
        processes.append(subprocess.Popen(command, text=True, **options))
        return processes[-1]

    def stopped_after(frames, process):
        eventually(lambda: (out / "journal.log").exists() and kinds(out).count("frame") > frames)
        # Over TLS the beam may be dark only after there has to be an answer.
        assert stemscout("stop", out).stdout.strip() in (CONFIRMED, NOT_CONFIRMED)
        process.communicate(timeout=60)
        assert process.returncode == 130
        assert list(read(out))[-1].data["beam"] == CONFIRMED

    try:
        server = begin(
            "serve", "--env", "StemScout/GrapheneDefects-v0", "--credentials", mine / "server",
            "--host", "127.0.0.1", "--port", "0", "--out", served, stdout=subprocess.PIPE,
        )  # fmt: skip
        address = server.stdout.readline().split()[-1]
        run = begin(
            "run", "--microscope", address, "--credentials", "mine/control", "--agent", "random",
            "--dwell-us", "12", "--budget", "0.9", "--out", out,
            cwd=mine.parent, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        stopped_after(0, run)
        taken = kinds(out).count("frame")
        stopped_after(taken, begin("resume", out, cwd=tmp_path, stderr=subprocess.DEVNULL))
    finally:
        for process in reversed(processes):
            process.terminate()
            process.communicate(timeout=60)
    # One that was on its way when it was stopped may be recorded there alone.
    assert kinds(served).count("frame") >= kinds(out).count("frame") > taken
    # Where the credentials are is written down, and nothing of what they hold.
    assert next(read(out)).data["credentials"] == str(mine / "control")
    tokens = Credentials.of_server(mine / "server").tokens.values()
    for path in (p for folder in (out, served) for p in folder.rglob("*") if p.is_file()):
        whole = path.read_bytes()
        assert b"PRIVATE KEY" not in whole
        assert not any(token.encode() in whole for token in tokens)


def test_an_export_says_how_much_it_holds_and_what_it_leaves_out(stemscout, tmp_path):
    pytest.importorskip("rsciio")
    out = tmp_path / "run"
    with Journal(out) as journal, guarded(connect("sim://graphene"), journal=journal) as own:
        for y in (-1.0, 0.0, 1.0):
            own.acquire(ScanRequest((y, 0.0), (1.5, 1.5), (64, 64), 12.0))
    whole = (out / "journal.log").read_bytes()
    for log, left_out in ((whole, False), (whole[:-5], True)):
        (out / "journal.log").write_bytes(log)
        done = stemscout("export", out, "--json", "--out", tmp_path / str(left_out))
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout)
        assert set(told) == {"experiment.nxs", "frames.hspy", "montage.png", "frames"}
        assert told["frames"] == 3
        said = " ".join(done.stderr.split())
        assert ("bytes at the end of the journal are no whole record" in said) == left_out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((), "give either --env or --microscope"),
        (("--env", "StemScout/Recorded-v0"), "shows no specimen of its own"),
        (("--env", "StemScout/Nothing-v0"), "unknown environment"),
        (
            ("--microscope", "sim://graphene", "--host", "0.0.0.0"),
            "certificates and tokens are needed",
        ),
        (("--microscope", "nion:", "--credentials", "nowhere"), "holds no credentials"),
    ],
)
def test_what_cannot_be_served_is_refused(stemscout, tmp_path, arguments, sentence):
    done = stemscout("serve", *arguments, "--port", "0", "--out", str(tmp_path / "no"))
    assert done.returncode == 2
    assert sentence in done.stderr
