"""Only one run writes into a folder, and a run that was killed keeps nobody out."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys

import pytest

from stemscout.benchmarks import lock
from stemscout.benchmarks.lock import alone_in

HOLDS = """
import sys, time
from pathlib import Path
from stemscout.benchmarks.lock import alone_in
with alone_in(Path(sys.argv[1])) as alone:
    print(alone, flush=True)
    time.sleep(600)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lock of the folder."""
    command = [sys.executable, "-c", HOLDS, str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "True\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_second_one_is_told_who_is_there(holder, tmp_path):
    said = rf"a run is under way in '.*', by process {holder.pid} on .*; wait until it ends, or"
    with pytest.raises(ValueError, match=said), alone_in(tmp_path):
        pass


@pytest.mark.skipif(sys.platform == "win32", reason="there is no such signal")
def test_the_lock_dies_with_its_process(holder, tmp_path):
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    with alone_in(tmp_path) as alone:
        assert alone
        assert (tmp_path / lock.LOCK).read_text().startswith(f"process {os.getpid()} on ")


def test_it_may_be_had_again_after_an_error(tmp_path):
    with pytest.raises(RuntimeError), alone_in(tmp_path):
        raise RuntimeError("the run failed")
    with alone_in(tmp_path) as alone:
        assert alone


def test_where_the_file_system_has_no_locks(tmp_path, monkeypatch):
    def flock(*_):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(lock.fcntl, "flock", flock)
    with alone_in(tmp_path) as alone:
        assert alone is False
