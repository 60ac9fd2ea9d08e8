"""The console from the command line."""

from __future__ import annotations

import signal
import ssl
import subprocess
import sys
import urllib.request

import pytest

pytest.importorskip("panel")

from stemscout.envs.addresses import connect
from stemscout.hardware import ScanRequest, credentials
from stemscout.hardware.guard import guarded
from stemscout.hardware.journal import Journal, read

START = [sys.executable, "-m", "stemscout", "console"]


MOS2 = ("--env", "StemScout/MoS2Defects-v0")
SIM = ("--microscope", "sim://graphene?difficulty=easy", "--dwell-us", "24")


def kinds(folder):
    return [r.kind for r in read(folder)]


@pytest.fixture
def begun(tmp_path):
    """Consoles, each with the address of its page."""
    running = []

    def begin(*given, out=tmp_path / "run"):
        asked = [*START, *given, "--no-browser", "--port", "0"]
        asked += [] if out is None else ["--out", str(out)]
        process = subprocess.Popen(asked, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        running.append(process)
        return process, process.stdout.readline().strip()

    yield begin
    for process in running:
        process.kill()
        process.communicate()


def ended(process, sign=signal.SIGTERM):
    """What it said, after it was asked to end and did."""
    process.send_signal(sign)
    _, said = process.communicate(timeout=120)
    assert process.returncode == (128 + sign if sign == signal.SIGTERM else 130), said
    return said


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ((), "one of --env, --image, --microscope and --journal"),
        ((*MOS2, "--image", "a.png"), "one of --env, --image, --microscope and --journal"),
        ((*MOS2, *SIM), "one of --env, --image, --microscope and --journal"),
        ((*SIM, "--journal", "."), "one of --env, --image, --microscope and --journal"),
        ((*MOS2, "--pixel-nm", "0.1"), "--pixel-nm only goes with --image"),
        (("--image", "a.png", "--difficulty", "hard"), "--difficulty only goes with --env"),
        ((*SIM, "--difficulty", "hard"), "--difficulty does not go with --microscope"),
        ((*SIM, "--pixel-nm", "1"), "--pixel-nm does not go with --microscope"),
        (
            (*MOS2, "--budget-frames", "3", "--dry-run"),
            "--budget-frames, --dry-run only goes with --microscope",
        ),
        ((*MOS2, "--speed", "3"), "--speed only goes with --journal"),
        (
            ("--journal", ".", "--agent", "grid", "--seed", "0"),
            "--agent, --seed does not go with --journal",
        ),
        (("--journal", ".", "--max-charge", "1"), "--max-charge does not go with --journal"),
        ((*MOS2, "--mode", "asleep"), "unknown mode"),
        ((*MOS2, "--agent", "nobody"), "unknown agent"),
        (("--env", "StemScout/Recorded-v0"), "a recording is given by --image"),
        ((*MOS2, "--host", "0.0.0.0"), "certificates and tokens are needed"),
        ((*MOS2, "--allow-origin", "*"), "it must be HOST:PORT"),
        ((*MOS2, "--credentials", "nowhere"), "nowhere holds no credentials"),
    ],
)
def test_what_makes_no_sense_is_refused(refused, stemscout, given, says, tmp_path):
    refused(stemscout("console", *given, "--no-browser", cwd=tmp_path), says)
    assert list(tmp_path.iterdir()) == []


class TestOnAMicroscope:
    def test_it_is_driven_and_its_beam_is_dark_in_the_end(self, begun, eventually, tmp_path):
        given = (*SIM, "--agent", "grid", "--budget-frames", "4", "--start")
        process, address = begun(*given)
        assert address.startswith("http://127.0.0.1:")
        eventually(lambda: "end" in kinds(tmp_path / "run"))
        ended(process)
        records = list(read(tmp_path / "run"))
        assert records[0].data["microscope"] == SIM[1]
        assert [r.kind for r in records].count("frame") == 4
        assert (records[-1].kind, records[-1].data) == ("close", {"beam": "blanked (confirmed)"})
        assert not (tmp_path / "run" / "stop.json").exists()

    @pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT])
    def test_it_is_left_in_the_middle_with_a_report(self, begun, eventually, tmp_path, sign):
        process, _ = begun(*SIM, "--agent", "random", "--budget", "0.9", "--start")
        eventually(lambda: kinds(tmp_path / "run").count("frame") > 3)
        ended(process, sign)
        records = list(read(tmp_path / "run"))
        assert (records[-1].kind, records[-1].data) == ("close", {"beam": "blanked (confirmed)"})
        assert "end" not in [r.kind for r in records]
        assert (tmp_path / "run" / "report.html").exists()

    def test_before_it_begins_the_beam_is_blanked(self, begun, eventually, tmp_path):
        begun(*SIM, "--budget-frames", "4")
        sent = [r.data for r in read(tmp_path / "run") if r.kind == "command"]
        assert [(s["verb"], s["on"]) for s in sent] == [("blank", True)]

    def test_it_is_stopped_from_elsewhere_and_may_be_resumed(
        self, begun, stemscout, eventually, tmp_path
    ):
        folder = tmp_path / "run"
        process, _ = begun(*SIM, "--agent", "random", "--budget-frames", "60", "--start")
        eventually(lambda: kinds(folder).count("frame") > 3)
        done = stemscout("stop", folder, "--reason", "the door was opened")
        assert done.stdout.strip() == "blanked (confirmed)"
        ended(process)
        assert [r.data["reason"] for r in read(folder) if r.kind == "stop"] == [
            "the door was opened"
        ]
        assert stemscout("resume", folder).returncode == 0
        assert kinds(folder).count("frame") == 60
        assert "has come to its end" in stemscout("resume", folder).stderr


class TestAgain:
    def test_a_journal_is_seen_again_and_left_as_it_is(
        self, begun, stemscout, eventually, tmp_path
    ):
        folder = tmp_path / "run"
        given = ("--agent", "random", "--budget-frames", "5", "--out", folder)
        assert stemscout("run", *SIM, *given).returncode == 0
        log = folder / "journal.log"
        log.write_bytes(log.read_bytes()[:-5])
        before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
        process, address = begun("--journal", folder, "--start", "--speed", "50", out=None)
        with urllib.request.urlopen(address) as page:
            assert b"StemScout" in page.read()
        ended(process)
        assert {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()} == before

    def test_what_cannot_be_seen_again_is_refused(self, stemscout, tmp_path):
        nothing = stemscout("console", "--journal", tmp_path)
        assert nothing.returncode == 1
        assert "there is no journal at" in nothing.stderr
        for name, begun, says in (
            ("served", {"serves": "nion:"}, "is the journal of a microscope that was served"),
            ("unknown", {}, "holds no experiment that run or console began"),
            ("empty", {"agent": "grid", "agent_options": {}}, "holds no frame"),
        ):
            with (
                Journal(tmp_path / name) as journal,
                guarded(connect("sim://graphene"), journal=journal),
            ):
                journal.write("begin", begun)
            done = stemscout("console", "--journal", tmp_path / name)
            assert done.returncode == 2
            assert says in " ".join(done.stderr.split())

    def test_a_model_is_not_unpickled(self, stemscout, tmp_path):
        microscope = connect("sim://graphene")
        with Journal(tmp_path) as journal, guarded(microscope, journal=journal) as own:
            named = {"agent": "sb3:evil.zip", "agent_options": {"trust": True}}
            journal.write("begin", {"microscope": "sim://graphene", **named})
            own.acquire(ScanRequest((0.0, 0.0), (1.5, 1.5), (64, 64), 12.0))
        done = stemscout("console", "--journal", tmp_path)
        assert done.returncode == 2
        assert "would be unpickled" in done.stderr


def test_with_credentials_it_asks_for_a_token(begun, tmp_path):
    pytest.importorskip("cryptography")
    credentials.make(tmp_path / "mine", ["127.0.0.1"])
    given = ("--env", "StemScout/GrapheneDefects-v0", "--agent", "grid")
    _, address = begun(*given, "--credentials", tmp_path / "mine" / "server")
    assert address.startswith("https://127.0.0.1:")
    trusted = ssl.create_default_context(cafile=tmp_path / "mine" / "observe" / "authority.crt")
    with urllib.request.urlopen(address, context=trusted) as page:
        assert b"Come in" in page.read()


def test_it_serves_a_run_and_ends_with_a_dark_beam(tmp_path, eventually):
    folder = tmp_path / "run"
    given = ["--env", "StemScout/GrapheneDefects-v0", "--agent", "grid", "--budget", "0.05"]
    asked = [*START, *given, "--no-browser", "--start", "--port", "0", "--out", str(folder)]
    with subprocess.Popen(asked, stdout=subprocess.PIPE, text=True) as running:
        address = running.stdout.readline().strip()
        assert address.startswith("http://127.0.0.1:")
        with urllib.request.urlopen(address) as page:
            assert b"StemScout" in page.read()
        eventually(lambda: (folder / "report.html").exists())
        running.send_signal(signal.SIGTERM)
        assert running.wait(30) == 128 + signal.SIGTERM
    records = list(read(folder))
    assert records[0].data["agent"] == "grid"
    assert [r.kind for r in records].count("frame") == 12
    states = [r.data["blanked"] for r in records if r.kind == "state" and "blanked" in r.data]
    assert states[-1]
