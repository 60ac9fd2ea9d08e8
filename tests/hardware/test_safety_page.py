"""The page of promises names tests that there are, each in the file that it names."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
PAGE = TESTS.parent / "docs" / "safety.md"


def promises():
    """The rows of the page's table: the promise, and the tests that hold it as they are written."""
    for line in PAGE.read_text().splitlines():
        if line.startswith("| ") and not line.startswith("| promise"):
            _, promise, tests, _ = (cell.strip() for cell in line.split("|"))
            yield promise, [t for t in re.findall(r"`([^`]+)`", tests) if not t.startswith("-")]


def holds(path):
    """What a file of tests has that may be named: its classes, its tests, ``Class::test``."""
    found = set()
    for top in ast.parse(path.read_text()).body:
        if isinstance(top, ast.ClassDef):
            found |= {top.name} | {
                f"{top.name}::{own.name}" for own in top.body if isinstance(own, ast.FunctionDef)
            }
        elif isinstance(top, ast.FunctionDef):
            found.add(top.name)
    return {name for name in found if name.rpartition("::")[2].startswith(("test_", "Test"))}


def missing(named):
    """Of the tests that a row names, those that there are not; a file is meant till the next."""
    lost, path = [], None
    for each in named:
        file, _, name = each.partition("::") if ".py" in each else ("", "", each)
        if file:
            path = TESTS / ("" if "/" in file else "hardware") / file.removeprefix("tests/")
        if path is None or not path.is_file() or (name and name not in holds(path)):
            lost.append(each)
    return lost


@pytest.mark.parametrize(
    ("promise", "named"), [pytest.param(*row, id=row[0]) for row in promises()]
)
def test_every_test_that_is_named_is_where_it_is_named(promise, named):
    assert named, promise
    assert not missing(named)


def test_there_are_promises():
    assert len(list(promises())) > 25


@pytest.mark.parametrize(
    "named",
    [
        ["test_guard.py::test_a_retry_never_doses_twice"],  # of another file
        ["test_server.py::test_a_retry_never_doses_twice"],  # of a class
        ["test_server.py::TestOwners::test_a_retry_never_doses_twice"],  # of another class
        ["test_server.py", "TestStop"],
        ["TestStop"],
        ["test_nowhere.py"],
        ["tests/agents/test_guard.py"],
    ],
)
def test_a_test_that_is_elsewhere_is_missing(named):
    assert missing(named) == named[-1:]
