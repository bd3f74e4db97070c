"""ASHA as Ray runs it, with what its adapter leaves out: a reason for every stop, and rungs that survive a restart.

Source: Li et al. 2020, "A System for Massively Parallel Hyperparameter Tuning"; Ray's is the stopping variant: a trial
whose score at a rung is below the best 1/reduction_factor of those that came before it is stopped there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ray.tune.schedulers import AsyncHyperBandScheduler, TrialScheduler

from search.jobs.results import EPOCH, SCORE

if TYPE_CHECKING:
    from ray.tune.experiment import Trial

    from search.records.record import SearchRecord


@dataclass(frozen=True)
class Stop:
    """Why ASHA stopped a trial: its score after `rung` epochs was below `cutoff`."""

    rung: int
    score: float
    cutoff: float

    def __str__(self) -> str:
        return f"stopped by ASHA after epoch {self.rung}: {self.score:.4f} < {self.cutoff:.4f}"


class RecordedASHA(AsyncHyperBandScheduler):
    """ASHA with one bracket that keeps the reason of every stop in `stops`, by trial id.

    It decides only in the epoch of a rung. (Ray's own also fills a rung that it missed with a later, better score.)

    Args:
        max_epochs, grace_epochs, reduction_factor: see `search.space.space.Scheduler`.
    """

    def __init__(self, max_epochs: int, grace_epochs: int, reduction_factor: int) -> None:
        super().__init__(
            time_attr=EPOCH,
            metric=SCORE,
            mode="max",
            max_t=max_epochs,
            grace_period=grace_epochs,
            reduction_factor=reduction_factor,
        )
        self.stops: dict[str, Stop] = {}

    @property
    def scores(self) -> dict[int, dict[str, float]]:
        """Score of every trial that reached a rung, by rung and trial id."""
        return dict(self._brackets[0]._rungs)

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        epoch, score = result[EPOCH], result[SCORE]
        if epoch >= self._max_t:
            return TrialScheduler.STOP
        if epoch not in self.scores:
            return TrialScheduler.CONTINUE
        recorded = self.scores[epoch]
        recorded.pop(trial.trial_id, None)  # an epoch run again after a restart is judged again
        cutoff = self._brackets[0].cutoff(recorded)
        recorded[trial.trial_id] = score
        if cutoff is None or score >= cutoff:
            return TrialScheduler.CONTINUE
        self.stops[trial.trial_id] = Stop(epoch, score, float(cutoff))
        self._num_stopped += 1
        return TrialScheduler.STOP

    def on_trial_complete(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> None:
        self._trial_info.pop(trial.trial_id, None)  # Ray's own would record the last score, that of a failed trial too

    def on_trial_remove(self, tune_controller: Any, trial: Trial) -> None:
        self._trial_info.pop(trial.trial_id, None)

    def load_scores(self, record: SearchRecord) -> None:
        """Fill the rungs from a search's ledger, which is more recent than any snapshot of Ray's."""
        for trial in record.trials.values():
            best = float("-inf")
            for row in trial.epochs:
                best = max(best, row["metrics"].get("val/accuracy") or best)
                if row["epoch"] in self.scores and row["epoch"] < self._max_t:
                    self.scores[row["epoch"]][trial.trial_id] = best
