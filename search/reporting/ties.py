"""Which trials the data cannot tell from the best one.

All trials answer the same images, so two are compared image by image: what is common to their scores cancels out. The
trials named tied hold, with a probability of 95%, the one that is best on all images of the kind, whichever that is:
each is left out only where it is below the best with a one-sided error of 5% divided by the number of the others
(Gupta 1965, Technometrics 7; Bonferroni's bound in the place of his constant). Networks are taken as they are: that
another seed would order them otherwise is not in this.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import stdtrit

from fashion_core.errors import SearchError
from search.records.ledger import unpack_correct
from search.statistics.intervals import IMAGES, LEVEL, Estimate, compare

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fashion_core.metrics import Measure
    from search.records.record import SearchRecord, TrialRecord


@dataclass(frozen=True)
class Standing:
    """A trial beside the best one.

    Attributes:
        difference: its score less the best.
        is_paired: compared image by image; otherwise as if each had been scored on images of its own, which tells
            fewer apart.
        comparisons: how many trials are beside the best.
    """

    difference: Estimate
    is_paired: bool
    comparisons: int = 1

    @property
    def bound(self) -> float:
        """How far below the best it must be to be told apart: one-sided, over all comparisons."""
        return self.difference.error * float(stdtrit(self.difference.df, 1 - (1 - LEVEL) / self.comparisons))

    @property
    def is_tied(self) -> bool:
        """Whether it is not told apart from the best."""
        return self.difference.value + self.bound >= 0

    @property
    def gain(self) -> Estimate:
        """The best less it."""
        return replace(self.difference, value=-self.difference.value)

    @property
    def level(self) -> float:
        """Of the interval of a difference that leaves out 0 where the two are told apart, and only there."""
        return 1 - 2 * (1 - LEVEL) / self.comparisons


def compare_with_best(record: SearchRecord, ranked: Sequence[TrialRecord]) -> dict[int, Standing] | None:
    """How each ranked trial but the first stands beside it, by number; None where the first one's error is not known.

    A trial without an error of its own is left out.
    """
    if not ranked or ranked[0].standard_error is None:
        return None
    best, *others = ranked
    measure = record.measure
    answers = find_answers(record, best)
    found = {}
    for trial in others:
        difference, is_paired = compare_trials(record, trial, best, measure, answers)
        if difference is not None:
            found[trial.number] = Standing(difference, is_paired, len(others))
    return found


def compare_trials(
    record: SearchRecord, trial: TrialRecord, best: TrialRecord, measure: Measure, answers: np.ndarray | None
) -> tuple[Estimate | None, bool]:
    """The score of a trial less that of the best, and whether it is paired.

    Args:
        measure: of the record.
        answers: the best's, see `find_answers`.
    """
    own = None if answers is None else find_answers(record, trial)
    if answers is not None and own is not None:
        both = measure.score_images(own), measure.score_images(answers)
        return compare(*both, None, measure.count_freedom(own)), True
    if trial.standard_error is None or best.standard_error is None:
        return None, False
    value = (trial.best or 0.0) - (best.best or 0.0)
    return Estimate(value, math.hypot(trial.standard_error, best.standard_error), math.inf, IMAGES), False


def find_answers(record: SearchRecord, trial: TrialRecord) -> np.ndarray | None:
    """[1, N, K]: what the trial's best epoch answered right, see `unpack_correct`; None where the ledger has it not."""
    images = record.selection.get("select_count")
    if trial.correct is None or not isinstance(images, int):
        return None
    try:
        correct = unpack_correct(trial.correct, images, len(record.category_names))
    except SearchError:
        return None
    return np.asarray(correct, np.float64)[None]
