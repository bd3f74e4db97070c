"""Optuna behind Ray Tune, told the truth: the stopped are PRUNED, the crashed FAIL, the rest COMPLETE."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
from optuna.trial import TrialState
from ray.tune.search.optuna import OptunaSearch

from search.jobs.results import EPOCH, SCORE
from search.records.ledger import read_events
from search.records.record import replay
from search.space.space import Space

if TYPE_CHECKING:
    from fashion_core.data.schema import AttributeSchema

ENQUEUED = "enqueued"
STATES = {
    "finished": TrialState.COMPLETE,
    "diverged": TrialState.COMPLETE,  # with the worst score: the sampler is to keep away from there
    "failed": TrialState.FAIL,
}


class TruthfulOptunaSearch(OptunaSearch):
    """Proposes the trials of a space, each with its `number`, unique in the search even after a restart.

    Args:
        space, schema: what to draw, for which categories.
        study_name: unique to the search.
        trials: how many to propose.
        seed: of the sampler.
        ledger: of the search, read after a restart: it knows of trials that Ray's last snapshot does not.

    A proposal is {number, enqueued, params (flat, as shown), values (of a `TrainConfig`)}.
    """

    def __init__(
        self, space: Space, schema: AttributeSchema, *, study_name: str, trials: int, seed: int, ledger: Path
    ) -> None:
        super().__init__(
            space=space.suggest,
            metric=SCORE,
            mode="max",
            sampler=build_sampler(space, seed),
            study_name=study_name,
        )
        for point in space.first_points(schema):
            self.study.enqueue_trial(point, user_attrs={ENQUEUED: True})
        self.space, self.schema, self.ledger = space, schema, ledger
        self.next_number, self.end = 0, trials

    @property
    def study(self) -> optuna.study.Study:
        """The Optuna study, in memory."""
        return self._ot_study

    def suggest(self, trial_id: str) -> dict[str, Any] | str:
        if self.next_number >= self.end:
            return self.FINISHED
        trial = self._ot_trials[trial_id] = self._ot_study.ask()
        params = self.space.suggest(trial, self.schema)
        number, self.next_number = self.next_number, self.next_number + 1
        return {
            "number": number,
            "enqueued": trial.user_attrs.get(ENQUEUED, False),
            "params": params,
            "values": self.space.build_values(params, self.schema),
        }

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        # After a restart, Ray may know less than the study, or of a trial that the study does not know.
        if trial_id in self._ot_trials and trial_id not in self._completed_trials:
            self._ot_trials[trial_id].report(result[SCORE], result[EPOCH])

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        if trial_id not in self._ot_trials or trial_id in self._completed_trials:
            return
        trial, status = self._ot_trials[trial_id], (result or {}).get("status", "failed")
        state = TrialState.FAIL if error else STATES.get(status, TrialState.PRUNED)
        score = None
        if result is not None and state is not TrialState.FAIL:
            # the last epoch: Ray tells a searcher only of results that go on
            trial.report(result[SCORE], result[EPOCH])
            score = result[SCORE] if state is TrialState.COMPLETE else None
        self._ot_study.tell(trial, score, state=state)
        self._completed_trials.add(trial_id)

    def restore(self, checkpoint_path: str) -> None:
        """Goes on from Ray's last snapshot, and takes in what the ledger tells of the trials begun since: those that
        ended count, the others are replaced, all keep their numbers.
        """
        super().restore(checkpoint_path)
        record = replay(read_events(self.ledger))
        for number in range(self.next_number, record.next_number):
            known = record.trials.get(number)
            is_over = known is not None and known.status not in ("running", "interrupted")
            trial = self._ot_study.ask()  # as it was then, unless the sampler had learnt of other results
            params = self.space.suggest(trial, self.schema)
            if known is not None and is_over and params == known.params:
                state = STATES.get(known.status, TrialState.PRUNED)
                if state is TrialState.PRUNED:
                    trial.report(known.best, len(known.epochs))
                self._ot_study.tell(trial, known.best if state is TrialState.COMPLETE else None, state=state)
            else:
                self._ot_study.tell(trial, state=TrialState.FAIL)
            if not is_over:
                self.end += 1
                if trial.user_attrs.get(ENQUEUED):
                    self._ot_study.enqueue_trial(trial.params, user_attrs={ENQUEUED: True})
        self.next_number = max(self.next_number, record.next_number)


def build_sampler(space: Space, seed: int) -> optuna.samplers.BaseSampler:
    """The space's sampler. The points of a grid are enqueued, so its sampler never draws."""
    build: Callable[..., optuna.samplers.BaseSampler] = (
        optuna.samplers.TPESampler if space.sampler == "tpe" else optuna.samplers.RandomSampler
    )
    return build(seed=seed)
