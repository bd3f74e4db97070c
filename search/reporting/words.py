"""Numbers, durations, parameters and trials in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from search.records.record import SearchRecord, TrialRecord
from search.space.weights import WEIGHT_PREFIX, WEIGHTS
from search.statistics.intervals import LEVEL, Estimate


def describe_counts(counts: dict[str, int], *, skip: Sequence[str] = ()) -> str:
    """`3 finished, 2 stopped`: the counts that are not 0."""
    return ", ".join(f"{count} {status}" for status, count in counts.items() if count and status not in skip) or "none"


def describe_origin(trial: TrialRecord, record: SearchRecord) -> str:
    """Where the trial's configuration came from: `tried first`, `sampled` or `grid`."""
    if record.search.get("settings", {}).get("sampler") == "grid":
        return "grid"
    return "tried first" if trial.enqueued else "sampled"


def group_params(params: dict[str, Any], categories: Sequence[str]) -> dict[str, str]:
    """Parameters as short texts, the category weights as one: in the order of the categories."""
    weights = {WEIGHT_PREFIX + name for name in categories} & params.keys()
    shown = {name: format_value(value) for name, value in params.items() if name not in weights}
    if weights:
        values = [format_value(params[key], 2) for name in categories if (key := WEIGHT_PREFIX + name) in weights]
        shown[WEIGHTS] = f"all {values[0]}" if len(set(values)) == 1 else " ".join(values)
    return shown


def format_value(value: Any, digits: int = 3) -> str:
    """A parameter's value, short: 3.6e-5, 0.25, none, true."""
    if value is None or isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.{digits}g}".replace("e-0", "e-").replace("e+0", "e+")
    return str(value)


def format_score(value: float | None, error: float | None = None) -> str:
    """A score with four decimals, and its standard error where that is known."""
    if value is None:
        return "-"
    return f"{value:.4f}" if error is None else f"{value:.4f} ± {error:.4f}"


def format_duration(seconds: float) -> str:
    """A length of time in its two largest units: 45 s, 3 min 20 s, 2 h 05 min, 3 d 4 h."""
    seconds = max(round(seconds), 0)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60:02d} s"
    minutes = round(seconds / 60)
    if minutes < 24 * 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    hours = round(seconds / 3600)
    return f"{hours // 24} d {hours % 24} h"


def name_trials(trials: Sequence[TrialRecord]) -> str:
    """`trial 3`, `trials 3 and 7`, `trials 3, 7 and 9`."""
    numbers = [str(trial.number) for trial in trials]
    if len(numbers) == 1:
        return f"trial {numbers[0]}"
    return f"trials {', '.join(numbers[:-1])} and {numbers[-1]}"


def write_interval(estimate: Estimate, level: float = LEVEL, digits: int = 4) -> str:
    """A score with its interval: `0.8437 [0.8301, 0.8573]`."""
    low, high = estimate.compute_interval(level)
    return f"{estimate.value:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def write_points(estimate: Estimate | None, level: float = LEVEL, digits: int = 2) -> str:
    """A difference in points with its interval: `+0.42 [-0.31, +1.15]`."""
    if estimate is None:
        return ""
    low, high = (100 * bound for bound in estimate.compute_interval(level))
    return f"{100 * estimate.value:+.{digits}f} [{low:+.{digits}f}, {high:+.{digits}f}]"
