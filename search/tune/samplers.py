"""What draws a proposal: a point of a Sobol sequence, which fills the space evenly, until TPE has enough to learn from.

What trial n is, follows from the search's seed, n and what the sampler is told: a sampler lives for one proposal.

Sources: Owen 1998 (scrambled Sobol points, scipy's `qmc`); Bergstra et al. 2011 (TPE, Optuna's).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState
from scipy.stats import qmc

if TYPE_CHECKING:
    from collections.abc import Sequence

    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

    from fashion_core.data.schema import AttributeSchema
    from search.space.space import Space

ENOUGH = 10  # results to learn from, before TPE models them: Optuna's default, see results/benchmarks/REPLAY.md
GOOD_SHARE, MOST_GOOD = 0.1, 25  # of the results, those that TPE models as the good ones: Optuna's default
DIVERGED_STEP = 0  # before every rung: a diverged trial is told as stopped there, so TPE ranks it last
SEED_STREAM = 2_000_003  # keeps the seeds of samplers apart from those of trials


class SobolSampler(optuna.samplers.BaseSampler):
    """A point of a scrambled Sobol sequence; each parameter of the space has a dimension, whether it is drawn or not.

    Optuna's `QMCSampler` counts its points in the study's attributes, and a study that is built anew gets the first.

    Args:
        names: of all parameters that the space can draw.
        number: of the point.
    """

    def __init__(self, names: Sequence[str], seed: int, number: int) -> None:
        points = qmc.Sobol(len(names), rng=seed)
        if number:
            points.fast_forward(number)
        self.places = dict(zip(names, points.random(1)[0].tolist(), strict=True))

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Nothing is drawn together: the point is known."""
        return {}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Nothing."""
        return {}

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """The value at the point's place in this dimension."""
        return place_value(param_distribution, self.places[param_name])


def place_value(distribution: BaseDistribution, place: float) -> Any:
    """The value of a distribution at a place of [0, 1): quantiles, and each choice or whole number an equal share."""
    match distribution:
        case CategoricalDistribution(choices=choices):
            return choices[int(place * len(choices))]
        case IntDistribution(low=low, high=high, step=step):
            return low + step * int(place * ((high - low) // step + 1))
    assert isinstance(distribution, FloatDistribution)  # a space draws no other
    first, last = distribution.low, distribution.high
    value = first * (last / first) ** place if distribution.log else first + (last - first) * place
    return min(max(value, first), last)


def build_sampler(
    space: Space, schema: AttributeSchema, seed: int, number: int, told: Sequence[FrozenTrial], attempt: int = 0
) -> optuna.samplers.BaseSampler:
    """What draws the proposal of this number. The points of a grid are enqueued, so its sampler never draws.

    Args:
        seed: of the search.
        told: what Optuna's study knows; TPE learns once enough are sound, so that it takes none that diverged as good.
        attempt: how often this proposal was drawn before, and not allowed.
    """
    again = (attempt,) if attempt else ()
    if space.sampler != "tpe":
        return optuna.samplers.RandomSampler(seed=draw_seed(seed, number, *again))
    good = min(math.ceil(GOOD_SHARE * len(told)), MOST_GOOD)
    if sum(map(is_sound, told)) < max(ENOUGH, good):
        return SobolSampler(space.list_names(schema), draw_seed(seed, *again), number)
    return optuna.samplers.TPESampler(seed=draw_seed(seed, number, *again), n_startup_trials=ENOUGH)


def is_sound(trial: FrozenTrial) -> bool:
    """Whether a trial has a score that can be among the good: the diverged, told as step 0, have none."""
    return trial.state is TrialState.COMPLETE or (
        trial.state is TrialState.PRUNED and DIVERGED_STEP not in trial.intermediate_values
    )


def draw_seed(*of: int) -> int:
    """A seed for a sampler."""
    return int(np.random.SeedSequence([of[0], SEED_STREAM, *of[1:]]).generate_state(1, np.uint32)[0])
