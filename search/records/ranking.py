"""How a search's trials stand: their best scores, their order, their counts. Worked out here and nowhere else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from fashion_core import metrics
from search.records.ledger import STATUSES
from search.records.record import SearchRecord, TrialRecord


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
