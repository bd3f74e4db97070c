"""ASHA for Ray Tune, on its public base: a reason for every stop, and rungs that a search's ledger can fill again.

The rule of the rungs: `search.space.rungs`.
"""

from __future__ import annotations

from bisect import insort
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from fashion_core import metrics
from search.space.rungs import compute_cutoff, list_rungs
from search.tune.results import EPOCH, SCORE

if TYPE_CHECKING:
    from ray.tune.experiment import Trial

    from search.records.record import SearchRecord

# Ray's words for what becomes of a trial
STOP: str = TrialScheduler.STOP
CONTINUE: str = TrialScheduler.CONTINUE


@dataclass(frozen=True)
class Stop:
    """Why ASHA stopped a trial: its score after `rung` epochs was below `cutoff`."""

    rung: int
    score: float
    cutoff: float

    def __str__(self) -> str:
        return f"stopped by ASHA after epoch {self.rung}: {self.score:.4f} < {self.cutoff:.4f}"


class Rung:
    """The scores of the trials that reached one rung."""

    def __init__(self) -> None:
        self.scores: dict[str, float] = {}  # by trial id
        self.ascending: list[float] = []

    def add(self, trial_id: str, score: float) -> None:
        """Take in a score; of a trial that is there already, the new one counts."""
        self.drop(trial_id)
        self.scores[trial_id] = score
        insort(self.ascending, score)

    def drop(self, trial_id: str) -> None:
        """Forget the score of a trial, if there is one."""
        if (score := self.scores.pop(trial_id, None)) is not None:
            self.ascending.remove(score)


class ASHA(FIFOScheduler):
    """Asynchronous successive halving in one bracket; it decides only in the epoch of a rung.

    Args:
        max_epochs, grace_epochs, reduction_factor: see `search.space.rungs.Scheduler`.

    Attributes:
        rungs: by their epoch.
        stops: the reason of every stop, by trial id.
    """

    def __init__(self, max_epochs: int, grace_epochs: int, reduction_factor: int) -> None:
        super().__init__()
        self.max_epochs, self.reduction_factor = max_epochs, reduction_factor
        self.rungs = {epoch: Rung() for epoch in list_rungs(max_epochs, grace_epochs, reduction_factor)}
        self.stops: dict[str, Stop] = {}

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """Stop a trial at its last epoch, or at a rung where its score is below the others' cut-off."""
        epoch, score = result[EPOCH], result[SCORE]
        if epoch >= self.max_epochs:
            return STOP
        if epoch not in self.rungs:
            return CONTINUE
        rung = self.rungs[epoch]
        rung.drop(trial.trial_id)  # an epoch run again after a restart is judged again
        cutoff = compute_cutoff(rung.ascending, self.reduction_factor)
        rung.add(trial.trial_id, score)
        if cutoff is None or score >= cutoff:
            return CONTINUE
        self.stops[trial.trial_id] = Stop(epoch, score, cutoff)
        return STOP

    def load_scores(self, record: SearchRecord) -> None:
        """Fill the rungs from a search's ledger, which is more recent than any snapshot of Ray's."""
        for trial in record.trials.values():
            best = float("-inf")
            for row in trial.epochs:
                best = max(best, row.metrics.get(metrics.ACCURACY) or best)
                if row.epoch in self.rungs:
                    self.rungs[row.epoch].add(trial.trial_id, best)
