"""The table of candidates: scores, gaps, and how often each is the best."""

import numpy as np
import pytest
from drawn_candidates import CLASSES, EPOCHS, IMAGES, LABELS, RNG, draw_candidate, folds
from missing_labels import blank

from search.promotion.judgement import Trained, judge_candidates


def test_the_table_of_candidates():
    candidates = [draw_candidate(0, 0.5, score=0.7), draw_candidate(1, 0.7, score=0.9)]
    baseline = draw_candidate(2, 0.5, score=None)
    judgement = judge_candidates(Trained(tuple(candidates), baseline), folds, np.arange(IMAGES), "heldout", RNG(0))
    first, second, last = judgement.rows
    assert (first.candidate.trial, second.candidate.trial, last.candidate.trial) == (1, 0, 2)
    assert first.best_share > 0.95 and first.best_share + second.best_share == pytest.approx(1)
    assert first.gap.value == pytest.approx(0.9 - first.score.value) and last.gap is None and last.versus is None
    assert first.versus.mean.p_value < 0.01
    assert first.versus.mean.value == pytest.approx(first.score.value - last.score.value)
    assert first.seconds == 3 * EPOCHS * 1.5 and all(1 <= epoch <= EPOCHS for epoch in first.best_epochs)


def test_one_seed_has_no_gap_on_the_images_of_the_search():
    """Nothing tells how seeds vary then, and on the search's own images nothing else varies."""
    candidates = [draw_candidate(0, 0.5, seeds=1)]
    judge = judge_candidates(Trained(tuple(candidates), None), folds, np.arange(IMAGES), "val", RNG(0))
    assert judge.rows[0].gap is None and judge.noise is None


def test_candidates_are_judged_on_labelled_images():
    """Their epochs are chosen, and they are scored, on each category's labelled images; by loops."""
    labels = blank(LABELS, (0.6, 0.1))
    candidates = [draw_candidate(number, skill, labels=labels) for number, skill in enumerate((0.5, 0.7))]
    judgement = judge_candidates(Trained(tuple(candidates), None), folds, np.arange(IMAGES), "heldout", RNG(0))
    for row in judgement.rows:
        candidate, found = candidates[row.candidate.trial], []
        for seed, run in enumerate(candidate.runs):
            right = [[[], []] for _ in range(EPOCHS)]
            for epoch in range(EPOCHS):
                for image in range(IMAGES):
                    for k in range(2):
                        if labels[image, k] >= 0:
                            answer = run.probabilities[k][epoch][image].argmax()
                            right[epoch][k].append(answer == labels[image, k])
            scores = [np.mean([np.mean(column) for column in each]) for each in right]
            assert row.best_epochs[seed] == int(np.argmax(scores)) + 1
            found.append(max(scores))
        assert row.score.value == pytest.approx(np.mean(found), abs=0.05) and row.score.value <= np.mean(found)
    for answers in judgement.answers:
        assert np.array_equal(np.isnan(answers), np.broadcast_to(labels < 0, answers.shape))
    assert judgement.rows[0].candidate.trial == 1 and judgement.rows[0].best_share > 0.8


def test_a_category_with_few_labels_weighs_as_much_as_one_with_many():
    """The first epoch is right in a category that few images are labelled in, the second in more answers in all."""
    labels = LABELS.copy()
    labels[12:, 0] = -1
    candidate = draw_candidate(0, 0.5, seeds=2, labels=labels)
    for run in candidate.runs:
        for k, shares in enumerate(((1.0, 0.0, 0.0), (0.2, 0.8, 0.1))):
            for epoch, share in enumerate(shares):
                right = np.arange(IMAGES) % 10 < 10 * share
                answers = np.where(right, LABELS[:, k], (LABELS[:, k] + 1) % CLASSES[k])
                run.probabilities[k][epoch] = np.eye(CLASSES[k])[answers]
    assert candidate.choose_epochs(np.arange(IMAGES)).tolist() == [0, 0]
    assert candidate.choose_epochs(np.arange(12, IMAGES)).tolist() == [1, 1]
