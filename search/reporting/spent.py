"""Where the compute went: curves, rungs, why each trial ended, epochs and hours beside full training."""

from __future__ import annotations

from collections import Counter, defaultdict
from statistics import mean, median
from typing import TYPE_CHECKING

from search.records.events import LIMITS, EndReason, TrialStatus
from search.records.usage import measure_usage
from search.reporting.answers import Answer
from search.reporting.charts import draw_learning, draw_time, find_rungs
from search.reporting.markup import Html, fold, lead, note, say, table, tag
from search.reporting.stopped import show_stopped
from search.reporting.tables import hide_places
from search.reporting.won import name_search
from search.reporting.words import describe_whole_time, format_duration, write_count

if TYPE_CHECKING:
    from collections.abc import Mapping

    from search.records.record import SearchRecord
    from search.records.usage import Usage
    from search.reporting.answers import Source

MAX_REASONS = 40
# Why epochs are missing, of trials that ended so; empty: by how the search ended.
REASONS: dict[TrialStatus, str] = {
    TrialStatus.FAILED: "these failed",
    TrialStatus.DIVERGED: "these diverged",
    TrialStatus.PAUSED: "ASHA did not let these go on",
    TrialStatus.INTERRUPTED: "",
    TrialStatus.RUNNING: "",
}
ENDINGS: dict[str, str] = {
    EndReason.STOPPED: "the search was asked to stop",
    EndReason.INTERRUPTED: "the search was interrupted",
    EndReason.BROKEN: "Ray Tune could not go on",
    **dict.fromkeys(LIMITS, "a limit of the search was reached"),
}
USAGE = ("images/s", "peak memory", "peak GPU memory")


def answer_spent(source: Source) -> Answer:
    """Where the compute went."""
    record, search = source.record, source.search
    short = f"{write_count(search.trials, 'trial')} trained {write_count(search.epochs, 'epoch')}"
    if full := search.full_epochs:
        short += f", {search.epochs / full:.0%} of the {full} that training all to the end takes"
    if saved := search.saved_epochs:
        short += f"; stopping the weak early saved {saved}"
    short += f"{explain_missing(record)}."
    if record.seconds:
        short += f" {describe_whole_time(record)} in all."
    parts = [lead(short), say(f"By how they ended: {search.counts}.")]
    if chart := draw_learning(record):
        parts.append(chart.render())
    if rungs := list_rung_counts(record):
        parts += [tag("h3", "At the rungs"), table(("after epoch", "reached it", "stopped there", "share"), rungs)]
    parts += show_stopped(record, source.layout, name_search(source.layout))
    parts += [tag("h3", "Where the hours went"), *show_hours(source)]
    parts += [tag("h3", "Why each ended"), *list_reasons(record)]
    return Answer(short, parts)


def list_rung_counts(record: SearchRecord) -> list[tuple[str, str, str, str]]:
    """Of each rung: how many reached it, and how many were stopped there."""
    rows = []
    for rung in find_rungs(record):
        reached = sum(trial.last_epoch >= rung for trial in record.trials.values())
        stopped = sum(trial.rung == rung and trial.status == TrialStatus.STOPPED for trial in record.trials.values())
        if reached:
            rows.append((str(rung), str(reached), str(stopped), f"{stopped / reached:.0%}"))
    return rows


def show_hours(source: Source) -> list[Html]:
    """Hours of trials by how they ended, and what full training would have taken."""
    record, search = source.record, source.search
    seconds: dict[str, float] = defaultdict(float)
    epochs: Counter[str] = Counter()
    for trial in record.trials.values():
        seconds[str(trial.status)] += trial.seconds or 0.0
        epochs[str(trial.status)] += len(trial.epochs)
    statuses = {status: count for status, count in record.count_statuses().items() if count}
    total = sum(seconds.values())
    rows = [
        (
            status,
            str(count),
            str(epochs[status]),
            format_duration(seconds[status]),
            f"{seconds[status] / total:.0%}" if total else "",
        )
        for status, count in statuses.items()
    ]
    parts = [table(("trials that", "how many", "epochs", "time", "share"), rows, class_="short")]
    if total:
        parts.append(draw_time({status: seconds[status] for status in statuses}).render())
    full = estimate_full(record)
    if total and full is not None and search.full_epochs > search.epochs:
        parts.append(
            say(
                f"All trials together took {format_duration(total)}, with what they began and did not end. The epochs "
                "of training all to the end, each trial at its own pace, would have taken about "
                f"{format_duration(full)}."
            )
        )
    if usage := describe_usage({number: measure_usage(trial) for number, trial in record.trials.items()}):
        parts.append(say(usage))
    if search.spent:
        parts.append(note(f"Of the search: {search.spent}."))
    return parts


def estimate_full(record: SearchRecord) -> float | None:
    """Seconds that all epochs of all trials would have taken, at the pace of those that each trained to their end.

    One that trained none has the mean pace of the others. None where no epoch's seconds are known.
    """
    paces = []
    for trial in record.trials.values():
        seconds = measure_usage(trial).seconds
        if seconds is None and trial.status in (TrialStatus.FINISHED, TrialStatus.STOPPED):
            seconds = trial.seconds  # of older ledgers: it ended with an epoch
        if seconds and trial.epochs:
            paces.append(seconds / len(trial.epochs))
    return mean(paces) * len(record.trials) * record.settings.get("max_epochs", 0) if paces else None


def explain_missing(record: SearchRecord) -> str:
    """`; 10 epochs of 4 trials were not trained, because ...`: what is missing and no stopping of the weak saved."""
    planned, max_epochs = record.settings.get("trials", 0), record.settings.get("max_epochs", 0)
    if not max_epochs:
        return ""
    missing: dict[str, list[int]] = defaultdict(list)
    for trial in record.trials.values():
        if trial.status in REASONS and (left := max_epochs - len(trial.epochs)) > 0:
            missing[REASONS[trial.status]].append(left)
    ended = "the search runs on" if record.ended is None else ENDINGS.get(record.ended.reason, "the search ended first")
    texts = [
        f"; {write_count(sum(left), 'epoch')} of {write_count(len(left), 'trial')} "
        f"{'was' if sum(left) == 1 else 'were'} not trained, because {why or ended}"
        for why, left in missing.items()
    ]
    if (never := planned - len(record.trials)) > 0 and record.ended is not None:
        texts.append(f"; {write_count(never, 'trial')} never began, because {ended}")
    return "".join(texts)


def describe_usage(usages: Mapping[int, Usage]) -> str:
    """What trainings took of their machine, as far as the ledger tells. usages: by trial."""
    texts = []
    if speeds := [each.images_per_second for each in usages.values() if each.images_per_second is not None]:
        between = f" ({min(speeds):.0f} to {max(speeds):.0f})" if len(speeds) > 1 else ""
        texts.append(f"Images a second in training: median {median(speeds):.0f}{between}.")
    for name, words in (("peak_memory_mib", "memory"), ("peak_gpu_memory_mib", "GPU memory")):
        peaks = {number: peak for number, each in usages.items() if (peak := getattr(each, name)) is not None}
        if peaks:
            number = max(peaks, key=peaks.__getitem__)
            texts.append(
                f"Peak {words}: median {format_memory(median(peaks.values()))}, most {format_memory(peaks[number])} "
                f"(trial {number})."
            )
    for name, words in (("cpu_joules", "processors"), ("gpu_joules", "GPUs")):
        if joules := [value for each in usages.values() if (value := getattr(each, name)) is not None]:
            texts.append(f"Energy of {words}: {sum(joules) / 3600:.1f} Wh in {write_count(len(joules), 'trial')}.")
    return " ".join(texts)


def write_usage(usage: Usage) -> dict[str, str]:
    """Cells of a trial in a table, by column; empty where nothing is known."""
    speed, peaks = usage.images_per_second, (usage.peak_memory_mib, usage.peak_gpu_memory_mib)
    cells = ["" if speed is None else f"{speed:.0f}", *("" if peak is None else format_memory(peak) for peak in peaks)]
    return dict(zip(USAGE, cells, strict=True))


def format_memory(mib: float) -> str:
    """`640 MiB`, `1.2 GiB`."""
    return f"{mib:.0f} MiB" if mib < 1024 else f"{mib / 1024:.1f} GiB"


def list_reasons(record: SearchRecord) -> list[Html]:
    """Why trials ended, in one line each; what went wrong first."""
    lost = (TrialStatus.FAILED, TrialStatus.DIVERGED)
    trials = sorted(record.trials.values(), key=lambda trial: (trial.status not in lost, trial.number))
    usages = {trial.number: write_usage(measure_usage(trial)) for trial in trials}
    columns = [name for name in USAGE if any(usage[name] for usage in usages.values())]
    rows = [
        (
            str(trial.number),
            str(trial.status),
            str(len(trial.epochs)),
            *(usages[trial.number][name] for name in columns),
            hide_places(trial.reason) or describe_stay(trial.status),
        )
        for trial in trials
    ]
    head = ("trial", "how", "epochs", *columns, "why")
    wrong = [row for row, trial in zip(rows, trials, strict=True) if trial.status in lost]
    parts = [table(head, wrong, class_="reasons")] if wrong else [say("No trial failed or diverged.")]
    title, whole = f"all {write_count(len(rows), 'trial')}", table(head, rows, class_="reasons")
    parts.append(fold(title, whole, is_open=not wrong and len(rows) <= MAX_REASONS))
    return parts


def describe_stay(status: TrialStatus) -> str:
    """Why a trial has no reason in the ledger."""
    return {TrialStatus.RUNNING: "it still runs", TrialStatus.FINISHED: "trained to its end"}.get(status, "")
