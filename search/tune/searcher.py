"""Optuna behind Ray Tune, on its public base, told the truth: the stopped are PRUNED, the crashed FAIL, the rest
COMPLETE.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
from optuna.trial import TrialState
from ray.tune.search import Searcher

from search.jobs.training import compute_seed
from search.records.events import TrialStatus
from search.records.ledger import read_events
from search.records.record import replay
from search.tune.results import EPOCH, SCORE, STATUS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fashion_core.data.schema import AttributeSchema
    from search.space.space import Space

ENQUEUED = "enqueued"
STATES = {
    TrialStatus.FINISHED: TrialState.COMPLETE,
    TrialStatus.DIVERGED: TrialState.COMPLETE,  # with the worst score: the sampler is to keep away from there
    TrialStatus.FAILED: TrialState.FAIL,
}
KEPT = ("study", "open", "next_number", "end")  # what changes in a search


class TruthfulSearcher(Searcher):
    """Proposes the trials of a space, each with its `number`, unique in the search even after a restart.

    Args:
        space, schema: what to draw, for which categories.
        known: configurations to propose first, as flat parameters.
        trials: how many to propose.
        seed: of the search.
        ledger: of the search, read after a restart: it knows of trials that Ray's last snapshot does not.

    A proposal is {number, enqueued, params (flat, as shown), values (of a `TrainConfig`)}.
    """

    def __init__(
        self,
        space: Space,
        schema: AttributeSchema,
        known: Sequence[dict[str, Any]],
        *,
        trials: int,
        seed: int,
        ledger: Path,
    ) -> None:
        super().__init__(metric=SCORE, mode="max")
        self.space, self.schema, self.seed, self.ledger = space, schema, seed, ledger
        self.study = optuna.create_study(direction="maximize", sampler=build_sampler(space, seed))
        for point in known:
            self.study.enqueue_trial(point, user_attrs={ENQUEUED: True})
        self.open: dict[str, optuna.Trial] = {}  # proposed and not told, by Ray's trial id
        self.next_number, self.end = 0, trials

    def suggest(self, trial_id: str) -> dict[str, Any] | str:
        """The next proposal; `FINISHED` after the last."""
        if self.next_number >= self.end:
            finished: str = self.FINISHED
            return finished
        trial = self.open[trial_id] = self.study.ask()
        params = self.space.suggest(trial, self.schema)
        number, self.next_number = self.next_number, self.next_number + 1
        return {
            "number": number,
            "enqueued": trial.user_attrs.get(ENQUEUED, False),
            "params": params,
            "values": self.space.build_values(params, self.schema) | {"seed": compute_seed(self.seed, number)},
        }

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Tell Optuna of an epoch. After a restart, Ray may know of a trial that the study does not know."""
        if trial_id in self.open:
            self.open[trial_id].report(result[SCORE], result[EPOCH])

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Tell Optuna of an end."""
        if (trial := self.open.pop(trial_id, None)) is None:
            return
        state = TrialState.FAIL
        if result is not None and not error:
            state = STATES.get(result.get(STATUS, TrialStatus.FAILED), TrialState.PRUNED)
        score = None
        if result is not None and state is not TrialState.FAIL:
            # the last epoch: Ray tells a searcher only of results that go on
            trial.report(result[SCORE], result[EPOCH])
            score = result[SCORE] if state is TrialState.COMPLETE else None
        self.study.tell(trial, score, state=state)

    def save(self, checkpoint_path: str) -> None:
        """Write the state of the search for `restore`."""
        Path(checkpoint_path).write_bytes(pickle.dumps({name: getattr(self, name) for name in KEPT}))

    def restore(self, checkpoint_path: str) -> None:
        """Goes on from Ray's last snapshot, and takes in what the ledger tells of the trials begun since: those that
        ended count, the others are replaced, all keep their numbers.
        """
        for name, value in pickle.loads(Path(checkpoint_path).read_bytes()).items():
            setattr(self, name, value)
        record = replay(read_events(self.ledger))
        for number in range(self.next_number, record.next_number):
            known = record.trials.get(number)
            is_over = known is not None and known.status.is_over
            trial = self.study.ask()  # as it was then, unless the sampler had learnt of other results
            params = self.space.suggest(trial, self.schema)
            if known is not None and is_over and params == known.params:
                state = STATES.get(known.status, TrialState.PRUNED)
                if state is TrialState.PRUNED:
                    trial.report(known.best or 0.0, len(known.epochs))
                self.study.tell(trial, known.best if state is TrialState.COMPLETE else None, state=state)
            else:
                self.study.tell(trial, state=TrialState.FAIL)
            if not is_over:
                self.end += 1
                if trial.user_attrs.get(ENQUEUED):
                    self.study.enqueue_trial(trial.params, user_attrs={ENQUEUED: True})
        self.next_number = max(self.next_number, record.next_number)


def build_sampler(space: Space, seed: int) -> optuna.samplers.BaseSampler:
    """The space's sampler. The points of a grid are enqueued, so its sampler never draws."""
    build: Callable[..., optuna.samplers.BaseSampler] = (
        optuna.samplers.TPESampler if space.sampler == "tpe" else optuna.samplers.RandomSampler
    )
    return build(seed=seed)
