"""The score of a choice, the shares of the best, calibration and ensembles: against brute force and scikit-learn."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
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
from search.statistics.crossfit import assign_folds, compute_best_shares, cross_fit, cross_fit_seeds, find_best
from search.statistics.members import average_members, find_correct, select_members

# ------------------------------------------------------------------------------------------------------------ folds


@given(st.lists(st.integers(0, 40), min_size=1, max_size=120), st.integers(2, 5), st.integers(0, 99))
def test_folds_keep_groups_whole_and_even(groups, folds, seed):
    sizes = np.unique(groups, return_counts=True)[1]
    if len(sizes) < folds:
        with pytest.raises(ValueError, match=rf"{folds} folds need .* but there are {len(sizes)}; take fewer"):
            assign_folds(np.array(groups), seed, folds)
        return
    assigned = assign_folds(np.array(groups), seed, folds)
    for group in set(groups):
        assert len(set(assigned[np.array(groups) == group])) == 1
    filled = np.bincount(assigned, minlength=folds)
    assert filled.max() - filled.min() <= sizes.max()
    # the names of the groups are what counts: images in another order stay in their folds
    order = np.random.default_rng(0).permutation(len(groups))
    assert (assign_folds(np.array(groups)[order], seed, folds) == assigned[order]).all()


def test_another_seed_makes_other_folds():
    groups = np.arange(100)
    assert (assign_folds(groups, 0) != assign_folds(groups, 1)).any()
    assert (np.bincount(assign_folds(groups, 0)) == 10).all()


# ---------------------------------------------------------------------------------------------------- cross-fitting


def test_every_image_is_answered_by_the_choice_made_without_it():
    """Against the definition, fold by fold."""
    rng = np.random.default_rng(0)
    candidates = list(rng.random((4, 3, 30)) < 0.5)
    folds = assign_folds(np.arange(30) // 2, seed=1)
    found = cross_fit(lambda images: candidates[find_best(candidates, images)], folds)
    seen = set()
    for fold in range(10):
        train, test = folds != fold, folds == fold
        means = [answers[:, train].mean() for answers in candidates]
        seen.add(int(np.argmax(means)))
        assert (found[:, test] == candidates[int(np.argmax(means))][:, test]).all()
    assert len(seen) > 1 and found.dtype == bool


def test_one_candidate_is_its_own_score():
    answers = np.random.default_rng(1).random((3, 40, 6)) < 0.8
    folds = assign_folds(np.arange(40), seed=0)
    assert (cross_fit(lambda images: answers, folds) == answers).all()
    assert (cross_fit_seeds(lambda images, seeds: answers, folds, 3) == answers).all()


def test_a_seed_is_scored_by_choices_made_without_it():
    asked = []
    answers = np.arange(3)[:, None] * np.ones((3, 20))

    def choose(images, seeds):
        asked.append((len(images), tuple(seeds)))
        return answers

    found = cross_fit_seeds(choose, assign_folds(np.arange(20), seed=0), 3)
    assert (found == answers).all()
    assert set(asked) == {(18, others) for others in ((1, 2), (0, 2), (0, 1))} and len(asked) == 30


def test_a_lucky_network_does_not_choose_itself():
    """Two equal recipes; each has one network that is right everywhere, and two that are right nowhere."""
    candidates = [np.zeros((3, 20)), np.zeros((3, 20))]
    candidates[0][0] = candidates[1][1] = 1
    folds = assign_folds(np.arange(20), seed=0)
    found = cross_fit_seeds(lambda images, seeds: candidates[find_best(candidates, images, seeds)], folds, 3)
    assert (found[0] == 0).all() and (found[1] == 0).all()  # without its lucky network, the other one is chosen


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: cross_fit(lambda i: np.ones((1, 4)), np.zeros(4)), "two folds or more, but there is 1; use"),
        (lambda: cross_fit(lambda i: np.ones((1, 3)), np.arange(4)), r"all 4 images .* shape \[1, 3\] .*; use seeds"),
        (lambda: cross_fit(lambda i: np.ones((1 + i[0], 4)), np.arange(4)), r"one is of shape \[1, 4\] .*\[2, 4\]"),
        (lambda: cross_fit_seeds(lambda i, s: np.ones((1, 4)), np.arange(4), 1), "two or more, but there is 1; re-run"),
        (
            lambda: compute_best_shares([np.ones((2, 3))], np.arange(4), np.random.default_rng(0)),
            r"on the 4 images, but one is \[2, 3\]; score all",
        ),
    ],
)
def test_wrong_input_is_refused_with_rule_value_and_remedy(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# -------------------------------------------------------------------------------------------- shares of the best


def test_shares_of_the_best_are_those_of_all_resamples():
    """Three images in two groups, one of two seeds: every resample with its probability, written out."""
    rng = np.random.default_rng(2)
    groups = np.array([7, 7, 3])
    candidates = [rng.random((2, 3)), rng.random((1, 3)), np.full((1, 3), 0.5)]
    wanted = np.zeros(3)
    for drawn in itertools.product([[0, 1], [2]], repeat=2):
        images = [image for group in drawn for image in group]
        for seeds in itertools.product([0, 1], repeat=2):
            means = [candidates[0][list(seeds)][:, images].mean(), *(c[:, images].mean() for c in candidates[1:])]
            wanted[np.argmax(means)] += 1 / 16
    found = compute_best_shares(candidates, groups, rng, resamples=20000)
    assert found == pytest.approx(wanted, abs=0.015) and (wanted > 0.05).sum() > 1


def test_equals_share_and_the_sure_winner_takes_all():
    rng = np.random.default_rng(3)
    scores = rng.random((3, 50))
    same = np.roll(scores, 0)
    assert compute_best_shares([scores[:1], same[:1]], np.arange(50), rng) == pytest.approx([0.5, 0.5])
    assert compute_best_shares([scores, scores + 1], np.arange(50), rng).tolist() == [0, 1]


# -------------------------------------------------------------------------------------------------- calibration


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
        (np.full((3, 1), -1), r"category 0 must be 0 to 3, .* but are \[-1\]"),
    ],
)
def test_wrong_labels_are_refused(labels, message):
    with pytest.raises(ValueError, match=message):
        fit_temperatures([np.full((3, 4), 0.25)], labels)
    with pytest.raises(ValueError, match=message):
        select_members([np.full((1, 3, 4), 0.25)], labels, 2)


# ---------------------------------------------------------------------------------------------------- ensembles


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
