"""One search from its options to its report: prepare, run, and write down how it ended."""

from __future__ import annotations

import shutil
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from fashion_core import metrics
from fashion_core.data.audit import audit, render_audit
from fashion_core.data.prepared import PreparedData
from fashion_core.data.splits import Selection
from fashion_core.errors import SearchError
from fashion_core.models.saved import read_score
from search.experiment.finish import finish_search
from search.jobs.cluster import detect_cluster, start_ray, stop_ray
from search.jobs.job import Job
from search.jobs.preparation import prepare_job
from search.planning.checks import check_weights, measure_backbones
from search.planning.options import SearchOptions
from search.planning.plan import Plan, build_plan, render_plan
from search.planning.resources import detect_machine
from search.records.layout import SearchLayout, unique_name
from search.records.ledger import Ledger, compute_seconds, read_events
from search.records.provenance import collect_provenance
from search.records.ranking import compute_best, find_best_epoch
from search.records.record import SearchRecord, replay
from search.records.session import Session
from search.reporting.live import LiveView
from search.tracking.sender import Tracker
from search.tune.tuner import clear_storage, run_trials

TIME_BUDGET = "time budget"


def name_search(options: SearchOptions) -> SearchLayout:
    """The paths of a new search: of the name given, or of one made from the space and the time."""
    name = options.name or unique_name(options.results, Path(options.space).stem, time.time())
    return SearchLayout(options.results, name)


def launch(
    options: SearchOptions,
    layout: SearchLayout,
    console: Console,
    *,
    resume: bool = False,
    replace: bool = False,
    dry_run: bool = False,
) -> None:
    """Run a search, or go on with one; `dry_run` shows what would be done.

    Raises:
        FashionError: it cannot start, or ended before its time.
    """
    if layout.folder.exists() and not (resume or replace or dry_run):
        raise SearchError(
            f"a search's name must be new, but {layout.folder} exists; give another --name, "
            f"go on with --resume {layout.name}, or delete the old one with --replace"
        )
    with ExitStack() as stack:
        if options.address is not None:
            start_ray(options.address, None)
            stack.callback(stop_ray)
        machine = detect_machine() if options.address is None else detect_cluster()
        plan = build_plan(options, layout, machine)
        show_plan(plan, measure_backbones(plan.space), console)
        check_weights(plan.space)
        if dry_run:
            return
        record = replay(read_events(layout.ledger))
        resume = resume and bool(record.search)  # one killed before its first event simply starts
        if resume:
            check_time_left(record)
            check_unchanged(plan, record.search)
        else:
            clear_storage(plan, replace=replace)
            shutil.rmtree(layout.folder, ignore_errors=True)
        layout.folder.mkdir(parents=True, exist_ok=True)
        options.save(layout.options)
        layout.space_yaml.write_text(plan.space.text)
        job, data, selection = prepare_job(plan, console)
        if options.address is None:
            start_ray(None, machine)
            stack.callback(stop_ray)
        run_search(plan, job, data, selection, console, resume=resume)


def show_plan(plan: Plan, sizes: dict[str, int], console: Console) -> None:
    """Print what the search will do."""
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for topic, text in render_plan(plan, sizes, np.random.default_rng(0)):
        table.add_row(topic, text)
    console.print(table, highlight=False)


def check_time_left(record: SearchRecord) -> None:
    """A search goes on while it has time: Ray takes up none of its trials once its time budget is spent.

    Raises:
        SearchError: it is spent.
    """
    if record.ended is not None and record.ended["reason"] == TIME_BUDGET:
        raise SearchError(
            f"a search goes on while it has time, but the budget of {record.search['name']} is spent; start a new "
            "search, with a longer --time-budget"
        )


def check_unchanged(plan: Plan, begun: dict[str, Any]) -> None:
    """A search goes on, and a trial is replayed, only with the space it began with.

    Args:
        begun: fields of its `search_started`.

    Raises:
        SearchError: the space's file has changed since.
    """
    if begun.get("space_hash") != plan.space.hash:
        raise SearchError(
            f"a search goes on with the space it began with, but {plan.options.space} has changed since; "
            f"restore it (a copy is {plan.layout.space_yaml}) or start a new search"
        )


def run_search(
    plan: Plan, job: Job, data: PreparedData, selection: Selection, console: Console, *, resume: bool
) -> None:
    """Run all trials with ledger, tracker and live view, and write the report."""
    layout = plan.layout
    with ExitStack() as stack:
        ledger = stack.enter_context(Ledger(layout.ledger))
        session = Session(
            layout, ledger, replay(read_events(layout.ledger)), plan.space.scheduler.max_epochs, plan.options.keep_best
        )
        tracker = stack.enter_context(Tracker(layout, plan.options.tracking_uri))
        for event in read_events(layout.ledger):  # of before an interruption; what MLflow has stays as it is
            tracker.send(event)
        session.listeners.append(tracker.send)
        if resume:
            close_trials(session, "the search was interrupted")
            session.append("search_resumed", trials=plan.trials)
        else:
            session.append("search_started", **describe_search(plan, data, selection))
            layout.audit.write_text(render_audit(audit(data)))
        with LiveView(console, plan.trials, session.max_epochs, plan.resources.concurrent) as live:
            session.listeners.append(lambda event: live.update(session.record, event))
            run_trials(plan, job, session, resume=resume)
        close_trials(session, "the search ended first")
        seconds = compute_seconds(read_events(layout.ledger))
        session.append("search_ended", reason=find_reason(plan, session, seconds), seconds=seconds)
        finish_search(plan, session, tracker, data.schema, console)


def describe_search(plan: Plan, data: PreparedData, selection: Selection) -> dict[str, Any]:
    """The fields of `search_started`: settings, space, provenance, and which images each choice has seen."""
    scheduler, options = plan.space.scheduler, plan.options
    labels = data.labels
    majority = metrics.compute_majority_score(labels[selection.select], labels[selection.train])
    return {
        "name": plan.layout.name,
        "settings": {
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
        "space": plan.space.text,
        "space_name": plan.space.name,
        "space_hash": plan.space.hash,
        "provenance": collect_provenance(sys.argv),
        "data": {
            "folder": options.data.resolve().name,
            "fingerprint": data.fingerprint,
            "counts": {split: len(data.indices(split)) for split in ("train", "val", "test")},
            "skipped": len(plan.annotations.skipped),
            "majority": majority,
            "categories": data.schema.to_dict(),
        },
        "selection": {
            "select_on": selection.select_on,
            "seed": selection.seed,
            "train_count": len(selection.train),
            "select_count": len(selection.select),
            "select_images": [data.names[index] for index in selection.select],
        },
    }


def close_trials(session: Session, reason: str) -> None:
    """Write an end for every trial that has none. Its best is that of its kept model: a later epoch may be lost."""
    for trial in list(session.record.trials.values()):
        if trial.status == "running":
            best, best_epoch = compute_best(trial), find_best_epoch(trial)
            kept = session.layout.find_checkpoint(trial.number)
            if kept is not None:
                best, best_epoch = read_score(session.layout.checkpoint_folder(trial.number))
            session.append(
                "trial_ended",
                trial=trial.number,
                status="interrupted",
                reason=reason,
                best=best,
                best_epoch=best_epoch,
                checkpoint=kept,
            )


def find_reason(plan: Plan, session: Session, seconds: float) -> str:
    """Why the search ended, after it ran for so long."""
    ended = [trial for trial in session.record.trials.values() if trial.status != "interrupted"]
    if len(ended) >= plan.trials:
        return "all trials ended"
    budget = plan.options.time_budget_s
    return TIME_BUDGET if budget is not None and seconds >= budget else "interrupted"
