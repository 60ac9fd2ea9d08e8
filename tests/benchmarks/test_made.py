"""By which code a record was made."""

from __future__ import annotations

import json
import subprocess

import pytest

from stemscout.benchmarks.made import code_of, commit, made


@pytest.fixture
def checkout(tmp_path):
    """A git repository with one commit of one file."""
    root = tmp_path / "checkout"
    root.mkdir()
    (root / "code.py").write_text("x = 1\n")
    git(root, "init", "--quiet")
    git(root, "add", "code.py")
    git(root, "commit", "--quiet", "-m", "first")
    return root.resolve()


def git(root, *arguments):
    who = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    command = ["git", *who, "-C", str(root), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_a_clean_checkout_has_a_commit(checkout):
    assert commit(checkout) == git(checkout, "rev-parse", "HEAD")
    (checkout / "results.txt").write_text("what git does not know")
    assert commit(checkout) is not None


def test_one_that_was_changed_has_none(checkout):
    (checkout / "code.py").write_text("x = 2\n")
    assert commit(checkout) is None


def test_a_package_installed_inside_of_another_repository_has_none(checkout):
    (checkout / "site-packages").mkdir()
    assert commit(checkout / "site-packages") is None


def test_without_git_nobody_knows(checkout, monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert commit(checkout) is None


def test_code_is_the_version_and_the_commit():
    versions = {"stemscout": "1.2.3", "numpy": "2.0"}
    assert code_of({"versions": versions, "commit": None}) == "1.2.3"
    assert code_of({"versions": versions, "commit": "0123456789abcdef"}) == (
        "1.2.3 at commit 0123456789ab"
    )
    upgraded = {"versions": {**versions, "numpy": "2.1"}, "commit": None}
    assert code_of(upgraded) == "1.2.3", "a patch of another package is no other code"


def test_it_is_plain_data():
    assert json.loads(json.dumps(made())) == made()
