"""Makes docs/leaderboard.md, and its pictures, from the reference results in the package.

python docs/leaderboard.py
"""

from __future__ import annotations

from pathlib import Path

from stemscout.benchmarks import figures, plates
from stemscout.benchmarks.curves import Runs
from stemscout.benchmarks.leaderboard import Scores, leaderboard
from stemscout.benchmarks.published import published
from stemscout.benchmarks.report import leaderboard_table
from stemscout.benchmarks.results import Results, read_table
from stemscout.benchmarks.tables import markdown

HERE = Path(__file__).parent
PICTURES = HERE / "pictures"
HEADINGS = {
    "standard": "Agents that decide in 40 ms",
    "slow": "Slower ones, beside some of those",
    "matrix": "Perception times navigation",
}
BUSY = (
    " The machine did other work besides, so that times are up to a third longer than those\n"
    "above, and *in time* is that much worse."
)


def section(name: str) -> str:
    """What is told of a suite."""
    results = Results(published(name))
    rows, suite = read_table(results.folder), results.suite
    scores = Scores(rows)
    entries = leaderboard(scores)
    made = results.records()[0]["made"]
    episodes = sum(not r["yardstick"] for r in rows)
    minutes = sum(r["cpu_s"] for r in rows) / 60
    head = (
        f"## {HEADINGS[name]}\n"
        f"`{name}`, version {suite['version']}, hash `{suite['digest']}`: {suite['about']}.\n"
        f"{episodes} episodes in {minutes:.0f} minutes of processor time, by Python "
        f"{made['python']} on\n{made['processor']}.{BUSY if name != 'standard' else ''}\n\n"
    )
    if name != "matrix":
        picture = f"leaderboard-{name}.png"
        figures.positions(entries, scores.agents).savefig(PICTURES / picture, dpi=120)
        shown = f"![Position of each agent between random and oracle](pictures/{picture})\n"
        return head + markdown(leaderboard_table(entries)) + "\n" + shown
    told = plates.Told(scores, entries, Runs(results.records(), scores), suite)
    plate = plates.perception_and_navigation(told)
    assert isinstance(plate, plates.Plate)
    plate.figure.savefig(PICTURES / "matrix.png", dpi=120)
    shown = "![Scores of every perception with every navigator](pictures/matrix.png)"
    return f"{head}{shown}\n\n{plate.caption}\n"


def main() -> None:
    there = [name for name in HEADINGS if published(name).exists()]
    sections = "\n".join(map(section, there))
    again = "\n".join(f"python -m stemscout.benchmarks.published {name}" for name in there)
    checks = "\n".join(f"stemscout bench verify benchmarks/published/{name}" for name in there)
    text = f"""# The reference leaderboard

[benchmark.md](benchmark.md) says what the scores mean. The results stand in `benchmarks/published`:
tables of all episodes, and the records of specimen 0 for those who want to replay some.

{sections}
## Again
```sh
{checks}
# to run a suite, and write its folder; and this page
{again}
python docs/leaderboard.py
```
"""
    (HERE / "leaderboard.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
