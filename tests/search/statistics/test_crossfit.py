"""Cross-fitting: no choice is scored on what it saw; and how often each is the best, against all resamples."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.statistics.crossfit import assign_folds, compute_best_shares, cross_fit, cross_fit_seeds, find_best


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


def test_the_best_is_told_by_labelled_images():
    """One candidate is right in the category that hardly any image is labelled in, the other in the common one."""
    rare, common = np.zeros((2, 30, 2)), np.zeros((2, 30, 2))
    rare[:, :, 1], common[:, :18, 0] = 1, 1
    for answers in (rare, common):
        answers[:, 3:, 1] = np.nan
    assert np.nanmean(common) > np.nanmean(rare)  # by answers; by categories, 0.5 to 0.3
    assert find_best([common, rare], np.arange(30)) == 1
    assert find_best([common, rare], np.arange(3, 30), np.array([1])) == 0  # none of these is labelled in it
    mixed = [np.where(np.isnan(rare), np.nan, 0.5), common]
    assert find_best(mixed, np.arange(30)) == 0
