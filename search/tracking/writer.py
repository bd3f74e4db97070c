"""The ledger's view in MLflow: one parent run a search, one child run a trial. Runs are written here alone.

What is sent is keyed by the ledger: runs are found by tags, metrics have the event's time and the epoch as step. So
sending an event twice changes nothing, and a whole search can be sent again: `search.tracking.resending`.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from fashion_core.metrics import ACCURACY
from search.address import Address
from search.records.events import (
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
from search.records.own_space import collect_parameters, read_own_space
from search.records.record import SearchRecord, TrialRecord
from search.tracking.facts import (
    build_source,
    describe_data,
    describe_end,
    describe_trial,
    find_seeds,
    is_failure,
    measure_trial,
)
from search.tracking.names import name_best, name_key
from search.tracking.store import NOTE_TAG, gather_statistics, open_store, take_head
from search.tracking.view import VIEW_TAG, build_view, name_view, write_view

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from mlflow.entities import DatasetInput, Metric, Run
    from mlflow.tracking import MlflowClient

    from fashion_core.data.schema import AttributeSchema
    from search.space.space import Space
    from search.tracking.facts import DataSet

# The run's status is the UI's icon, a red cross for what failed alone; the tag `status` is its word.
RUN_STATUSES = {
    TrialStatus.FINISHED: "FINISHED",
    TrialStatus.STOPPED: "FINISHED",
    TrialStatus.FAILED: "FAILED",
    TrialStatus.DIVERGED: "FAILED",
    TrialStatus.INTERRUPTED: "FINISHED",
    TrialStatus.PAUSED: "FINISHED",
}
WAITING = "SCHEDULED"  # of a trial that pauses while its search runs
BEST_EPOCH = "best/epoch"
EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}  # the pages for training, not GenAI
SEARCH_TAG, TRIAL_TAG, PARENT_TAG = "search_id", "trial", "mlflow.parentRunId"
MAX_TAG = 5_000  # characters; MLflow's own limit is 8,000
MAX_METRICS = 1_000  # in one batch
MAX_PARAMS = 100  # in one batch
PRIMARY = "mlflow.experiment.primaryMetric"


class RunsAhead(Exception):
    """MLflow holds what a search's ledger does not tell, as its last lines were lost: that would stand there twice."""


class Writer:
    """Sends events of one search to MLflow, now, in this thread.

    Args:
        uri: of the tracking server or database.
        artifacts: where a new experiment of a database keeps its files; a server decides that itself.
    """

    def __init__(self, uri: Address | str, artifacts: Path) -> None:
        self.uri, self.artifacts = Address.of(uri), artifacts
        self.sent: list[Event] = []
        self.runs: dict[int | None, str] = {}  # run id by trial number; None: the search's
        self.client: MlflowClient | None = None
        self.experiment = ""
        self.found: dict[str, Run] = {}  # runs that MLflow had before, by id
        self.configured: set[str] = set()  # runs of trials that have their parameters
        self.checked: set[str] = set()  # runs in which nothing stands but what the ledger tells
        self.shown: int | None = None  # how many searched parameters the pages show
        self.source: dict[str, str] = {}
        self.begin()

    def begin(self) -> None:
        """What the events add up to before the first of them."""
        self.record = SearchRecord()
        self.taken: set[tuple[int, float]] = set()  # `seq` and time of each
        self.searched: dict[str, None] = {}  # names of the searched parameters, in their order
        self.own_space: tuple[Space, AttributeSchema] | None = None
        self.ended: set[int] = set()  # trials
        self.best: float | None = None

    def take(self, event: Event) -> None:
        """Take in the next event: what is sent of it follows from the events up to it alone."""
        self.record.apply(event)
        self.taken.add((event.seq, event.time))
        match event:
            case SearchStarted():
                self.own_space = read_own_space(self.record)
            case SearchResumed():
                self.own_space = read_own_space(self.record, event.max_epochs) or self.own_space
            case TrialStarted():
                self.searched |= dict.fromkeys(event.params)
            case TrialEnded() if event.status.is_over:  # one that was interrupted may go on
                self.ended.add(event.trial)
                self.best = max((value for value in (self.best, event.best) if value is not None), default=None)

    def connect(self) -> MlflowClient:
        """The client, opened when it is first asked for."""
        if self.client is None:
            self.client = open_store(self.uri)
        return self.client

    def send(self, events: Sequence[Event]) -> None:
        """Send events, in order, in few calls; those that were sent are left out.

        After an error none of them counts as sent: sending the same ones again is right.

        Raises:
            RunsAhead: MLflow holds what these events, and those before, do not tell.
        """
        new = [event for event in events if event.seq < 0 or (event.seq, event.time) not in self.taken]
        try:
            self.send_new(new)
        except BaseException:
            self.begin()
            for event in self.sent:
                self.take(event)
            raise
        self.sent += new

    def send_new(self, events: Sequence[Event]) -> None:
        """What `send` does, without a way back."""
        waiting: dict[int | None, list[Metric]] = defaultdict(list)  # by trial number; None: of the search
        for event in events:
            self.take(event)
            milliseconds = int(event.time * 1000)
            match event:
                case SearchStarted():
                    self.start_search(event)
                case SearchResumed():
                    self.check_runs([*self.sent, *events])
                    self.connect().update_run(self.find_parent(), status="RUNNING")
                    self.log(self.find_parent(), [], {"status": "running", NOTE_TAG: describe_end(self.record)})
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

        tag_rows = [RunTag(name, str(value)) for name, value in (tags or {}).items()]
        known = self.found[run].data.params if run in self.found else {}
        rows = [Param(name_key(name), str(value)) for name, value in params.items()]
        rows = [row for row in rows if row.key not in known]  # MLflow takes no other value: older ones were rounded
        for start in range(0, max(len(rows), 1), MAX_PARAMS):
            self.connect().log_batch(run, params=rows[start : start + MAX_PARAMS], tags=tag_rows)

    def find_runs(self, filter_string: str) -> list[Run]:
        """All runs of the experiment that the filter lets through."""
        runs: list[Run] = []
        token = None
        while True:
            page = self.connect().search_runs([self.experiment], filter_string, page_token=token)
            runs += page
            if (token := page.token) is None:
                self.found |= {run.info.run_id: run for run in runs}
                return runs

    def find_parent(self) -> str:
        """The search's run, made if there is none; with it, the runs of its trials."""
        if None not in self.runs:
            search = self.record.begun
            self.experiment = self.find_experiment(search.space_name)
            found = self.find_runs(f"tags.{SEARCH_TAG} = '{self.record.search_id}'")
            for run in found:
                if run.data.tags["kind"] == "trial":
                    self.runs[int(run.data.tags[TRIAL_TAG])] = run.info.run_id
            parents = [run for run in found if run.data.tags["kind"] == "search"]
            if not parents:
                tags = {SEARCH_TAG: self.record.search_id, "kind": "search", "status": "running"}
                parents = [self.begin_run(search.name, tags, start=search.time, **self.describe_begun())]
            self.runs[None] = parents[0].info.run_id
        return self.runs[None]

    def check_runs(self, known: Sequence[Event]) -> None:
        """Raises RunsAhead where MLflow holds points that no event tells: those have other times.

        Trials that are over by now are left out.

        Args:
            known: all events there are, also those that come later.
        """
        parent, client = self.find_parent(), self.connect()
        told: dict[int | None, set[tuple[int | None, int]]] = defaultdict(set)  # epoch, none of a search, and time
        for event in known:
            if isinstance(event, EpochEnded):
                told[event.trial].add((event.epoch, int(event.time * 1000)))
            elif isinstance(event, TrialEnded):
                told[None].add((None, int(event.time * 1000)))
        over = {number for number, trial in self.record.trials.items() if trial.status.is_over}
        for number, run in self.runs.items():
            if run in self.checked or number in over:
                continue
            name = name_best(self.record) if run == parent else ACCURACY
            points = client.get_metric_history(run, name_key(name))
            if not {(None if run == parent else point.step, point.timestamp) for point in points} <= told[number]:
                raise RunsAhead
            self.checked.add(run)

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
            begun = self.describe_begun() | {"note": describe_trial(self.record, trial)}
            run = self.begin_run(f"trial-{number:04d}", tags, start=trial.started, **begun)
            self.runs[number] = run.info.run_id
        return self.runs[number]

    def describe_begun(self) -> dict[str, Any]:
        """What `begin_run` is told of a run of the search."""
        data = describe_data(self.record)
        return {"note": describe_end(self.record), "source": self.find_source(), "data": data}

    def begin_run(
        self,
        name: str | None,
        tags: Mapping[str, str],
        *,
        note: str,
        source: Mapping[str, str],
        data: Sequence[DataSet],
        start: float | None = None,
    ) -> Run:
        """Make a run of the experiment. All runs are made here, with what MLflow's own clients tell of one.

        Args:
            note: what runs, in a line.
            source: see `build_source`.
            data: what it is given; see `describe_images`.
            start: unix seconds; None: now.
        """
        milliseconds = None if start is None else int(start * 1000)
        whole = {**tags, **source, NOTE_TAG: note}
        run = self.connect().create_run(self.experiment, milliseconds, whole, name)
        if data:
            self.connect().log_inputs(run.info.run_id, build_inputs(data))
        return run

    def find_source(self) -> dict[str, str]:
        """MLflow's tags of where the runs come from."""
        if not self.source:
            self.source = build_source(self.record.begun.provenance)
        return self.source

    def find_missing(self, run: str) -> dict[str, str]:
        """Of these, what a run that MLflow had before does not have: older ones have none."""
        known = self.found[run].data.tags if run in self.found else self.find_source()
        return {name: value for name, value in self.find_source().items() if name not in known}

    def start_search(self, event: SearchStarted) -> None:
        """The search's run, with its settings, provenance, space and selection."""
        client, run, data = self.connect(), self.find_parent(), event.data
        params: dict[str, Any] = {key: str(value) for key, value in event.settings.items()}
        params |= {"space": event.space_name, "space_hash": event.space_hash}
        params |= {"data": data.get("folder"), "data_fingerprint": data.get("fingerprint")}
        params |= {f"{key}_images": event.selection.get(f"{key}_count") for key in ("train", "select")}
        tags = {f"provenance.{key}": value for key, value in event.provenance.items()}
        self.log_params(run, params, tags | self.find_missing(run))
        self.mend_inputs(run, describe_data(self.record))
        client.log_text(run, event.space, "space.yaml")
        client.log_dict(run, event.selection, "selection.json")
        primary = {"name": name_best(self.record), "greaterIsBetter": "true"}
        for name, value in (EXPERIMENT_TAGS | {f"{PRIMARY}.{key}": value for key, value in primary.items()}).items():
            client.set_experiment_tag(self.experiment, name, value)

    def mend_inputs(self, run: str, data: Sequence[DataSet]) -> None:
        """The data sets of a run that MLflow had before without them, as of an older version."""
        if data and run in self.found and not list_inputs(self.found[run]):
            self.connect().log_inputs(run, build_inputs(data))

    def start_trial(self, trial: TrialRecord) -> None:
        """A trial's run; running again where it goes on."""
        self.find_parent()
        client, is_new = self.connect(), trial.number not in self.runs
        run = self.find_trial(trial.number)
        if run not in self.configured:  # a search that was extended goes on with more epochs: the first stand there
            self.log_params(run, self.collect(trial), self.find_missing(run))
            self.mend_inputs(run, describe_data(self.record))
            self.configured.add(run)
        self.show_searched()
        if not is_new:
            self.log(run, [], {"status": TrialStatus.RUNNING, NOTE_TAG: describe_trial(self.record, trial)})
            client.update_run(run, status="RUNNING")

    def collect(self, trial: TrialRecord) -> dict[str, Any]:
        """All that a trial trains with, its seeds too, by flat names."""
        return collect_parameters(self.own_space, trial.params) | find_seeds(self.record, trial.number)

    def show_searched(self) -> None:
        """Prepare the pages of the experiment, and of the search in it, where they lack parameters."""
        if self.shown == len(self.searched):
            return
        views = {name_view(): None, name_view(self.record.name): self.record.search_id}
        for name, search_id in views.items():
            view = build_view(self.record, list(self.searched), search_id)
            self.connect().set_experiment_tag(self.experiment, VIEW_TAG + name, write_view(view))
        self.shown = len(self.searched)

    def pause_trial(self, event: TrialPaused) -> None:
        """A trial's run waits: it is neither running nor at its end."""
        run, trial = self.find_trial(event.trial), self.record.trials[event.trial]
        self.log(run, [], {"status": TrialStatus.PAUSED, NOTE_TAG: describe_trial(self.record, trial)})
        self.connect().update_run(run, status=WAITING)

    def end_trial(self, event: TrialEnded, metrics: Sequence[Metric], milliseconds: int) -> None:
        """The end of a trial's run.

        Args:
            metrics: of its last epochs, not sent yet.
        """
        run, trial = self.find_trial(event.trial), self.record.trials[event.trial]
        tags = {"status": event.status, "reason": event.reason, "rung": event.rung, "cutoff": event.cutoff}
        tags |= {"error": event.error, "checkpoint": event.checkpoint, NOTE_TAG: describe_trial(self.record, trial)}
        lost = {name_best(self.record): event.best} if event.status == TrialStatus.DIVERGED else {}
        rows = build_metrics(lost, milliseconds, trial.last_epoch + 1)
        if event.status.is_over:  # one that was interrupted may go on: what is sent now would be sent again
            rows += build_metrics(measure_trial(trial), milliseconds, trial.last_epoch)
        self.log(run, [*metrics, *rows], tags)
        self.connect().set_terminated(run, RUN_STATUSES[event.status], milliseconds)

    def end_search(self, event: SearchEnded, milliseconds: int) -> None:
        """The end of the search's run."""
        run, counts = self.find_parent(), self.record.count_statuses()
        tags = {"status": event.reason, **{f"trials.{status}": counts[status] for status in RUN_STATUSES}}
        if ranked := self.record.rank():
            tags["best_trial"] = ranked[0].number
        self.log(run, [], tags | {NOTE_TAG: describe_end(self.record)})
        self.connect().set_terminated(run, "FAILED" if is_failure(event.reason) else "FINISHED", milliseconds)
        gather_statistics(self.uri)

    def is_known(self) -> bool:
        """Whether MLflow has the search's run. Nothing is made where it has not."""
        found = self.connect().get_experiment_by_name(self.record.begun.space_name)
        if found is None:
            return False
        self.experiment = str(found.experiment_id)
        return bool(self.find_runs(f"tags.{SEARCH_TAG} = '{self.record.search_id}' AND tags.kind = 'search'"))

    def send_file(self, path: Path) -> None:
        """Keep a file with the search's run. The head of the report becomes the run's description."""
        self.connect().log_artifact(self.find_parent(), str(path))
        if path.name == REPORT:
            head = take_head(path.read_text(encoding="utf-8", errors="replace"))
            self.log(self.find_parent(), [], {NOTE_TAG: f"{describe_end(self.record)}\n\n{head}"})

    def forget_runs(self) -> None:
        """After an error: what was made may not be known here, so look it up again."""
        self.runs.clear()
        self.found.clear()
        self.configured.clear()
        self.checked.clear()
        self.shown = None


def build_metrics(values: Mapping[str, float | None], milliseconds: int, step: int) -> list[Metric]:
    """MLflow's rows of some values at one time; None has none."""
    from mlflow.entities import Metric

    return [Metric(name_key(name), value, milliseconds, step) for name, value in values.items() if value is not None]


def list_inputs(run: Run) -> list[DatasetInput]:
    """The data sets of a run."""
    return [] if run.inputs is None else run.inputs.dataset_inputs


def build_inputs(data: Sequence[DataSet]) -> list[DatasetInput]:
    """Data sets as MLflow's inputs of a run."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    return [
        DatasetInput(
            Dataset(name=name, digest=digest, source_type="local", source="{}", profile=profile),
            [InputTag("mlflow.data.context", context)],
        )
        for context, name, digest, profile in data
    ]
