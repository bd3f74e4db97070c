"""The report of a replay: what was replayed, how well the surface foretells, and what each method reached."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from harness import describe_machine
from replay_curves import Recordings, compute_taus
from replay_surface import REFERENCE, Surface

RESAMPLES, INTERVAL_PERCENT = 2000, (2.5, 97.5)
Row = Mapping[str, str]
NEVER = "inf"  # full trainings until a regret that was not reached
TITLES = {
    "choose": "Choosing: forms, rungs and samplers, on the first half",
    "table": "The table: ours beside others, on the second half",
    "raw": "Beside it: the second half's curves as they are",
}
NOTES = {
    "choose": "Rungs are at the first rung times the factor's powers. *TPE told of all*: finished trials COMPLETE, "
    "stopped ones PRUNED. *joint*: `multivariate`, with `group`. *TPE from N*: it knows the scores at the "
    "highest rung that has N of them, and draws at random before.",
    "table": "*ours*: `search.tune.study` and `search.tune.decisions` in the promotion form, first rung 1, factor "
    "3. *ours until 0.2*: the stopping form, and TPE told of all, after ten independent draws. *promotion "
    "ASHA*: the textbook's (arXiv:1810.05934), same rungs; its TPE knows the scores at the highest rung "
    "that has 10. *Optuna*: TPESampler and HyperbandPruner. *Ray Tune*: ASHAScheduler and OptunaSearch, "
    "which is told a stopped trial's last score. *one epoch, then the best*: half of the budget for one "
    "epoch each, the other half for whole trainings of the best.",
    "raw": "Each trial is one of the recorded curves, drawn with replacement, whatever its parameters: no method that "
    "learns from parameters is here. The best is the best recorded.",
}
OURS, BEFORE = "ours", "ours until 0.2"
REACH = (
    "What was wanted: the score that *ours until 0.2* ends with, for at most a fifth of the compute; and a lead on all "
    "others after 10, 25 and 50% of a budget. What there is (a quarter is the nearest that was looked at; *ahead*, "
    "*behind*: by the interval of the mean difference, paired by seed; *tied*: it holds 0):"
)
HEAD = """# Replay: which search finds the best for the least

Searches on a simulated clock whose trainings are recorded learning curves ([what was recorded](../curves/README.md)).

```
python tests/benchmarks/replay.py
```

{machine}. Written from `replay.csv`. Syne Tune's rows are there where it can be imported; the project does not need it.

- **Budget**: epochs that workers trained, in full trainings. Time is not: that synchronous methods let workers wait
  costs them nothing here.
- **Regret**: points of accuracy from the best that there is, of the model in hand: the one with the highest score so
  far, at the epoch of that score, without the noise of that score. The best: the best of {reference} configurations
  drawn at random, so a regret can be below 0.
- **Intervals** are the bootstrap's (percentiles, 95%) over {seeds}, of the mean for
  regrets, of the median for full trainings until a regret. **Bold**: not told apart from the best of its column (the
  interval of the mean difference, paired by seed, holds 0).
- No method knows a configuration beforehand. Trial n has the same parameters in all that draw at random, but for
  those of other libraries, which have draws of their own. All follows from the seeds.
"""


def write_report(path: Path, rows: Sequence[Row], recordings: Mapping[str, Recordings], split_seed: int) -> None:
    """Write the whole report."""
    machine = describe_machine()
    counts = sorted({len(group) for group in group_rows(rows).values()})
    text = HEAD.format(
        machine=f"{machine['date']}, {machine['cores']} cores of {machine['cpu']}; {machine['versions']}",
        reference=REFERENCE,
        seeds=f"{counts[-1]} seeds (fewer where a row says so)" if len(counts) > 1 else f"{counts[0]} seeds",
    )
    lines = [text]
    for name, recorded in recordings.items():
        of_data = [row for row in rows if row["data"] == name]
        lines += [f"## {name}", "", *describe_recordings(recorded, split_seed), ""]
        for part, title in TITLES.items():
            of_part = [row for row in of_data if row["part"] == part]
            if of_part:
                lines += [f"### {title}", "", NOTES[part], ""]
            counts = sorted({int(row["workers"]) for row in of_part})
            if part == "table" and of_part:
                lines += [REACH, "", *render_reach(of_part, counts), ""]
            for workers in counts:
                lines += render_tables([row for row in of_part if int(row["workers"]) == workers], workers)
    path.write_text("\n".join(lines).rstrip() + "\n")


def describe_recordings(recorded: Recordings, split_seed: int) -> list[str]:
    """What there is, and how well a surface of one half foretells the other."""
    halves = recorded.split(split_seed)
    surfaces = [Surface(half) for half in halves]
    taus = compute_taus(recorded.scores)
    lines = [
        f"{len(recorded.params)} configurations of `spaces/{recorded.space.name}.yaml`, {recorded.max_epochs} epochs. "
        f"Further trainings at other sizes, which say what a repeat changes: {len(recorded.others)}. Kendall's tau of "
        "the scores after an epoch with those after the last, of the recordings as they are:",
        "",
        *render_table(
            ["epoch", *(str(epoch) for epoch in range(1, len(taus)))], [["tau", *(f"{tau:.2f}" for tau in taus[:-1])]]
        ),
        "",
        "How well the surface of each half foretells the last scores of the other, which it has not seen; *own* is "
        "what it does not foretell of a configuration, which replays draw anew for each trial:",
        "",
    ]
    quality = []
    for word, surface, other in zip(("first: choose", "second: table"), surfaces, halves[::-1], strict=True):
        fit, error, tau = surface.judge(other)
        ends = surface.recordings.scores[:, -1]
        spreads = [f"{100 * of[:, -1].std():.2f}" for of in (surface.own, surface.noise)]
        numbers = [f"{ends.max():.4f}", f"{100 * ends.std():.2f}", f"{fit:.2f}", f"{error:.2f}", f"{tau:.2f}"]
        quality.append([word, str(len(ends)), *numbers, f"{surface.best:.4f}", *spreads])
    head = ["half", "recordings", "best", "SD, points", "R²", "error, points", "tau", "best there is"]
    return [*lines, *render_table([*head, "own, SD", "noise, SD"], quality)]


def group_rows(rows: Sequence[Row]) -> dict[tuple[str, ...], list[Row]]:
    """By data, part, method and workers, in the order of their seeds."""
    found: dict[tuple[str, ...], list[Row]] = {}
    for row in sorted(rows, key=lambda row: int(row["seed"])):
        found.setdefault((row["data"], row["part"], row["method"], row["workers"]), []).append(row)
    return found


def render_tables(rows: Sequence[Row], workers: int) -> list[str]:
    """Of one number of workers: a table a budget, each with the methods in order of their regret at a quarter of it."""
    columns = [name for name in rows[0] if " of " in name]
    until = [name for name in rows[0] if name.startswith("until")]
    budgets = list(dict.fromkeys(name.split(" of ")[1] for name in columns))
    lines = []
    for budget in budgets:
        shown = [name for name in columns if name.endswith(f" of {budget}")]
        last = until if budget == budgets[-1] else []
        by_method = {key[2]: group for key, group in group_rows(rows).items() if group[0][shown[0]]}
        order = sorted(by_method, key=lambda method: read(by_method[method], shown[1]).mean())
        table = []
        for method in order:
            group = by_method[method]
            full = max(map(len, by_method.values()))
            name = method if len(group) == full else f"{method} ({len(group)} seeds)"
            cells = [render_mean(by_method, method, column) for column in shown]
            cells += [render_median(read(group, column)) for column in last]
            table.append([name, *cells])
        title = f"{workers} worker{'s' * (workers > 1)}: regret after so many full trainings of {budget}"
        title += ", and full trainings until a regret" * bool(last)
        heads = ["", *(name.split(" of ")[0] for name in shown), *(name.replace("until", "≤") for name in last)]
        lines += [f"**{title}**", "", *render_table(heads, table), ""]
    return lines


def render_reach(rows: Sequence[Row], counts: Sequence[int]) -> list[str]:
    """What was wanted of ours, beside what it has: a line for each number of workers and each budget."""
    columns = [name for name in rows[0] if " of " in name]
    lines = []
    for workers in counts:
        by_method = {key[2]: group for key, group in group_rows(rows).items() if int(key[3]) == workers}
        if not {OURS, BEFORE} <= by_method.keys():
            continue
        for budget in dict.fromkeys(name.split(" of ")[1] for name in columns):
            shown = [name for name in columns if name.endswith(f" of {budget}")]
            end, quarter = (read(by_method[name], at).mean() for name, at in ((BEFORE, shown[-1]), (OURS, shown[1])))
            words = "as good" if quarter <= end else "not"
            before = f"{end:.2f}; ours after {shown[1].split(' of ')[0]}: {quarter:.2f}, {words}"
            lines.append([f"{workers}, {budget}", before, *(describe_lead(by_method, name) for name in shown[:-1])])
    return render_table(["workers, budget", "until 0.2, at the end", "10%", "25%", "50%"], lines)


def describe_lead(by_method: Mapping[str, Sequence[Row]], column: str) -> str:
    """How many others ours is ahead of, and tied with, and which it is behind."""
    ours = {row["seed"]: float(row[column]) for row in by_method[OURS]}
    ahead, tied, behind = 0, 0, []
    for method, group in by_method.items():
        if method not in (OURS, BEFORE):
            gaps = [float(row[column]) - ours[row["seed"]] for row in group if row[column] and row["seed"] in ours]
            low, high = resample(np.array(gaps), np.mean)
            ahead, tied = ahead + (low > 0), tied + (low <= 0 <= high)
            behind += [method] if high < 0 else []
    words = [f"ahead of {ahead}", f"tied with {tied}" if tied else "", f"behind {', '.join(behind)}" if behind else ""]
    return ", ".join(filter(None, words))


def read(rows: Sequence[Row], column: str) -> np.ndarray:
    """[seeds] values."""
    return np.array([float(row[column]) for row in rows])


def resample(values: np.ndarray, compute: Callable[..., np.ndarray]) -> tuple[float, float]:
    """The bootstrap's interval of a statistic over seeds."""
    drawn = np.random.default_rng(0).choice(values, (RESAMPLES, len(values)))
    low, high = np.percentile(compute(drawn, axis=1), INTERVAL_PERCENT, method="nearest")
    return float(low), float(high)


def render_mean(by_method: Mapping[str, Sequence[Row]], method: str, column: str) -> str:
    """A mean regret with its interval, bold where it is not told apart from the least of the column."""
    least = min(by_method, key=lambda other: read(by_method[other], column).mean())
    values = read(by_method[method], column)
    low, high = resample(values, np.mean)
    ours, theirs = ({row["seed"]: float(row[column]) for row in by_method[each]} for each in (method, least))
    gap, _ = resample(np.array([ours[seed] - theirs[seed] for seed in ours if seed in theirs]), np.mean)
    mark = "**" if gap <= 0 else ""
    return f"{mark}{values.mean():.2f}{mark} [{low:.2f}, {high:.2f}]"


def render_median(values: np.ndarray) -> str:
    """Full trainings, the median with its interval."""
    low, high = resample(values, compute_median)
    return f"{show(float(compute_median(values, axis=0)))} [{show(low)}, {show(high)}]"


def compute_median(values: np.ndarray, axis: int) -> np.ndarray:
    """The lower of the two in the middle: between a number and never there is no middle."""
    found: np.ndarray = np.take(np.sort(values, axis=axis), (values.shape[axis] - 1) // 2, axis=axis)
    return found


def show(value: float) -> str:
    """Full trainings."""
    return "> 60" if np.isinf(value) else f"{value:.1f}"


def render_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Markdown."""
    return ["| " + " | ".join(line) + " |" for line in (head, ["---"] * len(head), *rows)]
