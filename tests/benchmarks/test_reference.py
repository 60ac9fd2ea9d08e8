"""The stored reference scores are those of the tasks as they are."""

from __future__ import annotations

from itertools import product

import pytest

from stemscout.benchmarks.reference import (
    AGENTS,
    COMMAND,
    SAME_PLATFORM,
    SPECIMENS,
    Case,
    Score,
    cases,
    load,
    run,
    run_all,
    table,
    write,
)

CASES = list(cases())
NAMES = [f"{c.environment.split('/')[1]}-{c.difficulty}" for c in CASES]
STORED = load()
QUICK = ("random", "grid")


@pytest.fixture(params=CASES, ids=NAMES)
def case(request):
    return request.param


def assert_as_stored(case, agents, specimens):
    """Run again, and compare."""
    changed = []
    for agent, specimen in product(agents, specimens):
        before, now = STORED.of(case, agent, specimen), run(case, agent, specimen)
        allowed = STORED.tolerance(before)
        tasks = {k: (v, now.fractions[k]) for k, v in before.fractions.items()}
        assert set(now.fractions) == set(tasks)
        if allowed == SAME_PLATFORM:  # elsewhere one feature more or less moves them too
            changed += [
                f"{agent} on test specimen {specimen}: {k} {a:.12g} is now {b:.12g}"
                for k, (a, b) in tasks.items()
                if abs(a - b) > allowed
            ]
        if max(abs(now.seen - before.seen), abs(now.seen_area - before.seen_area)) > allowed:
            changed.append(
                f"{agent} on test specimen {specimen}: seen {before.seen:.12g} is now "
                f"{now.seen:.12g}, its area {before.seen_area:.12g} is now {now.seen_area:.12g}"
            )
    assert not changed, (
        f"{case.environment} at {case.difficulty!r} is another task than it was. If that was not "
        f"meant, undo it; if it was, the version number of the id must rise (-v0 to -v1, in "
        f"envs/registration.py), and `{COMMAND}` runs the new id. (Where it is an agent that was "
        f"changed, and no task, `{COMMAND} --overwrite`.)\n" + "\n".join(changed)
    )


def test_random_and_grid_reach_what_is_stored(case):
    assert_as_stored(case, QUICK, SPECIMENS[:1])


@pytest.mark.slow
def test_every_agent_reaches_what_is_stored(case):
    assert_as_stored(case, AGENTS, SPECIMENS)


def test_every_id_difficulty_agent_and_specimen_is_stored():
    wanted = [(c.environment, c.difficulty, a, s) for c, a, s in product(CASES, AGENTS, SPECIMENS)]
    assert [s.key for s in STORED.scores] == wanted, f"run `{COMMAND}`"


def test_the_scores_of_one_specimen_are_possible(case):
    for agent, specimen in product(AGENTS, SPECIMENS):
        score = STORED.of(case, agent, specimen)
        assert 0 <= score.seen_area <= score.seen <= 1 + SAME_PLATFORM
        assert 0 < score.heaviest <= 1
        assert 0 < score.frames <= 102, "0.4 of 256 frames"


def test_the_oracle_is_an_upper_bound(case):
    for specimen in SPECIMENS:
        best = STORED.of(case, "oracle", specimen)
        for agent in AGENTS:
            other = STORED.of(case, agent, specimen)
            assert other.seen <= best.seen + SAME_PLATFORM
            assert other.seen_area <= best.seen_area + SAME_PLATFORM


def test_a_changed_task_is_told_with_what_to_do(monkeypatch):
    case = CASES[0]
    lower = Score(**{**vars(run(case, "grid", 0)), "seen": 0.0})
    monkeypatch.setattr("stemscout.benchmarks.reference.Reference.of", lambda *_: lower)
    with pytest.raises(AssertionError, match="the version number of the id must rise"):
        assert_as_stored(case, ("grid",), (0,))


def test_elsewhere_one_feature_may_differ(monkeypatch):
    score = STORED.scores[0]
    there = {**STORED.platform, "machine": "abacus"}
    monkeypatch.setattr("stemscout.benchmarks.reference.this_platform", lambda: there)
    assert STORED.tolerance(score) == score.heaviest
    monkeypatch.setattr("stemscout.benchmarks.reference.this_platform", lambda: STORED.platform)
    assert STORED.tolerance(score) == SAME_PLATFORM


def test_only_what_is_missing_is_run(tmp_path):
    known = STORED.scores[1:]
    after = []
    found = run_all(known, on_score=after.append)
    assert len(after) == 1
    assert after[0][0].key == STORED.scores[0].key, "its place in the table"
    assert len(after[0]) == len(STORED.scores), "what comes later is kept"
    assert [s.key for s in found] == [s.key for s in STORED.scores]
    write(found, tmp_path / "scores.json")
    assert load(tmp_path / "scores.json").scores == tuple(found)


def test_rows_of_ids_that_are_gone_are_dropped():
    gone = Score("StemScout/Gone-v0", "easy", "grid", 0, 1, 0.5, 0.5, 0.1, {})
    assert run_all([gone], wanted=[]) == []


def test_the_table_has_a_row_for_each_case():
    lines = table(STORED, CASES).splitlines()
    assert lines[0] == "| id | difficulty | random | raster | grid | lawnmower | sobol | oracle |"
    assert len(lines) == 2 + len(CASES)
    mean = STORED.mean(Case("StemScout/Nanoparticles-v0", "hard"), "oracle")
    row = next(r for r in lines if r.startswith("| Nanoparticles-v0 | hard |"))
    assert row.endswith(f"| {mean.seen:.2f} ({mean.seen_area:.2f}) |")
