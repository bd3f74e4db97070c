"""Accuracy against coverage: counted by hand, and with temperatures that have not seen what they are judged on."""

import numpy as np
import pytest

from fashion_core.inference.temperatures import apply_temperatures
from search.statistics.calibration import fit_temperature
from search.statistics.coverage import LEVELS, Coverage, cross_fit_coverage

COVERAGE = Coverage(np.array([0.9, 0.6, 0.8, 0.6, 0.4]), np.array([True, False, True, True, False]))


def draw(count: int, sharpness: float, seed: int) -> tuple[list[np.ndarray], np.ndarray]:
    """Probabilities of two categories that are too sure by this factor, and labels drawn by the right ones."""
    rng = np.random.default_rng(seed)
    right = [rng.dirichlet([1.0] * size, count) for size in (3, 5)]
    labels = [[rng.choice(len(row), p=row) for row in values] for values in right]
    return apply_temperatures(right, [1 / sharpness] * 2), np.array(labels).T


def test_counted_by_hand():
    assert COVERAGE.measure(0) == (5, 0.6)
    assert COVERAGE.measure(0.6) == (4, 0.75)  # as sure is sure enough
    assert COVERAGE.measure(0.61) == (2, 1.0) and COVERAGE.measure(0.95) == (0, None)
    coverage, accuracy = COVERAGE.compute_curve()
    assert coverage.tolist() == [0.2, 0.4, 0.8, 1.0] and accuracy.tolist() == [1.0, 1.0, 0.75, 0.6]


def test_a_curve_is_what_is_measured():
    probabilities, labels = draw(300, 2.0, 0)
    for each in cross_fit_coverage(probabilities, labels, np.arange(300) % 10):
        coverage, accuracy = each.compute_curve()
        assert coverage[-1] == 1 and (np.diff(coverage) > 0).all()
        for threshold, share, right in zip(np.unique(each.confidences)[::-1], coverage, accuracy, strict=True):
            count, expected = each.measure(threshold)
            assert share == pytest.approx(count / 300) and right == pytest.approx(expected)


def test_no_image_has_a_part_in_its_own_temperature():
    probabilities, labels = draw(200, 2.0, 1)
    folds = np.arange(200) % 4
    found = cross_fit_coverage(probabilities, labels, folds)
    for values, column, each in zip(probabilities, labels.T, found, strict=True):
        for fold in range(4):
            others = folds != fold
            (scaled,) = apply_temperatures([values[~others]], [fit_temperature(values[others], column[others])])
            np.testing.assert_allclose(each.confidences[~others], scaled.max(1))
        assert np.array_equal(each.correct, values.argmax(1) == column)
    turned = labels.copy()
    turned[folds == 0] = (labels[folds == 0] + 1) % 3
    again = cross_fit_coverage(probabilities, turned, folds)
    assert np.array_equal(again[0].confidences[folds == 0], found[0].confidences[folds == 0])
    assert not np.array_equal(again[0].confidences[folds == 1], found[0].confidences[folds == 1])


def test_the_surest_are_the_rightest_and_mean_what_they_say():
    """Of probabilities that are far too sure: those of 0.8 and more are right so often."""
    probabilities, labels = draw(4000, 3.0, 2)
    for values, column, each in zip(
        probabilities, labels.T, cross_fit_coverage(probabilities, labels, np.arange(4000) % 10), strict=True
    ):
        shares = [each.measure(level) for level in LEVELS]
        counts = [count for count, _ in shares]
        assert counts[0] == 4000 and counts == sorted(counts, reverse=True)
        assert shares[4][1] > shares[0][1] + 0.1
        sure = each.confidences >= 0.8
        assert each.correct[sure].mean() == pytest.approx(each.confidences[sure].mean(), abs=0.04)
        assert (values.max(1)[sure] - each.confidences[sure]).mean() > 0.02
        assert column.shape == (4000,)


def test_an_unlabelled_image_counts_in_the_others_alone():
    probabilities, labels = draw(100, 1.0, 3)
    labels[::4, 0] = -1
    labels[:, 1] = -1
    labels[7, 1] = 2  # the only one: no temperature can be fitted without it
    first, second = cross_fit_coverage(probabilities, labels, np.arange(100) % 10)
    assert len(first.correct) == 75 and len(second.correct) == 1
    assert second.confidences == pytest.approx(probabilities[1][7].max())
