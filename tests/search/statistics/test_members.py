"""Which networks are averaged: against a greedy search written out."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from missing_labels import blank
from sklearn.metrics import log_loss

from search.statistics.members import average_members, find_correct, select_members


def draw_members(rng, members, images, sizes=(2, 4)):
    """Probabilities K x [M, N, C] that lean towards the labels, and these."""
    labels = np.stack([rng.integers(0, size, images) for size in sizes], 1)
    probabilities = []
    for index, size in enumerate(sizes):
        logits = rng.normal(0, 1.2, (members, images, size)) + 1.3 * np.eye(size)[labels[:, index]]
        values = np.exp(logits)
        probabilities.append(values / values.sum(-1, keepdims=True))
    return probabilities, labels


def score(probabilities, labels, members):
    """Accuracy and mean log likelihood of an ensemble by scikit-learn's log loss."""
    means = [np.mean([values[member] for member in members], 0) for values in probabilities]
    accuracy = np.mean([mean.argmax(1) == column for mean, column in zip(means, labels.T, strict=True)])
    losses = [log_loss(column, mean, labels=range(mean.shape[1])) for mean, column in zip(means, labels.T, strict=True)]
    return accuracy, -np.mean(losses)


@pytest.mark.slow
@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10**6), st.integers(1, 5), st.integers(1, 6))
def test_members_are_those_of_a_greedy_search_written_out(seed, count, size):
    probabilities, labels = draw_members(np.random.default_rng(seed), count, 12)
    taken, best = [], []
    for _ in range(size):
        found = [score(probabilities, labels, [*taken, member]) for member in range(count)]
        member = max(range(count), key=lambda index: (round(found[index][0], 9), found[index][1]))
        taken.append(member)
        if not best or score(probabilities, labels, taken)[0] > score(probabilities, labels, best)[0] + 1e-9:
            best = list(taken)
    assert select_members(probabilities, labels, size) == best


def test_an_ensemble_is_no_worse_than_its_best_member_where_it_was_selected():
    probabilities, labels = draw_members(np.random.default_rng(8), 6, 200)
    members = select_members(probabilities, labels, 12)
    alone = [find_correct([values[m] for values in probabilities], labels).mean() for m in range(6)]
    together = find_correct(average_members(probabilities, members), labels).mean()
    assert 1 < len(members) <= 12 and together > max(alone)


def test_a_strong_member_is_taken_more_than_once():
    """Alone it errs on the second image; once beside the weak one it errs on the first, twice on none."""
    strong, weak = np.array([[0.9, 0.1], [0.45, 0.55]]), np.array([[0.05, 0.95], [0.7, 0.3]])
    probabilities, labels = [np.stack([strong, weak])], np.array([[0], [0]])
    assert select_members(probabilities, labels, 1) == [0]
    assert select_members(probabilities, labels, 3) == [0, 0, 1]
    assert average_members(probabilities, [0, 0, 1])[0] == pytest.approx((2 * strong + weak) / 3)


def test_what_does_not_help_is_left_out():
    good, bad = np.array([[0.9, 0.1]] * 3), np.array([[0.1, 0.9]] * 3)
    assert select_members([np.stack([bad, good])], np.zeros((3, 1), int), 5) == [1]


def test_an_ensemble_needs_members():
    with pytest.raises(ValueError, match=r"size of 1 or more .* but has size 0 and \[2\] members .*; give"):
        select_members([np.full((2, 3, 2), 0.5)], np.zeros((3, 1), int), 0)
    with pytest.raises(ValueError, match=r"but has size 2 and \[0\] members"):
        select_members([np.empty((0, 3, 2))], np.zeros((3, 1), int), 2)


@settings(deadline=None, max_examples=8)
@given(st.integers(0, 10**6), st.integers(1, 4))
def test_members_are_selected_by_labelled_images(seed, count):
    """As if each category had been asked of its labelled images alone; one without any says nothing."""
    probabilities, labels = draw_members(np.random.default_rng(seed), count, 20, sizes=(2, 4, 3))
    labels = blank(labels, (0.4, 0.2, 0.6), seed)
    labels[:, 2] = -1
    taken, best = [], []

    def score_labelled(members):
        found = []
        for values, column in zip(probabilities[:2], labels.T[:2], strict=True):
            known = column >= 0
            found.append(score([values[:, known]], column[known, None], members))
        return np.mean(found, 0)

    for _ in range(4):
        found = [score_labelled([*taken, member]) for member in range(count)]
        member = max(range(count), key=lambda index: (round(found[index][0], 9), found[index][1]))
        taken.append(member)
        if not best or score_labelled(taken)[0] > score_labelled(best)[0] + 1e-9:
            best = list(taken)
    assert select_members(probabilities, labels, 4) == best


def test_a_right_answer_is_told_where_there_is_a_label():
    said, labels = [np.array([[0.9, 0.1], [0.2, 0.8]]), np.eye(3)[:2]], np.array([[0, -1], [0, 1]])
    np.testing.assert_array_equal(find_correct(said, labels), [[1, np.nan], [0, 1]])
    assert find_correct(said, np.abs(labels)).dtype == bool


def test_a_category_with_few_labels_weighs_as_much_as_one_with_many():
    labels = np.stack([np.zeros(20, int), np.where(np.arange(20) < 4, 0, -1)], 1)
    often, rarely = np.tile([0.9, 0.1], (20, 1)), np.tile([0.1, 0.9], (20, 1))
    some = np.where(np.arange(20)[:, None] < 14, often, rarely)
    # the first is right in 0.3 and 1.0 of the categories, the second in 0.7 and 0.0
    probabilities = [np.stack([np.where(some == often, rarely, often), some]), np.stack([often, rarely])]
    assert select_members(probabilities, labels, 1) == [0]
