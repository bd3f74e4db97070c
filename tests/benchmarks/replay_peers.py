"""Other libraries' own searchers and schedulers, on the simulated clock: Optuna, Ray Tune, and Syne Tune where it is.

All have rungs from 1 epoch on and a reduction factor of 3, their common default, unless they choose their own.
"""

from __future__ import annotations

import datetime
import importlib.util
import logging
import warnings
from types import SimpleNamespace
from typing import Any

import optuna
from replay_clock import Segment
from replay_curves import SCHEMA
from replay_methods import Build

from search.space.space import Space
from search.space.weights import WEIGHTS

FACTOR = 3


class OptunaHyperband:
    """Optuna's TPE with its own Hyperband pruner."""

    def __init__(self, space: Space, epochs: int, budget: int, seed: int) -> None:
        self.space, self.max_epochs = space, epochs
        pruner = optuna.pruners.HyperbandPruner(min_resource=1, max_resource=epochs, reduction_factor=FACTOR)
        sampler = optuna.samplers.TPESampler(seed=seed)
        name = f"replay {seed}"  # the pruner makes a trial's bracket of it
        self.study = optuna.create_study(direction="maximize", sampler=sampler, pruner=pruner, study_name=name)
        self.trials: list[optuna.Trial] = []

    def next(self) -> Segment:
        """A new configuration."""
        trial = self.study.ask()
        self.space.suggest(trial, SCHEMA)
        self.trials.append(trial)
        return Segment(trial.number, dict(trial.params), 1, self.max_epochs)

    def take(self, trial: int, epoch: int, score: float) -> bool:
        """See `replay_clock.Method`."""
        asked = self.trials[trial]
        asked.report(score, epoch)
        if epoch == self.max_epochs:
            self.study.tell(asked, score)
        elif asked.should_prune():
            self.study.tell(asked, state=optuna.trial.TrialState.PRUNED)
            return True
        return False


class RayASHA:
    """Ray Tune's ASHAScheduler with its OptunaSearch: the sampler is told a stopped trial's last score as a result."""

    def __init__(self, space: Space, epochs: int, budget: int, seed: int) -> None:
        from ray.tune.schedulers import ASHAScheduler
        from ray.tune.search.optuna import OptunaSearch

        logging.getLogger("ray.tune").setLevel(logging.ERROR)

        def define(trial: optuna.Trial) -> None:
            space.suggest(trial, SCHEMA)

        warnings.filterwarnings("ignore", message="Define-by-run function")  # it is slow on a machine that is busy
        self.searcher = OptunaSearch(space=define, metric="score", mode="max", seed=seed)
        self.scheduler = ASHAScheduler(
            time_attr="training_iteration",
            metric="score",
            mode="max",
            max_t=epochs,
            grace_period=1,
            reduction_factor=FACTOR,
        )
        self.max_epochs, self.trials = epochs, list[Any]()

    def next(self) -> Segment:
        """A new configuration."""
        number = len(self.trials)
        trial = SimpleNamespace(trial_id=str(number))
        params = self.searcher.suggest(trial.trial_id)
        self.trials.append(trial)
        self.scheduler.on_trial_add(None, trial)
        return Segment(number, params, 1, self.max_epochs)

    def take(self, trial: int, epoch: int, score: float) -> bool:
        """See `replay_clock.Method`."""
        result, ray_trial = {"score": score, "training_iteration": epoch}, self.trials[trial]
        self.searcher.on_trial_result(ray_trial.trial_id, result)
        decision = self.scheduler.on_trial_result(None, ray_trial, result)
        if decision == self.scheduler.CONTINUE and epoch < self.max_epochs:
            return False
        self.scheduler.on_trial_complete(None, ray_trial, result)
        self.searcher.on_trial_complete(ray_trial.trial_id, result)
        return True


class SyneTune:
    """One of Syne Tune's schedulers. `has_syne_tune` says whether it can be imported.

    Args:
        name: of a class of `syne_tune.optimizer.baselines`.
    """

    def __init__(self, name: str, space: Space, epochs: int, seed: int) -> None:
        from syne_tune.optimizer import baselines

        logging.getLogger("syne_tune").setLevel(logging.ERROR)
        warnings.simplefilter("ignore", FutureWarning)  # of pandas, at every draw
        self.scheduler = getattr(baselines, name)(
            config_space=build_syne_space(space),
            metric="score",
            time_attr="epoch",
            max_t=epochs,
            do_minimize=False,
            random_seed=seed,
            grace_period=1,
            reduction_factor=FACTOR,
        )
        self.max_epochs, self.trials = epochs, list[Any]()

    def next(self) -> Segment:
        """A new configuration."""
        from syne_tune.backend.trial_status import Trial

        number = len(self.trials)
        trial = Trial(number, self.scheduler.suggest().config, datetime.datetime.now())
        self.trials.append(trial)
        self.scheduler.on_trial_add(trial)
        return Segment(number, trial.config, 1, self.max_epochs)

    def take(self, trial: int, epoch: int, score: float) -> bool:
        """See `replay_clock.Method`."""
        result, syne_trial = {"score": score, "epoch": epoch}, self.trials[trial]
        if epoch == self.max_epochs:
            self.scheduler.on_trial_complete(syne_trial, result)
            return True
        if self.scheduler.on_trial_result(syne_trial, result) == "CONTINUE":
            return False
        self.scheduler.on_trial_remove(syne_trial)
        return True


def build_syne_tune(name: str) -> Build:
    """See `SyneTune`."""
    return lambda space, epochs, budget, seed: SyneTune(name, space, epochs, seed)


def has_syne_tune() -> bool:
    """Whether this environment has it; the project's own has not."""
    return importlib.util.find_spec("syne_tune") is not None


def build_syne_space(space: Space) -> dict[str, Any]:
    """The space in its words."""
    from syne_tune.config_space import choice, loguniform, uniform

    found: dict[str, Any] = {}
    for parameter in space.parameters:
        for name in space.weight_names(SCHEMA) if parameter.name == WEIGHTS else [parameter.name]:
            if parameter.kind == "choice":
                found[name] = choice(list(parameter.values))
            elif parameter.kind in ("loguniform", "proportions"):
                found[name] = loguniform(*map(float, parameter.values))
            else:
                found[name] = uniform(*map(float, parameter.values))
    return found
