"""ASHA's decisions, as a search's ledger tells them: the same ledger gives the same decisions.

The rule of the rungs: `search.space.rungs`.
"""

from __future__ import annotations

from bisect import insort
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fashion_core import metrics
from search.space.rungs import compute_cutoff

if TYPE_CHECKING:
    from collections.abc import Sequence

    from search.records.record import SearchRecord


@dataclass(frozen=True)
class Stop:
    """Why ASHA stopped a trial: its score after `rung` epochs was below `cutoff`."""

    rung: int
    score: float
    cutoff: float

    def __str__(self) -> str:
        return f"stopped by ASHA after epoch {self.rung}: {self.score:.4f} < {self.cutoff:.4f}"


class Rungs:
    """Asynchronous successive halving in one bracket.

    Args:
        epochs: of the rungs; none where no trial is stopped.
        reduction_factor: see `search.space.rungs.Scheduler`.

    Attributes:
        scores: of the trials that reached a rung, ascending, by its epoch.
        stops: of every trial that was stopped, by number.
    """

    def __init__(self, epochs: Sequence[int], reduction_factor: int | None) -> None:
        self.scores: dict[int, list[float]] = {epoch: [] for epoch in epochs}
        self.reduction_factor = reduction_factor
        self.stops: dict[int, Stop] = {}

    def take(self, number: int, epoch: int, score: float) -> Stop | None:
        """Take in a trial's best score so far after an epoch, and decide; each epoch of a trial is told once.

        Returns:
            Why the trial is stopped; None where it is not.
        """
        if self.reduction_factor is None or epoch not in self.scores:
            return None
        cutoff = compute_cutoff(self.scores[epoch], self.reduction_factor)
        insort(self.scores[epoch], score)
        if cutoff is None or score >= cutoff:
            return None
        stop = self.stops[number] = Stop(epoch, score, cutoff)
        return stop

    def take_all(self, record: SearchRecord) -> None:
        """Take in all epochs of a ledger, in order."""
        rows = sorted((row for trial in record.trials.values() for row in trial.epochs), key=lambda row: row.seq)
        bests: dict[int, float] = {}
        for row in rows:
            score = row.metrics.get(metrics.ACCURACY) or 0.0
            bests[row.trial] = max(score, bests.get(row.trial, score))
            self.take(row.trial, row.epoch, bests[row.trial])
