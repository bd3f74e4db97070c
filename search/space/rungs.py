"""How trials are stopped: the rule of ASHA's rungs, after which a trial may be stopped, and the score it then needs.

Source: Li et al. 2020, "A System for Massively Parallel Hyperparameter Tuning" (arXiv:1810.05934), in two forms.
Stopping: a trial whose score at a rung is below the best 1/reduction_factor of those that reached the rung before it is
stopped there. Promotion, as the paper has it: every trial pauses at its rung, and goes on once it is among the best
1/reduction_factor of all that have reached it; while none is, a new one begins.
"""

from __future__ import annotations

import math
from bisect import insort
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from fashion_core.config import check_field

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    import numpy as np

SIMULATED_TRIALS, MIN_SIMULATIONS = 20_000, 3
STOPPING, PROMOTION = FORMS = ("stopping", "promotion")  # of ASHA


@dataclass(frozen=True)
class Scheduler:
    """How trials are stopped: ``asha``, or ``none``, where each trains for ``max_epochs``; the rest counts for nothing.

    Args:
        grace_epochs: the first rung; None in the promotion form: the first epoch after the warm-up, see `place`.
        form: of ASHA, one of `FORMS`.
    """

    type: str
    max_epochs: int
    grace_epochs: int | None = None
    reduction_factor: int | None = None
    form: str = STOPPING

    @property
    def promotes(self) -> bool:
        """Whether trials pause at rungs, and go on where they are promoted."""
        return self.reduction_factor is not None and self.form == PROMOTION

    def place(self, warmup_fraction: float, probe_epochs: int) -> Scheduler:
        """The same with its first rung after the first epoch that ends after the warm-up, where none is given.

        Args:
            warmup_fraction, probe_epochs: the largest that trials can have. The warm-up is a share of what comes after
                the probe epochs.
        """
        if not self.promotes or self.grace_epochs is not None:
            return self
        tuned = max(self.max_epochs - probe_epochs, 0)
        first = min(probe_epochs, self.max_epochs) + math.floor(round(warmup_fraction * tuned, 9)) + 1
        if first >= self.max_epochs:
            return Scheduler("none", self.max_epochs)
        return replace(self, grace_epochs=first)

    def rungs(self) -> list[int]:
        """Epochs after which a trial may be stopped, ascending."""
        return list_rungs(self.max_epochs, self.grace_epochs, self.reduction_factor)

    def expect_epochs(self, trials: int, rng: np.random.Generator) -> float:
        """Epochs to expect of so many trials."""
        if self.reduction_factor is None:
            return trials * self.max_epochs
        if self.promotes:
            return expect_promoted(trials, self.max_epochs, self.rungs(), self.reduction_factor, rng)
        return expect_epochs(trials, self.max_epochs, self.rungs(), self.reduction_factor, rng)

    def count_paused(self, trials: int) -> int:
        """How many of so many trials can be paused at once: at each rung no more than can go on from it."""
        if self.reduction_factor is None or not self.promotes:
            return 0
        return min(trials, len(self.rungs()) * count_most(trials, self.reduction_factor))

    def find_faults(self) -> dict[str, str]:
        """What is wrong with the numbers, by name."""
        faults: dict[str, str] = {}
        if messages := check_field("epochs", self.max_epochs)[1]:
            faults["max_epochs"] = messages[0].replace("`epochs`", "`max_epochs`")
        elif self.grace_epochs is not None and not 1 <= self.grace_epochs < self.max_epochs:
            faults["grace_epochs"] = (
                f"`grace_epochs` must be at least 1 and below `max_epochs`, {self.max_epochs}, "
                f"but got {self.grace_epochs}; to stop no trial early give `type: none`"
            )
        if self.reduction_factor is not None and self.reduction_factor < 2:
            faults["reduction_factor"] = f"`reduction_factor` must be at least 2, but got {self.reduction_factor}"
        return faults


def list_rungs(max_epochs: int, grace_epochs: int | None, reduction_factor: int | None) -> list[int]:
    """Epochs of the rungs, ascending: grace x factor^k below `max_epochs`; none where no trial is stopped."""
    if grace_epochs is None or reduction_factor is None:
        return []
    rungs = [grace_epochs]
    while rungs[-1] * reduction_factor < max_epochs:
        rungs.append(rungs[-1] * reduction_factor)
    return rungs


def compute_cutoff(ascending: Sequence[float], reduction_factor: int) -> float | None:
    """The score below which a trial is stopped: the quantile 1 - 1/factor of the others' scores; None without others.

    Interpolated linearly between two scores, to the bit as numpy's `percentile` does it.

    Args:
        ascending: finite scores of the trials that reached the rung before.
    """
    if not ascending:
        return None
    place = (len(ascending) - 1) * ((1 - 1 / reduction_factor) * 100 / 100)  # per cent, as numpy has them
    low = int(place)
    high, share = min(low + 1, len(ascending) - 1), place - low
    step = ascending[high] - ascending[low]
    return ascending[low] + step * share if share < 0.5 else ascending[high] - step * (1 - share)


def expect_epochs(
    trials: int, max_epochs: int, rungs: Sequence[int], reduction_factor: int, rng: np.random.Generator
) -> float:
    """Epochs to expect of a search: trials one after another whose ranks never change, averaged over their orders."""
    simulations, total = max(SIMULATED_TRIALS // trials, MIN_SIMULATIONS), 0
    for _ in range(simulations):
        seen: dict[int, list[float]] = {rung: [] for rung in rungs}  # ascending
        for quality in rng.random(trials).tolist():
            total += max_epochs
            for rung in rungs:
                cutoff = compute_cutoff(seen[rung], reduction_factor)
                insort(seen[rung], quality)
                if cutoff is not None and quality < cutoff:
                    total += rung - max_epochs
                    break
    return total / simulations


def count_promotable(arrived: int, reduction_factor: int) -> int:
    """How many of those that have reached a rung may go on from there: a whole number of the best 1/factor."""
    return arrived // reduction_factor


def count_most(trials: int, reduction_factor: int) -> int:
    """How many of so many trials can go on from a rung, whatever their scores: one at least is trained to the end."""
    return max(count_promotable(trials, reduction_factor), 1)


def find_promotable(ranked: Sequence[int], count: int, paused: Collection[int]) -> int | None:
    """The best trial of a rung that waits there and may go on; None where there is none.

    Args:
        ranked: numbers of the trials that have reached it, the best first. count: how many may go on.
    """
    return next((number for number in ranked[:count] if number in paused), None)


def expect_promoted(
    trials: int, max_epochs: int, rungs: Sequence[int], reduction_factor: int, rng: np.random.Generator
) -> float:
    """Epochs to expect of a search in the promotion form, as `expect_epochs` does of one in the stopping form."""
    simulations, total = max(SIMULATED_TRIALS // trials, MIN_SIMULATIONS), 0
    steps = [second - first for first, second in zip(rungs, [*rungs[1:], max_epochs], strict=True)]
    for _ in range(simulations):
        arrived: list[list[int]] = [[] for _ in rungs]  # ranks, the best first
        paused: list[set[int]] = [set() for _ in rungs]
        finished = 0
        for moved in rng.permutation(trials).tolist():
            total += rungs[0]
            level = 0
            while level < len(rungs):  # what arrives can make one go on, which arrives at the next
                insort(arrived[level], moved)
                paused[level].add(moved)
                count = count_promotable(len(arrived[level]), reduction_factor)
                promoted = find_promotable(arrived[level], count, paused[level])
                if promoted is None:
                    break
                paused[level].remove(promoted)
                total += steps[level]
                level, moved = level + 1, promoted
            finished += level == len(rungs)
        if not finished:  # one is carried to the end: see `search.tune.decisions.Promotions`
            total += max_epochs - max(rung for rung, waiting in zip(rungs, paused, strict=True) if waiting)
    return total / simulations
