"""A search's report as markdown, and what must not stand in it."""

from __future__ import annotations

import csv
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fashion_core import metrics
from fashion_core.errors import SearchError, first_line
from search.records.layout import SearchLayout
from search.records.ledger import compute_seconds, read_events
from search.records.ranking import (
    best_metrics,
    category_names,
    compute_best,
    count_epochs,
    count_saved,
    count_statuses,
    find_best_epoch,
    find_indistinguishable,
    list_params,
    rank_trials,
    standard_error,
)
from search.records.record import SearchRecord, TrialRecord, replay
from search.reporting.figures import draw_curves
from search.reporting.tables import hide_places, render_pairs, render_table
from search.reporting.words import (
    describe_counts,
    describe_origin,
    format_duration,
    format_score,
    group_params,
    name_trials,
)
from search.space.weights import WEIGHT_PREFIX, WEIGHTS

FIXED_COLUMNS = ("trial", "status", "reason", "rung", "cutoff", "enqueued", "epochs", "best_epoch", "seconds")


def write_report(layout: SearchLayout) -> list[Path]:
    """Write the report of a search from its ledger; also of one that still runs.

    Returns:
        What was written.

    Raises:
        SearchError: there is no such search, or it has not begun.
    """
    events = read_events(layout.ledger)
    record = replay(events)
    if not record.search:
        known = sorted(path.parent.name for path in layout.results.glob("*/ledger.jsonl"))
        raise SearchError(
            f"a report needs a search that has begun, but {layout.results} has none named {layout.name!r}; "
            f"known are {', '.join(known) or 'none'}"
        )
    write_trials_csv(record, layout.trials_csv)
    written = [layout.report, layout.trials_csv]
    curves = layout.folder / "curves.png"
    if draw_curves(record, curves):
        written.append(curves)
    categories = category_names(record)
    pictures = [path for name in categories if (path := layout.confusion(name)).is_file()]
    text = render_report(record, compute_seconds(events), [path.name for path in written], [p.name for p in pictures])
    layout.report.write_text(text, encoding="utf-8")
    return written


def write_trials_csv(record: SearchRecord, path: Path) -> None:
    """One row a trial, by number; metrics are those of its best epoch. Empty: none, true and false as in JSON."""
    scores = [metrics.ACCURACY, metrics.ACCURACY_SE, metrics.CLASS_ACCURACY]
    scores += [f"{metrics.ACCURACY}/{name}" for name in category_names(record)]
    params = list_params(record)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*FIXED_COLUMNS, *scores, *params])
        for number, trial in sorted(record.trials.items()):
            found = {**best_metrics(trial), metrics.ACCURACY: compute_best(trial)}
            seconds = None if trial.ended is None else round(trial.ended - trial.started, 1)
            fixed = [number, trial.status, hide_places(first_line(trial.reason)), trial.rung, trial.cutoff]
            fixed += [trial.enqueued, len(trial.epochs), find_best_epoch(trial), seconds]
            row = [*fixed, *(found.get(name) for name in scores), *(trial.params.get(name) for name in params)]
            writer.writerow([str(cell).lower() if isinstance(cell, bool) else cell for cell in row])


LIBRARIES = ("python", "torch", "torchvision", "timm", "ray", "optuna", "mlflow", "pyarrow")
ORIGINS = {
    "tried first": "one of the known configurations that are tried first",
    "sampled": "found by the search's own sampling",
    "grid": "a point of the grid",
}


def render_report(record: SearchRecord, seconds: float, written: Sequence[str], pictures: Sequence[str]) -> str:
    """The report as markdown.

    Args:
        seconds: how long the search ran.
        written, pictures: names of files beside the report; pictures of confusion matrices.
    """
    ranked = rank_trials(record)
    parts = [f"# Search `{record.search.get('name', '')}`", *render_result(record, ranked)]
    parts += ["## How it ran", render_pairs(describe_run(record, seconds))]
    parts += ["## Trials", *describe_trials(record, ranked)]
    if "curves.png" in written:
        parts.append("![val/accuracy of every trial by epoch](curves.png)")
    if record.trials:
        parts.append(render_trials(record, ranked))
        parts.append(
            f"Scores are those of a trial's best epoch, ± one standard error; `{metrics.CLASS_ACCURACY}` is the recall "
            "averaged over all classes. Numbers are shortened; `trials.csv` has them in full."
        )
        parts += render_failures(record)
    if ranked:
        parts += ["## The best trial", *render_best(record, ranked[0], pictures)]
        parts += ["## How sure these numbers are", *render_certainty(record, ranked)]
    return "\n\n".join(parts) + "\n"


def render_result(record: SearchRecord, ranked: Sequence[TrialRecord]) -> list[str]:
    """The first paragraph: what came out."""
    if record.ended is None:
        state = "**The search has not ended:** it still runs, or was killed. What follows is what stands so far."
    else:
        state = ""
    if not ranked:
        return [line for line in (state, "No trial has a score.") if line]
    best = ranked[0]
    majority = record.search.get("data", {}).get("majority")
    against = "" if majority is None else f" Always answering the commonest class scores {format_score(majority)}."
    text = (
        f"Best `{metrics.ACCURACY}` (mean over {len(category_names(record))} categories): "
        f"**{format_score(compute_best(best), standard_error(best))}**, trial {best.number} "
        f"after epoch {find_best_epoch(best)}, {ORIGINS[describe_origin(best, record)]}. Its "
        f"`{metrics.CLASS_ACCURACY}` is {format_score(best_metrics(best).get(metrics.CLASS_ACCURACY))}.{against}"
    )
    return [line for line in (state, text) if line]


def describe_run(record: SearchRecord, seconds: float) -> list[tuple[str, str]]:
    """(topic, text) on command, machine, time, versions, data and settings; without what the ledger lacks."""
    search = record.search
    found, settings = search.get("provenance", {}), search.get("settings", {})
    data, selection = search.get("data", {}), search.get("selection", {})
    pairs = []
    if "command" in found:
        pairs.append(("command", f"`{hide_places(found['command'])}`"))
    pairs.append(("date", time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(search["time"]))))
    pairs.append(("wall time", format_duration(seconds)))
    machine = [found.get("gpu"), found.get("cpu"), found.get("platform")]
    if found.get("cpu_count"):
        machine[1] = f"{found['cpu_count']} cores of {found.get('cpu', 'a CPU')}"
    if any(machine):
        pairs.append(("machine", "; ".join(part for part in machine if part)))
    if versions := [f"{name} {found[name]}" for name in LIBRARIES if name in found]:
        pairs.append(("versions", ", ".join(versions)))
    if "git_commit" in found:
        changed = ", with uncommitted changes" if found.get("git_dirty") == "true" else ""
        pairs.append(("code", f"{found.get('version', '')} at commit `{found['git_commit'][:12]}`{changed}".strip()))
    if data:
        counts = ", ".join(f"{count:,} {split}" for split, count in data.get("counts", {}).items())
        skipped = f"; {data['skipped']} faults left out" if data.get("skipped") else ""
        pairs.append(
            ("data", f"`{data.get('folder')}`: {counts} images{skipped}; fingerprint `{data.get('fingerprint')}`")
        )
    if selection:
        what = "val" if selection["select_on"] == "val" else "15% of train, held out; val was not looked at"
        counts = f"{selection['select_count']:,} images; trained on {selection['train_count']:,}"
        pairs.append(("selected on", f"{what}: {counts}"))
    if "space_hash" in search:
        pairs.append(("space", f"`{search.get('space_name')}`, hash `{search['space_hash'][:12]}`"))
    if settings:
        pairs.append(("search", describe_settings(settings)))
    return pairs


def describe_settings(settings: dict[str, Any]) -> str:
    """Sampler, scheduler and resources in one line."""
    text = f"{settings.get('sampler', 'optuna')} with seed {settings.get('seed')}; "
    if settings.get("scheduler", "asha") == "asha":
        text += (
            f"ASHA from {settings.get('grace_epochs')} to {settings.get('max_epochs')} epochs, "
            f"factor {settings.get('reduction_factor')}; "
        )
    else:
        text += f"{settings.get('max_epochs')} epochs each; "
    gpus = f", {settings['gpus_per_trial']:g} GPU" if settings.get("gpus_per_trial") else ""
    return text + f"{settings.get('concurrent')} trials at once, each with {settings.get('cpus_per_trial')} CPU{gpus}"


def describe_trials(record: SearchRecord, ranked: Sequence[TrialRecord]) -> list[str]:
    """How many ended how, what stopping saved, and the median of the finished."""
    trials = list(record.trials.values())
    planned = record.search.get("settings", {}).get("trials", len(trials))
    of = f" of {planned} planned" if planned != len(trials) else ""
    text = f"{len(trials)} trials{of}: {describe_counts(count_statuses(record))}."
    max_epochs = record.search.get("settings", {}).get("max_epochs")
    if trials and max_epochs:
        full, epochs, saved = len(trials) * max_epochs, count_epochs(record), count_saved(record, max_epochs)
        text += f" They trained {epochs} epochs, {epochs / full:.0%} of full training ({full}); ASHA saved {saved}."
    finished = [trial for trial in trials if trial.status == "finished" and trial.best is not None]
    if finished:
        median = statistics.median(trial.best or 0.0 for trial in finished)
        origins = describe_counts(
            {origin: sum(describe_origin(trial, record) == origin for trial in finished) for origin in ORIGINS}
        )
        text += (
            f" Of the {len(finished)} that finished ({origins}), the median best `{metrics.ACCURACY}` is {median:.4f}."
        )
    return [text]


def render_trials(record: SearchRecord, ranked: Sequence[TrialRecord]) -> str:
    """Table of all trials: the ranked by score, then the others by number."""
    categories = category_names(record)
    others = [trial for number, trial in sorted(record.trials.items()) if trial not in ranked]
    shown = {trial.number: group_params(trial.params, categories) for trial in (*ranked, *others)}
    columns = list(dict.fromkeys(name for number in sorted(shown) for name in shown[number]))
    titles = [f"{WEIGHTS}: {' '.join(categories)}" if name == WEIGHTS else name for name in columns]
    head = ["rank", "trial", "status", "epochs", metrics.ACCURACY, metrics.CLASS_ACCURACY, "origin", *titles]
    rows = []
    for rank, trial in enumerate((*ranked, *others), 1):
        status = f"stopped, cutoff {trial.cutoff:.4f}" if trial.status == "stopped" and trial.cutoff else trial.status
        scores = [format_score(compute_best(trial), standard_error(trial))]
        scores.append(format_score(best_metrics(trial).get(metrics.CLASS_ACCURACY)))
        place = str(rank) if rank <= len(ranked) else "-"
        cells = [place, str(trial.number), status, str(len(trial.epochs)), *scores, describe_origin(trial, record)]
        rows.append([*cells, *(shown[trial.number].get(name, "") for name in columns)])
    return render_table(head, rows)


def render_failures(record: SearchRecord) -> list[str]:
    """What went wrong in the trials that failed or diverged."""
    lost = [trial for _, trial in sorted(record.trials.items()) if trial.status in ("failed", "diverged")]
    lines = [f"- trial {trial.number} {trial.status}: {hide_places(first_line(trial.reason))}" for trial in lost]
    return ["Trials without a result:", "\n".join(lines)] if lines else []


def render_best(record: SearchRecord, best: TrialRecord, pictures: Sequence[str]) -> list[str]:
    """Configuration, accuracy of each category, and the pictures of the confusion matrices."""
    categories, found = category_names(record), best_metrics(best)
    parts = [f"Trial {best.number}, {ORIGINS[describe_origin(best, record)]}. Its searched parameters:"]
    shown = group_params(best.params, categories)
    if WEIGHTS in shown and not shown[WEIGHTS].startswith("all"):
        values = zip(
            [name for name in categories if WEIGHT_PREFIX + name in best.params], shown[WEIGHTS].split(), strict=True
        )
        shown[WEIGHTS] = ", ".join(f"{name} {value}" for name, value in values)
    parts.append(render_table(["parameter", "value"], [[f"`{name}`", value] for name, value in shown.items()]))
    data = record.search.get("data", {})
    majority = data.get("majority_by_category", {})
    rows = [[name, format_score(found.get(f"{metrics.ACCURACY}/{name}"))] for name in categories]
    rows.append(["**mean**", f"**{format_score(found.get(metrics.ACCURACY))}**"])
    head = ["category", "accuracy"]
    if majority:
        head.append("commonest class")
        for row, value in zip(rows, [*(majority.get(name) for name in categories), data.get("majority")], strict=True):
            row.append(format_score(value))
    parts.append(render_table(head, rows))
    if pictures:
        names = "".join(f"\n![{name.removesuffix('.png').replace('_', ' ', 1)}]({name})" for name in pictures)
        parts.append(
            f"Confusion matrices: a row is a true class, a column an answer; colours are shares of the row.\n{names}"
        )
    return parts


def render_certainty(record: SearchRecord, ranked: Sequence[TrialRecord]) -> list[str]:
    """What the standard error allows one to say."""
    error = standard_error(ranked[0])
    count = record.search.get("selection", {}).get("select_count")
    on = f"the {count:,} images" if count else "the images"
    if error is None:
        return ["The ledger holds no standard error of the best score."]
    close = find_indistinguishable(ranked)
    who = f"{name_trials(close)} are" if len(close) > 1 else f"{name_trials(close)} is" if close else ""
    verdict = f"{who} not distinguishable from the best by this data: less than one standard error below it."
    text = (
        f"The standard error of the best score on {on} it was selected on is {error:.4f}. "
        f"{verdict[0].upper() + verdict[1:] if close else 'No other trial comes that close to the best.'} "
        "All trials are scored on the same images, so part of this noise is common to them: "
        "a difference below one standard error says nothing, one above about two is likely real."
    )
    warning = (
        f"The best of {len(ranked)} scores on one set of images looks better than it is. "
        "Only images that the search has not selected on can say by how much."
    )
    return [text, warning]
