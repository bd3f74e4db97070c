"""One search from its options to its report: plan, prepare, run, and write down how it ended."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from packaging.version import InvalidVersion, Version
from rich.console import Console
from rich.table import Table

from fashion_core import metrics
from fashion_core.data.audit import audit, render_audit
from fashion_core.data.splits import Selection, select_images
from fashion_core.errors import SearchError
from fashion_core.models.saved import read_score
from search.experiment.finish import list_next_steps, write_results
from search.experiment.result import SearchResult
from search.jobs.cluster import join_ray, use_ray
from search.jobs.images import prepare_images
from search.jobs.training import save_selection
from search.planning.options import SearchOptions
from search.planning.plan import Plan, build_plan, render_plan
from search.planning.resources import Machine, detect_machine
from search.records.events import EndReason, SearchEnded, SearchResumed, SearchStarted, TrialEnded, TrialStatus
from search.records.ledger import Ledger, read_events
from search.records.provenance import collect_provenance
from search.records.record import SearchRecord, replay
from search.records.session import Session
from search.reporting.live import LiveView
from search.reporting.silence import choose_console
from search.reporting.summary import render_summary
from search.tracking.sender import Tracker
from search.tune.trainable import TrialTrainable
from search.tune.tuner import clear_storage, run_trials

if TYPE_CHECKING:
    from fashion_core.data.prepared import PreparedData
    from search.jobs.images import Images
    from search.jobs.training import JobSite
    from search.records.events import Event
    from search.records.layout import SearchLayout

OLDEST = Version("0.2")  # that began a search which this version can go on with
CALLED = ("search.run_search",)  # the command of a search that Python code started


class EventSink(Protocol):
    """Where a search's events and files are sent, such as MLflow: see `search.tracking.sender.Tracker`."""

    def send(self, event: Event) -> None:
        """Send an event soon. Returns at once."""

    def send_file(self, path: Path) -> None:
        """Keep a file with the search's run, soon. Returns at once."""

    def close(self) -> str | None:
        """Send what is left, for a bounded time. Returns what is missing, in words; None if nothing is."""

    def __enter__(self) -> EventSink: ...

    def __exit__(self, *error: object) -> None: ...


def plan_search(options: SearchOptions, console: Console | None = None, machine: Machine | None = None) -> Plan:
    """What a search would do: checked, shown, and nothing of it done.

    Raises:
        FashionError: it cannot start.
    """
    with enter_cluster(options.address, machine) as found:
        return plan_on(found, options, options.build_layout(), choose_console(console))


def run_search(
    options: SearchOptions,
    *,
    resume: bool = False,
    replace: bool = False,
    console: Console | None = None,
    trainable: type[TrialTrainable] = TrialTrainable,
    machine: Machine | None = None,
    tracker: EventSink | None = None,
    report: bool = True,
    command: Sequence[str] = CALLED,
) -> SearchResult:
    """Run a search, or go on with one.

    Args:
        resume: go on with the search of this name, with the options it began with.
        replace: delete an earlier search of the same name first.
        console: what it prints on; None: nowhere.
        trainable: what trains a trial.
        machine: what it may use; None: what this machine has.
        tracker: where events are sent; None: MLflow, as the options say.
        report: put the best model in its place, and write the report, in the end.
        command: what was typed, for the search's provenance.

    Raises:
        FashionError: it cannot start, or ended before its time.
    """
    layout, console = options.build_layout(), choose_console(console)
    if layout.folder.exists() and not (resume or replace):
        raise SearchError(
            f"a search's name must be new, but {layout.folder} exists; give another --name, "
            f"go on with --resume {layout.name}, or delete the old one with --replace"
        )
    with ExitStack() as stack:
        plan = plan_on(stack.enter_context(enter_cluster(options.address, machine)), options, layout, console)
        if options.address is None:
            stack.enter_context(use_ray(machine or detect_machine()))
        events = read_events(layout.ledger)
        record = replay(events)
        if resume and record.search is not None:  # one killed before its first event simply starts
            check_resumable(plan, record)
        else:
            clear_storage(plan, replace=replace)
            shutil.rmtree(layout.folder, ignore_errors=True)
            events, record = [], SearchRecord()
        layout.folder.mkdir(parents=True, exist_ok=True)
        options.save(layout.options)
        layout.space_yaml.write_text(plan.space.text)
        images, selection = prepare(plan, console)
        session = Session(layout, stack.enter_context(Ledger(layout.ledger)), record)
        tracker = stack.enter_context(tracker or Tracker(layout, options.tracking_uri))
        for event in events:  # of before an interruption; what MLflow has stays as it is
            tracker.send(event)
        session.listeners.append(tracker.send)
        if record.search is not None:
            close_trials(session, "the search was interrupted")
            session.append(SearchResumed(trials=plan.trials))
        else:
            session.append(describe_start(plan, images.first, selection, command))
            layout.audit.write_text(render_audit(audit(images.first)))
        run_session(plan, session, build_site(plan, images, selection), console, trainable, resume=bool(events))
        for path in write_results(layout, record) if report else []:
            tracker.send_file(path)
        missing = tracker.close()
        console.print(render_summary(record, list_next_steps(layout, options.tracking_uri)))
        if missing is not None:
            console.print(missing, style="yellow", highlight=False, markup=False)
    return SearchResult(layout, record)


def enter_cluster(address: str | None, machine: Machine | None) -> AbstractContextManager[Machine]:
    """What there is to run on: the cluster, joined, or this machine."""
    return join_ray(address) if address is not None else nullcontext(machine or detect_machine())


def plan_on(machine: Machine, options: SearchOptions, layout: SearchLayout, console: Console) -> Plan:
    """The plan of a search on a machine, shown; and the weights that it starts from, looked for."""
    plan = build_plan(options, layout, machine)
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for topic, text in render_plan(plan):
        table.add_row(topic, text)
    console.print(table, highlight=False)
    plan.check_weights()
    return plan


def check_resumable(plan: Plan, record: SearchRecord) -> None:
    """A search goes on while it has time, with the space it began with, in a version that knows how it began.

    Raises:
        SearchError: it cannot go on.
    """
    begun = record.begun
    if begun_by_older(begun.provenance.get("version", "")):
        raise SearchError(
            f"a search goes on in the version it began in, but {begun.name} was begun by an earlier version "
            f"({begun.provenance.get('version')}, this is {version('fashion-search')}); start a new search: its "
            "report and its models can still be used"
        )
    if record.ended is not None and record.ended.reason == EndReason.TIME_BUDGET:
        raise SearchError(  # Ray takes up none of its trials once its time budget is spent
            f"a search goes on while it has time, but the budget of {begun.name} is spent; start a new "
            "search, with a longer --time-budget"
        )
    check_space(plan, begun)


def begun_by_older(found: str) -> bool:
    """Whether a version is older than `OLDEST`; one that is not known is not."""
    try:
        return Version(found) < OLDEST
    except InvalidVersion:
        return False


def check_space(plan: Plan, begun: SearchStarted) -> None:
    """Raises SearchError where the space's file has changed since the search began."""
    if begun.space_hash != plan.space.hash:
        raise SearchError(
            f"a search goes on with the space it began with, but {plan.options.space} has changed since; "
            f"restore it (a copy is {plan.layout.space_yaml}) or start a new search"
        )


def prepare(plan: Plan, console: Console) -> tuple[Images, Selection]:
    """Every prepared set that trials can need, and which images are trained and selected on."""
    images = prepare_images(plan.annotations, plan.settings, plan.probed, plan.cache_dir, console)
    return images, select_images(images.first, plan.options.select_on, plan.options.seed)


def build_site(plan: Plan, images: Images, selection: Selection) -> JobSite:
    """What all trials share."""
    name = f"selection-{images.first.fingerprint}-{selection.select_on}-{selection.seed}.npz"
    path = plan.cache_dir.resolve() / name
    save_selection(path, selection.train, selection.select)
    return images.build_site(path, plan.resources)


def run_session(
    plan: Plan, session: Session, site: JobSite, console: Console, trainable: type[TrialTrainable], *, resume: bool
) -> None:
    """Run all trials in sight, and write down how the search ended."""
    record = session.record
    with LiveView(console, record, plan.trials, plan.space.scheduler.max_epochs) as live:
        session.listeners.append(live.update)
        run_trials(plan, site, session, resume=resume, trainable=trainable)
    close_trials(session, "the search ended first")
    ended = [trial for trial in record.trials.values() if trial.status != TrialStatus.INTERRUPTED]
    reason, budget = EndReason.INTERRUPTED, plan.options.time_budget_s
    if len(ended) >= plan.trials:
        reason = EndReason.ALL_ENDED
    elif budget is not None and record.seconds >= budget:
        reason = EndReason.TIME_BUDGET
    session.append(SearchEnded(reason=reason, seconds=record.seconds))


def describe_start(plan: Plan, data: PreparedData, selection: Selection, command: Sequence[str]) -> SearchStarted:
    """How a search begins: settings, space, provenance, and which images each choice has seen."""
    scheduler, options = plan.space.scheduler, plan.options
    labels = data.labels
    majority = metrics.compute_majority_score(labels[selection.select], labels[selection.train])
    return SearchStarted(
        name=plan.layout.name,
        settings={
            "trials": plan.trials,
            "sampler": plan.space.sampler,
            "scheduler": scheduler.type,
            "max_epochs": scheduler.max_epochs,
            "grace_epochs": scheduler.grace_epochs,
            "reduction_factor": scheduler.reduction_factor,
            "seed": options.seed,
            "select_on": options.select_on,
            "concurrent": plan.resources.concurrent,
            "cpus_per_trial": plan.resources.cpus_per_trial,
            "gpus_per_trial": plan.resources.gpus_per_trial,
        },
        space=plan.space.text,
        space_name=plan.space.name,
        space_hash=plan.space.hash,
        provenance=collect_provenance(command),
        data={
            "folder": options.data.resolve().name,
            "fingerprint": data.fingerprint,
            "counts": {split: len(data.indices(split)) for split in ("train", "val", "test")},
            "skipped": len(plan.annotations.skipped),
            "majority": majority,
            "categories": data.schema.to_dict(),
        },
        selection={
            "select_on": selection.select_on,
            "seed": selection.seed,
            "train_count": len(selection.train),
            "select_count": len(selection.select),
            "select_images": [data.names[index] for index in selection.select],
        },
    )


def close_trials(session: Session, reason: str) -> None:
    """Write an end for every trial that has none. Its best is that of its kept model: a later epoch may be lost."""
    for trial in list(session.record.trials.values()):
        if trial.status == TrialStatus.RUNNING:
            best, best_epoch = trial.best, trial.best_epoch
            kept = session.layout.find_checkpoint(trial.number)
            if kept is not None:
                best, best_epoch = read_score(session.layout.checkpoint_folder(trial.number))
            session.append(
                TrialEnded(
                    trial=trial.number,
                    status=TrialStatus.INTERRUPTED,
                    reason=reason,
                    best=best,
                    best_epoch=best_epoch,
                    checkpoint=kept,
                )
            )
