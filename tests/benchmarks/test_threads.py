"""One thread for linear algebra, whatever was loaded, and whenever."""

from __future__ import annotations

import json
import os
import subprocess
import sys

LOOKS = """
import json
from threadpoolctl import threadpool_info
from stemscout.benchmarks.threads import one_thread

def look():
    with one_thread():
        return {i["filepath"]: i["num_threads"] for i in threadpool_info()}

early = look()
import torch
print(json.dumps([early, look(), look()]))
"""


def test_libraries_that_are_loaded_later_are_bounded_too():
    free = {k: v for k, v in os.environ.items() if not k.endswith("_NUM_THREADS")}
    done = subprocess.run(
        [sys.executable, "-c", LOOKS], capture_output=True, text=True, check=True, env=free
    )
    early, late, again = json.loads(done.stdout)
    assert set(early) < set(late), "torch brings its own"
    assert late == again
    assert {*early.values(), *late.values()} == {1}
