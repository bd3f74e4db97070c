"""Calibration: against scikit-learn, plain loops, and temperatures that are known."""

import numpy as np
import pytest
from missing_labels import blank
from scipy.optimize import minimize_scalar
from sklearn.calibration import calibration_curve
from sklearn.metrics import log_loss

from fashion_core.inference.temperatures import apply_temperatures
from search.statistics.calibration import (
    MAX_TEMPERATURE,
    compute_calibration,
    compute_ece,
    fit_temperature,
    fit_temperatures,
)
from search.statistics.members import select_members


def draw_probabilities(rng, temperature, images=4000, classes=4):
    """Labels drawn from probabilities, and these probabilities as a network of another temperature says them."""
    logits = rng.normal(0, 1.5, (images, classes))
    logits -= np.log(np.exp(logits).sum(1, keepdims=True))
    labels = np.array([rng.choice(classes, p=np.exp(row)) for row in logits])
    (said,) = apply_temperatures([np.exp(logits)], [1 / temperature])
    return said, labels


def test_ece_is_the_weighted_gap_of_scikit_learns_bins():
    rng = np.random.default_rng(4)
    confidences = rng.uniform(0.2, 1, 500)
    correct = rng.random(500) < confidences**2
    shares, means = calibration_curve(correct, confidences, n_bins=15, strategy="uniform")
    counts = np.histogram(confidences, np.linspace(0, 1, 16))[0]
    wanted = (np.abs(shares - means) * counts[counts > 0]).sum() / 500
    assert compute_ece(confidences, correct) == pytest.approx(wanted)


def test_ece_of_bounds_and_certainties():
    assert compute_ece(np.ones(4), np.ones(4, bool)) == 0
    assert compute_ece(np.array([0.0, 1.0]), np.array([True, False])) == 1
    # 0.2 is the upper end of bin 3 of 15, so it shares a bin with 0.19 and not with 0.21
    assert compute_ece(np.array([0.2, 0.19]), np.array([1, 0])) == pytest.approx(abs(1 - 0.39) / 2)
    assert compute_ece(np.array([0.2, 0.21]), np.array([1, 0])) == pytest.approx((0.8 + 0.21) / 2)


def test_pooled_calibration_is_over_all_answers():
    rng = np.random.default_rng(5)
    said = [rng.dirichlet(np.ones(classes), 60) for classes in (2, 5)]
    labels = rng.integers(0, 2, (60, 2))
    found = compute_calibration(said, labels)
    right = [values.argmax(1) == column for values, column in zip(said, labels.T, strict=True)]
    by_category = [compute_ece(values.max(1), one) for values, one in zip(said, right, strict=True)]
    assert found.categories == pytest.approx(by_category)
    assert found.pooled == pytest.approx(compute_ece(np.concatenate([v.max(1) for v in said]), np.concatenate(right)))


@pytest.mark.parametrize("temperature", [0.4, 1.0, 2.5])
def test_the_temperature_is_that_of_the_smallest_log_loss(temperature):
    rng = np.random.default_rng(6)
    said, labels = draw_probabilities(rng, temperature)
    found = fit_temperature(said, labels)

    def compute_loss(log_temperature):
        return log_loss(labels, apply_temperatures([said], [np.exp(log_temperature)])[0])

    reference = minimize_scalar(compute_loss, bounds=(-3, 3), method="bounded", options={"xatol": 1e-9})
    assert found == pytest.approx(np.exp(reference.x), rel=1e-4)
    assert found == pytest.approx(temperature, rel=0.06)
    if temperature != 1:
        (better,) = apply_temperatures([said], [found])
        plain, scaled = (compute_calibration([values], labels[:, None]).pooled for values in (said, better))
        assert scaled < 0.02 < plain
        assert (better.argmax(1) == said.argmax(1)).all()


def test_every_category_has_its_own_temperature():
    rng = np.random.default_rng(7)
    drawn = [draw_probabilities(rng, temperature, images=500) for temperature in (0.5, 2.0)]
    said, labels = [said for said, _ in drawn], np.stack([labels for _, labels in drawn], 1)
    assert fit_temperatures(said, labels) == tuple(fit_temperature(*pair) for pair in drawn)


def test_temperatures_at_the_ends():
    sure, labels = np.array([[0.9, 0.1], [0.2, 0.8]]), np.array([0, 1])
    assert fit_temperature(sure, labels) == pytest.approx(1 / MAX_TEMPERATURE)
    assert fit_temperature(sure, 1 - labels) == pytest.approx(MAX_TEMPERATURE)
    assert fit_temperature(np.full((2, 2), 0.5), labels) == 1
    assert np.isfinite(fit_temperature(np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]), np.array([0, 1, 0])))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.zeros((3, 2), int), r"the probabilities' 1 categories, but are \[3, 2\]"),
        (np.zeros((2, 1), int), r"but are \[2, 1\] for probabilities of \[\[3, 4\]\]; give those"),
        (np.full((3, 1), 4), r"category 0 must be 0 to 3, .* but are \[4\]; give class numbers"),
        (np.full((3, 1), -2), r"category 0 must be 0 to 3, .* but are \[-2\]"),
    ],
)
def test_wrong_labels_are_refused(labels, message):
    with pytest.raises(ValueError, match=message):
        fit_temperatures([np.full((3, 4), 0.25)], labels)
    with pytest.raises(ValueError, match=message):
        select_members([np.full((1, 3, 4), 0.25)], labels, 2)


def test_a_category_is_calibrated_on_its_labelled_images():
    """As if the others were not there, and pooled over all labelled answers."""
    rng = np.random.default_rng(7)
    said, labels = [rng.dirichlet(np.ones(classes), 80) for classes in (2, 5)], rng.integers(0, 2, (80, 2))
    labels = blank(labels, (0.5, 0.2))
    parts = [(values[column >= 0], column[column >= 0]) for values, column in zip(said, labels.T, strict=True)]
    found, temperatures = compute_calibration(said, labels), fit_temperatures(said, labels)
    for k, (values, column) in enumerate(parts):
        assert found.categories[k] == compute_calibration([values], column[:, None]).pooled
        assert temperatures[k] == fit_temperature(values, column)
    right = [values.argmax(1) == column for values, column in parts]
    pooled = compute_ece(np.concatenate([values.max(1) for values, _ in parts]), np.concatenate(right))
    assert found.pooled == pytest.approx(pooled)


def test_a_category_without_any_label_cannot_be_calibrated():
    with pytest.raises(ValueError, match="in one image or more, but category 1 is in none of 3; leave it out"):
        fit_temperatures([np.full((3, 2), 0.5)] * 2, np.array([[0, -1]] * 3))


def test_calibrated_answers_have_an_error_near_the_floor():
    """Drawn right as often as they say: few images have a larger floor, and an overconfident model stands out of it."""
    rng, errors, floors = np.random.default_rng(7), {}, {}
    for images in (100, 1000):
        sure = rng.uniform(0.4, 1, (30, images))
        found = []
        for each in sure:
            right = rng.random(images) < each
            found.append(
                compute_calibration([np.stack([each, 1 - each], 1) * [[1.0, 0.5]]], (~right).astype(int)[:, None])
            )
        errors[images] = np.mean([each.pooled for each in found])
        floors[images] = np.mean([each.floor for each in found])
        assert errors[images] == pytest.approx(floors[images], rel=0.15)
    assert floors[100] > 2 * floors[1000]
