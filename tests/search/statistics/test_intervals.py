"""Intervals: against textbook tests where these hold, and against truth that is known."""

import csv
import math
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from judging_simulation import GAIN, SCORE, Truth, measure_choice, measure_coverage
from scipy import stats

from search.statistics.gate import compare_answers, judge
from search.statistics.intervals import (
    BOTH,
    IMAGES,
    SEEDS,
    Estimate,
    VarianceParts,
    compare,
    compute_finite,
    compute_gap,
    estimate_score,
    estimate_seed_noise,
)

TABLES = Path(__file__).resolve().parents[3] / "results" / "promotion_statistics"


@st.composite
def draw_scores(draw):
    """Scores [S, N] of two candidates on the same images, shares of six answers."""
    images = draw(st.integers(2, 12))
    sixths = st.integers(0, 6).map(lambda count: count / 6)
    return tuple(draw(arrays(float, (draw(st.integers(1, 4)), images), elements=sixths)) for _ in range(2))


@pytest.mark.parametrize("seeds", [1, 3])
def test_without_seed_noise_it_is_the_paired_t_test(seeds):
    """Networks of one candidate that all answer alike: nothing varies but the images."""
    rng = np.random.default_rng(0)
    one, other = (np.tile(rng.integers(0, 7, 80) / 6, (seeds, 1)) for _ in range(2))
    estimate = compare(one, other, estimate_seed_noise([one, other]))
    reference = stats.ttest_rel(one[0], other[0])
    assert estimate.covers == (IMAGES if seeds == 1 else BOTH)
    assert estimate.value == pytest.approx(np.mean(one - other))
    assert estimate.df == pytest.approx(reference.df)
    assert estimate.compute_interval() == pytest.approx(reference.confidence_interval(0.95))
    assert estimate.p_value == pytest.approx(stats.ttest_rel(one[0], other[0], alternative="greater").pvalue)
    assert estimate.two_sided_p_value == pytest.approx(reference.pvalue)
    assert estimate.compute_upper() == pytest.approx(reference.confidence_interval(0.90).high)


def test_where_images_do_not_differ_it_is_the_t_test_of_seed_means():
    """Every image gets its network's score: nothing varies but the seeds, pooled as in the classical test."""
    rng = np.random.default_rng(1)
    one, other = (np.repeat(rng.random((seeds, 1)), 50, axis=1) for seeds in (3, 5))
    estimate = compare(one, other, estimate_seed_noise([one, other]))
    reference = stats.ttest_ind(one[:, 0], other[:, 0])
    assert estimate.df == pytest.approx(reference.df)
    assert estimate.compute_interval() == pytest.approx(reference.confidence_interval(0.95))


def test_seed_noise_is_the_two_way_analysis_of_variance():
    """Against sums of squares written out, and against the truth on many images."""
    rng = np.random.default_rng(2)
    pool = [rng.random((seeds, 7)) for seeds in (1, 2, 4)]
    noise = estimate_seed_noise(pool)
    between = rest = 0.0
    for scores in pool:
        for seed in range(len(scores)):
            between += (scores[seed].mean() - scores.mean()) ** 2
            for image in range(7):
                fitted = scores[seed].mean() + scores[:, image].mean() - scores.mean()
                rest += (scores[seed, image] - fitted) ** 2
    assert (noise.df, noise.images) == (4, 7)
    assert (noise.between, noise.rest) == pytest.approx((between / 4, rest / (4 * 6)))
    own = np.concatenate([rng.normal(0.8, 0.05, (1, 5000))] * 60)
    scores = own + rng.normal(0, 0.01, (60, 1)) + rng.normal(0, 0.2, (60, 5000))
    noise = estimate_seed_noise([scores])
    assert noise.rest == pytest.approx(0.04, rel=0.02) and noise.seed_sd == pytest.approx(0.01, rel=0.3)


@pytest.mark.slow
def test_what_networks_do_not_share_counts_once():
    """The error of many drawn differences is what one of them says, also where seeds add nothing of their own."""
    rng = np.random.default_rng(3)
    for seed_sd in (0.0, 0.5):
        truth = Truth([SCORE] * 8, seed_sd)
        found = []
        for _ in range(300):
            scores = truth.draw(rng, 3, 250).scores
            found.append(compare(scores[0], scores[1], estimate_seed_noise(list(scores))))
        spread = np.std([estimate.value for estimate in found])
        said = math.sqrt(np.mean([estimate.error**2 for estimate in found]))
        assert said == pytest.approx(spread, rel=0.12)


@given(draw_scores())
def test_a_difference_turned_around_is_its_negative(pair):
    one, other = pair
    noise = estimate_seed_noise([one, other])
    there, back = compare(one, other, noise), compare(other, one, noise)
    assert there.value == -back.value and there.p_value == pytest.approx(1 - back.p_value)
    assert (there.error, there.df, there.covers) == pytest.approx((back.error, back.df, back.covers))
    low, high = there.compute_interval()
    assert back.compute_interval() == pytest.approx((-high, -low))


@given(draw_scores(), st.randoms(use_true_random=False))
def test_the_order_of_images_and_seeds_says_nothing(pair, random):
    images = random.sample(range(pair[0].shape[1]), pair[0].shape[1])
    moved = [scores[random.sample(range(len(scores)), len(scores))][:, images] for scores in pair]
    plain, other = (compare(*scores, estimate_seed_noise(scores)) for scores in (pair, moved))
    assert plain.value == pytest.approx(other.value, abs=1e-12)
    assert plain.error**2 == pytest.approx(other.error**2, abs=1e-12)


@given(draw_scores())
def test_a_candidate_is_neither_better_nor_worse_than_itself(pair):
    estimate = compare(pair[0], pair[0], estimate_seed_noise(pair))
    assert estimate.value == 0 and estimate.p_value == pytest.approx(0.5)
    low, high = estimate.compute_interval()
    assert low == -high <= 0


@given(draw_scores())
def test_an_interval_is_never_narrower_for_the_seeds(pair):
    noise = estimate_seed_noise(pair)
    if noise is not None:
        assert compare(*pair, noise).error >= compare(*pair, None).error
        assert compare(*pair, noise).df >= min(noise.df, pair[0].shape[1] - 1)


def test_one_seed_each_covers_images_alone_and_says_so():
    rng = np.random.default_rng(4)
    one, other = rng.random((1, 30)), rng.random((1, 30))
    assert estimate_seed_noise([one, other]) is None
    assert "over images alone" in compare(one, other, None).render()
    noise = estimate_seed_noise([one, other, rng.random((3, 30))])  # a third candidate tells of seeds
    assert compare(one, other, noise).covers == BOTH


def test_rounding_makes_no_difference():
    """Equal in the mean over seeds, but summed in another order."""
    one = np.array([[0.1, 0.1], [0.2, 0.2], [0.3, 0.3]])
    assert (one.mean(0) != one[[2, 1, 0]].mean(0)).any()
    estimate = compare(one, one[[2, 1, 0]], None)
    assert (estimate.value, estimate.error, estimate.p_value) == (0, 0, 0.5)


def test_certain_differences_have_certain_p_values():
    ones = np.ones((1, 5))
    assert compare(ones, 0 * ones, None).p_value == 0 and compare(0 * ones, ones, None).p_value == 1


def test_the_detectable_gain_is_found_in_eight_cases_of_ten():
    """Normal values and chi-squared errors of that many degrees of freedom, drawn."""
    rng = np.random.default_rng(5)
    for df in (4.0, 30.0):
        gain = Estimate(0.0, 1.0, df, BOTH).compute_detectable()
        errors = np.sqrt(rng.chisquare(df, 20000) / df)
        values = rng.normal(gain, 1, 20000)
        found = [Estimate(*pair, df, BOTH).p_value <= 0.05 for pair in zip(values, errors, strict=True)]
        assert np.mean(found) == pytest.approx(0.8, abs=0.012)
    # in the limit of many images it is the textbook's sum of two quantiles
    assert Estimate(0.0, 2.0, 1e6, BOTH).compute_detectable() == pytest.approx(2 * (1.6449 + 0.8416), rel=1e-3)


@pytest.mark.parametrize("df", [1, 2, 10])
def test_where_all_is_the_seeds_the_p_value_is_that_of_the_t_test(df):
    """To the tails that late tries ask for."""
    parts = VarianceParts(over_images=0.0, between=4.0, rest=0.0, df=df, image_df=10**9)
    for value in (0.0, 0.5, 2.0, 8.0, 40.0):
        assert parts.compute_p_value(value) == pytest.approx(stats.t.sf(value / 2, df), rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(("df", "seed_sd"), [(2, 0.4), (4, 0.8), (10, 0.4), (10, 0.8)])
def test_small_p_values_are_as_rare_as_they_say(df, seed_sd):
    """Drawn from the model itself, in points, 500 images: also at the p-values that the tenth try asks for.

    The t test with Satterthwaite's degrees of freedom has five times as many with few seeds.
    """
    rng, draws, images, share = np.random.default_rng([df, round(10 * seed_sd)]), 100_000, 500, 2 / 3
    rest, own = 0.15, 0.035
    true_images = own + share * rest
    values = rng.normal(0, math.sqrt(true_images + share * seed_sd**2), draws)
    over_images = true_images * rng.chisquare(images - 1, draws) / (images - 1)
    between = share * (seed_sd**2 + rest) * rng.chisquare(df, draws) / df
    wanted = 0.001
    likely = values > 2 * np.sqrt(over_images)  # no other has so small a p-value
    few = sum(
        VarianceParts(image, seed, share * rest, df, images - 1).compute_p_value(value) <= wanted
        for value, image, seed in zip(values[likely], over_images[likely], between[likely], strict=True)
    )
    assert few <= 1.4 * wanted * draws


def test_the_critical_value_has_the_p_value_it_is_for():
    rng = np.random.default_rng(6)
    pool = [(rng.random((3, 60)) < 0.5).astype(float) for _ in range(4)]
    for noise in (estimate_seed_noise(pool), None):
        estimate = compare(pool[0], pool[1], noise)
        for p_value in (0.05, 0.001, 1e-8):
            assert estimate.test(estimate.find_critical(p_value)) == pytest.approx(p_value, rel=1e-3)
        assert estimate.compute_detectable(0.001) > estimate.compute_detectable(0.05) > 0


def test_render_names_points_and_interval():
    assert Estimate(0.0123, 0.005, 1e9, BOTH).render() == (
        "+1.23 points (95% interval over images and seeds: +0.25 to +2.21)"
    )


def test_the_gap_on_the_same_images_is_uncertain_by_the_seeds():
    rng = np.random.default_rng(6)
    scores = rng.random((4, 50))
    gap = compute_gap(0.9, scores, estimate_seed_noise([scores]), same_images=True)
    reference = stats.ttest_1samp(scores.mean(1), 0.9).confidence_interval(0.95)
    assert gap.covers == SEEDS and gap.value == pytest.approx(0.9 - scores.mean())
    assert gap.compute_interval() == pytest.approx((0.9 - reference.high, 0.9 - reference.low))


def test_the_gap_on_other_images_is_as_uncertain_as_the_score():
    rng = np.random.default_rng(7)
    scores = rng.random((4, 50))
    noise = estimate_seed_noise([scores])
    gap, score = compute_gap(0.9, scores, noise, same_images=False), estimate_score(scores, noise)
    assert (gap.value, gap.error, gap.df) == (pytest.approx(0.9 - score.value), score.error, score.df)
    alone = compute_gap(0.9, scores[:1], None, same_images=False)
    reference = stats.ttest_1samp(scores[0], 0.9).confidence_interval(0.95)
    assert alone.covers == IMAGES
    assert alone.compute_interval() == pytest.approx((0.9 - reference.high, 0.9 - reference.low))


def test_the_gap_on_the_same_images_needs_seeds():
    with pytest.raises(ValueError, match=r"needs a candidate with two seeds or more, but there is none; re-run"):
        compute_gap(0.9, np.ones((1, 5)), None, same_images=True)


SOME = np.zeros((2, 5, 6))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: compare(np.ones(4), np.ones(4), None), r"must be \[seeds, images\].* but are \[4\]; give"),
        (lambda: compare(np.ones((1, 1)), np.ones((1, 1)), None), r"two images or more, but are \[1, 1\]; give"),
        (lambda: compare(np.ones((1, 4)), np.ones((1, 5)), None), "the same images, but were on 4 and 5; score both"),
        (lambda: estimate_score(np.full((1, 3), np.nan), None), "must be finite, but 3 of 3 are not; leave"),
        (lambda: estimate_seed_noise([np.ones((2, 4)), np.ones((2, 5))]), r"same images, but were on \[4, 5\]; score"),
        (lambda: compare_answers(SOME[0], SOME, []), r"\[seeds, images, categories\], but are \[5, 6\]; give"),
        (lambda: compare_answers(SOME + 3, SOME, []), "0 for wrong to 1 for right, but reach from 3.0 to 3.0; give"),
        (
            lambda: compare_answers(SOME[..., :1] + np.array([0, np.nan]), SOME[..., :2], []),
            r"two labelled images or more, but they are \[5, 0\]; leave a",
        ),
        (lambda: compare_answers(SOME, SOME[:, :, 1:], []), r"same categories, but are of \[5, 6\]; answer"),
        (lambda: judge(SOME, SOME, [], ["a", "b"]), "must have a name, but 6 have 2; name each"),
    ],
)
def test_wrong_input_is_refused_with_rule_value_and_remedy(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.slow
@pytest.mark.parametrize(("images", "seeds", "seed_sd"), [(250, 3, 0.2), (250, 3, 0.8), (500, 5, 0.4)])
def test_intervals_hold_the_truth(images, seeds, seed_sd):
    """A part of the table of `judging_simulation.py`. Of 600 draws at 95%, one share in a thousand is below 92.1%."""
    found = measure_coverage(images, seeds, seed_sd, repetitions=600)
    for name in ("of_two", "of_all", "uneven", "score", "gap_same", "gap_other"):
        assert 0.92 <= found[name] <= 0.98, name
    assert found["images_only"] < found["of_all"] < found["twice"]
    assert found["opens"] < 0.075 and found["power"] == pytest.approx(0.8, abs=0.06)


@pytest.mark.slow
def test_cross_fitting_takes_the_luck_out_of_the_best_of_many():
    found = measure_choice(count=8, spread=0.0, repetitions=150)
    assert found["naive_network"] > 0.15 and abs(found["images_network"]) < 0.1
    assert found["naive_recipe"] > 0.3 and abs(found["both_recipe"]) < 0.1


def test_the_committed_tables_say_what_is_claimed():
    cells = [{name: float(value) for name, value in row.items()} for row in read_rows("coverage.csv")]
    assert len({(row["images"], row["seeds"], row["seed_sd"]) for row in cells}) == 18
    for row in cells:
        assert row["repetitions"] >= 1000 and GAIN == 0.01
        for name in ("of_two", "of_all", "uneven", "score", "gap_same", "gap_other"):
            assert 0.92 <= row[name] <= 0.98, (name, row)
    for row in read_rows("choice.csv"):
        assert abs(float(row["images_network"])) < 0.1 < float(row["naive_network"])
        assert abs(float(row["both_recipe"])) < 0.1 < float(row["naive_recipe"])


def read_rows(name):
    with (TABLES / name).open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("everyone", [4, 7, 12])
def test_the_interval_of_a_finite_number_holds_it_and_is_possible(everyone):
    """Every number that there can be, every draw of it: by counting all of them."""
    for drawn in range(1, everyone + 1):
        for number in range(everyone + 1):
            draws = [sum(each < number for each in draw) for draw in combinations(range(everyone), drawn)]
            held = 0
            for found in set(draws):
                low, high = compute_finite(found, drawn, everyone)
                assert found <= low <= high <= everyone - (drawn - found)
                held += draws.count(found) * (low <= number <= high)
            assert held >= 0.95 * len(draws)


def test_the_interval_of_a_finite_number_is_no_wider_than_it_must_be():
    assert compute_finite(0, 3, 4) == (0, 1) and compute_finite(3, 3, 3) == (3, 3)
    for found, drawn, everyone in ((0, 10, 40), (3, 10, 40), (1, 5, 60)):
        low, high = compute_finite(found, drawn, everyone)
        assert (
            stats.hypergeom.cdf(found, everyone, high, drawn)
            > 0.025
            >= stats.hypergeom.cdf(found, everyone, high + 1, drawn)
        )
        assert low == 0 or stats.hypergeom.sf(found - 1, everyone, low, drawn) > 0.025
        assert low == found or stats.hypergeom.sf(found - 1, everyone, low - 1, drawn) <= 0.025
