"""ASHA's decisions, as a search's ledger tells them: the same ledger gives the same decisions.

The rule of the rungs: `search.space.rungs`.
"""

from __future__ import annotations

from bisect import insort
from dataclasses import dataclass
from typing import TYPE_CHECKING

from search.records.events import TrialStatus
from search.space.rungs import compute_cutoff, count_most, count_promotable, find_promotable

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from search.records.record import SearchRecord, TrialRecord

LOST = (TrialStatus.DIVERGED, TrialStatus.FAILED)


@dataclass(frozen=True)
class Stop:
    """Why ASHA stopped a trial: its score after `rung` epochs was below `cutoff`."""

    rung: int
    score: float
    cutoff: float

    def __str__(self) -> str:
        return f"stopped by ASHA after epoch {self.rung}: {self.score:.4f} < {self.cutoff:.4f}"


class Rungs:
    """Asynchronous successive halving in one bracket, in its stopping form.

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
            score = record.trials[row.trial].read_score(row)
            bests[row.trial] = max(score, bests.get(row.trial, score))
            self.take(row.trial, row.epoch, bests[row.trial])


class Promotions(Rungs):
    """Asynchronous successive halving in one bracket, in its promotion form: Li et al. 2020, algorithm 2.

    A trial that diverged or failed is none of the best, whatever it had before; and where all are drawn and none runs,
    or may go on, though none has finished, the best of the highest rung goes on all the same: a search that is short
    for its rungs has a trial that was trained to the end.

    Args:
        epochs: of the rungs.
        max_epochs: of a trial that is promoted from all of them.

    Attributes:
        reached: best score so far of each trial that reached a rung, by its epoch and the trial's number.
    """

    def __init__(self, epochs: Sequence[int], reduction_factor: int, max_epochs: int) -> None:
        super().__init__(epochs, reduction_factor)
        self.factor, self.max_epochs = reduction_factor, max_epochs
        self.reached: dict[int, dict[int, float]] = {epoch: {} for epoch in epochs}

    def take(self, number: int, epoch: int, score: float) -> Stop | None:
        """Take in a trial's best score so far after an epoch. No trial is stopped by it."""
        if epoch in self.reached:
            self.reached[epoch][number] = score
        return None

    def find_next(self, climbed: int) -> int:
        """The epoch that a trial trains to which was promoted from a rung, or has climbed none (0)."""
        return next((epoch for epoch in self.reached if epoch > climbed), self.max_epochs)

    def rank(self, epoch: int, trials: Mapping[int, TrialRecord]) -> list[int]:
        """Numbers of the trials that reached a rung and were not lost, the best first; of equal ones the earlier."""
        scores, ended = self.reached[epoch], self.find_ended(epoch, trials)
        kept = [number for number in scores if trials[number].status not in LOST and number not in ended]
        return sorted(kept, key=lambda number: (-scores[number], number))

    def find_ended(self, epoch: int, trials: Mapping[int, TrialRecord]) -> set[int]:
        """Numbers of the trials that finished at a rung, which was the end before the search was lengthened.

        They can go on no more, so the best of a rung are those of the others: were these counted among the arrived, all
        others could go on, the bad too; were they ranked, none might. At rungs below, which they were promoted from,
        they count as the paper has it: they hold the places that they took.
        """
        return {
            number
            for number in self.reached[epoch]
            if self.is_finished_early(trials[number]) and trials[number].last_epoch == epoch
        }

    def is_finished_early(self, trial: TrialRecord) -> bool:
        """Whether a trial finished after fewer epochs than trials have now."""
        return trial.status is TrialStatus.FINISHED and trial.last_epoch < self.max_epochs

    def choose(self, trials: Mapping[int, TrialRecord], taken: Collection[int], *, is_last: bool) -> int | None:
        """The paused trial that goes on now; None where none does.

        Args:
            taken: numbers of those that have been handed out, paused though they are in the ledger.
            is_last: whether all trials are drawn, and each is over or paused.
        """
        paused = {
            number: trial.climbed
            for number, trial in trials.items()
            if trial.status is TrialStatus.PAUSED and number not in taken
        }
        for epoch in reversed(self.reached):
            waiting = {number for number, rung in paused.items() if rung == epoch}
            if not waiting:
                continue
            arrived = len(self.reached[epoch]) - len(self.find_ended(epoch, trials))
            count = count_promotable(arrived, self.factor)
            if (found := find_promotable(self.rank(epoch, trials), count, waiting)) is not None:
                return found
        has_finished = any(
            trial.status is TrialStatus.FINISHED and not self.is_finished_early(trial) for trial in trials.values()
        )
        if is_last and paused and not has_finished:
            highest = max(paused.values())
            return next(number for number in self.rank(highest, trials) if paused.get(number) == highest)
        return None

    def list_hopeless(self, trials: Mapping[int, TrialRecord], planned: int) -> dict[int, str]:
        """Why a paused trial is not among those that may go on even when all planned trials have reached its rung, in
        words, by number.
        """
        found = {}
        for epoch in self.reached:
            others = planned - len(self.find_ended(epoch, trials))
            most = count_most(others, self.factor)
            for place, number in enumerate(self.rank(epoch, trials)[most:], most + 1):
                trial = trials[number]
                if trial.status is TrialStatus.PAUSED and trial.climbed == epoch:
                    found[number] = f"{self.describe(number, epoch)}: place {place}, and {most} of {others} can go on"
        return dict(sorted(found.items()))

    def describe(self, number: int, epoch: int) -> str:
        """That a trial was not promoted from a rung."""
        return f"not promoted by ASHA after epoch {epoch} with {self.reached[epoch][number]:.4f}"
