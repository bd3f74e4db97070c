"""The models that a search keeps at its end, as MLflow's models: each with its scores, and where its file is.

A model is told by its search, its trial and the epoch that it is of, in tags: sent again, it stays the one it was.
Its points are those that its trial's run has already, at the same time and step, so the run gets no new ones.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from fashion_core.files import MODEL_FILE
from search.records.kept import find_damage
from search.tracking.facts import describe_data
from search.tracking.names import name_best, name_key
from search.tracking.store import NOTE_TAG
from search.tracking.writer import BEST_EPOCH, MAX_METRICS, SEARCH_TAG, TRIAL_TAG

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mlflow.entities import LoggedModel, Metric
    from mlflow.tracking import MlflowClient

    from search.records.layout import SearchLayout
    from search.records.record import SearchRecord, TrialRecord
    from search.tracking.writer import Writer

NAME_TAG, EPOCH_TAG, KIND_TAG, FILE_TAG = "search", "epoch", "kind", "checkpoint"
KIND = "checkpoint"
NO_NAME = re.compile(r"""[/:.%"']""")  # what MLflow refuses in the name of a model
CONTEXTS = {"train/": "train", "val/": "select", "best/val": "select"}  # data set by begin of a metric: `describe_data`


def send_models(writer: Writer, layout: SearchLayout) -> int:
    """Give MLflow the models that a search keeps now, and take from it those that are kept no more.

    Args:
        writer: that has sent the search.

    Returns:
        How many are kept; 0 where MLflow is of an older version, that knows no models.
    """
    kept = list_kept(layout, writer.record)
    writer.find_parent()
    if (found := find_models(writer.connect(), layout, writer.record)) is None:
        return 0
    known: dict[int, LoggedModel] = {}
    for model in found:
        if not is_kept(model, writer, known, kept):
            writer.connect().delete_logged_model(model.model_id)
        else:
            known[int(model.tags[TRIAL_TAG])] = model
    for trial in reversed(kept):  # of equal scores MLflow puts the newest first
        model = known.get(trial.number) or create_model(writer, trial)
        complete_model(writer, trial, model, describe_file(layout, trial))
    return len(kept)


def list_kept(layout: SearchLayout, record: SearchRecord) -> list[TrialRecord]:
    """The trials whose models are kept, undamaged, the best first."""
    return [
        trial
        for trial in record.rank()
        if trial.best_row is not None
        and layout.find_checkpoint(trial.number)
        and find_damage(layout.checkpoint_folder(trial.number) / MODEL_FILE, trial) is None
    ]


def is_kept(model: LoggedModel, writer: Writer, known: Iterable[int], kept: Iterable[TrialRecord]) -> bool:
    """Whether a model of MLflow is one of those kept, of their runs, and not there a second time."""
    return any(
        identify(writer.record, trial).items() <= model.tags.items()
        and model.source_run_id == writer.find_trial(trial.number)
        and trial.number not in known
        for trial in kept
    )


def identify(record: SearchRecord, trial: TrialRecord) -> dict[str, str]:
    """The tags that tell a model from others."""
    return {SEARCH_TAG: record.search_id, TRIAL_TAG: str(trial.number), EPOCH_TAG: str(trial.best_epoch)}


def find_models(client: MlflowClient, layout: SearchLayout, record: SearchRecord | None) -> list[LoggedModel] | None:
    """MLflow's models of a search, and of those before it that had its place; None where it is too old for models.

    Args:
        record: None: it is not known, and the place alone tells.
    """
    own, place = None if record is None else record.search_id, f"{layout.checkpoints.resolve().as_uri()}/"
    found = list_models(client, layout.name)
    return found and [
        model for model in found if model.tags.get(SEARCH_TAG) == own or model.tags.get(FILE_TAG, "").startswith(place)
    ]


def list_models(client: MlflowClient, name: str) -> list[LoggedModel] | None:
    """The models of all searches of a name, in all experiments; None where MLflow is too old for models."""
    from mlflow.exceptions import MlflowException

    experiments = [each.experiment_id for each in client.search_experiments()]
    found: list[LoggedModel] = []
    wanted, token = f"tags.{KIND_TAG} = '{KIND}' AND tags.{NAME_TAG} = '{name}'", None
    while experiments:
        try:
            page = client.search_logged_models(experiments, wanted, page_token=token)
        except MlflowException as error:
            if error.error_code == "ENDPOINT_NOT_FOUND":
                return None
            raise
        found += page
        if not (token := page.token):
            break
    return found


def create_model(writer: Writer, trial: TrialRecord) -> LoggedModel:
    """A model of a trial's run, without scores; it is not ready yet."""
    record = writer.record
    name = NO_NAME.sub("-", f"{record.name}-trial-{trial.number:04d}")
    return writer.connect().create_logged_model(
        writer.experiment,
        name,
        writer.find_trial(trial.number),
        {KIND_TAG: KIND, NAME_TAG: record.name, **identify(record, trial)},
        {name_key(key): str(value) for key, value in writer.collect(trial).items()},
    )


def complete_model(writer: Writer, trial: TrialRecord, model: LoggedModel, tags: dict[str, str]) -> None:
    """Add what a model lacks: its scores, its place among the outputs of its run, where its file is."""
    from mlflow.entities import LoggedModelOutput, LoggedModelStatus

    client, run = writer.connect(), writer.find_trial(trial.number)
    known = {each.key for each in model.metrics or []}
    points = [point for point in build_points(writer.record, trial, model.model_id) if point.key not in known]
    for start in range(0, len(points), MAX_METRICS):
        client.log_batch(run, metrics=points[start : start + MAX_METRICS])
    outputs = client.get_run(run).outputs
    if outputs is None or model.model_id not in {each.model_id for each in outputs.model_outputs}:
        client.log_outputs(run, [LoggedModelOutput(model.model_id, trial.best_epoch or 0)])
    if not tags.items() <= model.tags.items():
        client.set_logged_model_tags(model.model_id, tags)
    if model.status != LoggedModelStatus.READY:
        client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)


def build_points(record: SearchRecord, trial: TrialRecord, model: str) -> list[Metric]:
    """The metrics of a trial's best epoch as those of a model, each of the images that it was measured on."""
    from mlflow.entities import Metric

    row = trial.best_row
    assert row is not None
    values = row.metrics | {name_best(record): trial.best, BEST_EPOCH: float(row.epoch)}
    datasets = {context: (name, digest) for context, name, digest, _ in describe_data(record)}
    points = []
    for key, value in values.items():
        context = next((context for start, context in CONTEXTS.items() if key.startswith(start)), "")
        name, digest = datasets.get(context, (None, None))
        if value is not None:
            points.append(Metric(name_key(key), value, int(row.time * 1000), row.epoch, model, name, digest))
    return points


def describe_file(layout: SearchLayout, trial: TrialRecord) -> dict[str, str]:
    """Tags that lead to a kept model's file; MLflow's page shows the second one."""
    file = (layout.checkpoint_folder(trial.number) / MODEL_FILE).resolve()
    words = f"The model of trial {trial.number} of {layout.name} after epoch {trial.best_epoch}: {file}"
    return {FILE_TAG: file.as_uri(), NOTE_TAG: words}
