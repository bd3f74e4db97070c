"""Labels that look wrong: planted ones are found, and the number expected by chance against labels drawn again."""

import numpy as np
import pytest

from search.statistics.crossfit import assign_folds
from search.statistics.label_errors import MIN_LABELLED, MIN_MEMBERS, cross_fit_confidence, find_label_errors


def draw(rng, images=4000, classes=4):
    """Confidences that are true, [N, C], and labels drawn by them."""
    confidences = rng.dirichlet([0.15] * classes, images)
    labels = (rng.random(images)[:, None] > confidences.cumsum(1)).sum(1).clip(max=classes - 1)
    return confidences, labels


def find_slowly(confidences, labels):
    """The rule of the paper, image by image, of suggestions that are surer than the label."""
    classes = range(confidences.shape[1])
    thresholds = [confidences[labels == c, c].mean() for c in classes]
    found = {}
    for image, (row, label) in enumerate(zip(confidences, labels, strict=True)):
        passing = [c for c in classes if row[c] >= thresholds[c]]
        if passing and row[suggested := max(passing, key=lambda c: row[c])] > row[label]:
            found[image] = suggested
    return found


def test_the_rule_is_that_of_the_paper():
    confidences, labels = draw(np.random.default_rng(0), 500)
    found = find_label_errors(confidences, labels)
    assert dict(zip(found.images.tolist(), found.suggested.tolist(), strict=True)) == find_slowly(confidences, labels)
    assert (np.diff(found.given_confidence) >= 0).all()
    assert (found.given_confidence == confidences[found.images, labels[found.images]]).all()


@pytest.mark.parametrize("limit", [0.02, 0.2, 1.0])
def test_the_number_by_chance_is_that_of_labels_drawn_again(limit):
    rng = np.random.default_rng(1)
    confidences, labels = draw(rng)
    expected = find_label_errors(confidences, labels).count_by_chance(limit)
    counts = []
    for _ in range(40):
        again = (rng.random(len(labels))[:, None] > confidences.cumsum(1)).sum(1).clip(max=3)
        counts.append((find_label_errors(confidences, again).given_confidence <= limit).sum())
    assert np.mean(counts) == pytest.approx(expected, rel=0.1)


def test_planted_errors_come_first_and_are_more_than_by_chance():
    rng = np.random.default_rng(2)
    confidences, labels = draw(rng)
    wrong = rng.choice(len(labels), 200, replace=False)
    labels[wrong] = (labels[wrong] + rng.integers(1, 4, 200)) % 4
    found = find_label_errors(confidences, labels)
    assert np.isin(found.images[:20], wrong).mean() >= 0.9
    assert found.count_by_chance(found.given_confidence[19]) < 3
    clean = find_label_errors(*draw(rng))
    assert len(clean.images) == pytest.approx(clean.count_by_chance(), rel=0.25)


def test_no_suggestion_is_less_sure_than_the_label():
    """Of a class that is seldom sure, a little sureness passes its threshold beside a label that is surer."""
    rng = np.random.default_rng(5)
    likely = np.array([[0.55, 0.45], [0.52, 0.48], [0.95, 0.05]])[rng.choice(3, 2000, p=[0.3, 0.3, 0.4])]
    labels = (rng.random(2000) < likely[:, 1]).astype(int)
    found = find_label_errors(likely, labels)
    assert (found.suggested_confidence > found.given_confidence).all() and (labels[found.images] != 0).all()
    counts = []
    for _ in range(60):
        again = (rng.random(2000) < likely[:, 1]).astype(int)
        counts.append(len(find_label_errors(likely, again).images))
    assert np.mean(counts) == pytest.approx(found.count_by_chance(), rel=0.1)


def test_a_class_with_few_members_is_never_suggested():
    confidences, labels = draw(np.random.default_rng(6), 600)
    members = np.flatnonzero(labels == 2)
    labels[members[MIN_MEMBERS - 1 :]] = 1
    assert 2 not in find_label_errors(confidences, labels).suggested
    labels[members[MIN_MEMBERS - 1]] = 2
    assert 2 in find_label_errors(confidences, labels).suggested


def test_unlabelled_images_and_few_ones_are_none():
    confidences, labels = draw(np.random.default_rng(3), 60)
    labels[::2] = -1
    assert (find_label_errors(confidences, labels).images % 2 == 1).all()
    labels[MIN_LABELLED * 2 - 2 :] = -1
    found = find_label_errors(confidences, labels)
    assert not len(found.images) and found.count_by_chance() == 0


def test_networks_that_are_too_sure_are_set_right_by_other_images():
    confidences, labels = draw(np.random.default_rng(4))
    sure = confidences**3 / (confidences**3).sum(1, keepdims=True)
    folds = assign_folds(np.arange(len(labels)), 0)
    found = cross_fit_confidence(sure, labels, folds)
    assert np.abs(found - confidences).max() < 0.05 < np.abs(sure - confidences).max()
    own = np.flatnonzero(folds == 0)
    other = labels.copy()
    other[own] = (labels[own] + 1) % 4
    assert (cross_fit_confidence(sure, other, folds)[own] == found[own]).all()
