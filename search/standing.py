"""How a search stands, computed from its record: ranking, counts, epochs spent, and what noise allows one to say.

The terminal (`live.py`) and the report (`report.py`) are two views of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fashion_core import metrics
from search.ledger import STATUSES, SearchRecord, TrialRecord

WEIGHT_PREFIX = "weight_"  # as `search.space` names the category weights
WEIGHTS = "category_weights"
MAX_RUNNING_SHOWN = 8


def compute_best(trial: TrialRecord) -> float | None:
    """Best val/accuracy of a trial, running ones included; None before the first epoch."""
    if trial.status != "running":
        return trial.best
    return max((row["metrics"][metrics.ACCURACY] or 0.0 for row in trial.epochs), default=None)


def best_metrics(trial: TrialRecord) -> dict[str, float | None]:
    """Metrics of the epoch that gave the trial its best score; empty where no epoch did, as in a diverged trial."""
    best = compute_best(trial)
    rows = [row["metrics"] for row in trial.epochs if row["metrics"].get(metrics.ACCURACY) == best]
    return rows[0] if rows and best is not None else {}


def find_best_epoch(trial: TrialRecord) -> int | None:
    """The first epoch that had the trial's best score."""
    best = compute_best(trial)
    return next((row["epoch"] for row in trial.epochs if row["metrics"].get(metrics.ACCURACY) == best), None)


def standard_error(trial: TrialRecord) -> float | None:
    """Standard error of the trial's best score over the images it was scored on."""
    return best_metrics(trial).get(metrics.ACCURACY_SE)


def rank_trials(record: SearchRecord) -> list[TrialRecord]:
    """Trials with a score that stands, the best first; of equal ones the earlier.

    Left out: diverged trials, and failed ones whose model is gone with their process.
    """

    def stands(trial: TrialRecord) -> bool:
        lost = trial.status == "failed" and trial.checkpoint is None
        return compute_best(trial) is not None and trial.status != "diverged" and not lost

    return sorted(
        filter(stands, record.trials.values()), key=lambda trial: (-(compute_best(trial) or 0.0), trial.number)
    )


def find_indistinguishable(ranked: Sequence[TrialRecord]) -> list[TrialRecord]:
    """Of ranked trials, those less than one standard error below the first; empty where its error is not known.

    All trials are scored on the same images, so their scores rise and fall together by an amount that is not recorded.
    The error of a difference is therefore not known: it lies between none and 1.4 times that of one score.
    """
    if not ranked or (error := standard_error(ranked[0])) is None:
        return []
    best = compute_best(ranked[0]) or 0.0
    return [trial for trial in ranked[1:] if best - (compute_best(trial) or 0.0) < error]


def count_statuses(record: SearchRecord) -> dict[str, int]:
    """Number of trials by status, those of `STATUSES` first and always there, then `running`."""
    counts = Counter(trial.status for trial in record.trials.values())
    return {status: counts[status] for status in (*STATUSES, "running")}


def count_epochs(record: SearchRecord) -> int:
    """Epochs that count: one that was run twice, counts once."""
    return sum(len(trial.epochs) for trial in record.trials.values())


def count_saved(record: SearchRecord, max_epochs: int) -> int:
    """Epochs that stopping the weak trials saved."""
    return sum(max_epochs - len(trial.epochs) for trial in record.trials.values() if trial.status == "stopped")


def describe_counts(counts: dict[str, int], *, skip: Sequence[str] = ()) -> str:
    """`3 finished, 2 stopped`: the counts that are not 0."""
    return ", ".join(f"{count} {status}" for status, count in counts.items() if count and status not in skip) or "none"


def describe_origin(trial: TrialRecord, record: SearchRecord) -> str:
    """Where the trial's configuration came from: `tried first`, `sampled` or `grid`."""
    if record.search.get("settings", {}).get("sampler") == "grid":
        return "grid"
    return "tried first" if trial.enqueued else "sampled"


def category_names(record: SearchRecord) -> list[str]:
    """Names of the categories: the data's, or where the ledger lacks them, those that epochs were scored on."""
    known = record.search.get("data", {}).get("categories")
    if known:
        return list(known)
    prefix = metrics.ACCURACY + "/"
    rows = (row for trial in record.trials.values() for row in trial.epochs)
    return list(
        dict.fromkeys(key.removeprefix(prefix) for row in rows for key in row["metrics"] if key.startswith(prefix))
    )


def list_params(record: SearchRecord) -> list[str]:
    """Flat names of all parameters, in the order in which trials have them."""
    return list(dict.fromkeys(name for _, trial in sorted(record.trials.items()) for name in trial.params))


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


def first_line(text: str | None) -> str:
    return text.strip().splitlines()[0] if text and text.strip() else ""


def name_trials(trials: Sequence[TrialRecord]) -> str:
    """`trial 3`, `trials 3 and 7`, `trials 3, 7 and 9`."""
    numbers = [str(trial.number) for trial in trials]
    if len(numbers) == 1:
        return f"trial {numbers[0]}"
    return f"trials {', '.join(numbers[:-1])} and {numbers[-1]}"


@dataclass(frozen=True)
class Standing:
    """The search at one moment, in words: what a thread can draw while the record changes.

    Attributes:
        lines: (topic, text) on the whole search. running: the same on each running trial.
        epochs_here, ended_here: epochs and trials that ended since `started`.
        epochs_left: expected.
    """

    lines: tuple[tuple[str, str], ...] = ()
    running: tuple[tuple[str, str], ...] = ()
    epochs_here: int = 0
    ended_here: int = 0
    epochs_left: float = 0.0

    def describe_pace(self, elapsed: float) -> str:
        """Trials per hour, and seconds from one epoch to the next over all trials."""
        if not self.epochs_here:
            return "known after the first epoch"
        rate = 3600 * self.ended_here / elapsed
        trials = f"{rate:,.{0 if rate >= 10 else 1}f} trials/h, " if self.ended_here else ""
        return f"{trials}an epoch every {format_value(elapsed / self.epochs_here)} s"

    def describe_left(self, elapsed: float) -> str:
        """Time left, at the pace so far and with as many epochs a trial as those had that ended."""
        if not self.epochs_here:
            return "known after the first epoch"
        return f"about {format_duration(self.epochs_left * elapsed / self.epochs_here)}"


def take_standing(record: SearchRecord, total_trials: int, max_epochs: int, started: float) -> Standing:
    """How the search stands now. started: unix seconds since when the pace is counted."""
    trials = list(record.trials.values())
    running = [trial for trial in trials if trial.status == "running"]
    epochs, full = count_epochs(record), total_trials * max_epochs
    done = len(trials) - len(running)
    counts = ": " + describe_counts(count_statuses(record), skip=["running"]) if done else ""
    ranked = rank_trials(record)
    lines = [
        ("trials", f"{done} of {total_trials} done{counts}; {len(running)} running"),
        ("epochs", f"{epochs}, {epochs / full:.0%} of full training ({full})"),
        ("best", "known after the first epoch"),
    ]
    if ranked:
        best = ranked[0]
        where = f"trial {best.number}, epoch {find_best_epoch(best)}, {describe_origin(best, record)}"
        params = group_params(best.params, category_names(record))
        lines[-1] = ("best", f"{format_score(compute_best(best), standard_error(best))}  {where}")
        lines.append(("", ", ".join(f"{name} {text}" for name, text in params.items())))
    shown = [(f"trial {trial.number}", describe_running(trial, max_epochs)) for trial in running[:MAX_RUNNING_SHOWN]]
    if len(running) > MAX_RUNNING_SHOWN:
        shown.append(("", f"and {len(running) - MAX_RUNNING_SHOWN} more"))
    return Standing(
        lines=tuple(lines),
        running=tuple(shown),
        epochs_here=sum(row["time"] >= started for trial in trials for row in trial.epochs),
        ended_here=sum(trial.ended is not None and trial.ended >= started for trial in trials),
        epochs_left=expect_epochs(trials, total_trials, max_epochs),
    )


def describe_running(trial: TrialRecord, max_epochs: int) -> str:
    """Epoch and accuracy of a running trial."""
    if not trial.epochs:
        return f"in epoch 1/{max_epochs}"
    row = trial.epochs[-1]
    return f"epoch {row['epoch']}/{max_epochs} done, {format_score(row['metrics'].get(metrics.ACCURACY))}"


def expect_epochs(trials: Sequence[TrialRecord], total_trials: int, max_epochs: int) -> float:
    """Epochs still to come, if the other trials train for as long as those that ended did on average."""
    ended = [len(trial.epochs) for trial in trials if trial.status != "running"]
    usual = sum(ended) / len(ended) if any(ended) else max_epochs
    left = max(total_trials - len(trials), 0) * usual
    for trial in trials:
        if trial.status == "running":  # one that outlasted the usual goes on to the end
            left += max(usual - len(trial.epochs), 0) or max_epochs - len(trial.epochs)
    return left
