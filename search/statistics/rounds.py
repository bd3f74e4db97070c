"""Which candidates are trained on, after a round of re-runs: all but those that are surely worse than the best so far.

A candidate leaves where a one-sided paired test, over images and seeds, says that the leader is better. The error is
shared out over all tests that there may be (Bonferroni), so the best of C candidates is dropped with a probability of
at most `error`, whatever number of rounds. Where images judge the choice, too, no image may score a choice that it took
part in: a candidate therefore leaves only where it would on all images, and without any fold of them, so that the
choice made without a fold, which scores that fold, has never had it either. What that leaves of a bias is measured by
`tests/helpers/rounds_simulation.py`.

S seeds, N images, C candidates.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from search.statistics.intervals import compare, estimate_seed_noise

if TYPE_CHECKING:
    from collections.abc import Sequence

LEAST_SEEDS = 2  # of each before any leaves: fewer do not tell how seeds vary


def share_error(error: float, candidates: int, seeds: int) -> float:
    """The largest p-value that drops a candidate in one test.

    Args:
        error: probability that the best is dropped, at most.
        candidates: C, before any left.
        seeds: that a candidate is trained with if it stays: a round each.

    Raises:
        ValueError: error is no probability.
    """
    if not 0 < error < 1:
        raise ValueError(f"the error must be between 0 and 1, but got {error}; 0.05 is usual")
    return error / max((candidates - 1) * count_looks(seeds), 1)


def count_looks(seeds: int) -> int:
    """After how many rounds candidates may leave: not before all have `LEAST_SEEDS`, nor after the last one."""
    return max(seeds - LEAST_SEEDS, 0)


def find_sure_losers(scores: Sequence[np.ndarray], folds: np.ndarray, p_value: float) -> list[int]:
    """Positions of the candidates that are surely worse than the best so far.

    Args:
        scores: [S, N] of each candidate on the same images; S may differ.
        folds: [N], see `search.statistics.crossfit`.
        p_value: the largest that drops one, see `share_error`.
    """
    subsets = [np.ones(len(folds), bool), *(folds != fold for fold in np.unique(folds))]
    losers = set(range(len(scores)))
    for subset in subsets:
        seen = [each[:, subset] for each in scores]
        noise = estimate_seed_noise(seen)
        if noise is None:
            return []
        best = seen[int(np.argmax([each.mean() for each in seen]))]
        losers = {number for number in losers if compare(best, seen[number], noise).p_value <= p_value}
        if not losers:
            break
    return sorted(losers)
