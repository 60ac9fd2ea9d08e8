"""One's own class as an agent: the page that says how, and what goes wrong."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from stemscout.agents.catalogue import make_agent

PAGE = Path(__file__).parents[2] / "docs" / "add-your-agent.md"


def block(language):
    """The first block of code of a language on the page."""
    return re.search(rf"```{language}\n(.*?)```", PAGE.read_text(), re.DOTALL).group(1)


def test_the_page_leads_to_a_row_in_the_table(tmp_path):
    (tmp_path / "outwards.py").write_text(block("python"))
    (tmp_path / "mine.yaml").write_text(block("yaml").replace("specimens: 3", "specimens: 1"))
    command = [sys.executable, "-m", "stemscout", "bench", "run", "mine.yaml", "--out", "mine"]
    done = subprocess.run(
        [*command, "--scheduler", "1", "--json"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    rows = {r["agent"]: r for r in json.loads(done.stdout)["rows"]}
    assert set(rows) == {"random", "raster", "outwards", "oracle (knows the truth)"}
    assert rows["outwards"]["failed"] == "0 of 2"


@pytest.mark.parametrize(
    ("name", "options", "sentence"),
    [
        (
            "nowhere_to_be_found:Agent",
            {},
            "no agent 'nowhere_to_be_found:Agent': ModuleNotFoundError",
        ),
        ("math:Agent", {}, "no agent 'math:Agent': AttributeError: module 'math' has no attribute"),
        ("math:pi", {}, "is no agent; it must be a class that extends stemscout.Agent"),
        (":Agent", {}, "no agent ':Agent'"),
        ("stemscout.agents.workflow:Navigated", {"speed": 3}, "unexpected keyword argument"),
    ],
)
def test_what_is_no_agent(name, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        make_agent(name, **options)
