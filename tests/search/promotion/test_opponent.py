"""What is judged against what: recipes by seeds that did not choose them, a baseline by its best network."""

from types import SimpleNamespace

import numpy as np
from drawn_candidates import IMAGES, draw_candidate, folds

from search.promotion.opponent import answer_by_best_seed, answer_by_recipe, stand_in


def test_a_recipe_is_scored_by_seeds_that_did_not_choose_it():
    """Candidates that are lucky with one seed each: chosen by the others, the luck is gone."""
    candidates = [draw_candidate(number, 0.5, seeds=2) for number in range(4)]
    answers = answer_by_recipe(candidates, folds)
    assert answers.shape == (2, IMAGES, 2)
    for seed in (0, 1):
        for fold in (0, 5):
            others = np.flatnonzero(folds != fold)
            inside = np.flatnonzero(folds == fold)
            means = [candidate.answer(others)[1 - seed, others].mean() for candidate in candidates]
            best = candidates[int(np.argmax(means))]
            epoch = best.choose_epochs(others)[1 - seed]  # that of the other seed, not its own
            expected = best.correct[seed, epoch, inside]
            assert np.array_equal(answers[seed, inside], expected)


def test_a_baseline_sends_its_best_seed():
    candidate = draw_candidate(0, 0.5)
    images = np.arange(60)
    scores = candidate.answer(images)[:, images].mean((1, 2))
    assert np.array_equal(answer_by_best_seed(candidate, images)[0], candidate.answer(images)[scores.argmax()])


def test_the_commonest_class_is_of_labelled_images():
    labels = np.array([[0, 1], [-1, 1], [-1, 0], [2, -1], [2, 1]])
    material = SimpleNamespace(
        first=SimpleNamespace(labels=labels), train=np.array([0, 2, 3, 4]), labels=labels[[1, 3]]
    )
    trained = SimpleNamespace(baseline=None)
    opponent = stand_in(trained, material, over_seeds=False, has_baseline=False)
    np.testing.assert_array_equal(opponent.answers, [[[np.nan, 1], [1, np.nan]]])  # in train 2 and 1
