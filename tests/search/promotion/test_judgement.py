"""The table of candidates: scores, gaps, and how often each is the best."""

import numpy as np
import pytest
from drawn_candidates import EPOCHS, IMAGES, RNG, draw_candidate, folds

from search.promotion.judgement import Trained, judge_candidates


def test_the_table_of_candidates():
    candidates = [draw_candidate(0, 0.5, score=0.7), draw_candidate(1, 0.7, score=0.9)]
    baseline = draw_candidate(2, 0.5, score=None)
    judgement = judge_candidates(Trained(tuple(candidates), baseline), folds, np.arange(IMAGES), "heldout", RNG(0))
    first, second, last = judgement.rows
    assert (first.candidate.trial, second.candidate.trial, last.candidate.trial) == (1, 0, 2)
    assert first.best_share > 0.95 and first.best_share + second.best_share == pytest.approx(1)
    assert first.gap.value == pytest.approx(0.9 - first.score.value) and last.gap is None and last.versus is None
    assert first.versus.mean.probability > 0.99
    assert first.versus.mean.value == pytest.approx(first.score.value - last.score.value)
    assert first.seconds == 3 * EPOCHS * 1.5 and all(1 <= epoch <= EPOCHS for epoch in first.best_epochs)


def test_one_seed_has_no_gap_on_the_images_of_the_search():
    """Nothing tells how seeds vary then, and on the search's own images nothing else varies."""
    candidates = [draw_candidate(0, 0.5, seeds=1)]
    judge = judge_candidates(Trained(tuple(candidates), None), folds, np.arange(IMAGES), "val", RNG(0))
    assert judge.rows[0].gap is None and judge.noise is None
