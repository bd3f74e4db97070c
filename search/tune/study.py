"""Optuna's study of a search, as its ledger tells it: the same ledger gives the same study, and so the same proposal.

Trial n is drawn by a sampler of its own, whose seed is made of the search's and n. So it depends on what the ledger
tells before it, and not on how often the search was begun again. Optuna is told the truth: the stopped are PRUNED, the
crashed FAIL, the diverged PRUNED below all others, the rest COMPLETE; those that run, pause or were interrupted, are
RUNNING.

Where trials pause and go on, or train longer now than others did that finished, what is comparable is told: see
`RungStudy`.

What the space does not allow is drawn again, by a sampler with a further seed, until it does; so what is proposed still
follows from the ledger, and no trace of what was not stays in the study.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
from optuna.trial import TrialState

from search.records.events import EpochEnded, Event, TrialEnded, TrialProposed, TrialStatus
from search.tune.decisions import LOST
from search.tune.results import WORST_SCORE
from search.tune.samplers import DIVERGED_STEP, ENOUGH, build_sampler, draw_seed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from optuna.trial import FrozenTrial

    from fashion_core.data.schema import AttributeSchema
    from search.records.events import Observed
    from search.space.space import Space

MAX_DRAWS = 30  # of a proposal, before what is allowed is listed
STATES = {
    TrialStatus.FINISHED: TrialState.COMPLETE,
    TrialStatus.DIVERGED: TrialState.PRUNED,  # at step 0: the sampler is to keep away from there
    TrialStatus.STOPPED: TrialState.PRUNED,
    TrialStatus.PAUSED: TrialState.PRUNED,  # of another search, which ended first
    TrialStatus.FAILED: TrialState.FAIL,
}


class Study:
    """What the sampler knows.

    Args:
        space, schema: what to draw, for which categories.
        known: configurations to propose first, as flat parameters; what one lacks is drawn.
        seed: of the search.
        observed: trials of other searches that the sampler knows from the start.
    """

    def __init__(
        self,
        space: Space,
        schema: AttributeSchema,
        known: Sequence[dict[str, Any]],
        *,
        seed: int,
        observed: Sequence[Observed] = (),
    ) -> None:
        self.space, self.schema, self.known, self.seed = space, schema, known, seed
        self.study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0))
        self.open: dict[int, optuna.Trial] = {}  # proposed and not told, by number
        self.count = 0  # of proposals
        self.study.add_trials([self.build_observed(each) for each in observed])

    def draw(self, after: int) -> TrialProposed:
        """The next proposal, to be written into the ledger.

        Args:
            after: `seq` of the last event that was taken.
        """
        number = self.count
        enqueued = number < len(self.known)
        point = self.known[number] if enqueued else {}
        if self.space.excluded:
            point = self.draw_allowed(number, point)
        if point:
            self.study.enqueue_trial(point)
        trial, params = self.ask(self.build_sampler(number))
        return TrialProposed(trial=number, params=params, drawn=trial.params, enqueued=enqueued, after=after)

    def build_sampler(self, number: int, attempt: int = 0) -> optuna.samplers.BaseSampler:
        """See `search.tune.samplers`."""
        told = self.study.get_trials(deepcopy=False) if self.space.sampler == "tpe" else ()
        return build_sampler(self.space, self.schema, self.seed, number, told, attempt)

    def draw_allowed(self, number: int, point: dict[str, Any]) -> dict[str, Any]:
        """The parameters of the next proposal, which the space allows; drawn in a copy of the study.

        Where none of many draws is allowed, what decides that is drawn evenly of all that is.

        Args:
            point: what is known of it.
        """
        copy = optuna.create_study(direction="maximize")
        copy.add_trials(self.study.get_trials(deepcopy=False))
        for attempt in range(MAX_DRAWS):
            found = self.draw_once(copy, point, self.build_sampler(number, attempt))
            if self.space.allows(found):
                return found
        allowed = self.space.list_allowed(point)
        chosen = np.random.default_rng(draw_seed(self.seed, number, MAX_DRAWS)).integers(len(allowed))
        return self.draw_once(copy, point | allowed[chosen], self.build_sampler(number, MAX_DRAWS))

    def draw_once(
        self, study: optuna.Study, point: dict[str, Any], sampler: optuna.samplers.BaseSampler
    ) -> dict[str, Any]:
        """The parameters of a trial, as drawn. For the study it has failed: samplers learn nothing of that."""
        study.sampler = sampler
        if point:
            study.enqueue_trial(point)
        trial = study.ask()
        self.space.suggest(trial, self.schema)
        study.tell(trial, state=TrialState.FAIL)
        return trial.params

    def take(self, event: Event) -> None:
        """Take in what the ledger tells, in order."""
        match event:
            case TrialProposed() if event.trial == self.count:  # else it was drawn here
                self.study.enqueue_trial(event.drawn)
                self.ask(optuna.samplers.RandomSampler(seed=0))  # which draws nothing
            case TrialEnded() if event.trial in self.open and event.status.is_over:
                self.tell(event)

    def ask(self, sampler: optuna.samplers.BaseSampler) -> tuple[optuna.Trial, dict[str, Any]]:
        """The next trial of the study, and its parameters as they are shown."""
        self.study.sampler = sampler
        trial = self.open[self.count] = self.study.ask()
        self.count += 1
        return trial, self.space.suggest(trial, self.schema)

    def build_observed(self, observed: Observed) -> FrozenTrial:
        """A trial of another search, as one of this study."""
        drawn = optuna.trial.FixedTrial(observed.drawn)
        self.space.suggest(drawn, self.schema)
        state = STATES[observed.status]
        return optuna.trial.create_trial(
            state=state,
            params=drawn.params,
            distributions=drawn.distributions,
            value=observed.score if state is TrialState.COMPLETE else None,
            intermediate_values=build_last(observed.status, observed.rung, observed.score),
        )

    def tell(self, event: TrialEnded) -> None:
        """Tell Optuna of an end."""
        trial, state = self.open.pop(event.trial), STATES[event.status]
        score = WORST_SCORE if event.best is None else event.best
        for step, value in build_last(event.status, event.rung, score).items():
            trial.report(value, step)
        self.study.tell(trial, score if state is TrialState.COMPLETE else None, state=state)


def build_last(status: TrialStatus, rung: int | None, score: float) -> dict[int, float]:
    """The step and score by which TPE ranks a trial that was not trained to its end, the later step the better."""
    if status is TrialStatus.DIVERGED:
        return {DIVERGED_STEP: WORST_SCORE}
    return {rung or 1: score} if STATES[status] is TrialState.PRUNED else {}


class RungStudy(Study):
    """What the sampler knows where trials pause at rungs and go on, or were given more epochs: of each the best score
    until one rung.

    Which rung is worked out before every proposal: the highest, or the end, that at least `ENOUGH` trials have reached
    and not diverged; until one is, nothing is told. Trials that reached it are COMPLETE with their best score until
    there; those that ended below it are PRUNED, the diverged below all others, the crashed FAIL. All others are
    RUNNING, with the scores that they have. So the study is built anew for every proposal.

    Of a trial of another search one score is known, at its rung or end: it is left out where that is beyond the rung.

    Args:
        epochs: of the rungs, and of the end, ascending; where that was another before, of each end.
        first_end: the end when the search began, which trials of other searches have; None: the last of these.
    """

    def __init__(
        self,
        space: Space,
        schema: AttributeSchema,
        known: Sequence[dict[str, Any]],
        *,
        seed: int,
        epochs: Sequence[int],
        observed: Sequence[Observed] = (),
        first_end: int | None = None,
    ) -> None:
        super().__init__(space, schema, known, seed=seed)
        self.epochs = epochs
        end = epochs[-1] if first_end is None else first_end
        self.asked: list[FrozenTrial] = []  # of the search itself, by number
        self.scores: list[dict[int, float]] = []  # its best until each epoch, by epoch
        self.ends: dict[int, TrialStatus] = {}
        self.observed = [(self.build_observed(each), {each.rung or end: each.score}, each.status) for each in observed]

    def draw(self, after: int) -> TrialProposed:
        """See `Study.draw`."""
        self.study = self.build()
        return super().draw(after)

    def take(self, event: Event) -> None:
        """Take in what the ledger tells, in order."""
        match event:
            case EpochEnded():
                scores = self.scores[event.trial]
                score, best = event.metrics.get(self.space.objective) or 0.0, max(scores.values(), default=WORST_SCORE)
                scores.setdefault(event.epoch, max(score, best))
            case TrialEnded() if event.status.is_over:
                self.ends[event.trial] = event.status
            case TrialProposed():
                super().take(event)

    def ask(self, sampler: optuna.samplers.BaseSampler) -> tuple[optuna.Trial, dict[str, Any]]:
        """See `Study.ask`."""
        trial, params = super().ask(sampler)
        self.asked.append(self.study.get_trials(deepcopy=False)[-1])
        self.scores.append({})
        return trial, params

    def build(self) -> optuna.Study:
        """Optuna's study as it is told now."""
        own = [(trial, self.scores[number], self.ends.get(number)) for number, trial in enumerate(self.asked)]
        results = (scores for _, scores, end in (*self.observed, *own) if end not in LOST)
        rung = choose_rung(results, self.epochs)
        observed = [each for each in self.observed if max(each[1]) <= rung]
        study = optuna.create_study(direction="maximize")
        study.add_trials([tell_until(rung, *each) for each in (*observed, *own)])
        return study


def choose_rung(results: Iterable[Mapping[int, float]], epochs: Sequence[int]) -> int:
    """The highest of these epochs that enough trials have a score until; 0 where none is."""
    reached = Counter(epoch for scores in results for epoch in scores)
    return next((epoch for epoch in reversed(epochs) if reached[epoch] >= ENOUGH), 0)


def tell_until(rung: int, trial: FrozenTrial, scores: Mapping[int, float], end: TrialStatus | None) -> FrozenTrial:
    """A trial as a study is told of it that compares best scores until a rung: see `RungStudy`."""
    state, value = TrialState.RUNNING, None
    if end is TrialStatus.FAILED:
        state = TrialState.FAIL
    elif rung and end is TrialStatus.DIVERGED:
        state, scores = TrialState.PRUNED, {DIVERGED_STEP: WORST_SCORE}
    elif rung in scores:
        state, value = TrialState.COMPLETE, scores[rung]
    elif rung and end in STATES:
        state = TrialState.PRUNED
    return optuna.trial.create_trial(
        state=state,
        params=trial.params,
        distributions=trial.distributions,
        value=value,
        intermediate_values=dict(scores),
    )
