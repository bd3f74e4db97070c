"""How a search stands, computed from its record: ranking, counts, epochs spent, and what noise allows one to say.

The terminal (`live.py`) and the report (`report.py`) are two views of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fashion_core import metrics
from search.records.ranking import (
    category_names,
    compute_best,
    count_epochs,
    count_statuses,
    find_best_epoch,
    rank_trials,
    standard_error,
)
from search.records.record import SearchRecord, TrialRecord
from search.reporting.words import (
    describe_counts,
    describe_origin,
    format_duration,
    format_score,
    format_value,
    group_params,
)

MAX_RUNNING_SHOWN = 8


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
