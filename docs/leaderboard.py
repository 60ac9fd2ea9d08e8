"""Makes docs/leaderboard.md, and its pictures, from the reference results in the package.

python docs/leaderboard.py
"""

from __future__ import annotations

from pathlib import Path

from stemscout.benchmarks import figures
from stemscout.benchmarks.leaderboard import Scores, leaderboard
from stemscout.benchmarks.published import published
from stemscout.benchmarks.report import leaderboard_table
from stemscout.benchmarks.results import Results, read_table
from stemscout.benchmarks.tables import markdown

HERE = Path(__file__).parent


def main() -> None:
    results = Results(published())
    rows = read_table(results.folder)
    scores = Scores(rows)
    entries = leaderboard(scores)
    suite = results.suite
    made = results.records()[0]["made"]
    picture = "leaderboard-positions.png"
    figures.positions(entries, scores.agents).savefig(HERE / "pictures" / picture, dpi=120)
    episodes = sum(not r["yardstick"] for r in rows)
    minutes = sum(r["cpu_s"] for r in rows) / 60
    name, about = suite["name"], suite["about"]
    text = f"""# The reference leaderboard

`{name}`, version {suite["version"]}, hash `{suite["digest"]}`: {about}.
{episodes} episodes in {minutes:.0f} minutes of processor time, by Python {made["python"]} on
{made["processor"]}. [benchmark.md](benchmark.md) says what the scores mean.

{markdown(leaderboard_table(entries))}
![Position of each agent between random and oracle](pictures/{picture})

The results stand in `benchmarks/published/{name}`: the table of all episodes, and the records of
specimen 0 for those who want to replay some:

```sh
stemscout bench verify benchmarks/published/{name}
python -m stemscout.benchmarks.published   # runs the suite, and writes that folder
python docs/leaderboard.py                 # this page
```
"""
    (HERE / "leaderboard.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
