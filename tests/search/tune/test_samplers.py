"""First proposals fill the space evenly, TPE comes when it can learn, and what diverged is never among the good."""

import math

import numpy as np
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from fashion_core.data.schema import AttributeSchema, Category
from search.records.events import Observed, TrialEnded
from search.space.reading import parse_space
from search.tune.samplers import ENOUGH, MOST_GOOD, SobolSampler, place_value
from search.tune.study import Study

SCHEMA = AttributeSchema((Category("pattern", ("floral", "solid")), Category("fit", ("tight", "loose"))))
SPACE = """
trials: 64
sampler: tpe
fixed: {weights: none}
search:
  lr: {loguniform: [1e-4, 1e-2]}
  dropout: {uniform: [0, 0.5]}
  fc_layers: {choice: [0, 2, 4]}
  label_smoothing: {uniform: [0, 0.2], when: {fc_layers: [2, 4]}}
  category_weights: {proportions: [0.5, 2]}
scheduler: {type: none, max_epochs: 4}
"""


def build(seed=0, observed=()):
    return Study(parse_space(SPACE, "test"), SCHEMA, (), seed=seed, observed=observed)


def draw(study, count):
    """So many proposals of which none has ended."""
    proposals = []
    for _ in range(count):
        proposals.append(study.draw(-1))
        study.take(proposals[-1])
    return proposals


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("power", [3, 5])
def test_each_equal_part_of_a_range_has_one_of_the_first_points(seed, power):
    """Of 2^n points, in every dimension: independent draws all but never do that."""
    count = 2**power
    drawn = [proposal.drawn for proposal in draw(build(seed), count)]
    places = {
        "lr": [math.log10(each["lr"] / 1e-4) / 2 for each in drawn],
        "dropout": [each["dropout"] / 0.5 for each in drawn],
        "weight_fit": [math.log(each["weight_fit"] / 0.5, 4) for each in drawn],
    }
    for found in places.values():
        assert sorted(math.floor(place * count) for place in found) == list(range(count))
    choices = [sum(each["fc_layers"] == layers for each in drawn) for layers in (0, 2, 4)]
    assert max(choices) - min(choices) <= 2
    assert all(("label_smoothing" in each) == (each["fc_layers"] > 0) for each in drawn)


def test_points_are_those_of_other_seeds_and_numbers():
    first, again, other = (draw(build(seed), 4) for seed in (1, 1, 2))
    assert [each.drawn for each in first] == [each.drawn for each in again]
    assert all(one.drawn != two.drawn for one, two in zip(first, other, strict=True))
    late = SobolSampler(["a", "b"], 7, 5)
    assert late.places == SobolSampler(["a", "b"], 7, 5).places != SobolSampler(["a", "b"], 7, 6).places


@pytest.mark.parametrize(
    ("distribution", "values"),
    [
        (CategoricalDistribution(("x", "y")), ["x", "x", "y", "y"]),
        (IntDistribution(2, 8, step=2), [2, 4, 6, 8]),
        (FloatDistribution(0, 4), [0, 1, 2, 3]),
        (FloatDistribution(1, 16, log=True), [1, 2, 4, 8]),
    ],
)
def test_a_place_is_a_quantile(distribution, values):
    assert [place_value(distribution, place) for place in (0, 0.25, 0.5, 0.75)] == values
    assert distribution._contains(distribution.to_internal_repr(place_value(distribution, np.nextafter(1, 0))))


def observe(lrs, status="finished"):
    """Trials of another search, the higher lr the better."""
    point = {"dropout": 0.1, "fc_layers": 0, "weight_pattern": 1.0, "weight_fit": 1.0}
    return [
        Observed(search="other", trial=number, drawn=point | {"lr": lr}, score=lr, status=status)
        for number, lr in enumerate(lrs)
    ]


def test_it_learns_once_there_is_enough():
    spread = draw(build(3), 1)
    high = np.geomspace(3e-3, 1e-2, ENOUGH)
    assert draw(build(3, observe(high[1:])), 1)[0].drawn == spread[0].drawn
    assert draw(build(3, observe(high)), 1)[0].drawn != spread[0].drawn
    diverged = observe(high, "diverged")
    assert draw(build(3, [*diverged, *observe(high[1:])]), 1)[0].drawn == spread[0].drawn


def test_what_diverged_is_never_among_the_good():
    """However many did: here 300 at small learning rates beside 25 that were stopped at great ones."""
    sound = observe(np.geomspace(3e-3, 1e-2, MOST_GOOD), "stopped")
    diverged = observe(np.geomspace(1e-4, 3e-4, 300), "diverged")
    drawn = [build(seed, [*diverged, *sound]).draw(-1).drawn["lr"] for seed in range(20)]
    assert sum(lr > 1e-3 for lr in drawn) >= 19


def test_trials_of_the_search_that_diverged_are_as_well():
    study = build()
    for proposal in draw(study, ENOUGH):
        study.take(TrialEnded(trial=proposal.trial, status="diverged", best=0.9))
    assert study.draw(-1).drawn == draw(build(), ENOUGH + 1)[-1].drawn
