"""A promotion in MLflow: a run `promote/NAME` an attempt, and in it a run for every network that it trained again.

What is sent is keyed as in `search.tracking`: sending it again changes nothing, so a promotion that goes on sends all.
A server that is away holds nothing up: what was not sent is told, and sent the next time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fashion_core.errors import first_line
from fashion_core.files import retry_while_full
from search.jobs.reruns import EPOCHS_FOLDER, FINISHED, Training
from search.promotion.attempt_state import PROMOTED, REFUSED
from search.promotion.plan import PromotionPlan, flatten_config
from search.records.events import TrialStatus
from search.records.ledger import ignore
from search.records.provenance import describe_command, describe_git
from search.tracking.facts import MAX_LINE, build_source, describe_images, measure_epochs
from search.tracking.store import NOTE_TAG, take_head
from search.tracking.writer import PARENT_TAG, RUN_STATUSES, Writer, build_metrics

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from search.address import Address
    from search.jobs.material import Material
    from search.promotion.options import PromotionOptions
    from search.records.layout import SearchLayout
    from search.records.record import SearchRecord
    from search.tracking.facts import DataSet

PROMOTION_TAG, RUN_TAG = "promotion_id", "rerun"
ATTEMPT_TAG = "attempt"  # of an attempt's run: its number
RERUNS_TAG = "reruns_in"  # of a later attempt's run: the run that holds the networks both are about


@dataclass(frozen=True)
class Origin:
    """Where an attempt and its networks come from.

    Attributes:
        command: what was typed.
        train, judge: the images that networks are trained on, and those that judge them.
        last: those that are trained on once more, for what ships.
    """

    command: tuple[str, ...] = ()
    train: DataSet | None = None
    judge: DataSet | None = None
    last: DataSet | None = None

    @property
    def source(self) -> dict[str, str]:
        """MLflow's tags of it."""
        return build_source({"command": describe_command(self.command), **describe_git()})

    def list_data(self, *, is_last: bool = False) -> list[DataSet]:
        """What an attempt is given, or the networks that judge nothing any more."""
        return [each for each in ((self.last,) if is_last else (self.train, self.judge)) if each is not None]


class PromotionTracker:
    """Sends an attempt of promotion to MLflow, in this thread.

    Args:
        number: of the attempt.
        uri: of the tracking server or database.
        tell: called with a line where the disk is full: sending waits until it is not.
        origin: where it comes from.

    Attributes:
        error: the first thing that went wrong; from then on nothing is sent.
        run_id: of the attempt's run; None before `start`, or where it could not be made.
    """

    def __init__(
        self,
        uri: Address,
        layout: SearchLayout,
        record: SearchRecord,
        plan: PromotionPlan,
        number: int = 1,
        tell: Callable[[str], None] = ignore,
        origin: Origin | None = None,
    ) -> None:
        """Nothing is asked before `start`."""
        self.tell, self.origin = tell, origin or Origin()
        self.source = self.origin.source
        self.writer = Writer(uri, layout.artifacts)
        self.layout, self.record, self.plan, self.number = layout, record, plan, number
        self.error: str | None = None
        self.run_id: str | None = None
        self.runs: dict[str, str] = {}  # run id by name of the re-run
        self.is_over = False

    def attempt(self, action: Callable[..., None], *arguments: Any) -> None:
        """Do it, unless something went wrong before."""
        if self.error is not None:
            return
        try:
            retry_while_full(lambda: action(*arguments), self.layout.results, self.tell)
        except Exception as error:  # MLflow raises what its database or HTTP library raises
            self.error = self.writer.uri.hide(first_line(error))

    def start(self, options: PromotionOptions) -> None:
        """Find the attempt's run, or make it."""
        self.attempt(self.start_now, options)

    def send_training(self, training: Training, status: TrialStatus, scores: Sequence[Mapping[str, float]]) -> None:
        """A network that was trained, with all its epochs."""
        self.attempt(self.send_training_now, training, status, scores)

    def end(self, values: Mapping[str, float], reasons: Sequence[str], files: Sequence[Path], *, passed: bool) -> None:
        """The attempt's end: its figures, the gate's words, its files, the first of them its report."""
        self.attempt(self.end_now, values, reasons, files, passed)

    def close(self) -> None:
        """An attempt that broke off before its end does not go on running in MLflow."""
        if not self.is_over and self.run_id is not None:
            self.attempt(self.close_now)

    def start_now(self, options: PromotionOptions) -> None:
        """What `start` attempts."""
        client = self.writer.connect()
        self.writer.experiment = self.writer.find_experiment(self.record.begun.space_name)
        found = self.writer.find_runs(f"tags.{PROMOTION_TAG} = '{self.plan.promotion_id}'")
        self.runs = {run.data.tags[RUN_TAG]: run.info.run_id for run in found if RUN_TAG in run.data.tags}
        attempts = {run.info.run_id: run.data.tags for run in found if RUN_TAG not in run.data.tags}
        self.run_id, note = self.find_own(attempts), describe_attempt(self.plan, self.origin)
        if self.run_id is None:
            tags = {PROMOTION_TAG: self.plan.promotion_id, "kind": "promotion"}
            name = f"promote/{self.layout.name}" + (f", attempt {self.number}" if self.number > 1 else "")
            data = self.origin.list_data()
            run = self.writer.begin_run(name, tags, note=note, source=self.source, data=data)
            self.run_id = str(run.info.run_id)
        self.writer.mend_inputs(self.run_id, self.origin.list_data())
        tags = {ATTEMPT_TAG: str(self.number), "status": "running", NOTE_TAG: note, **self.source}
        trained_in = {run.data.tags.get(PARENT_TAG, "") for run in found if RUN_TAG in run.data.tags}
        if earlier := sorted(trained_in - {self.run_id, ""}):
            tags[RERUNS_TAG] = " ".join(earlier)
        self.writer.log(self.run_id, [], tags)
        params = {"top": options.top, "seeds": options.seeds, "baseline": options.baseline}
        params["objective"] = self.plan.objective.name
        params["candidates"] = ", ".join(each.words for each in self.plan.everyone)
        self.writer.log_params(self.run_id, params)
        client.update_run(self.run_id, status="RUNNING")

    def find_own(self, runs: Mapping[str, Mapping[str, str]]) -> str | None:
        """The attempt's run, by the tags of all; one of a version that did not number them where it was cut off."""
        for run_id, tags in runs.items():
            number = tags.get(ATTEMPT_TAG)
            if number == str(self.number) or (number is None and tags.get("status") not in (PROMOTED, REFUSED)):
                return run_id
        return None

    def close_now(self) -> None:
        """What `close` attempts."""
        assert self.run_id is not None
        note = "interrupted: the same command goes on with it"
        self.writer.log(self.run_id, [], {"status": TrialStatus.INTERRUPTED, NOTE_TAG: note})
        self.writer.connect().set_terminated(self.run_id, RUN_STATUSES[TrialStatus.INTERRUPTED])

    def send_training_now(self, training: Training, status: TrialStatus, scores: Sequence[Mapping[str, float]]) -> None:
        """What `send_training` attempts."""
        client, name, is_last = self.writer.connect(), training.folder.name, training.stop_epoch is not None
        if is_last:
            name = f"final-{name}"
        note = describe_rerun(training, status, scores)
        data = self.origin.list_data(is_last=is_last)
        if name not in self.runs:
            assert self.run_id is not None
            tags = {PARENT_TAG: self.run_id, PROMOTION_TAG: self.plan.promotion_id, RUN_TAG: name, "kind": "rerun"}
            run = self.writer.begin_run(name, tags, note=note, source=self.source, data=data)
            self.runs[name] = run.info.run_id
        self.writer.mend_inputs(self.runs[name], data)
        params = {key: value for key, value in flatten_config(training.config).items() if value is not None}
        self.writer.log_params(self.runs[name], params)
        rows = []
        for epoch, values in enumerate(scores, 1):
            path = training.folder / EPOCHS_FOLDER / f"{epoch:04d}.npz"
            milliseconds = int(path.stat().st_mtime * 1000)
            rows += build_metrics(values, milliseconds, epoch)
            if epoch == len(scores):
                rows += build_metrics(measure_epochs(scores), milliseconds, epoch)
        self.writer.log(self.runs[name], rows, {"status": status, NOTE_TAG: note, **self.source})
        client.set_terminated(self.runs[name], RUN_STATUSES[status])

    def end_now(self, values: Mapping[str, float], reasons: Sequence[str], files: Sequence[Path], passed: bool) -> None:
        """What `end` attempts."""
        client = self.writer.connect()
        assert self.run_id is not None
        rows = build_metrics(values, int(self.plan.created * 1000), 0)
        note = take_head(files[0].read_text(encoding="utf-8", errors="replace"))
        status = PROMOTED if passed else REFUSED
        self.writer.log(self.run_id, rows, {"gate": "; ".join(reasons), "status": status, NOTE_TAG: note})
        for path in files:
            client.log_artifact(self.run_id, str(path))
        client.set_terminated(self.run_id, RUN_STATUSES[FINISHED])
        self.is_over = True


def describe_origin(command: Sequence[str], folder: str, material: Material, search: SearchRecord) -> Origin:
    """Where an attempt comes from. folder: the data set, as runs of the search call it."""
    known = str(search.data.get("fingerprint", ""))
    found = [each.fingerprint for each in material.data.values()]
    digest = known if known in found else material.first.fingerprint
    train, val, judged_on = len(material.train), len(material.val), material.judged_on
    judge = f"{folder}: val" if judged_on is None else judged_on.resolve().name
    return Origin(
        tuple(command),
        describe_images("train", f"{folder}: train", digest, train),
        describe_images("judge", judge, digest, val),
        describe_images("train", f"{folder}: train and val", digest, train + val),
    )


def describe_attempt(plan: PromotionPlan, origin: Origin) -> str:
    """What an attempt does, in one line."""
    words = ", ".join(each.words for each in plan.everyone)
    seeds = len(plan.seeds)
    judged = "" if origin.judge is None else f", judged on {origin.judge[1]}"
    return f"running: trains {words} again, with {seeds} seed{'' if seeds == 1 else 's'} each{judged}"[:MAX_LINE]


def describe_rerun(training: Training, status: TrialStatus, scores: Sequence[Mapping[str, float]]) -> str:
    """What became of a network that was trained again, in one line."""
    if training.stop_epoch is not None:
        return f"{status}: {training.label}, for what ships, on train and val to epoch {training.stop_epoch}"
    text, name = f"{status}: {training.label}, seed {training.seed_number}", training.config.objective
    known = [(row[name], -epoch) for epoch, row in enumerate(scores, 1) if name in row]
    if not known:
        return text
    best, epoch = max(known)
    return f"{text}; best {name} {best:.4f} in epoch {-epoch}"
