"""What is trained already: trials of all searches in a folder of results and recorded trainings, by configuration.

An arm that two studies need is trained once: what counts is what a training was, not for which study it ran. The
fine-tunings of `results/curves` are of other recipes, none of which is an arm.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from fashion_core.config import build_config
from fashion_core.data.schema import AttributeSchema
from fashion_core.errors import FashionError, SearchError
from search.records.events import TrialStatus
from search.records.layout import SearchLayout
from search.records.own_space import load_own_space
from search.records.record import list_searches, load_record
from search.reporting.ties import find_answers
from search.reproduction.protocol import build_key
from search.reproduction.recorded import list_recordings, read_recording
from search.reproduction.trained import Scored, Trained, Training

if TYPE_CHECKING:
    from pathlib import Path

    from search.records.record import SearchRecord, TrialRecord

DONE = (TrialStatus.FINISHED, TrialStatus.DIVERGED)  # what a configuration came to; all else is to be trained again


def read_trainings(results: Path) -> Trained:
    """The trainings of all searches and recordings in a folder.

    Raises:
        SearchError: they were not all scored on the same images; a ledger is damaged, or a recording.
    """
    by_key: dict[str, list[Training]] = defaultdict(list)
    seen: dict[str, Scored] = {}
    for name in list_searches(results):
        record = find_begun(SearchLayout(results, name))
        if record is None:
            continue
        told = record.selection
        images = tuple(told.get("select_images", ()))
        seen[name] = Scored(images, tuple(record.begun.categories), told.get("train_count", 0))
        for training in list_trainings(record):
            by_key[training.key].append(training)
    for path in list_recordings(results):
        recording = read_recording(path)
        seen[path.name] = recording.scored
        for training in recording.trainings:
            by_key[training.key].append(training)
    if len(set(seen.values())) > 1:
        raise SearchError(
            f"trainings of one reproduction must be on the same images, but those in {results} are not: "
            f"{', '.join(seen)}; give each data set its own --results"
        )
    return Trained(dict(by_key), next(iter(seen.values()), Scored()))


def find_begun(layout: SearchLayout) -> SearchRecord | None:
    """What the ledger of a search tells; None where it was killed before its first event.

    Raises:
        SearchError: it is damaged.
    """
    if layout.ledger.stat().st_size == 0:
        return None
    return load_record(layout)


def list_trainings(record: SearchRecord) -> list[Training]:
    """The trials of a search that came to their end, with their answers; none of one whose starts were not drawn."""
    if not record.has_start_seeds:
        return []
    space, schema = load_own_space(record), AttributeSchema.from_dict(record.begun.categories)
    found = []
    for trial in record.trials.values():
        if trial.status not in DONE:
            continue
        try:
            config = build_config(space.build_values(trial.params, schema))
        except FashionError:  # of a space that is none of ours, such as one with weights of a model that is gone
            continue
        training = take_trial(record, trial, build_key(config))
        if trial.status is TrialStatus.DIVERGED or (
            training.correct is not None and len(trial.epochs) == config.epochs
        ):
            found.append(training)
    return found


def take_trial(record: SearchRecord, trial: TrialRecord, key: str) -> Training:
    """A trial as a training."""
    is_scored = trial.status is TrialStatus.FINISHED
    answers = find_answers(record, trial) if is_scored else None
    return Training(
        search=record.name,
        number=trial.number,
        key=key,
        status=trial.status,
        score=trial.best or 0.0 if is_scored else 0.0,
        correct=None if answers is None else answers[0],
        epochs=[row.metrics for row in trial.epochs],
        seconds=trial.seconds or 0.0,
        at_once=max(int(record.settings.get("concurrent", 1)), 1),
    )
