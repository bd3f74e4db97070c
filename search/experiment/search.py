"""One search from its options to its report: plan, prepare, run, and write down how it ended."""

from __future__ import annotations

import shutil
import time
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Protocol

from fashion_core.errors import SearchError
from fashion_core.files import retry_while_full
from search.experiment.beginning import (
    count_look,
    describe_start,
    prepare,
    settle_taken,
    with_taken,
    write_beginning,
)
from search.experiment.data_check import write_audit
from search.experiment.finish import write_results
from search.experiment.identity import check_unchanged, note_changes, tell_differences
from search.experiment.result import SearchResult
from search.experiment.resuming import (
    check_nothing_lost,
    check_replaceable,
    check_resumable,
    follow_ledger,
    is_vacant,
)
from search.experiment.running import close_trials, open_states, run_session
from search.experiment.starts import plan_with_starts
from search.experiment.steps import find_way, list_next_steps
from search.experiment.stored import (
    bring_back,
    check_nothing_stored,
    check_vacant,
    hold_stored,
    keep_options,
    store_beginning,
)
from search.jobs.cluster import look_at_cluster, open_ray
from search.jobs.guard import GoesOn, HeadGuard
from search.jobs.travel import send_unseen
from search.planning.costs import measure_before
from search.planning.disk import check_room, list_disks
from search.planning.plan import Plan, list_costs, render_plan
from search.planning.takeover import take_over
from search.records.costs import write_costs
from search.records.events import CostsMeasured, SearchResumed
from search.records.kept import set_damaged_aside
from search.records.ledger import Ledger, read_events
from search.records.locks import RUN, hold_search
from search.records.provenance import collect_provenance
from search.records.record import SearchRecord, replay
from search.records.requests import clear_request
from search.records.session import Session
from search.records.waiting import WaitEnded, Waiting
from search.registry.access import open_registry
from search.registry.standing import find_champion
from search.reporting.summary import render_summary
from search.reporting.terminal import choose_console, draw_pairs, draw_table, plain
from search.reporting.words import describe_search
from search.tracking.sender import Tracker
from search.tune.trainable import TrialTrainable
from search.tune.tuner import keep_interrupt

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from pathlib import Path

    from rich.console import Console

    from search.planning.options import SearchOptions
    from search.planning.resources import Machine
    from search.records.events import Event

CALLED = ("search.run_search",)  # the command of a search that Python code started


class EventSink(Protocol):
    """Where a search's events and files are sent, such as MLflow: see `search.tracking.sender.Tracker`."""

    def send(self, event: Event) -> None:
        """Send an event soon. Returns at once."""

    def send_file(self, path: Path) -> None:
        """Keep a file with the search's run, soon. Returns at once."""

    def send_models(self) -> None:
        """Tell which models the search keeps, soon. Returns at once."""

    def close(self) -> str | None:
        """Send what is left, for a bounded time. Returns what is missing, in words; None if nothing is."""

    def __enter__(self) -> EventSink: ...

    def __exit__(self, *error: object) -> None: ...


def plan_search(options: SearchOptions, console: Console | None = None, machine: Machine | None = None) -> Plan:
    """What a search would do: checked, shown, and nothing of it done.

    Raises:
        FashionError: it cannot start.
    """
    layout, console = options.build_layout(), choose_console(console)
    costs = measure_before(options, layout, console)
    with look_at_cluster(options.address, machine, allow_open=bool(options.allow_open_cluster)) as found:
        plan = take_over(plan_with_starts(options, layout, found, begun=False, costs=costs))
        show_plan(plan, console)
        return plan


def show_plan(plan: Plan, console: Console) -> None:
    """Show a plan.

    Raises:
        FashionError: weights cannot be had, or a disk has not the room.
    """
    disks = list_disks(plan)
    console.print(draw_pairs([*render_plan(plan), *(("disk", str(disk)) for disk in disks)]))
    if plan.costs:
        console.print(draw_table(("architecture", "parameters", "ms an image", ""), list_costs(plan)))
    plan.check_weights()
    check_room(disks)


def try_tracking(options: SearchOptions, *, resume: bool) -> None:
    """Ask MLflow once, for seconds, before hours of work. A search that goes on does without where it is away.

    Raises:
        SearchError: it does not answer; its address is none, or lacks a password that was not stored.
    """
    if options.tracking_uri is not None:
        options.tracking_uri.reveal()
        if not resume:
            open_registry(options.tracking_uri, "--tracking-uri must name an MLflow server or database")


@contextmanager
def tell_ended() -> Iterator[None]:
    """Inside, a wait that ends with the search is a SearchError, which says so."""
    try:
        yield
    except WaitEnded as ended:
        raise SearchError(str(ended)) from None


def run_search(
    options: SearchOptions,
    *,
    resume: bool = False,
    replace: bool = False,
    extend: bool = False,
    allow_changed: Collection[str] = (),
    console: Console | None = None,
    trainable: type[TrialTrainable] = TrialTrainable,
    machine: Machine | None = None,
    tracker: EventSink | None = None,
    report: bool = True,
    command: Sequence[str] = CALLED,
    began: float | None = None,
    goes_on: GoesOn | None = None,
) -> SearchResult:
    """Run a search, or go on with one.

    Args:
        resume: go on with the search of this name, with the options it began with.
        extend: with `resume`: the options give it more trials, longer ones, or other limits, than it had.
        replace: delete an earlier search of the same name first.
        allow_changed: what may differ from what a search began with that goes on: `code`.
        console: what it prints on; None: nowhere.
        trainable: what trains a trial.
        machine: what it may use; None: what this machine has.
        tracker: where events are sent; None: MLflow, as the options say.
        report: put the best model in its place, and write the report, in the end.
        command: what was typed, for the search's provenance.
        began: when the command did, by `time.monotonic`: from then on its time counts; None: now.
        goes_on: begins the command again, which does so where RayLostError is raised: the search has not ended then.

    Raises:
        FashionError: it cannot start, or ended before its time.
    """
    began = time.monotonic() if began is None else began
    layout, console = options.build_layout(), choose_console(console)

    def tell(text: str) -> None:
        console.print(plain(text, "yellow"))

    waiting = Waiting(layout, tell, SearchRecord(limits=options.limits), began)
    wait = waiting.retry
    with ExitStack() as stack:
        stack.enter_context(keep_interrupt())
        stack.enter_context(tell_ended())
        retry_while_full(lambda: stack.enter_context(hold_search(layout, RUN)), layout.folder, tell)
        clear_request(layout)  # one that nobody took was meant for an earlier run
        if not (resume or replace or is_vacant(layout.folder)):
            raise SearchError(
                f"a search's name must be new, but {layout.folder} exists; give another --name, "
                f"go on with --resume {layout.name}, or delete the old one with --replace"
            )
        if replace:
            check_replaceable(layout)
        storage = stack.enter_context(hold_stored(options, layout, RUN, tell, waiting.check))
        if storage is not None and resume:
            wait(partial(bring_back, storage, layout))
        elif storage is not None:
            check_vacant(storage, replace=replace)
        wait(lambda: try_tracking(options, resume=resume))
        events = read_events(layout.ledger) if resume else []
        record = replay(events)
        begun = record.search is not None  # one killed before its first event simply starts
        if begun and not extend:
            options = follow_ledger(options, record)
            waiting.go_on(record)
        if resume and not begun:
            check_nothing_lost(layout)
            if storage is not None:
                check_nothing_stored(storage)
        costs = record.costs if begun else wait(lambda: measure_before(options, layout, console))
        allow_open = bool(options.allow_open_cluster)
        found = stack.enter_context(open_ray(options.address, machine, options.storage, allow_open=allow_open))
        guard = stack.enter_context(HeadGuard(layout.name if begun and not extend else "", goes_on))
        plan = wait(lambda: plan_with_starts(options, layout, found, begun=begun, costs=costs))
        plan = with_taken(plan, record) if begun else take_over(plan)
        show_plan(plan, console)
        changed: dict[str, str] = {}
        if begun:
            check_resumable(plan, record, extend=extend)
            now = collect_provenance(command)
            check_unchanged(plan, record, now, allow_changed, extend=extend)
            changed = note_changes(plan, record, now)
            if differences := tell_differences(record.settings | record.provenance, changed, list(changed)):
                console.print(plain(f"note: the search goes on with {differences}", "yellow"))
            set_damaged_aside(layout, record, tell, storage)
        else:
            if storage is not None:
                storage.delete()
            if replace:
                shutil.rmtree(layout.folder, ignore_errors=True)
            events, record = [], SearchRecord()
        plan = wait(lambda: write_beginning(plan, begun=begun, extend=extend))
        guard.name = "" if extend else layout.name  # an extension that the ledger does not tell is given again
        if storage is not None and not begun:
            store_beginning(storage, layout)
        prepared = wait(lambda: prepare(plan, console), plan.cache_dir)
        site = prepared.site
        if options.travels is not None:
            site = site.with_parcels(send_unseen(site.files, options.travels, tell))
        ledger = wait(lambda: Ledger(layout.ledger, tell, began, storage, waiting.check))
        session = Session(layout, stack.enter_context(ledger), record)
        before = record.preparing_seconds + record.seconds
        tracker = stack.enter_context(tracker or Tracker(layout, options.tracking_uri))
        for event in events:  # of before an interruption; what MLflow has stays as it is
            tracker.send(event)
        session.listeners.append(tracker.send)
        if record.search is not None:
            session.append(
                SearchResumed(
                    trials=plan.trials,
                    limits=options.limits.write(),
                    extended=extend,
                    max_epochs=plan.space.scheduler.max_epochs if extend else None,
                    changed=changed,
                )
            )
            waiting.follow(session)
            guard.name = layout.name
            if extend:
                wait(lambda: keep_options(plan, storage))
            if new := {name: cost for name, cost in plan.costs.items() if name not in record.costs}:
                session.append(CostsMeasured(costs=write_costs(new)))
            close_trials(session, open_states(plan, session))
        else:
            wait(lambda: write_audit(layout, prepared.data, prepared.selection))
            plan = settle_taken(plan, prepared, console)
            session.append(describe_start(plan, prepared.data, prepared.selection, command, prepared.seen))
            waiting.follow(session)
        count_look(layout, record, prepared, tell)
        fault = run_session(plan, session, site, console, trainable, events, goes_on=goes_on is not None)
        guard.close()
        tracker.send_models()
        search = describe_search(record)
        if report:
            champion = find_champion(layout, record, options.tracking_uri)
            for path in wait(lambda: write_results(layout, record, search, tell, prepared, champion)):
                tracker.send_file(path)
        missing = tracker.close()
        experiment = tracker.writer.experiment if isinstance(tracker, Tracker) else ""
        steps = list_next_steps(layout, options.tracking_uri, experiment, record)
        told = record.preparing_seconds + record.seconds - before  # of this command, by the ledger
        search = describe_search(record, max(time.monotonic() - began - told, 0.0))
        console.print(render_summary(search, steps, find_way(layout, record)), crop=False)
        if missing is not None:
            console.print(plain(missing, "yellow"))
        if fault is not None:
            raise fault
    return SearchResult(layout, record)
