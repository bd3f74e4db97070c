"""How trials are stopped: the rule of ASHA's rungs, after which a trial may be stopped, and the score it then needs.

Source: Li et al. 2020, "A System for Massively Parallel Hyperparameter Tuning", in its stopping form: a trial whose
score at a rung is below the best 1/reduction_factor of those that reached the rung before it is stopped there.
"""

from __future__ import annotations

from bisect import insort
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fashion_core.config import check_field

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

SIMULATED_TRIALS, MIN_SIMULATIONS = 20_000, 3


@dataclass(frozen=True)
class Scheduler:
    """How trials are stopped: ``asha``, or ``none``, where each trains for ``max_epochs``; the rest is None."""

    type: str
    max_epochs: int
    grace_epochs: int | None = None
    reduction_factor: int | None = None

    def rungs(self) -> list[int]:
        """Epochs after which a trial may be stopped, ascending."""
        return list_rungs(self.max_epochs, self.grace_epochs, self.reduction_factor)

    def expect_epochs(self, trials: int, rng: np.random.Generator) -> float:
        """Epochs to expect of so many trials."""
        if self.reduction_factor is None:
            return trials * self.max_epochs
        return expect_epochs(trials, self.max_epochs, self.rungs(), self.reduction_factor, rng)

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
