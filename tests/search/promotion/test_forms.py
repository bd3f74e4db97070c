"""What ships, and how it is scored: against plain loops, and on answers planted so that the right choice is known."""

from dataclasses import replace

import numpy as np
import pytest
from drawn_candidates import CLASSES, EPOCHS, IMAGES, LABELS, RNG, draw_candidate, folds
from missing_labels import blank

from fashion_core.config import TrainConfig
from fashion_core.models.cost import Cost
from search.promotion.forms import (
    ENSEMBLE,
    SEEDS,
    SINGLE,
    SOUP,
    Choice,
    Pool,
    choose_ensemble,
    choose_seeds,
    choose_single,
    decide,
    pick_form,
)
from search.promotion.judgement import TrainedCandidate
from search.promotion.plan import Candidate


def copy_candidate(other, number, cost):
    candidate = Candidate(f"trial-{number:04d}", number, 0.8, TrainConfig())
    return TrainedCandidate(candidate, other.runs, LABELS, cost)


def build_pool(*candidates, **options):
    return Pool(candidates, LABELS, folds, **options)


def score_plainly(candidate, seed, epoch, images):
    """Accuracy by loops."""
    right = total = 0
    for image in images:
        for category in range(len(CLASSES)):
            answer = int(np.argmax(candidate.runs[seed].probabilities[category][epoch][image]))
            right += answer == LABELS[image, category]
            total += 1
    return right / total


def test_the_single_is_the_best_seed_of_the_best_mean_in_its_best_epoch():
    candidates = [draw_candidate(number, skill) for number, skill in enumerate((0.5, 0.55, 0.52))]
    images = RNG(0).permutation(IMAGES)[:70]
    best = {}
    for position, candidate in enumerate(candidates):
        scores = [[score_plainly(candidate, seed, epoch, images) for epoch in range(EPOCHS)] for seed in range(3)]
        best[position] = [(max(row), -seed, row.index(max(row))) for seed, row in enumerate(scores)]
    position = max(best, key=lambda key: sum(score for score, *_ in best[key]))
    _, seed, epoch = max(best[position])
    choice = choose_single(build_pool(*candidates), images)
    assert choice.networks == ((position, -seed),)
    expected = [values[epoch] for values in candidates[position].runs[-seed].probabilities]
    assert all(np.array_equal(a, b) for a, b in zip(choice.probabilities, expected, strict=True))


@pytest.mark.slow
def test_no_image_takes_part_in_the_choice_that_answers_it():
    """The cross-fitted answers of a fold stay the same whatever the networks say of that fold."""
    candidates = [draw_candidate(number, 0.5) for number in range(3)]
    answers = decide(build_pool(*candidates)).answers
    for fold in (0, 4):
        inside = np.flatnonzero(folds == fold)
        for candidate in candidates:
            assert set(candidate.choose_epochs(np.flatnonzero(folds != fold))) <= set(range(EPOCHS))
        # of what was chosen on the other folds, whichever it is: some network's or average's answers at these images
        pool = build_pool(*candidates)
        others = np.flatnonzero(folds != fold)
        found = [choose(pool, others) for choose in (choose_single, choose_seeds, choose_ensemble)]
        right = [np.stack([values.argmax(1) for values in each.probabilities], 1) == LABELS for each in found]
        assert any(np.array_equal(answers[0, inside], each[inside]) for each in right)


@pytest.mark.slow
def test_an_ensemble_of_independent_networks_is_taken():
    decision = decide(build_pool(*(draw_candidate(number, 0.6) for number in range(3))))
    form = decision.chosen
    assert form.choice.form == ENSEMBLE and form.gain.value > 0.02 and form.gain.p_value < 0.05
    assert form.cost == Cost(1000 * len(set(form.choice.networks)), float(len(set(form.choice.networks))))
    assert decision.answers.shape == (1, IMAGES, 2)


def test_what_is_no_better_is_lost():
    """Networks that all answer alike: an ensemble of them is the single again."""
    one = draw_candidate(0, 0.6, seeds=1)
    decision = decide(build_pool(one, copy_candidate(one, 1, Cost(1000, 1.0))))
    forms = {form.choice.form: form for form in decision.forms}
    assert decision.chosen.choice.form == SINGLE
    assert decision.describe_state(forms[ENSEMBLE]) == "none" and forms[ENSEMBLE].gain.value == 0


@pytest.mark.parametrize(("more", "ships"), [(0, SINGLE), (2, SINGLE), (30, SEEDS)])
def test_the_cheapest_form_ships_that_is_not_told_apart_from_the_best(more, ships):
    """The ensemble is right on `more` images that the single is wrong on; with `takes_best`, that is enough."""
    single = np.zeros((1, IMAGES, 2))
    single[:, :60] = 1
    seeds = single.copy()
    seeds[:, 60 : 60 + more] = 1
    choices = {SINGLE: Choice(SINGLE, ((0, 0),), []), SEEDS: Choice(SEEDS, ((0, 0), (0, 1), (0, 2)), [])}
    pool = build_pool(draw_candidate(0, 0.5))
    assert pick_form(pool, choices, {SINGLE: single, SEEDS: seeds}, np.arange(IMAGES)) == ships
    best = SEEDS if more else SINGLE
    assert pick_form(replace(pool, takes_best=True), choices, {SINGLE: single, SEEDS: seeds}, np.arange(IMAGES)) == best


def test_of_forms_that_cost_the_same_the_better_one_ships():
    choices = {SINGLE: Choice(SINGLE, ((0, 0),), []), SOUP: Choice(SOUP, ((0, 0), (0, 1)), [])}
    better = np.zeros((1, IMAGES, 2))
    better[:, :1] = 1
    answers = {SINGLE: np.zeros_like(better), SOUP: better}
    assert pick_form(build_pool(draw_candidate(0, 0.5)), choices, answers, np.arange(IMAGES)) == SOUP


def test_the_seeds_are_those_of_the_candidate_with_the_best_mean():
    """Each in its best epoch of the images chosen on; probabilities averaged, by loops."""
    candidates = [draw_candidate(number, skill) for number, skill in enumerate((0.5, 0.7, 0.4))]
    images = np.flatnonzero(folds != 3)
    choice = choose_seeds(build_pool(*candidates), images)
    assert choice.form == SEEDS and choice.networks == ((1, 0), (1, 1), (1, 2))
    for category, found in enumerate(choice.probabilities):
        wanted = np.zeros_like(found, dtype=float)
        for seed in range(3):
            scores = [score_plainly(candidates[1], seed, epoch, images) for epoch in range(EPOCHS)]
            wanted += candidates[1].runs[seed].probabilities[category][int(np.argmax(scores))] / 3
        np.testing.assert_allclose(found, wanted, rtol=1e-5)
    limited = choose_seeds(build_pool(*candidates, limit=Cost(2000, 10.0)), images)
    assert limited.networks == ((1, 0), (1, 1))


@pytest.mark.slow
def test_the_seeds_are_taken_where_choosing_among_many_is_luck():
    """One candidate is better than the rest: all its networks, of equal worth, against a choice that follows noise."""
    candidates = [draw_candidate(0, 0.75, seeds=4), *(draw_candidate(number, 0.35) for number in range(1, 5))]
    decision = decide(build_pool(*candidates))
    assert decision.chosen.choice.form == SEEDS and decision.chosen.cost == Cost(4000, 4.0)


def test_an_ensemble_keeps_to_the_limit():
    candidates = [draw_candidate(number, 0.6) for number in range(3)]
    free = choose_ensemble(build_pool(*candidates), np.arange(IMAGES))
    assert len(set(free.networks)) > 2
    limited = choose_ensemble(build_pool(*candidates, limit=Cost(2000, 10.0)), np.arange(IMAGES))
    assert len(set(limited.networks)) == 2 and limited.networks == free.networks[: len(limited.networks)]


def test_a_soup_is_taken_where_it_is_better_and_costs_one_network():
    candidates = [draw_candidate(0, 0.6)]
    perfect = [np.eye(size, dtype=np.float32)[column] for size, column in zip(CLASSES, LABELS.T, strict=True)]
    asked = []

    def average(networks):
        asked.append(networks)
        return perfect if networks == ((0, 0), (0, 2)) else candidates[0].find_probabilities(0, 0)

    decision = decide(build_pool(*candidates, soups=[[(0, 0), (0, 1), (0, 2)]], average=average))
    # the second network changes nothing, so the greedy soup takes it, and the pair that is perfect is never reached
    assert ((0, 0), (0, 2)) not in asked
    asked.clear()
    decision = decide(build_pool(*candidates, soups=[[(0, 0), (0, 2), (0, 1)]], average=average))
    assert decision.chosen.choice.form == SOUP and decision.chosen.score.value == 1
    assert decision.chosen.choice.networks == ((0, 0), (0, 2)) and decision.chosen.cost == Cost(1000, 1.0)
    assert len(asked) == len(set(asked))  # each average once


# ------------------------------------------------------------------------------------------------------ missing labels


@pytest.mark.slow
def test_what_ships_is_chosen_and_scored_on_labelled_images():
    """What a network answers to an unlabelled image changes nothing."""
    labels, rng = blank(LABELS, (0.5, 0.2)), RNG(5)
    candidates = [draw_candidate(number, 0.55, labels=labels) for number in range(2)]
    decision = decide(Pool(candidates, labels, folds))
    for run in (run for candidate in candidates for run in candidate.runs):
        for values, column in zip(run.probabilities, labels.T, strict=True):
            values[:, column < 0] = rng.dirichlet(np.ones(values.shape[2]), (EPOCHS, int((column < 0).sum())))
    again = decide(Pool([replace(each) for each in candidates], labels, folds))
    np.testing.assert_array_equal(decision.answers, again.answers)
    assert np.array_equal(np.isnan(decision.answers[0]), labels < 0)
    for form, other in zip(decision.forms, again.forms, strict=True):
        assert (form.choice.networks, form.score, form.gain) == (other.choice.networks, other.score, other.gain)


def test_the_score_of_a_form_is_the_mean_over_categories():
    labels = blank(LABELS, (0.7, 0.0))
    candidate = draw_candidate(0, 0.6, seeds=1, labels=labels)
    (form,) = decide(Pool([candidate], labels, folds)).forms
    right = decide(Pool([candidate], labels, folds)).answers[0]
    known = [right[column >= 0, k] for k, column in enumerate(labels.T)]
    assert form.score.value == pytest.approx(np.mean([each.mean() for each in known]))
    assert form.score.value != pytest.approx(np.concatenate(known).mean(), abs=1e-3)


@pytest.mark.slow
@pytest.mark.filterwarnings("error")
def test_a_category_labelled_in_one_fold_alone_takes_part_in_no_choice_for_it():
    labels = LABELS.copy()
    labels[folds != 2, 1] = -1
    candidates = [draw_candidate(number, 0.55, labels=labels) for number in range(2)]
    decision = decide(Pool(candidates, labels, folds))
    assert np.isfinite([form.score.value for form in decision.forms]).all()
    others = np.flatnonzero(folds != 2)
    best = [candidate.correct[:, :, others, 0].mean(2).argmax(1) for candidate in candidates]
    assert [candidate.choose_epochs(others).tolist() for candidate in candidates] == [each.tolist() for each in best]
