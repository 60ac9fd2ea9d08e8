"""A writer that is killed, at any moment and in the middle of a record; and a disk that is full."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from stemscout.hardware.journal import HEAD, Journal, read, torn


def python(program, *arguments, **options):
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program), *map(str, arguments)],
        stdout=subprocess.PIPE, text=True, **options,
    )  # fmt: skip


WRITER = """
    import sys
    import numpy as np
    from stemscout.hardware.journal import Journal
    with Journal(sys.argv[1]) as journal:
        print("cut", journal.cut, flush=True)
        while True:
            k = journal.count
            image = np.random.default_rng(k).random((16, 16), np.float32)
            journal.write("frame", {"k": k}, {"haadf": image})
            print(k, flush=True)
"""


def killed(folder, rng, times):
    """Kill -9 a writer so many times, and check every byte each time."""
    acknowledged, torn = -1, 0
    for _ in range(times):
        writer = python(WRITER, folder)
        torn += int(writer.stdout.readline().split()[1]) > 0
        for _ in range(rng.randrange(12)):
            acknowledged = int(writer.stdout.readline())
        if rng.random() < 0.5:  # somewhere within the next record
            signal.sigtimedwait([], rng.random() * 2e-3)
        writer.send_signal(signal.SIGKILL)
        rest, _ = writer.communicate()
        acknowledged = max([acknowledged, *map(int, rest.split())])
        records = list(read(folder))
        assert len(records) >= acknowledged + 1
        for k, record in enumerate(records):
            assert record.data == {"k": k}
            expected = np.random.default_rng(k).random((16, 16), np.float32)
            assert np.array_equal(record.arrays["haadf"], expected)
    return acknowledged + 1, torn


def test_kill_9_at_any_moment_loses_nothing_acknowledged(tmp_path):
    frames, _ = killed(tmp_path, random.Random(0), 10)
    assert frames > 10


@pytest.mark.slow
def test_kill_9_a_hundred_times_loses_nothing_acknowledged(tmp_path):
    frames, torn = killed(tmp_path, random.Random(1), 100)
    print(f"100 kills, {frames} acknowledged frames, {torn} torn tails cut")
    assert frames > 100


# Its last record is written in two parts, and it is killed between them.
TORN = """
    import os, signal, sys
    import numpy as np
    from stemscout.hardware.journal import Journal
    folder, size = sys.argv[1], int(sys.argv[2])
    image = np.arange(256, dtype=np.float32).reshape(16, 16)
    journal = Journal(folder)
    print(journal.cut, journal.write("frame", {"k": journal.count}, {"haadf": image}), flush=True)
    write = os.write

    def killed(handle, record):
        write(handle, record[:size])
        os.kill(os.getpid(), signal.SIGKILL)

    os.write = killed
    journal.write("frame", {"k": journal.count}, {"haadf": image})
"""


def test_a_tail_that_a_kill_tore_is_told_of_and_cut(tmp_path):
    """Within its head, at the end of that, within its message, and near its end."""
    cut = 0
    for k, size in enumerate((1, HEAD.size - 1, HEAD.size, HEAD.size + 1, 700, 1100)):
        writer = python(TORN, tmp_path, size)
        told, _ = writer.communicate(timeout=60)
        assert writer.returncode == -signal.SIGKILL
        assert told.split() == [str(cut), str(k)]
        assert torn(tmp_path) == size
        assert [r.data["k"] for r in read(tmp_path)] == list(range(k + 1))
        cut = size
    with Journal(tmp_path) as journal:
        assert journal.cut == cut
        assert journal.write("end") == k + 1
    assert torn(tmp_path) == 0
    for record in list(read(tmp_path))[:-1]:
        assert np.array_equal(record.arrays["haadf"].ravel(), np.arange(256))


FULL = """
    import json, resource, signal, sys
    from stemscout.hardware.journal import Journal, JournalError
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    journal = Journal(sys.argv[1])
    journal.write("begin")
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
    told = []
    try:
        while True:
            told.append(journal.write("note", {"text": "x" * 300}))
    except JournalError as error:
        print(json.dumps([told, str(error)]))
    try:
        journal.write("small")
    except JournalError as error:
        print(json.dumps(str(error)))
"""


def test_a_full_disk_leaves_nothing_half_written(tmp_path):
    writer = python(FULL, tmp_path)
    out, _ = writer.communicate(timeout=60)
    (told, said), again = map(json.loads, out.splitlines())
    assert "nothing more is sent; make room" in said
    assert again == said
    assert [r.number for r in read(tmp_path)] == [0, *told]
    with Journal(tmp_path) as journal:
        assert journal.cut == 0
