"""What ships, and how it is scored: against plain loops, and on answers planted so that the right choice is known."""

from pathlib import Path

import numpy as np
import pytest

from fashion_core.config import TrainConfig
from search.jobs.reruns import Run
from search.promotion.candidates import Candidate
from search.promotion.contenders import Contender, Cost, judge_contenders
from search.promotion.forms import (
    ENSEMBLE,
    SEEDS,
    SINGLE,
    SOUP,
    Pool,
    choose_ensemble,
    choose_seeds,
    choose_single,
    decide,
)
from search.promotion.opponent import answer_by_best_seed, answer_by_recipe
from search.promotion.retraining import choose_losers
from search.statistics.crossfit import assign_folds

IMAGES, CLASSES, EPOCHS = 120, (3, 4), 3
RNG = np.random.default_rng
LABELS = np.stack([RNG(7).integers(0, size, IMAGES) for size in CLASSES], 1)
folds = assign_folds(np.arange(IMAGES), 0)


def draw_run(label, seed, skill, rng):
    """A network that is right in about a share `skill` of its answers, in each epoch anew."""
    probabilities = []
    for column, size in zip(LABELS.T, CLASSES, strict=True):
        values = rng.dirichlet(np.ones(size), (EPOCHS, IMAGES))
        right = rng.random((EPOCHS, IMAGES)) < skill
        epochs, images = np.nonzero(right)
        values[epochs, images, column[images]] += 1
        probabilities.append((values / values.sum(2, keepdims=True)).astype(np.float32))
    row = {"train/seconds": 1.0, "val/seconds": 0.5}
    return Run(label, seed, tuple(dict(row) for _ in range(EPOCHS)), probabilities, Path())


def draw_contender(number, skill, *, seeds=3, score=0.8, cost=Cost(1000, 1.0)):
    rng = RNG(100 + number)
    candidate = Candidate(f"trial-{number:04d}", number, score, TrainConfig())
    runs = tuple(draw_run(candidate.label, seed, skill, rng) for seed in range(seeds))
    return Contender(candidate, runs, LABELS, cost)


def copy_contender(other, number, cost):
    candidate = Candidate(f"trial-{number:04d}", number, 0.8, TrainConfig())
    return Contender(candidate, other.runs, LABELS, cost)


def build_pool(*contenders, **options):
    return Pool(contenders, LABELS, folds, **options)


def score_plainly(contender, seed, epoch, images):
    """Accuracy by loops."""
    right = total = 0
    for image in images:
        for category in range(len(CLASSES)):
            answer = int(np.argmax(contender.runs[seed].probabilities[category][epoch][image]))
            right += answer == LABELS[image, category]
            total += 1
    return right / total


def test_the_single_is_the_best_seed_of_the_best_mean_in_its_best_epoch():
    contenders = [draw_contender(number, skill) for number, skill in enumerate((0.5, 0.55, 0.52))]
    images = RNG(0).permutation(IMAGES)[:70]
    best = {}
    for position, contender in enumerate(contenders):
        scores = [[score_plainly(contender, seed, epoch, images) for epoch in range(EPOCHS)] for seed in range(3)]
        best[position] = [(max(row), -seed, row.index(max(row))) for seed, row in enumerate(scores)]
    position = max(best, key=lambda key: sum(score for score, *_ in best[key]))
    _, seed, epoch = max(best[position])
    choice = choose_single(build_pool(*contenders), images)
    assert choice.networks == ((position, -seed),)
    expected = [values[epoch] for values in contenders[position].runs[-seed].probabilities]
    assert all(np.array_equal(a, b) for a, b in zip(choice.probabilities, expected, strict=True))


def test_no_image_takes_part_in_the_choice_that_answers_it():
    """The cross-fitted answers of a fold stay the same whatever the networks say of that fold."""
    contenders = [draw_contender(number, 0.5) for number in range(3)]
    answers = decide(build_pool(*contenders)).answers
    for fold in (0, 4):
        inside = np.flatnonzero(folds == fold)
        for contender in contenders:
            assert set(contender.choose_epochs(np.flatnonzero(folds != fold))) <= set(range(EPOCHS))
        # of what was chosen on the other folds, whichever it is: some network's or average's answers at these images
        pool = build_pool(*contenders)
        others = np.flatnonzero(folds != fold)
        found = [choose(pool, others) for choose in (choose_single, choose_seeds, choose_ensemble)]
        right = [np.stack([values.argmax(1) for values in each.probabilities], 1) == LABELS for each in found]
        assert any(np.array_equal(answers[0, inside], each[inside]) for each in right)


def test_an_ensemble_of_independent_networks_is_taken():
    decision = decide(build_pool(*(draw_contender(number, 0.6) for number in range(3))))
    form = decision.chosen
    assert form.choice.form == ENSEMBLE and form.gain.value > 0.02 and form.gain.probability > 0.95
    assert form.cost == Cost(1000 * len(set(form.choice.networks)), float(len(set(form.choice.networks))))
    assert decision.answers.shape == (1, IMAGES, 2)


def test_what_is_no_better_is_lost():
    """Networks that all answer alike: an ensemble of them is the single again."""
    one = draw_contender(0, 0.6, seeds=1)
    decision = decide(build_pool(one, copy_contender(one, 1, Cost(1000, 1.0))))
    forms = {form.choice.form: form for form in decision.forms}
    assert decision.chosen.choice.form == SINGLE
    assert not forms[ENSEMBLE].accepted and forms[ENSEMBLE].gain.value == 0


def test_the_seeds_are_those_of_the_candidate_with_the_best_mean():
    """Each in its best epoch of the images chosen on; probabilities averaged, by loops."""
    contenders = [draw_contender(number, skill) for number, skill in enumerate((0.5, 0.7, 0.4))]
    images = np.flatnonzero(folds != 3)
    choice = choose_seeds(build_pool(*contenders), images)
    assert choice.form == SEEDS and choice.networks == ((1, 0), (1, 1), (1, 2))
    for category, found in enumerate(choice.probabilities):
        wanted = np.zeros_like(found, dtype=float)
        for seed in range(3):
            scores = [score_plainly(contenders[1], seed, epoch, images) for epoch in range(EPOCHS)]
            wanted += contenders[1].runs[seed].probabilities[category][int(np.argmax(scores))] / 3
        np.testing.assert_allclose(found, wanted, rtol=1e-5)
    limited = choose_seeds(build_pool(*contenders, limit=Cost(2000, 10.0)), images)
    assert limited.networks == ((1, 0), (1, 1))


def test_the_seeds_are_taken_where_choosing_among_many_is_luck():
    """One candidate is better than the rest: all its networks, of equal worth, against a choice that follows noise."""
    contenders = [draw_contender(0, 0.75, seeds=4), *(draw_contender(number, 0.35) for number in range(1, 5))]
    decision = decide(build_pool(*contenders))
    assert decision.chosen.choice.form == SEEDS and decision.chosen.cost == Cost(4000, 4.0)


def test_an_ensemble_keeps_to_the_limit():
    contenders = [draw_contender(number, 0.6) for number in range(3)]
    free = choose_ensemble(build_pool(*contenders), np.arange(IMAGES))
    assert len(set(free.networks)) > 2
    limited = choose_ensemble(build_pool(*contenders, limit=Cost(2000, 10.0)), np.arange(IMAGES))
    assert len(set(limited.networks)) == 2 and limited.networks == free.networks[: len(limited.networks)]


def test_a_soup_is_taken_where_it_is_better_and_costs_one_network():
    contenders = [draw_contender(0, 0.6)]
    perfect = [np.eye(size, dtype=np.float32)[column] for size, column in zip(CLASSES, LABELS.T, strict=True)]
    asked = []

    def average(networks):
        asked.append(networks)
        return perfect if networks == ((0, 0), (0, 2)) else contenders[0].find_probabilities(0, 0)

    decision = decide(build_pool(*contenders, soups=[[(0, 0), (0, 1), (0, 2)]], average=average))
    # the second network changes nothing, so the greedy soup takes it, and the pair that is perfect is never reached
    assert ((0, 0), (0, 2)) not in asked
    asked.clear()
    decision = decide(build_pool(*contenders, soups=[[(0, 0), (0, 2), (0, 1)]], average=average))
    assert decision.chosen.choice.form == SOUP and decision.chosen.score.value == 1
    assert decision.chosen.choice.networks == ((0, 0), (0, 2)) and decision.chosen.cost == Cost(1000, 1.0)
    assert len(asked) == len(set(asked))  # each average once


def test_the_table_of_candidates():
    contenders = [draw_contender(0, 0.5, score=0.7), draw_contender(1, 0.7, score=0.9)]
    baseline = draw_contender(2, 0.5, score=None)
    judgement = judge_contenders(contenders, baseline, folds, np.arange(IMAGES), "heldout", RNG(0))
    first, second, last = judgement.rows
    assert (first.candidate.trial, second.candidate.trial, last.candidate.trial) == (1, 0, 2)
    assert first.best_share > 0.95 and first.best_share + second.best_share == pytest.approx(1)
    assert first.gap.value == pytest.approx(0.9 - first.score.value) and last.gap is None and last.versus is None
    assert first.versus.mean.probability > 0.99
    assert first.versus.mean.value == pytest.approx(first.score.value - last.score.value)
    assert first.seconds == 3 * EPOCHS * 1.5 and all(1 <= epoch <= EPOCHS for epoch in first.best_epochs)


def test_one_seed_has_no_gap_on_the_images_of_the_search():
    """Nothing tells how seeds vary then, and on the search's own images nothing else varies."""
    contenders = [draw_contender(0, 0.5, seeds=1)]
    judge = judge_contenders(contenders, None, folds, np.arange(IMAGES), "val", RNG(0))
    assert judge.rows[0].gap is None and judge.noise is None


def test_a_recipe_is_scored_by_seeds_that_did_not_choose_it():
    """Candidates that are lucky with one seed each: chosen by the others, the luck is gone."""
    contenders = [draw_contender(number, 0.5, seeds=2) for number in range(4)]
    answers = answer_by_recipe(contenders, folds)
    assert answers.shape == (2, IMAGES, 2)
    for seed in (0, 1):
        for fold in (0, 5):
            others = np.flatnonzero(folds != fold)
            inside = np.flatnonzero(folds == fold)
            means = [contender.answer(others)[1 - seed, others].mean() for contender in contenders]
            best = contenders[int(np.argmax(means))]
            epoch = best.choose_epochs(others)[1 - seed]  # that of the other seed, not its own
            expected = best.correct[seed, epoch, inside]
            assert np.array_equal(answers[seed, inside], expected)


def test_a_baseline_sends_its_best_seed():
    contender = draw_contender(0, 0.5)
    images = np.arange(60)
    scores = contender.answer(images)[:, images].mean((1, 2))
    assert np.array_equal(answer_by_best_seed(contender, images)[0], contender.answer(images)[scores.argmax()])


@pytest.mark.parametrize(
    "seconds_left, dropped",
    [(80, []), (79, ["c"]), (60, ["c"]), (59, ["c", "a"]), (0, ["c", "a"])],
)
def test_the_worst_go_first_where_time_is_short(seconds_left, dropped):
    """Four trainings of 10 s, two more rounds, one at a time: 80 s. The best and the baseline stay in any case."""
    means = {"a": 0.7, "b": 0.8, "c": 0.6, "baseline": 0.1}
    seconds = dict.fromkeys(means, 10.0)
    assert choose_losers(means, seconds, 2, 1, seconds_left) == dropped
    # eight workers: a round takes as long as its longest training, however many are dropped
    assert choose_losers(means, seconds, 2, 8, 20) == [] and choose_losers(means, seconds, 2, 8, 19) == ["c", "a"]
