"""The ledger's view in MLflow: one parent run a search, one child run a trial. Runs are written here alone.

What is sent is keyed by the ledger: runs are found by tags, metrics have the event's time and the epoch as step. So
sending an event twice changes nothing, and a whole search can be sent again: `search.tracking.resending`.
"""

from __future__ import annotations

import re
import zlib
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from fashion_core.escaping import write_bytes
from fashion_core.metrics import ACCURACY
from search.address import Address
from search.records.events import (
    EndReason,
    EpochEnded,
    Event,
    SearchEnded,
    SearchResumed,
    SearchStarted,
    TrialEnded,
    TrialPaused,
    TrialStarted,
    TrialStatus,
)
from search.records.layout import REPORT
from search.records.record import SearchRecord, TrialRecord
from search.tracking.store import NOTE_TAG, gather_statistics, open_store, take_head

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from mlflow.entities import Metric, Run
    from mlflow.tracking import MlflowClient

# The run's status is the UI's icon; the tag `status` is its word.
RUN_STATUSES = {
    TrialStatus.FINISHED: "FINISHED",
    TrialStatus.STOPPED: "KILLED",
    TrialStatus.FAILED: "FAILED",
    TrialStatus.DIVERGED: "FAILED",
    TrialStatus.INTERRUPTED: "KILLED",
    TrialStatus.PAUSED: "SCHEDULED",
}
BEST_EPOCH = "best/epoch"
EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}  # the pages for training, not GenAI
SEARCH_TAG, TRIAL_TAG, PARENT_TAG = "search_id", "trial", "mlflow.parentRunId"
MAX_TAG = 5_000  # characters; MLflow's own limit is 8,000
MAX_METRICS = 1_000  # in one batch
MAX_KEY = 250  # characters, of a metric's or parameter's name
NO_KEY = re.compile(r"[^\w.\- :]")


class RunsAhead(Exception):
    """MLflow holds more of a search than its ledger, whose last lines were lost: what comes would stand there twice."""


class Writer:
    """Sends events of one search to MLflow, now, in this thread.

    Args:
        uri: of the tracking server or database.
        artifacts: where a new experiment of a database keeps its files; a server decides that itself.
    """

    def __init__(self, uri: Address | str, artifacts: Path) -> None:
        self.uri, self.artifacts = Address.of(uri), artifacts
        self.record = SearchRecord()
        self.runs: dict[int | None, str] = {}  # run id by trial number; None: the search's
        self.client: MlflowClient | None = None
        self.experiment = ""
        self.ended: set[int] = set()  # trials
        self.best: float | None = None

    def connect(self) -> MlflowClient:
        """The client, opened when it is first asked for."""
        if self.client is None:
            self.client = open_store(self.uri)
        return self.client

    def send(self, events: Sequence[Event]) -> None:
        """Send events, in order, in few calls. After an error, sending the same ones again is right."""
        waiting: dict[int | None, list[Metric]] = defaultdict(list)  # by trial number; None: of the search
        for event in events:
            self.record.apply(event)
            milliseconds = int(event.time * 1000)
            match event:
                case SearchStarted():
                    self.start_search(event)
                case SearchResumed():
                    self.check_runs()
                    self.connect().update_run(self.find_parent(), status="RUNNING")
                    if event.changed:
                        self.log(
                            self.find_parent(), [], {f"changed.{name}": was for name, was in event.changed.items()}
                        )
                case TrialStarted():
                    self.start_trial(self.record.trials[event.trial])
                case EpochEnded():
                    trial, values = self.record.trials[event.trial], dict(event.metrics)
                    if trial.best_epoch == event.epoch:
                        values |= {name_best(self.record): trial.best, BEST_EPOCH: event.epoch}
                    waiting[event.trial] += build_metrics(values, milliseconds, event.epoch)
                case TrialPaused():
                    self.pause_trial(event)
                case TrialEnded():
                    self.end_trial(event, waiting.pop(event.trial, []), milliseconds)
                    if self.best is not None and event.status.is_over:
                        waiting[None] += build_metrics(
                            {name_best(self.record): self.best}, milliseconds, len(self.ended)
                        )
                case SearchEnded():
                    self.end_search(event, milliseconds)
        for number, rows in waiting.items():
            self.log(self.find_parent() if number is None else self.find_trial(number), rows)

    def log(self, run: str, metrics: Sequence[Metric], tags: dict[str, Any] | None = None) -> None:
        """Metrics, and tags that are not None, of one run."""
        from mlflow.entities import RunTag

        rows = [RunTag(name, str(value)[:MAX_TAG]) for name, value in (tags or {}).items() if value is not None]
        for start in range(0, max(len(metrics), 1), MAX_METRICS):
            self.connect().log_batch(run, metrics=metrics[start : start + MAX_METRICS], tags=rows)

    def log_params(self, run: str, params: Mapping[str, Any], tags: Mapping[str, Any] | None = None) -> None:
        """Parameters, and tags, of one run, in one call."""
        from mlflow.entities import Param, RunTag

        rows = [RunTag(name, str(value)) for name, value in (tags or {}).items()]
        self.connect().log_batch(
            run, params=[Param(name_key(name), format_param(value)) for name, value in params.items()], tags=rows
        )

    def find_runs(self, filter_string: str) -> list[Run]:
        """All runs of the experiment that the filter lets through."""
        runs: list[Run] = []
        token = None
        while True:
            page = self.connect().search_runs([self.experiment], filter_string, page_token=token)
            runs += page
            if (token := page.token) is None:
                return runs

    def find_parent(self) -> str:
        """The search's run, made if there is none; with it, the runs of its trials."""
        if None not in self.runs:
            client, search = self.connect(), self.record.begun
            self.experiment = self.find_experiment(search.space_name)
            found = self.find_runs(f"tags.{SEARCH_TAG} = '{self.record.search_id}'")
            for run in found:
                if run.data.tags["kind"] == "trial":
                    self.runs[int(run.data.tags[TRIAL_TAG])] = run.info.run_id
            parents = [run for run in found if run.data.tags["kind"] == "search"]
            if not parents:
                tags = {SEARCH_TAG: self.record.search_id, "kind": "search", "status": "running"}
                parents = [client.create_run(self.experiment, int(search.time * 1000), tags, search.name)]
            self.runs[None] = parents[0].info.run_id
        return self.runs[None]

    def check_runs(self) -> None:
        """Raises RunsAhead where MLflow holds more than the ledger tells until now."""
        parent, client = self.find_parent(), self.connect()
        lasts = {parent: (name_best(self.record), len(self.ended))}
        for number, run in self.runs.items():
            trial = None if number is None else self.record.trials.get(number)
            if number is not None and (trial is None or not trial.status.is_over):
                lasts[run] = (ACCURACY, 0 if trial is None else trial.last_epoch)
        for run, (name, last) in lasts.items():
            if any(point.step > last for point in client.get_metric_history(run, name_key(name))):
                raise RunsAhead

    def find_experiment(self, name: str) -> str:
        """The experiment of this name, made if there is none."""
        client = self.connect()
        found = client.get_experiment_by_name(name)
        if found is not None:
            if found.lifecycle_stage == "deleted":  # in MLflow's pages: nothing could be logged to it
                client.restore_experiment(found.experiment_id)
            return str(found.experiment_id)
        is_database = self.uri.scheme not in ("", "http", "https")
        location = (self.artifacts / name).resolve().as_uri() if is_database else None
        return str(client.create_experiment(name, location, EXPERIMENT_TAGS))

    def find_trial(self, number: int) -> str:
        """A trial's run, made if there is none."""
        parent = self.find_parent()
        if number not in self.runs:
            trial = self.record.trials[number]
            tags = {
                PARENT_TAG: parent,
                SEARCH_TAG: self.record.search_id,
                TRIAL_TAG: str(number),
                "kind": "trial",
                "status": "running",
                "enqueued": str(trial.enqueued).lower(),
            }
            run = self.connect().create_run(
                self.experiment, int(trial.started * 1000), tags, run_name=f"trial-{number:04d}"
            )
            self.runs[number] = run.info.run_id
        return self.runs[number]

    def start_search(self, event: SearchStarted) -> None:
        """The search's run, with its settings, provenance, space and selection."""
        client, run, data = self.connect(), self.find_parent(), event.data
        params: dict[str, Any] = {key: str(value) for key, value in event.settings.items()}
        params |= {"space": event.space_name, "space_hash": event.space_hash}
        params |= {"data": data.get("folder"), "data_fingerprint": data.get("fingerprint")}
        params |= {f"{key}_images": event.selection.get(f"{key}_count") for key in ("train", "select")}
        self.log_params(run, params, {f"provenance.{key}": value for key, value in event.provenance.items()})
        client.log_text(run, event.space, "space.yaml")
        client.log_dict(run, event.selection, "selection.json")

    def start_trial(self, trial: TrialRecord) -> None:
        """A trial's run; running again where it goes on."""
        self.find_parent()
        client, is_new = self.connect(), trial.number not in self.runs
        run = self.find_trial(trial.number)
        self.log_params(run, trial.params, {} if is_new else {"status": "running"})
        if not is_new:
            client.update_run(run, status="RUNNING")

    def pause_trial(self, event: TrialPaused) -> None:
        """A trial's run waits: it is neither running nor at its end."""
        run = self.find_trial(event.trial)
        self.log(run, [], {"status": TrialStatus.PAUSED})
        self.connect().update_run(run, status=RUN_STATUSES[TrialStatus.PAUSED])

    def end_trial(self, event: TrialEnded, metrics: Sequence[Metric], milliseconds: int) -> None:
        """The end of a trial's run.

        Args:
            metrics: of its last epochs, not sent yet.
        """
        run = self.find_trial(event.trial)
        tags = {"status": event.status, "reason": event.reason, "rung": event.rung, "cutoff": event.cutoff}
        tags |= {"error": event.error, "checkpoint": event.checkpoint}
        lost = {name_best(self.record): event.best} if event.status == TrialStatus.DIVERGED else {}
        last = self.record.trials[event.trial].last_epoch
        self.log(run, [*metrics, *build_metrics(lost, milliseconds, last + 1)], tags)
        self.connect().set_terminated(run, RUN_STATUSES[event.status], milliseconds)
        if event.status.is_over:  # one that was interrupted may go on: what is sent now would be sent again
            self.ended.add(event.trial)
            self.best = max((value for value in (self.best, event.best) if value is not None), default=None)

    def end_search(self, event: SearchEnded, milliseconds: int) -> None:
        """The end of the search's run."""
        run, counts = self.find_parent(), self.record.count_statuses()
        tags = {"status": event.reason, **{f"trials.{status}": counts[status] for status in RUN_STATUSES}}
        if ranked := self.record.rank():
            tags["best_trial"] = ranked[0].number
        self.log(run, [], tags)
        status = "FINISHED" if event.reason == EndReason.ALL_ENDED else "KILLED"
        self.connect().set_terminated(run, status, milliseconds)
        gather_statistics(self.uri)

    def send_file(self, path: Path) -> None:
        """Keep a file with the search's run. The head of the report becomes the run's description."""
        self.connect().log_artifact(self.find_parent(), str(path))
        if path.name == REPORT:
            self.log(self.find_parent(), [], {NOTE_TAG: take_head(path.read_text(encoding="utf-8", errors="replace"))})

    def forget_runs(self) -> None:
        """After an error: what was made may not be known here, so look it up again."""
        self.runs.clear()


def name_best(record: SearchRecord) -> str:
    """The metric of a search's best score, and of a trial's: `best/val_accuracy` of `val/accuracy`."""
    return f"best/{record.objective.name.replace('/', '_')}"


def build_metrics(values: Mapping[str, float | None], milliseconds: int, step: int) -> list[Metric]:
    """MLflow's rows of some values at one time; None has none."""
    from mlflow.entities import Metric

    return [Metric(name_key(name), value, milliseconds, step) for name, value in values.items() if value is not None]


def name_key(name: str) -> str:
    """The name of a metric or parameter as MLflow takes it: what it refuses, in a category's name, as `:` and its code.

    It takes letters, digits and `_-. :/`, and no path that can be written shorter.
    """
    parts = [NO_KEY.sub(lambda match: write_bytes(match[0], ":"), part) for part in name.split("/")]
    parts = [":" + part if part in ("", ".", "..") else part for part in parts]
    key = "/".join(parts)
    return key if len(key) <= MAX_KEY else f"{key[: MAX_KEY - 9]}:{zlib.crc32(key.encode()):08X}"


def format_param(value: Any) -> str:
    """A parameter as MLflow shows it: numbers short enough to read."""
    return f"{value:.6g}" if isinstance(value, float) else str(value)
