"""A search as a study of Optuna's in a file, for optuna-dashboard and whatever else reads studies."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

from fashion_core.data.schema import AttributeSchema
from fashion_core.errors import FashionError, SearchError
from fashion_core.files import whole
from search.records.events import TrialStatus
from search.records.own_space import load_own_space

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

    from search.records.record import SearchRecord, TrialRecord

STATES = {
    TrialStatus.FINISHED: TrialState.COMPLETE,
    TrialStatus.STOPPED: TrialState.PRUNED,
    TrialStatus.PAUSED: TrialState.PRUNED,
    TrialStatus.INTERRUPTED: TrialState.PRUNED,  # as a limit or a person ended the search: its epochs stand
    TrialStatus.DIVERGED: TrialState.FAIL,
    TrialStatus.FAILED: TrialState.FAIL,
    TrialStatus.RUNNING: TrialState.RUNNING,
}
Drawn = tuple[dict[str, Any], dict[str, "BaseDistribution"]]  # of a trial


def export_study(record: SearchRecord, path: Path) -> int:
    """Write the trials of a search as a study in an SQLite file. Returns how many there are.

    Raises:
        SearchError: there is such a file already.
    """
    if path.exists():
        raise SearchError(f"a study is written into a new file, but {path} is there; name another, or remove it")
    path.parent.mkdir(parents=True, exist_ok=True)
    trials = build_trials(record)
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # it tells of every study
    with whole(path) as temporary:
        storage = optuna.storages.RDBStorage(f"sqlite:///{temporary}")
        try:
            study = optuna.create_study(storage=storage, study_name=record.name, direction="maximize")
            study.set_user_attr("objective", record.objective.name)
            study.set_user_attr("data", str(record.data.get("fingerprint", "")))
            study.set_user_attr("space", record.begun.space_hash)
            study.add_trials(trials)
        finally:
            storage.remove_session()
            storage.engine.dispose()
            optuna.logging.set_verbosity(level)
    return len(trials)


def build_trials(record: SearchRecord) -> list[FrozenTrial]:
    """The trials of a search, by number, as Optuna knows trials."""
    draw = choose_drawing(record)
    return [build_trial(trial, *draw(trial), len(record.category_names)) for _, trial in sorted(record.trials.items())]


def build_trial(
    trial: TrialRecord, params: dict[str, Any], distributions: dict[str, BaseDistribution], categories: int
) -> FrozenTrial:
    """One trial: its scores by epoch, and what else is known of its best epoch."""
    state = STATES[trial.status]
    attributes: dict[str, Any] = {"trial": trial.number, "status": str(trial.status), "reason": trial.reason}
    attributes |= {"tried_first": trial.enqueued, "standard_error": trial.standard_error, "shown": trial.params}
    attributes |= trial.best_metrics
    found = optuna.trial.create_trial(
        state=state,
        params=params,
        distributions=distributions,
        value=trial.best or 0.0 if state is TrialState.COMPLETE else None,
        intermediate_values={row.epoch: trial.read_score(row) for row in trial.epochs},
        user_attrs=attributes,
    )
    found.datetime_start = datetime.fromtimestamp(trial.started)
    if state.is_finished():
        found.datetime_complete = datetime.fromtimestamp(trial.started + (trial.seconds or 0.0))
    return found


def choose_drawing(record: SearchRecord) -> Callable[[TrialRecord], Drawn]:
    """What tells how a trial was drawn: the space, or where the ledger has it not, the values of all trials."""
    known = guess_distributions(list(record.trials.values()), record.param_names)

    def guess(trial: TrialRecord) -> Drawn:
        return trial.params, {name: known[name] for name in trial.params}

    try:
        schema = AttributeSchema.from_dict(record.begun.categories)
        space = load_own_space(record)
    except FashionError:
        return guess

    def draw(trial: TrialRecord) -> Drawn:
        proposed = record.proposed.get(trial.number)
        if proposed is None:
            return guess(trial)
        fixed = optuna.trial.FixedTrial(proposed.drawn)
        try:
            space.suggest(fixed, schema)
        except ValueError:  # of a space that was another one then
            return guess(trial)
        return fixed.params, fixed.distributions

    return draw


def guess_distributions(trials: Sequence[TrialRecord], names: Sequence[str]) -> dict[str, BaseDistribution]:
    """For each parameter what can have drawn its values."""
    return {
        name: guess_distribution([trial.params[name] for trial in trials if name in trial.params]) for name in names
    }


def guess_distribution(values: Sequence[Any]) -> BaseDistribution:
    """What can have drawn these values: a range of numbers, or a choice."""
    kinds = {type(value) for value in values}
    if kinds == {int}:
        return IntDistribution(min(values), max(values))
    if kinds <= {int, float} and kinds:
        low, high = float(min(values)), float(max(values))
        return FloatDistribution(low, high, log=low > 0 and bool(np.log10(high / low) >= 1))
    return CategoricalDistribution(list(dict.fromkeys(values)))
