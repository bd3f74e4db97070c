"""Numbers, durations, parameters and trials in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fashion_core import metrics
from fashion_core.errors import first_line
from search.records.events import TrialStatus
from search.records.record import SearchRecord, TrialRecord, find_tied
from search.space.weights import WEIGHT_PREFIX, WEIGHTS
from search.statistics.intervals import LEVEL, Estimate


@dataclass(frozen=True)
class TrialWords:
    """A trial as people read of it.

    Attributes:
        score: best val/accuracy with its standard error; class_score: val/class_accuracy of that epoch.
        origin: see `describe_origin`.
        params: short texts by name, the category weights as one.
        reason: one line on its end.
    """

    number: int
    status: TrialStatus
    epochs: int
    best_epoch: int | None
    score: str
    class_score: str
    origin: str
    params: dict[str, str]
    reason: str
    cutoff: float | None


@dataclass(frozen=True)
class SearchWords:
    """A search as people read of it: what report and summary are made of.

    Attributes:
        counts: `3 finished, 2 stopped`.
        ranked: trials with a score that stands, the best first; others: those without, by number.
        epochs, full_epochs, saved_epochs: trained; if no trial were stopped, and saved by stopping (0 where unknown).
        tied: numbers of the ranked trials that are not told apart from the best, in order; None where the best score's
            error is not known.
    """

    name: str
    categories: tuple[str, ...]
    counts: str
    ranked: tuple[TrialWords, ...]
    others: tuple[TrialWords, ...]
    epochs: int
    full_epochs: int
    saved_epochs: int
    tied: tuple[int, ...] | None

    @property
    def trials(self) -> int:
        """How many there are."""
        return len(self.ranked) + len(self.others)

    @property
    def lost(self) -> list[TrialWords]:
        """Trials that failed or diverged, by number."""
        lost = (TrialStatus.FAILED, TrialStatus.DIVERGED)
        found = [trial for trial in (*self.ranked, *self.others) if trial.status in lost]
        return sorted(found, key=lambda trial: trial.number)


def describe_search(record: SearchRecord) -> SearchWords:
    """The words of a search, once for all who print it."""
    ranked, categories = record.rank(), record.category_names
    standing = {trial.number for trial in ranked}
    others = [trial for number, trial in sorted(record.trials.items()) if number not in standing]
    max_epochs = record.settings.get("max_epochs", 0)
    tied = tuple(trial.number for trial in find_tied(ranked))
    return SearchWords(
        record.name or "the search",
        tuple(categories),
        describe_counts(record.count_statuses()),
        tuple(describe_trial(trial, record, categories) for trial in ranked),
        tuple(describe_trial(trial, record, categories) for trial in others),
        record.count_epochs(),
        len(record.trials) * max_epochs,
        record.count_saved(max_epochs) if max_epochs else 0,
        tied if ranked and ranked[0].standard_error is not None else None,
    )


def describe_trial(trial: TrialRecord, record: SearchRecord, categories: Sequence[str]) -> TrialWords:
    """The words of one trial."""
    row = trial.best_metrics
    return TrialWords(
        trial.number,
        trial.status,
        len(trial.epochs),
        trial.best_epoch,
        format_score(trial.best, row.get(metrics.ACCURACY_SE)),
        format_score(row.get(metrics.CLASS_ACCURACY)),
        describe_origin(trial, record),
        group_params(trial.params, categories),
        first_line(trial.reason),
        trial.cutoff,
    )


def describe_counts(counts: dict[str, int], *, skip: Sequence[str] = ()) -> str:
    """`3 finished, 2 stopped`: the counts that are not 0."""
    return ", ".join(f"{count} {status}" for status, count in counts.items() if count and status not in skip) or "none"


def describe_origin(trial: TrialRecord, record: SearchRecord) -> str:
    """Where the trial's configuration came from: `tried first`, `sampled` or `grid`."""
    if record.settings.get("sampler") == "grid":
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


def name_trials(numbers: Sequence[int]) -> str:
    """`trial 3`, `trials 3 and 7`, `trials 3, 7 and 9`."""
    if len(numbers) == 1:
        return f"trial {numbers[0]}"
    return f"trials {', '.join(map(str, numbers[:-1]))} and {numbers[-1]}"


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
