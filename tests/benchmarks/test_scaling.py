"""What running costs: the tables, the page, and the formula behind them."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from stemscout.benchmarks import scaling
from stemscout.benchmarks.episode import run_job
from stemscout.benchmarks.scaling import Overhead, Speed, put_into, short_suite, tables

COST = Overhead(
    tasks=10_100,
    workers=2,
    seconds=300.0,
    episode_s=0.05,
    worker_s=0.01,
    worker_cpu_s=0.004,
    client_cpu_s=0.001,
    scheduler_cpu_s=0.0005,
    file_s=0.001,
    task_bytes=300,
    record_bytes=800.0,
    idle=0.02,
    beat_s=0.0004,
)
TIMES = [Speed(1, 300, 60.0, 70.0), Speed(2, 300, 31.0, 45.0)]
PAGE = Path(__file__).parents[2] / "docs" / "scaling.md"


def test_short_episodes_take_one_frame():
    suite = short_suite(200)
    contest = [j for j in suite.jobs() if not j.yardstick]
    assert len(contest) == 200
    assert len(suite.jobs()) == 202
    assert run_job(contest[0])["scores"]["frames"] == 1


def test_ten_thousand_of_them():
    assert sum(not j.yardstick for j in short_suite(10_000).jobs()) == 10_000


def test_how_many_workers_keep_scheduler_and_client_busy():
    """W = (1 - i - 200 b) (T + w) / s, and (T + w) / c with the writing of the file in c."""
    most = COST.most_workers(9.99)
    assert most["scheduler"] == pytest.approx((1 - 0.02 - 200 * 0.0004) * 10.0 / 0.0005)
    assert most["client"] == pytest.approx(10.0 / 0.002)
    assert replace(COST, beat_s=0.1).most_workers(1.0)["scheduler"] == 0.0


def test_the_tables_say_what_was_measured():
    text = tables(TIMES, COST)
    assert "| 2 | 300 | 581 | 1.94 | 400 | 1.56 |" in text
    assert "10,100 episodes of one frame, 2 workers, 300 s" in text
    assert "| the scheduler, processor time | 500 µs |" in text
    assert re.search(r"\| 10 s \| 18,018 workers \| 5,005 workers \| 100 \|", text)


def test_the_page_takes_them():
    page = PAGE.read_text(encoding="utf-8")
    once = put_into(page, "| a table |\n")
    assert "| a table |" in once
    assert put_into(once, "| another |\n").count("| a table |") == 0
    assert once.split(scaling.BEGIN)[0] == page.split(scaling.BEGIN)[0]
    assert once.split(scaling.END)[1] == page.split(scaling.END)[1]
    with pytest.raises(ValueError, match="the page has no"):
        put_into("# Another page", "")


@pytest.mark.parametrize("option", ["--tasks", "--specimens", "--workers"])
def test_numbers_below_1_are_refused(option, capsys):
    with pytest.raises(SystemExit):
        scaling.main([option, "0"])
    assert f"{option} 0; it must be at least 1" in capsys.readouterr().err


@pytest.mark.slow
def test_all_of_it_is_measured(tmp_path, monkeypatch):
    """Through the real runner, on processes; the figures themselves depend on the machine."""
    monkeypatch.setattr(scaling, "IDLE_S", 1.0)
    monkeypatch.setattr(scaling, "CROWD", 4)
    page = tmp_path / "page.md"
    page.write_text(f"{scaling.BEGIN}\n{scaling.END}\n")
    found = scaling.main(
        ["--tasks", "20", "--specimens", "1", "--workers", "1", "--write", str(page)]
    )
    cost = found["overhead"]
    assert (cost["tasks"], cost["workers"]) == (21, 1)
    for name in ("episode_s", "worker_s", "file_s", "task_bytes", "record_bytes", "idle"):
        assert cost[name] > 0, name
    assert "| the scheduler, processor time |" in page.read_text()
