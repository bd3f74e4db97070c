"""Ways to search, on the simulated clock: the product's own, and textbook ones that need no other library than Optuna.

A method is given a space, the epochs of a full training and a seed. None knows a configuration beforehand.
"""

from __future__ import annotations

import math
import warnings
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, ClassVar, Protocol

import numpy as np
import optuna
from optuna.trial import create_trial
from replay_clock import Segment
from replay_curves import SCHEMA

from fashion_core import metrics
from search.records.events import EpochEnded, TrialEnded, TrialProposed, TrialStatus
from search.space.rungs import PROMOTION, STOPPING, Scheduler, list_rungs
from search.space.space import Space
from search.tune.decisions import Promotions, Rungs
from search.tune.samplers import ENOUGH, draw_seed
from search.tune.study import RungStudy, Study


class ProductSearch:
    """The product's stopping form: `search.tune.study` draws, `search.tune.decisions` stops, as `search.tune.watch`
    has it.
    """

    def __init__(self, space: Space, seed: int) -> None:
        self.study = Study(space, SCHEMA, (), seed=seed)
        self.rungs = Rungs(space.scheduler.rungs(), space.scheduler.reduction_factor)
        self.max_epochs = space.scheduler.max_epochs
        self.bests: dict[int, tuple[float, int]] = {}  # score and epoch, by trial

    def next(self) -> Segment:
        """A new configuration."""
        proposal = self.study.draw(-1)
        return Segment(proposal.trial, dict(proposal.drawn), 1, self.max_epochs)

    def take(self, trial: int, epoch: int, score: float) -> bool:
        """See `replay_clock.Method`."""
        self.bests[trial] = best, best_epoch = max(self.bests.get(trial, (score, epoch)), (score, epoch))
        stop = self.rungs.take(trial, epoch, best)
        if stop is not None or epoch == self.max_epochs:
            status = TrialStatus.FINISHED if stop is None else TrialStatus.STOPPED
            rung = None if stop is None else stop.rung
            self.study.take(TrialEnded(trial=trial, status=status, best=best, best_epoch=best_epoch, rung=rung))
        return stop is not None


class PausingSearch:
    """The product's promotion form, as `search.tune.watch` has it."""

    def __init__(self, space: Space, seed: int) -> None:
        scheduler = space.scheduler
        assert scheduler.reduction_factor is not None
        epochs = [*scheduler.rungs(), scheduler.max_epochs]
        self.study = RungStudy(space, SCHEMA, (), seed=seed, epochs=epochs)
        self.promotions = Promotions(epochs[:-1], scheduler.reduction_factor, epochs[-1])
        self.max_epochs = epochs[-1]
        self.trials: dict[int, Any] = {}  # status, rung, epochs, as the ledger's records have them
        self.bests: dict[int, float] = {}

    def next(self) -> Segment:
        """A promotion from as high as there is one, else a new configuration."""
        number = self.promotions.choose(self.trials, (), is_last=False)
        if number is None:
            proposal = self.study.draw(-1)
            number = proposal.trial
            self.trials[number] = SimpleNamespace(climbed=0, drawn=proposal.drawn, last_epoch=0)
        trial = self.trials[number]
        trial.status = TrialStatus.RUNNING
        return Segment(number, dict(trial.drawn), trial.climbed + 1, self.promotions.find_next(trial.climbed))

    def take(self, trial: int, epoch: int, score: float) -> bool:
        """See `replay_clock.Method`."""
        self.bests[trial] = max(score, self.bests.get(trial, score))
        self.study.take(EpochEnded(trial=trial, epoch=epoch, metrics={metrics.ACCURACY: score}))
        self.promotions.take(trial, epoch, self.bests[trial])
        self.trials[trial].last_epoch = epoch
        if epoch == self.max_epochs:
            self.trials[trial].status = TrialStatus.FINISHED
            self.study.take(TrialEnded(trial=trial, status=TrialStatus.FINISHED, best=self.bests[trial]))
        elif epoch == self.promotions.find_next(self.trials[trial].climbed):
            self.trials[trial].status, self.trials[trial].climbed = TrialStatus.PAUSED, epoch
        return False


class PlainTPE(Study):
    """As the product drew until version 0.2: TPE after ten results, told of all, and independent draws before."""

    def draw(self, after: int) -> TrialProposed:
        """See `Study.draw`."""
        number = self.count
        trial, params = self.ask(optuna.samplers.TPESampler(seed=draw_seed(self.seed, number)))
        return TrialProposed(trial=number, params=params, drawn=trial.params, enqueued=False, after=after)


class Sampler(Protocol):
    """Draws configurations, and may learn of scores."""

    def draw(self, trial: int) -> dict[str, Any]:
        """The next trial's parameters."""

    def learn(self, trial: int, epoch: int, score: float) -> None:
        """Of a trial at a rung."""


class RandomDraws:
    """Independent draws: trial n has the parameters that the product's random search gives it, in every method.

    Attributes:
        known: what was drawn so far, by space and seed: most methods ask for the same.
    """

    known: ClassVar[dict[tuple[str, int], tuple[Study, list[dict[str, Any]]]]] = {}

    def __init__(self, space: Space, seed: int) -> None:
        random = replace(space, sampler="random")
        self.study, self.drawn = self.known.setdefault((space.hash, seed), (Study(random, SCHEMA, (), seed=seed), []))

    def draw(self, trial: int) -> dict[str, Any]:
        """See `Sampler`."""
        while len(self.drawn) <= trial:
            self.drawn.append(dict(self.study.draw(-1).drawn))
        return self.drawn[trial]

    def learn(self, trial: int, epoch: int, score: float) -> None:
        """Nothing."""


class SobolDraws:
    """Scrambled Sobol points, as Optuna has them."""

    def __init__(self, space: Space, seed: int) -> None:
        warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
        self.space = space
        self.study = optuna.create_study(sampler=optuna.samplers.QMCSampler(seed=seed, scramble=True))

    def draw(self, trial: int) -> dict[str, Any]:
        """See `Sampler`."""
        asked = self.study.ask()
        self.space.suggest(asked, SCHEMA)
        self.study.tell(asked, 0.0)  # it takes its search space from trials that ended
        return dict(asked.params)

    def learn(self, trial: int, epoch: int, score: float) -> None:
        """Nothing."""


class ComparableTPE:
    """TPE that knows only what is comparable: scores at the highest rung that has enough of them.

    Args:
        enough: scores, below which it draws at random.
        is_spread: the first draws are Sobol points instead.
        is_joint: parameters are modelled together, in groups that are drawn together.
    """

    def __init__(
        self, space: Space, seed: int, enough: int = ENOUGH, *, is_spread: bool = False, is_joint: bool = False
    ) -> None:
        self.space, self.seed, self.enough = space, seed, enough
        self.is_joint = is_joint
        self.spread = SobolDraws(space, seed) if is_spread else None
        self.drawn: list[dict[str, Any]] = []
        self.distributions: dict[str, Any] = {}
        self.scores: dict[int, dict[int, float]] = {}  # by epoch and trial

    def draw(self, trial: int) -> dict[str, Any]:
        """See `Sampler`."""
        known = next((self.scores[epoch] for epoch in sorted(self.scores)[::-1] if self.has_enough(epoch)), {})
        seed = draw_seed(self.seed, trial)
        sampler = optuna.samplers.TPESampler(
            seed=seed, n_startup_trials=self.enough, multivariate=self.is_joint, group=self.is_joint
        )
        study = optuna.create_study(direction="maximize", sampler=sampler)
        study.add_trials(
            [
                create_trial(params=self.drawn[number], distributions=self.distributions, value=score)
                for number, score in known.items()
            ]
        )
        if self.spread is not None and not known:
            study.enqueue_trial(self.spread.draw(trial))
        asked = study.ask()
        self.space.suggest(asked, SCHEMA)
        self.distributions = asked.distributions
        self.drawn.append(dict(asked.params))
        return dict(asked.params)

    def has_enough(self, epoch: int) -> bool:
        """Whether a rung says something."""
        return len(self.scores[epoch]) >= self.enough

    def learn(self, trial: int, epoch: int, score: float) -> None:
        """See `Sampler`."""
        self.scores.setdefault(epoch, {})[trial] = score


class PromotionASHA:
    """Asynchronous successive halving as Li et al. 2020 have it (arXiv:1810.05934, algorithm 2): a trial pauses at its
    rung, and goes on once it is among the best 1/factor there.

    Args:
        rungs: epochs, ascending, the last a full training.
    """

    def __init__(self, sampler: Sampler, rungs: Sequence[int], factor: int) -> None:
        self.sampler, self.rungs, self.factor = sampler, list(rungs), factor
        self.params: list[dict[str, Any]] = []
        self.scores: list[dict[int, float]] = [{} for _ in rungs]  # by trial
        self.promoted: list[set[int]] = [set() for _ in rungs]
        self.bests: dict[int, float] = {}

    @property
    def top(self) -> int:
        """The rung from which none is promoted."""
        return len(self.rungs) - 1

    def next(self) -> Segment:
        """A promotion from as high as there is one, else a new configuration."""
        for rung in range(self.top)[::-1]:
            scores = self.scores[rung]
            for trial in sorted(scores, key=lambda each: -scores[each])[: len(scores) // self.factor]:
                if trial not in self.promoted[rung]:
                    self.promoted[rung].add(trial)
                    return Segment(trial, self.params[trial], self.rungs[rung] + 1, self.rungs[rung + 1])
        trial = len(self.params)
        self.params.append(self.sampler.draw(trial))
        return Segment(trial, self.params[trial], 1, self.rungs[0])

    def take(self, trial: int, epoch: int, score: float) -> bool:
        """See `replay_clock.Method`."""
        self.bests[trial] = max(score, self.bests.get(trial, score))
        if epoch in self.rungs:
            self.scores[self.rungs.index(epoch)][trial] = self.bests[trial]
            self.sampler.learn(trial, epoch, self.bests[trial])
        return False


class PASHA(PromotionASHA):
    """Promotion ASHA whose highest rung rises only while the two highest order their trials differently.

    Source: Bohdal et al. 2023, "PASHA: Efficient HPO and NAS with Progressive Resource Allocation": differences below
    epsilon do not count, which is the 90th percentile of the last differences of pairs whose curves cross twice.
    """

    def __init__(self, sampler: Sampler, rungs: Sequence[int], factor: int) -> None:
        super().__init__(sampler, rungs, factor)
        self.highest = min(1, len(rungs) - 1)
        self.curves: dict[int, list[float]] = {}

    @property
    def top(self) -> int:
        """See `PromotionASHA.top`."""
        return self.highest

    def take(self, trial: int, epoch: int, score: float) -> bool:
        """See `replay_clock.Method`."""
        self.curves.setdefault(trial, []).append(score)
        super().take(trial, epoch, score)
        if epoch == self.rungs[self.highest] and self.highest < len(self.rungs) - 1 and not self.is_settled():
            self.highest += 1
        return False

    def is_settled(self) -> bool:
        """Whether the trials of the highest rung stand in the order that they had one below, but for epsilon."""
        after, before = self.scores[self.highest], self.scores[self.highest - 1]
        epsilon = self.compute_epsilon(list(after))
        order = sorted(after, key=lambda trial: -before[trial])
        ranked = sorted(after, key=lambda trial: -after[trial])
        return all(abs(after[one] - after[other]) <= epsilon for one, other in zip(order, ranked, strict=True))

    def compute_epsilon(self, trials: Sequence[int]) -> float:
        """See the class."""
        epochs = self.rungs[self.highest]
        gaps = []
        for place, one in enumerate(trials):
            for other in trials[:place]:
                gap = np.subtract(self.curves[one][:epochs], self.curves[other][:epochs])
                if np.count_nonzero(np.diff(np.sign(gap[gap != 0]))) >= 2:
                    gaps.append(abs(float(gap[-1])))
        return float(np.percentile(gaps, 90)) if gaps else 0.0


class Hyperband:
    """Synchronous Hyperband (Li et al. 2018, arXiv:1603.06560): all of a rung are trained before the best go on.

    Args:
        brackets: of (configurations, rungs), one after the other, again and again.
    """

    def __init__(self, sampler: Sampler, brackets: Sequence[tuple[int, Sequence[int]]], factor: int) -> None:
        self.sampler, self.brackets, self.factor = sampler, list(brackets), factor
        self.params: list[dict[str, Any]] = []
        self.bracket, self.rung = -1, 0
        self.waiting: deque[int] = deque()
        self.running: set[int] = set()
        self.bests: dict[int, float] = {}
        self.scores: dict[int, float] = {}  # at this rung

    @property
    def rungs(self) -> Sequence[int]:
        """Of the bracket."""
        return self.brackets[self.bracket % len(self.brackets)][1]

    def next(self) -> Segment | None:
        """The next of the rung; None while it waits for the rung's last."""
        if not self.waiting and not self.running:
            self.climb()
        if not self.waiting:
            return None
        trial = self.waiting.popleft()
        self.running.add(trial)
        first = 1 if self.rung == 0 else self.rungs[self.rung - 1] + 1
        return Segment(trial, self.params[trial], first, self.rungs[self.rung])

    def climb(self) -> None:
        """To the next rung, or the next bracket."""
        if self.bracket >= 0 and self.rung + 1 < len(self.rungs):
            kept = max(1, len(self.scores) // self.factor)
            self.waiting.extend(sorted(self.scores, key=lambda trial: -self.scores[trial])[:kept])
            self.rung += 1
        else:
            self.bracket, self.rung = self.bracket + 1, 0
            for _ in range(self.brackets[self.bracket % len(self.brackets)][0]):
                self.waiting.append(len(self.params))
                self.params.append(self.sampler.draw(len(self.params)))
        self.scores = {}

    def take(self, trial: int, epoch: int, score: float) -> bool:
        """See `replay_clock.Method`."""
        self.bests[trial] = max(score, self.bests.get(trial, score))
        if epoch == self.rungs[self.rung]:
            self.scores[trial] = self.bests[trial]
            self.running.discard(trial)
        return False


class TopK(Hyperband):
    """Half of the budget for one epoch of many, the rest for whole trainings of the best of them."""

    def __init__(self, sampler: Sampler, max_epochs: int, budget_epochs: int) -> None:
        super().__init__(sampler, [(max(1, budget_epochs // 2), (1, max_epochs))], 1)


def list_brackets(max_epochs: int, factor: int) -> list[tuple[int, list[int]]]:
    """Hyperband's brackets, the one with the most configurations first."""
    most = int(math.log(max_epochs) / math.log(factor) + 1e-9)
    return [
        (
            math.ceil((most + 1) / (left + 1) * factor**left),
            list_milestones(max_epochs, factor ** (most - left), factor),
        )
        for left in range(most, -1, -1)
    ]


def list_milestones(max_epochs: int, first: int, factor: int) -> list[int]:
    """The product's rungs, and a full training."""
    return [rung for rung in list_rungs(max_epochs, first, factor) if rung < max_epochs] + [max_epochs]


def with_search(
    space: Space, sampler: str, max_epochs: int, grace: int | None = None, factor: int = 3, form: str = STOPPING
) -> Space:
    """The space with another sampler and scheduler; no trial is stopped where there is no `grace`."""
    scheduler = Scheduler("none", max_epochs) if grace is None else Scheduler("asha", max_epochs, grace, factor, form)
    return replace(space, sampler=sampler, scheduler=scheduler)


Build = Callable[[Space, int, int, int], Any]  # of space, epochs of a full training, budget in epochs, seed: a `Method`


def build_product(sampler: str, grace: int | None = None, factor: int = 3) -> Build:
    """The product's search with these settings."""
    return lambda space, epochs, budget, seed: ProductSearch(with_search(space, sampler, epochs, grace, factor), seed)


def build_pausing(sampler: str, grace: int, factor: int = 3) -> Build:
    """The product's search in its promotion form with these settings."""
    return lambda space, epochs, budget, seed: PausingSearch(
        with_search(space, sampler, epochs, grace, factor, PROMOTION), seed
    )


def build_plain(space: Space, epochs: int, budget: int, seed: int) -> ProductSearch:
    """The product's search until version 0.2: the stopping form, first rung 1, factor 3, see `PlainTPE`."""
    found = ProductSearch(with_search(space, "tpe", epochs, 1), seed)
    found.study = PlainTPE(found.study.space, SCHEMA, (), seed=seed)
    return found


def build_promotion(
    draws: Callable[[Space, int], Sampler], grace: int, factor: int = 3, form: type[PromotionASHA] = PromotionASHA
) -> Build:
    """Promotion ASHA with these settings."""
    return lambda space, epochs, budget, seed: form(draws(space, seed), list_milestones(epochs, grace, factor), factor)


def build_hyperband(space: Space, epochs: int, budget: int, seed: int) -> Hyperband:
    """All brackets in turn, factor 3."""
    return Hyperband(RandomDraws(space, seed), list_brackets(epochs, 3), 3)


def build_halving(space: Space, epochs: int, budget: int, seed: int) -> Hyperband:
    """The first of Hyperband's brackets, again and again."""
    return Hyperband(RandomDraws(space, seed), list_brackets(epochs, 3)[:1], 3)


def build_top_k(space: Space, epochs: int, budget: int, seed: int) -> TopK:
    """See `TopK`."""
    return TopK(RandomDraws(space, seed), epochs, budget)
