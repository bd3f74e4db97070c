"""What is judged against what: recipes by seeds that did not choose them, a baseline in the form of what may ship."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from drawn_candidates import IMAGES, LABELS, draw_candidate, folds
from drawn_models import draw_model

from fashion_core.models.ensemble import save_member
from search.promotion.forms import MAX_MEMBERS, SEEDS, Choice, Pool, decide
from search.promotion.judgement import Trained
from search.promotion.opponent import answer_by_recipe, ask_gate, find_share, stand_in
from search.promotion.options import ENSEMBLE, SINGLE, SOUP
from search.records.layout import FinalLayout
from search.registry.versions import Version
from search.statistics.crossfit import cross_fit
from search.statistics.gate import compare_answers
from search.statistics.intervals import BOTH
from search.statistics.members import select_members


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


@pytest.mark.parametrize("form", [SINGLE, SOUP, SEEDS, ENSEMBLE, None])
@pytest.mark.parametrize("seeds", [1, 3])
def test_a_baseline_is_judged_in_the_form_of_what_may_ship(form, seeds):
    """By loops over folds: its networks in the mean, or an ensemble of them all, or a greedy one; None: each seed."""
    baseline = draw_candidate(0, 0.5, seeds=seeds)
    trained, material = SimpleNamespace(baseline=baseline), SimpleNamespace(folds=folds)
    opponent = stand_in(trained, material, form, True)
    expected = np.empty((seeds if form is None else 1, IMAGES, 2))
    for fold in np.unique(folds):
        others, inside = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        answers = baseline.answer(others)
        networks = [
            baseline.find_probabilities(seed, epoch) for seed, epoch in enumerate(baseline.choose_epochs(others))
        ]
        members = range(seeds)
        if form == ENSEMBLE:
            stacked = [np.stack(columns)[:, others] for columns in zip(*networks, strict=True)]
            members = select_members(stacked, LABELS[others], MAX_MEMBERS)
        means = [sum(networks[member][at] for member in members) / len(members) for at in range(2)]
        ensemble = np.stack([values.argmax(1) for values in means], 1) == LABELS
        found = {None: answers, SEEDS: ensemble[None], ENSEMBLE: ensemble[None]}.get(form, answers.mean(0)[None])
        expected[:, inside] = found[:, inside]
    np.testing.assert_array_equal(opponent.answers, expected)
    assert opponent.one_network.shape == (seeds, IMAGES, 2)
    kind = {SEEDS: "an ensemble", ENSEMBLE: "an ensemble"}.get(form, "the mean")
    assert opponent.words == ("the baseline" if seeds == 1 else f"the baseline, {kind} of its 3 networks")
    assert opponent.share >= 1 / seeds and (form == ENSEMBLE or opponent.share == pytest.approx(1 / seeds))


def promote(decision, candidates, *, is_recipe, registry=SimpleNamespace(list_versions=list)):
    """What the gate says of candidates, the last of which is the baseline."""
    *found, baseline = candidates
    trained = Trained(tuple(found), baseline)
    material = SimpleNamespace(
        folds=folds,
        labels=LABELS,
        schema=SimpleNamespace(names=("a", "b")),
        groups=np.arange(IMAGES),
        val=np.arange(IMAGES),
        list_digests=lambda images: [f"{image}" for image in images],
    )
    promotion = SimpleNamespace(
        material=material,
        options=SimpleNamespace(is_recipe=is_recipe),
        registry=registry,
        key="one",
        plan=SimpleNamespace(baseline=baseline),
        tries=SimpleNamespace(enter=lambda words, digest, score: ((words, score),)),
    )
    judgement = SimpleNamespace(answers=tuple(cross_fit(each.answer, folds) for each in candidates))
    return ask_gate(promotion, trained, judgement, decision)


@pytest.mark.parametrize("is_recipe", [False, True])
def test_a_single_network_is_judged_by_its_recipe_where_there_is_no_champion(is_recipe):
    """Not the best of its seeds against the mean of the baseline's: that advantage is luck."""
    candidates = [draw_candidate(number, 0.6) for number in range(3)]
    decision = decide(Pool(candidates[:2], LABELS, folds, has_ensemble=False))
    gate = promote(decision, candidates, is_recipe=is_recipe)
    recipe = answer_by_recipe(candidates[:2], folds)
    baseline = cross_fit(candidates[2].answer, folds)
    found = compare_answers(recipe, baseline, [cross_fit(each.answer, folds) for each in candidates])
    assert gate.verdict.difference == found and found.mean.covers == BOTH
    assert gate.attempts == (("the baseline, the mean of its 3 networks", pytest.approx(recipe.mean())),)
    assert gate.answers.shape[0] == (3 if is_recipe else 1)  # what ships is told of as it is
    assert "what is compared is the recipe, in the mean of its 3 networks" in gate.reasons[1]
    assert ("what ships is the best of them" in gate.reasons[1]) is not is_recipe


@pytest.mark.parametrize("is_recipe", [False, True])
def test_an_ensemble_is_judged_with_what_seeds_vary(is_recipe):
    candidates = [draw_candidate(number, 0.6) for number in range(2)]
    pool = Pool(candidates[:1], LABELS, folds)
    decision = decide(pool)
    form = next(form for form in decision.forms if form.choice.form == SEEDS)
    gate = promote(replace(decision, chosen=form), candidates, is_recipe=is_recipe)
    everyone = [cross_fit(each.answer, folds) for each in candidates]
    found = compare_answers(decision.answers, gate.opponent.answers, everyone, share=2 / 3)
    assert gate.verdict.difference == found and found.mean.covers == BOTH
    assert "trained again with other seeds" in gate.reasons[1]


@pytest.fixture
def champion(tmp_path):
    """Makes a registry whose champion answered the same images. What it was trained on was not written down."""

    def write(correct, **answers):
        save_member(tmp_path, draw_model(0))
        digests = np.array([f"{image}" for image in range(IMAGES)])
        np.savez(FinalLayout(tmp_path).answers, digests=digests, correct=correct, labels=LABELS, **answers)
        version = Version("m", 7, "run", {}, ("champion",))
        return SimpleNamespace(list_versions=lambda: [version], download=lambda found: tmp_path)

    return write


@pytest.mark.parametrize("is_recipe", [False, True])
@pytest.mark.parametrize("has_ensemble", [False, True])
def test_a_single_champion_is_compared_by_its_reruns(has_ensemble, is_recipe, champion):
    """Mean against mean, of one network each; what seeds vary counts, the champion's too. What ships is told beside."""
    candidates = [draw_candidate(number, 0.6) for number in range(4)]
    theirs = cross_fit(draw_candidate(9, 0.5).answer, folds)
    decision = decide(Pool(candidates[:2], LABELS, folds, has_ensemble=has_ensemble))
    if has_ensemble:
        decision = replace(decision, chosen=next(form for form in decision.forms if form.choice.form == SEEDS))
    gate = promote(decision, candidates, is_recipe=is_recipe, registry=champion(theirs[:1], recipe=theirs))
    ours = decision.answers if has_ensemble else answer_by_recipe(candidates[:3], folds)
    everyone = [*(cross_fit(each.answer, folds) for each in candidates), theirs]
    found = compare_answers(ours, theirs, everyone, share=2 / 3)
    assert gate.verdict.difference == found and found.mean.covers == BOTH
    assert gate.opponent.words == "the champion, version 7, the mean of its 3 re-runs"
    assert "is a single network, so it is compared by its recipe" in gate.reasons[1]
    assert ("what is compared is the recipe, in the mean of its 3 networks" in gate.reasons[2]) is not has_ensemble
    shipped = compare_answers(gate.answers, theirs[:1], ())
    assert gate.as_shipped == (None if is_recipe else shipped)
    assert any("what ships against what shipped" in reason for reason in gate.reasons) is not is_recipe
    assert (gate.recipe is None) is has_ensemble
    assert (gate.one_network is None) is not has_ensemble  # of single ones it is what was judged


def test_a_single_champion_without_reruns_is_compared_as_it_is(champion):
    candidates = [draw_candidate(number, 0.6) for number in range(3)]
    theirs = cross_fit(draw_candidate(9, 0.5).answer, folds)[:1]
    decision = decide(Pool(candidates[:2], LABELS, folds, has_ensemble=False))
    gate = promote(decision, candidates, is_recipe=False, registry=champion(theirs))
    assert gate.verdict.difference == compare_answers(decision.answers, theirs, ()) and gate.as_shipped is None
    assert gate.reasons[1].endswith("compared as it is: there are no answers of two re-runs of it")
    assert any("nothing of other seeds" in reason for reason in gate.reasons)
    np.testing.assert_array_equal(gate.recipe, answer_by_recipe(candidates[:2], folds))  # kept for who comes after


def test_members_that_count_twice_vary_more():
    choice = Choice(ENSEMBLE, ((0, 0), (0, 0), (1, 2)), [])
    assert find_share(choice) == pytest.approx(5 / 9)
    assert find_share(Choice(SOUP, choice.networks, [])) == find_share(Choice(SINGLE, ((0, 0),), [])) == 1


def test_one_network_is_the_mean_of_the_best_candidates():
    """Of candidates whose networks differ, chosen on the other folds: no network is chosen by its luck."""
    candidates = [draw_candidate(number, 0.5) for number in range(3)]
    decision = decide(Pool(candidates, LABELS, folds))
    for fold in np.unique(folds):
        others, inside = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        best = max(candidates, key=lambda each: each.answer(others)[:, others].mean())
        np.testing.assert_allclose(decision.one_network[0, inside], best.answer(others)[:, inside].mean(0))
    for form in decision.forms:
        assert form.gain.value == pytest.approx((form.answers - decision.one_network).mean(), abs=1e-9)


def test_the_commonest_class_is_of_labelled_images():
    labels = np.array([[0, 1], [-1, 1], [-1, 0], [2, -1], [2, 1]])
    material = SimpleNamespace(
        first=SimpleNamespace(labels=labels), train=np.array([0, 2, 3, 4]), labels=labels[[1, 3]]
    )
    trained = SimpleNamespace(baseline=None)
    opponent = stand_in(trained, material, SINGLE, has_baseline=False)
    np.testing.assert_array_equal(opponent.answers, [[[np.nan, 1], [1, np.nan]]])  # in train 2 and 1
