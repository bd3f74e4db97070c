"""What every benchmark shares: variants measured in turn in processes of their own, raw numbers, intervals, a report.

A benchmark is a module beside this one that holds a `Row` of the name `ROW`. `bench.py` is the command.

Nothing of ours is imported here: the peers' processes come through this file, and must not pay for our code.
"""

from __future__ import annotations

import csv
import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

OURS = "ours"
COMMIT = "commit "  # begins the name of the variant that is `ours` of another checkout
NO_WORSE = 1.1  # what a measure may be at most, times the same of another checkout
OUR_PACKAGES = {"fashion_core", "search", "spaces"}
ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "RAY_USAGE_STATS_ENABLED": "0",
    "HF_HUB_OFFLINE": "1",
    "RAY_ADDRESS": "local",  # a Ray of its own, even where another one runs
}
LIBRARIES = ("ray", "optuna", "mlflow", "torch", "torchvision", "timm")
SLOWNESS = "BENCH_SLOWNESS"  # the variable that hands it to the variants
UNIT_SECONDS = 6.0  # what the unit takes on the two cores that the quick forms' times were chosen on, at rest
UNIT_OF_WORK = """
import ray.tune, torch
torch.set_num_threads(1)
layers = torch.nn.Sequential(*[torch.nn.Conv2d(32, 32, 3, padding=1) for _ in range(8)])
for _ in range(10):
    layers(torch.randn(8, 32, 64, 64)).sum().backward()
"""
RESAMPLES = 10_000
INTERVAL_PERCENT = (2.5, 97.5)
COLUMNS = (
    "date",
    "cpu",
    "cores",
    "versions",
    "repeat",
    "position",
    "case",
    "variant",
    "load_before",
    "wall_seconds",
    "measure",
    "value",
)


@dataclass(frozen=True)
class Measure:
    """One kind of number a benchmark takes.

    Args:
        label: what it is, with its unit.
        form: how it is written, as in `format(value, form)`.
    """

    label: str
    form: str = ".3f"


@dataclass(frozen=True)
class Goal:
    """What a measure, or the ratio of two variants' measures within one repeat, is to reach.

    Args:
        text: the goal in words, without its number.
        measure: a key of the row's `measures`.
        reach: the number; at least that, or at most that with `at_most`.
        variant: whose measure it is.
        over: the variant that stands below the fraction line; None: no ratio.
        case: of which case; None: each case has to reach it (the worst one is shown).
        aim: a better number one would like to see, told beside the goal.
    """

    text: str
    measure: str
    reach: float
    at_most: bool = False
    variant: str = OURS
    over: str | None = None
    case: str | None = None
    aim: float | None = None


@dataclass(frozen=True)
class Row:
    """One benchmark.

    Args:
        number: in the table of the report.
        name: of its module and its file of raw numbers.
        workload: what is measured, in Markdown.
        variants: what each one is, by name; ours first.
        run: (variant, case, folder, repeat, quick) -> value by measure. Runs in a process and an empty folder of its
            own, which is its working directory. It raises where the work was not done as promised.
        cases: of the workload; every variant runs every one.
        quick_cases, quick_peers: those of the quick form; None for all.
        skip: (variant, case) that does not exist.
        repeats: of the whole.
    """

    number: int
    name: str
    title: str
    workload: str
    variants: dict[str, str]
    measures: dict[str, Measure]
    goals: tuple[Goal, ...]
    run: Callable[[str, str, Path, int, bool], dict[str, float]]
    cases: tuple[str, ...] = ("",)
    quick_cases: tuple[str, ...] | None = None
    quick_peers: tuple[str, ...] | None = None
    skip: frozenset[tuple[str, str]] = field(default_factory=frozenset)
    repeats: int = 5
    timeout_s: float = 3600


class VariantFailed(Exception):
    """A variant's process failed: which and why, in one line; `output` is all that it printed."""

    def __init__(self, told: str, output: str) -> None:
        super().__init__(told)
        self.output = output


def load_row(name: str) -> Row:
    """The benchmark of a module beside this one."""
    row: Row = importlib.import_module(name).ROW
    return row


def name_checkout(folder: Path) -> str:
    """The variant that is `ours` of a checkout."""
    command = ["git", "-C", str(folder), "rev-parse", "--short=7", "HEAD"]
    return COMMIT + subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def compare_commits(row: Row, names: Sequence[str]) -> Row:
    """The row with other checkouts as variants: what ours is to reach at most, it is to reach times theirs, too."""
    of_ours = [goal for goal in row.goals if goal.variant == OURS and goal.over is None and goal.at_most]
    added = [
        replace(goal, text=f"{goal.text}: times that of {name}", reach=NO_WORSE, over=name, aim=None)
        for name in names
        for goal in of_ours
    ]
    variants = {name: "`ours` of that commit, whole: its code, and its benchmark" for name in names}
    return replace(row, variants=row.variants | variants, goals=(*row.goals, *added))


# ------------------------------------------------------------------------------------------------ measuring


def measure_row(row: Row, path: Path, repeats: int, *, quick: bool, before: Path | None = None) -> None:
    """Measure what the file of raw numbers does not hold yet, and append it there as it comes.

    Args:
        before: a checkout of another commit, whose `ours` is measured in turn with all others; None: none.
    """
    commits = {} if before is None else {name_checkout(before): before}
    row = compare_commits(row, list(commits))
    done = {(int(line["repeat"]), line["case"], line["variant"]) for line in read_rows(path)}
    cases = row.cases if not quick or row.quick_cases is None else row.quick_cases
    variants = list(row.variants) if not quick or row.quick_peers is None else [OURS, *row.quick_peers, *commits]
    machine = describe_machine()
    for repeat in range(repeats):
        for case in cases:
            order = order_variants([name for name in variants if (name, case) not in row.skip], repeat)
            for position, variant in enumerate(order):
                if (repeat, case, variant) in done:
                    continue
                load, started = os.getloadavg()[0], time.monotonic()
                values = measure(row, variant, case, repeat, quick, commits.get(variant))
                common = {
                    **machine,
                    "repeat": repeat,
                    "position": position,
                    "case": case,
                    "variant": variant,
                    "load_before": round(load, 2),
                    "wall_seconds": round(time.monotonic() - started, 1),
                }
                append_rows(path, [{**common, "measure": key, "value": repr(value)} for key, value in values.items()])
                print(render_values(row, common, values), flush=True)


def measure(
    row: Row, variant: str, case: str, repeat: int, quick: bool, checkout: Path | None = None
) -> dict[str, float]:
    """Run one variant in a process and a folder of its own.

    Args:
        checkout: whose `ours` it is; None: of this one.

    Raises:
        VariantFailed: it failed, or did not end in time.
    """
    told = " ".join(part for part in (row.name, case, variant) if part)
    timeout_s = row.timeout_s * read_slowness()
    with tempfile.TemporaryDirectory(prefix=f"bench-{row.name}-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        outcome, work = folder / "outcome.json", folder / "work"
        work.mkdir()
        root = Path(__file__).parents[2] if checkout is None else checkout
        here = root.resolve() / "tests" / "benchmarks"
        command = [sys.executable, str(here / "bench.py"), "variant", row.name, variant if checkout is None else OURS]
        command += ["--case", case, "--repeat", str(repeat), "--outcome", str(outcome), *(["--quick"] if quick else [])]
        environment = {**os.environ, **ENVIRONMENT, "PYTHONPATH": f"{here}{os.pathsep}{root.resolve()}"}
        with (folder / "output.txt").open("w+") as output:
            try:
                status = subprocess.run(
                    command,
                    cwd=work,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    timeout=timeout_s,
                ).returncode
                fault = f"ended with {status}"
            except subprocess.TimeoutExpired:
                status, fault = None, f"did not end within {timeout_s:.0f} s"
        if status != 0:
            text = (folder / "output.txt").read_text(errors="replace")
            last = next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "it printed nothing")
            raise VariantFailed(f"{told} {fault}: {last}", text)
        values: dict[str, float] = json.loads(outcome.read_text())
    return {name: value for name, value in values.items() if name in row.measures}  # another commit may have others


def run_variant(name: str, variant: str, case: str, repeat: int, quick: bool, outcome: Path) -> None:
    """Of the variant's own process: run it, and leave its values in the file.

    Raises:
        RuntimeError: a peer imported our code, or a value is of an unknown measure.
    """
    if any(Path.cwd().iterdir()):  # it draws data, and makes databases, where it stands
        raise SystemExit(f"a variant runs in an empty folder, but {Path.cwd()} holds files; start it in a new one")
    row = load_row(name)
    values = row.run(variant, case, Path.cwd(), repeat, quick)
    if variant != OURS and (ours := OUR_PACKAGES & sys.modules.keys()):
        raise RuntimeError(f"a peer must import none of our code, but {variant} imports {', '.join(sorted(ours))}")
    if unknown := values.keys() - row.measures.keys():
        raise RuntimeError(f"values must be of the row's measures, but got {', '.join(sorted(unknown))}")
    outcome.write_text(json.dumps(values))


def measure_slowness() -> float:
    """How many times `UNIT_SECONDS` a unit of work takes here and now; at least 1."""
    started = time.monotonic()
    subprocess.run([sys.executable, "-c", UNIT_OF_WORK], env={**os.environ, **ENVIRONMENT}, check=True)
    return max((time.monotonic() - started) / UNIT_SECONDS, 1.0)


def read_slowness() -> float:
    """What `bench.py` measured for its quick forms; 1 in a whole run."""
    return float(os.environ.get(SLOWNESS, "1"))


def order_variants(variants: Sequence[str], repeat: int) -> list[str]:
    """The order of a repeat: rotated every second time, reversed in between."""
    shift = repeat // 2 % len(variants)
    order = [*variants[shift:], *variants[:shift]]
    return order[::-1] if repeat % 2 else order


def describe_machine() -> dict[str, str]:
    """Date, processor, cores and versions, as columns of the raw rows."""
    from importlib.metadata import version

    cpu = "unknown"
    info = Path("/proc/cpuinfo")
    if info.is_file():
        names = [line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if "model name" in line]
        cpu = names[0] if names else cpu
    versions = {"python": sys.version.split()[0], **{name: version(name) for name in LIBRARIES}}
    return {
        "date": time.strftime("%Y-%m-%d"),
        "cpu": cpu,
        "cores": str(len(os.sched_getaffinity(0))),
        "versions": ", ".join(f"{name} {value}" for name, value in versions.items()),
    }


def read_rows(path: Path) -> list[dict[str, str]]:
    """All raw rows of a file; none where there is no file."""
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def append_rows(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    is_new = not path.is_file()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        if is_new:
            writer.writeheader()
        writer.writerows(rows)


def render_values(row: Row, common: dict[str, Any], values: dict[str, float]) -> str:
    """One measurement as a line."""
    numbers = ", ".join(f"{row.measures[key].label} {value:{row.measures[key].form}}" for key, value in values.items())
    head = " ".join(part for part in (row.name, common["case"], common["variant"]) if part)
    return (
        f"repeat {common['repeat']}: {head}: {numbers} "
        f"({common['wall_seconds']:.0f} s, load average before it {common['load_before']:.2f})"
    )


# ------------------------------------------------------------------------------------------------ what it shows


@dataclass(frozen=True)
class Estimate:
    """A median over repeats with its bootstrap interval; None where there is one repeat."""

    value: float
    low: float | None
    high: float | None


def compute_estimate(values: Sequence[float], seed: int = 0) -> Estimate:
    """Median of one value a repeat, with the 95% bootstrap interval (percentiles) of that median."""
    import numpy as np

    if len(values) < 2:
        return Estimate(median(values), None, None)
    rng = np.random.default_rng(seed)
    medians = np.median(rng.choice(np.asarray(values), (RESAMPLES, len(values))), axis=1)
    low, high = np.percentile(medians, INTERVAL_PERCENT)
    return Estimate(median(values), float(low), float(high))


Values = dict[tuple[str, str, str], dict[int, float]]  # (case, variant, measure) -> value by repeat


def collect_values(rows: Sequence[dict[str, str]]) -> Values:
    """Raw rows by what they are of."""
    values: Values = {}
    for line in rows:
        values.setdefault((line["case"], line["variant"], line["measure"]), {})[int(line["repeat"])] = float(
            line["value"]
        )
    return values


def list_commits(rows: Sequence[dict[str, str]]) -> list[str]:
    """The other checkouts that were measured."""
    return list(dict.fromkeys(line["variant"] for line in rows if line["variant"].startswith(COMMIT)))


def list_cases(values: Values) -> list[str]:
    """The cases that were measured: those of the row, or of its quick form."""
    return list(dict.fromkeys(case for case, _, _ in values))


def estimate_goal(goal: Goal, case: str, values: Values) -> Estimate | None:
    """A goal's number in one case; None where it was not measured."""
    above = values.get((case, goal.variant, goal.measure), {})
    if goal.over is None:
        return compute_estimate(list(above.values())) if above else None
    below = values.get((case, goal.over, goal.measure), {})
    ratios = [above[repeat] / below[repeat] for repeat in sorted(above.keys() & below.keys())]
    return compute_estimate(ratios) if ratios else None


def judge_goal(goal: Goal, row: Row, values: Values) -> tuple[str, Estimate, bool] | None:
    """(case, estimate, reached?) of a goal, in the case where it stands worst; None where it was not measured."""
    cases = list_cases(values) if goal.case is None else [goal.case]
    found = [(case, estimate) for case in cases if (estimate := estimate_goal(goal, case, values)) is not None]
    if not found:
        return None
    case, estimate = (max if goal.at_most else min)(found, key=lambda pair: pair[1].value)
    return case, estimate, estimate.value <= goal.reach if goal.at_most else estimate.value >= goal.reach


def write_number(value: float) -> str:
    """Three digits or so, without an exponent."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def write_estimate(estimate: Estimate) -> str:
    if estimate.low is None or estimate.high is None:
        return f"{write_number(estimate.value)} (one repeat)"
    return f"{write_number(estimate.value)} [{write_number(estimate.low)}, {write_number(estimate.high)}]"


def render_goals(row: Row, values: Values) -> list[str]:
    """The table of a row's goals."""
    lines = ["| goal | reach | measured [95% interval] | |", "| --- | --- | --- | --- |"]
    for goal in row.goals:
        reach = f"{'<=' if goal.at_most else '>='} {write_number(goal.reach)}"
        if goal.aim is not None:
            reach += f" (aim {write_number(goal.aim)})"
        judged = judge_goal(goal, row, values)
        if judged is None:
            lines.append(f"| {goal.text} | {reach} | not measured | |")
            continue
        case, estimate, reached = judged
        where = f", {case}" if goal.case is None and case else ""
        lines.append(
            f"| {goal.text} | {reach} | {write_estimate(estimate)}{where} | {'reached' if reached else '**missed**'} |"
        )
    return lines


def render_row(row: Row, rows: Sequence[dict[str, str]]) -> list[str]:
    """A row's section of the report."""
    values = collect_values(rows)
    lines = [f"## {row.number}. {row.title}", "", row.workload.strip(), ""]
    lines += [f"- **{name}**: {text}" for name, text in row.variants.items()]
    lines += ["", *render_goals(row, values), ""]
    names = list(row.variants)
    lines += [f"| | {' | '.join(names)} |", f"| --- |{' --- |' * len(names)}"]
    for case in list_cases(values):
        for key, kind in row.measures.items():
            found = [values.get((case, name, key)) for name in names]
            if not any(found):
                continue
            cells = []
            for numbers in found:
                if not numbers:
                    cells.append("")
                    continue
                low, middle, high = min(numbers.values()), median(numbers.values()), max(numbers.values())
                spread = f" [{low:{kind.form}}, {high:{kind.form}}]" if len(numbers) > 1 else ""
                cells.append(f"{middle:{kind.form}}{spread}")
            label = f"{case}: {kind.label}" if case else kind.label
            lines.append(f"| {label} | {' | '.join(cells)} |")
    repeats = len({line["repeat"] for line in rows})
    loads = [float(line["load_before"]) for line in rows]
    dates = sorted({line["date"] for line in rows})
    lines += [
        "",
        f"Median [smallest, largest] of {repeats} {'repeat' if repeats == 1 else 'repeats'}; "
        f"{' to '.join(dict.fromkeys((dates[0], dates[-1])))}; {rows[0]['cores']} cores of {rows[0]['cpu']}; "
        f"load average before a run {min(loads):.1f} to {max(loads):.1f}; raw numbers in `{row.name}.csv`.",
        "",
    ]
    return lines


def render_report(rows: Sequence[Row], folder: Path) -> str:
    """The whole report in Markdown, from the raw numbers in a folder."""
    raw_rows = {row.name: read_rows(folder / f"{row.name}.csv") for row in rows}
    rows = [compare_commits(row, list_commits(raw_rows[row.name])) for row in rows]
    measured = [(row, raw) for row in rows if (raw := raw_rows[row.name])]
    lines = ["# Benchmarks", ""]
    lines += [
        "Written by `make bench` from the raw numbers beside it. Every variant ran in a process of its own, in turn,",
        "in an order that changes with every repeat. A ratio is taken within a repeat; its interval is the bootstrap's",
        "for the median over repeats. What is lost is shown as lost. Where the time goes, and why a goal is missed:",
        "[PROFILE.md](PROFILE.md).",
        "",
        "| # | benchmark | goals reached |",
        "| --- | --- | --- |",
    ]
    for row in rows:
        values = collect_values(raw_rows[row.name])
        judged = [judge_goal(goal, row, values) for goal in row.goals]
        reached = sum(item is not None and item[2] for item in judged)
        state = f"{reached} of {len(row.goals)}" if any(judged) else "not measured"
        lines.append(f"| {row.number} | [{row.title}](#{row.number}-{make_anchor(row.title)}) | {state} |")
    lines.append("")
    for row, raw in measured:
        lines += render_row(row, raw)
    versions = sorted({line["versions"] for _, raw in measured for line in raw})
    return "\n".join([*lines, "Versions: " + "; ".join(versions) + ".", ""])


def make_anchor(title: str) -> str:
    """How a heading is linked to."""
    return "".join(c for c in title.lower().replace(" ", "-") if c.isalnum() or c == "-")
