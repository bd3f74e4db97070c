"""Trials that ASHA stopped, drawn by chance and trained to their end beside the search, which stays as it is.

FOLDER/trial-0007-of-9/         of each: see `search.jobs.reruns`; 9 are the epochs of full training
FOLDER/finished.json            what came of them: see `search.reporting.stopped`
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from fashion_core import metrics
from fashion_core.errors import CheckpointError, SearchError
from fashion_core.files import build_damage, read_json
from search.experiment.beginning import prepare
from search.experiment.replay import build_trial_config, plan_again
from search.jobs.cluster import open_ray
from search.jobs.guard import HeadGuard
from search.jobs.nodes import check_shared, tell_libraries
from search.jobs.reruns import EPOCHS_FOLDER, FAILED, RUN_FILE, RunEnd, Training, read_epoch, train_all
from search.planning.options import leave_out_local, load_options
from search.records.locks import FINISH, hold_search
from search.records.record import load_record
from search.reporting.stopped import FinishedTrial, FinishedTrials, draw_order, estimate_seconds, write_finished
from search.reporting.terminal import draw_pairs, plain
from search.reporting.words import format_duration, name_trials, write_count

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from rich.console import Console

    from search.planning.plan import Plan
    from search.records.layout import SearchLayout
    from search.records.record import SearchRecord


def plan_stopped(layout: SearchLayout, count: int, console: Console) -> tuple[SearchRecord, list[int]]:
    """Show what finishing stopped trials takes. Returns the search, and those that are drawn.

    Raises:
        SearchError: there is no such search, or it has stopped none.
    """
    record = load_record(layout)
    order = draw_order(record)
    if not order:
        raise SearchError(
            f"trials can be finished that ASHA stopped, but {layout.name} has stopped none; see its report"
        )
    drawn = order[:count]
    done = {each.trial for each in collect_finished(layout, record).trials}
    waiting = [number for number in drawn if number not in done]
    console.print(draw_pairs(describe_plan(record, order, drawn, waiting)))
    return record, drawn


def describe_plan(
    record: SearchRecord, order: list[int], drawn: list[int], waiting: list[int]
) -> list[tuple[str, str]]:
    """(topic, text) on what is trained, and what that takes."""
    settings, full = record.settings, record.settings.get("max_epochs", 0)
    seconds, at_once = estimate_seconds(record, waiting), max(settings.get("concurrent") or 1, 1)
    lines = [
        ("search", f"{record.name}: stays as it is"),
        ("finishes", f"{name_trials(drawn)}, drawn by chance of {write_count(len(order), 'stopped trial')}"),
        ("still to do", f"{write_count(len(waiting), 'trial')}, {write_count(len(waiting) * full, 'epoch')}"),
    ]
    if waiting:
        takes = seconds / min(at_once, len(waiting))
        lines.append(("takes about", f"{format_duration(takes)}, {min(at_once, len(waiting))} at once"))
    if hours := record.count_gpu_hours(seconds):
        price = record.limits.price_per_gpu_hour
        lines.append(("GPU hours", f"about {hours:.2f}" + ("" if price is None else f", cost {hours * price:.2f}")))
    return lines


def finish_stopped(
    layout: SearchLayout,
    count: int,
    console: Console,
    *,
    data: Path | None = None,
    address: str | None = None,
    allow_open: bool = False,
) -> FinishedTrials:
    """Train the first stopped trials, in the order drawn, to their end. The same call goes on where it was cut off.

    Args:
        count: how many; those that are done count.
        data: where the data set is now; None: where it was.
        address: of a Ray cluster, whose nodes all see the search's folder and its images; `local`: this machine; None:
            that of the search.
        allow_open: though the cluster asks for no token; the search may have said so.

    Raises:
        SearchError: there is no such search, it runs, it has stopped no trial, or it was begun otherwise; or a node
            does not see what it needs.
        FashionError: data or weights cannot be had.
    """
    with ExitStack() as stack:
        stack.enter_context(hold_search(layout, FINISH))
        record, drawn = plan_stopped(layout, count, console)
        options = load_options(layout)
        place = leave_out_local(address or options.address)
        options = options.model_copy(update={"data": data or options.data, "address": place})
        allow_open = allow_open or bool(options.allow_open_cluster)
        machine = stack.enter_context(open_ray(options.address, allow_open=allow_open))
        stack.enter_context(HeadGuard(layout.name))
        plan = plan_again(options, layout, record, machine)
        trainings = build_trainings(plan, record, drawn, console)
        if options.address is not None:
            check_shared(layout.folder, list_files(trainings))

        def listen(training: Training, event: dict[str, Any]) -> None:
            if text := describe_event(record, event):
                console.print(plain(f"{training.label}, {text}"))
            if event.get("status") is not None:
                write_finished(layout, collect_finished(layout, record))

        libraries = None if options.address is None else tell_libraries()
        train_all(trainings, plan.resources, listen, libraries=libraries)
        found = collect_finished(layout, record)
        write_finished(layout, found)
        failed = [training for training in trainings if training.status is None]
    if failed:
        end = failed[0].end
        raise SearchError(
            f"{write_count(len(failed), 'stopped trial')} could not be finished, the first, {failed[0].label}, since "
            f"{end.error if end is not None else 'its process ended'}; the same command tries again"
        )
    return found


def build_trainings(plan: Plan, record: SearchRecord, drawn: list[int], console: Console) -> list[Training]:
    """Each trial as it was, with its own seed, but to the end."""
    prepared = prepare(plan, console)
    trainings = []
    for number in drawn:
        config = build_trial_config(plan, record, number)
        folder = name_folder(plan.layout, number, config.epochs)
        trainings.append(Training(f"trial {number}", 0, prepared.site.build_job(config), folder))
    return trainings


def list_files(trainings: Sequence[Training]) -> list[Path]:
    """All that they open, once each."""
    paths = [path for each in trainings for path in (each.job.prepared, each.job.selection, each.job.features)]
    return [path for path in dict.fromkeys(paths) if path is not None]


def name_folder(layout: SearchLayout, number: int, epochs: int) -> Path:
    """Where the files of a trial stand, for a worker in another folder too. epochs: of full training."""
    return layout.finished_stopped.resolve() / f"trial-{number:04d}-of-{epochs}"


def describe_event(record: SearchRecord, event: dict[str, Any]) -> str:
    """What happened in a training, in words; empty where nothing need be said."""
    if "note" in event:
        return str(event["note"])
    if "epoch" in event:
        score = event["metrics"].get(record.objective.name) or 0.0
        return f"epoch {event['epoch']}: {record.objective.name} {score:.4f}"
    return f"{event['status']}{': ' + event['error'] if event.get('error') else ''}"


def collect_finished(layout: SearchLayout, record: SearchRecord) -> FinishedTrials:
    """What came of those that are done, in the order drawn.

    Raises:
        CheckpointError: a file of one is damaged.
    """
    full = record.settings.get("max_epochs", 0)
    found = [read_finished_trial(record, number, name_folder(layout, number, full)) for number in draw_order(record)]
    return FinishedTrials(max_epochs=full, trials=[each for each in found if each is not None])


def read_finished_trial(record: SearchRecord, number: int, folder: Path) -> FinishedTrial | None:
    """What came of a trial; None where it is not done.

    Raises:
        CheckpointError: a file of it is damaged.
    """
    path, remedy = folder / RUN_FILE, f"delete {folder.name}, and finish it again"
    if not path.is_file():
        return None
    end = read_json(path, RunEnd, "tell how a training ended", remedy, CheckpointError)
    if end.status == FAILED:
        return None
    rows, objective = [], record.objective.name
    for file in sorted((folder / EPOCHS_FOLDER).glob("*.npz")):
        try:
            rows.append(read_epoch(file, objective)[0])
        except (OSError, ValueError) as error:
            raise build_damage(file, "hold an epoch of a training", remedy, CheckpointError, error) from None
    seconds = sum(row[metrics.TRAIN_SECONDS] + row[metrics.VAL_SECONDS] for row in rows)
    if end.status != "finished" or not rows:
        return FinishedTrial(trial=number, status="diverged", epochs=len(rows), seconds=seconds)
    best = max(range(len(rows)), key=lambda place: rows[place][objective])
    return FinishedTrial(
        trial=number,
        status="finished",
        score=rows[best][objective],
        epoch=best + 1,
        epochs=len(rows),
        seconds=seconds,
    )
