"""A search's report: `README.md`, `trials.csv` and curves, made from its record alone, again at any time."""

from __future__ import annotations

import statistics
import time
from collections import Counter
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from fashion_core import metrics
from fashion_core.escaping import escape_markdown, write_code, write_name
from fashion_core.files import write_whole
from search.records.events import SearchStarted, TakenOver, TrialStatus
from search.reporting.figures import draw_curves, draw_front
from search.reporting.front import describe_front, list_priced
from search.reporting.tables import Part, Rows, hide_places, join_parts
from search.reporting.trials import write_trials_csv, write_trials_parquet
from search.reporting.words import (
    SearchWords,
    describe_counts,
    describe_epochs,
    describe_labelled,
    describe_limits,
    describe_pairing,
    describe_taken,
    describe_whole_time,
    name_trials,
    write_count,
)
from search.space.rungs import PROMOTION
from search.space.weights import WEIGHTS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from search.records.layout import SearchLayout
    from search.records.record import SearchRecord

NUMBER = attrgetter("number")
AGAINST = "less the best, points"


def write_report(layout: SearchLayout, record: SearchRecord, search: SearchWords) -> list[Path]:
    """Write the report of a search from its record; also of one that still runs. Returns what was written."""
    from search.reporting.curves import write_curves  # pyarrow takes time: not for those who draw tables alone

    write_trials_csv(record, layout.trials_csv)
    write_trials_parquet(record, layout.trials_parquet)
    write_curves(record, layout.curves)
    curves = layout.folder / "curves.png"
    has_curves = draw_curves(record, curves)
    pictures = [(name, path.name) for name in search.categories if (path := layout.confusion(name)).is_file()]
    front, priced = layout.folder / "front.png", list_priced(record)
    if priced:
        draw_front(priced, front)
    parts = build_report(search, record, [curves.name] if has_curves else [], pictures)
    write_whole(layout.report, join_parts(parts))
    drawn = [*([curves] if has_curves else []), *([front] if priced else [])]
    return [layout.report, layout.trials_csv, layout.trials_parquet, layout.curves, *drawn]


LIBRARIES = ("python", "torch", "torchvision", "timm", "ray", "optuna", "mlflow", "pyarrow")
ORIGINS = {
    "tried first": "one of the known configurations that are tried first",
    "sampled": "found by the search's own sampling",
    "grid": "a point of the grid",
}


def build_report(
    search: SearchWords, record: SearchRecord, curves: Sequence[str], pictures: Sequence[tuple[str, str]]
) -> list[Part]:
    """The report, as parts of a markdown document.

    Args:
        curves: names of files beside the report.
        pictures: (category, such a name) of the confusion matrices.
    """
    when = describe_epochs(record, ranked[0]) if (ranked := record.rank()) else ""
    parts: list[Part] = [
        f"# Search {write_code(record.name)}",
        *describe_result(search, when, is_over=record.ended is not None),
    ]
    how = [*describe_run(record.search, describe_whole_time(record), record.changed), *describe_end(record, search)]
    parts += ["## How it ran", Rows(("", ""), how)]
    parts += ["## Trials", describe_trials(search, record)]
    parts += [f"![{write_name(search.objective.name)} of every trial by epoch]({name})" for name in curves]
    if search.trials:
        parts.append(list_trials(search))
        parts.append(
            f"Scores are those of a trial's best epoch, ± one standard error; `{metrics.CLASS_ACCURACY}` is the recall "
            f"averaged over all classes.{describe_order(search)} *{AGAINST}*: ± one standard error of the difference, "
            "= where the trial is tied with the best. Numbers are shortened; `trials.csv` has them in full."
        )
        parts += list_lost(search)
    if search.ranked:
        parts += ["## The best trial", *describe_best(search, pictures)]
        parts += ["## How sure these numbers are", *describe_certainty(search)]
    if priced := list_priced(record):
        parts += ["## Score against cost", *describe_front(search, priced, AGAINST)]
        parts.append("![score against milliseconds an image](front.png)")
    return parts


def describe_order(search: SearchWords) -> str:
    """By which score trials are compared, in a sentence; empty where that is the usual one."""
    if search.objective.is_default:
        return ""
    own = search.objective
    return (
        f" The search's objective is {write_code(own.name)}, {escape_markdown(own.words)}: by it "
        "trials were stopped, ranked and drawn, and it decides on a trial's best epoch."
    )


def describe_result(search: SearchWords, when: str, *, is_over: bool) -> list[Part]:
    """The first paragraph: what came out. when: after which epochs the best trial had its score."""
    parts: list[Part] = []
    if not is_over:
        parts.append("**The search has not ended:** it still runs, or was killed. What follows is what stands so far.")
    if not search.ranked:
        return [*parts, "No trial has a score."]
    best = search.ranked[0]
    against = "" if search.majority is None else f" Always answering the commonest class scores {search.majority}."
    own = search.objective
    what = f"mean over {len(search.categories)} categories" if own.is_default else escape_markdown(own.words)
    parts.append(
        f"Best {write_code(own.name)} ({what}): **{best.score}**, "
        f"trial {best.number} {when}, {ORIGINS[best.origin]}. Its "
        f"`{own.beside}` is {best.beside}.{against}"
    )
    return parts


def describe_end(record: SearchRecord, search: SearchWords) -> list[tuple[str, str]]:
    """(topic, text) on what time and GPUs were spent on, when the search was to end early, and why it ended."""
    found = {
        "spent": search.spent,
        "was to end early": describe_limits(record.limits),
        "ended": escape_markdown(hide_places(search.ending or "")),
    }
    return [(topic, text) for topic, text in found.items() if text]


def describe_run(
    search: SearchStarted | None, duration: str, changed: Mapping[str, str] | None = None
) -> list[tuple[str, str]]:
    """(topic, text) on command, machine, time, versions, data and settings; without what the ledger lacks.

    Args:
        duration: how long it ran.
        changed: see `SearchRecord`.
    """
    if search is None:
        return []
    found, settings, data, selection = search.provenance, search.settings, search.data, search.selection
    pairs = []
    if "command" in found:
        pairs.append(("command", write_code(hide_places(found["command"]))))
    pairs.append(("date", time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(search.time))))
    pairs.append(("wall time", duration))
    machine = [found.get("gpu"), found.get("cpu"), found.get("platform")]
    if found.get("cpu_count"):
        machine[1] = f"{found['cpu_count']} cores of {found.get('cpu', 'a CPU')}"
    if any(machine):
        pairs.append(("machine", "; ".join(escape_markdown(part) for part in machine if part)))
    if versions := [f"{name} {found[name]}" for name in LIBRARIES if name in found]:
        pairs.append(("versions", ", ".join(versions)))
    if "git_commit" in found:
        dirty = ", with uncommitted changes" if found.get("git_dirty") == "true" else ""
        pairs.append(("code", f"{found.get('version', '')} at commit `{found['git_commit'][:12]}`{dirty}".strip()))
    if changed:
        known = {**settings, **found}
        words = [
            f"{name} {write_code(value)}, first {write_code(str(known.get(name)))}" for name, value in changed.items()
        ]
        pairs.append(("went on with", "; ".join(words)))
    if data:
        counts = ", ".join(f"{count:,} {split}" for split, count in data.get("counts", {}).items())
        skipped = f"; {data['skipped']} faults left out" if data.get("skipped") else ""
        folder = write_code(str(data.get("folder")))
        pairs.append(("data", f"{folder}: {counts} images{skipped}; fingerprint `{data.get('fingerprint')}`"))
    if selection:
        is_val = search.tell("selection", "select_on") == "val"
        what = "val" if is_val else "15% of train, held out; val was not looked at"
        selected, trained = (search.tell("selection", f"{kind}_count") for kind in ("select", "train"))
        counts = f"{selected:,} images{describe_labelled(selection.get('labelled'))}; trained on {trained:,}"
        for start, count in selection.get("seen_by_starts", {}).items():
            counts += f"; {write_code(start)} was trained on {count:,} of them, so what starts from it looks too good"
        pairs.append(("selected on", f"{what}: {counts}"))
    if search.space_hash:
        pairs.append(("space", f"{write_code(search.space_name)}, hash `{search.space_hash[:12]}`"))
    if settings:
        pairs.append(("search", describe_settings(settings)))
    taken = TakenOver.model_validate(search.taken_over)
    if taken.tried_first:
        pairs.append(("tried first", f"{write_count(len(taken.tried_first), 'configuration')} from elsewhere"))
    pairs += [("warm start", escape_markdown(describe_taken(other))) for other in taken.others]
    return pairs


def describe_settings(settings: dict[str, Any]) -> str:
    """Sampler, scheduler and resources in one line."""
    text = f"{settings.get('sampler', 'optuna')} with seed {settings.get('seed')}; "
    objective = metrics.Objective(settings.get("objective", metrics.ACCURACY))
    text += "" if objective.is_default else f"objective {write_code(objective.name)}; "
    if not settings.get("start_seeds"):
        text += "one start of the new layers in all trials; "
    if settings.get("scheduler", "asha") == "asha":
        form = " by promotion" if settings.get("scheduler_form") == PROMOTION else ""
        text += (
            f"ASHA{form} from {settings.get('grace_epochs')} to {settings.get('max_epochs')} epochs, "
            f"factor {settings.get('reduction_factor')}; "
        )
    else:
        text += f"{settings.get('max_epochs')} epochs each; "
    gpus = f", {settings['gpus_per_trial']:g} GPU" if settings.get("gpus_per_trial") else ""
    return text + f"{settings.get('concurrent')} trials at once, each with {settings.get('cpus_per_trial')} CPU{gpus}"


def describe_trials(search: SearchWords, record: SearchRecord) -> str:
    """How many ended how, what stopping saved, and the median of the finished."""
    planned = record.settings.get("trials", search.trials)
    of = f" of {planned} planned" if planned != search.trials else ""
    text = f"{write_count(search.trials, 'trial')}{of}: {search.counts}."
    if full := search.full_epochs:
        text += f" They trained {write_count(search.epochs, 'epoch')}, {search.epochs / full:.0%} of full training "
        text += f"({full}); ASHA saved {search.saved_epochs}."
    again, difference = record.compare_again()
    if again:
        text += f" {again} epochs were trained again after an interruption; scores differ by {difference:.4f} at most."
    finished = {
        trial.number: trial.best or 0.0
        for trial in record.trials.values()
        if trial.status == TrialStatus.FINISHED and trial.best is not None
    }
    if finished:
        found = Counter(trial.origin for trial in search.ranked if trial.number in finished)
        origins = describe_counts({origin: found[origin] for origin in ORIGINS})
        text += (
            f" Of the {len(finished)} that finished ({origins}), the median best {write_code(search.objective.name)} "
            f"is {statistics.median(finished.values()):.4f}."
        )
    return text


def list_trials(search: SearchWords) -> Rows:
    """Table of all trials: the ranked by score, then the others by number."""
    everyone = (*search.ranked, *search.others)
    columns = list(dict.fromkeys(name for trial in sorted(everyone, key=NUMBER) for name in trial.params))
    weighted = f"{WEIGHTS}: {' '.join(map(write_name, search.categories))}"
    titles = [weighted if name == WEIGHTS else write_name(name) for name in columns]
    own = search.objective
    head = ("rank", "trial", "status", "epochs", write_name(own.name), AGAINST, own.beside, "origin", *titles)
    rows = []
    for rank, trial in enumerate(everyone, 1):
        is_stopped = trial.status == TrialStatus.STOPPED and trial.cutoff
        status = f"stopped, cutoff {trial.cutoff:.4f}" if is_stopped else trial.status
        place = str(rank) if rank <= len(search.ranked) else "-"
        cells = [place, str(trial.number), status, str(trial.epochs), trial.score, trial.against]
        cells += [trial.beside, trial.origin]
        rows.append([*cells, *(write_name(trial.params.get(name, "")) for name in columns)])
    return Rows(head, rows)


def list_lost(search: SearchWords) -> list[Part]:
    """What went wrong in the trials that failed or diverged."""
    lines = [
        f"- trial {trial.number} {trial.status}: {escape_markdown(hide_places(trial.reason))}" for trial in search.lost
    ]
    return ["Trials without a result:", "\n".join(lines)] if lines else []


def describe_best(search: SearchWords, pictures: Sequence[tuple[str, str]]) -> list[Part]:
    """Configuration, accuracy of each category, and the pictures of the confusion matrices."""
    best, shown = search.ranked[0], dict(search.ranked[0].params)
    parts: list[Part] = [f"Trial {best.number}, {ORIGINS[best.origin]}. Its searched parameters:"]
    if WEIGHTS in shown and not shown[WEIGHTS].startswith("all"):
        values = zip(best.weighted, shown[WEIGHTS].split(), strict=True)
        shown[WEIGHTS] = ", ".join(f"{name} {value}" for name, value in values)
    rows = [(write_code(name), write_name(value)) for name, value in shown.items()]
    parts.append(Rows(("parameter", "value"), rows))
    *categories, mean = search.accuracies
    lines = [(write_name(name), own, other) for name, own, other in categories]
    lines.append(("**mean**", f"**{mean[1]}**", mean[2]))
    with_commonest = mean[2] is not None
    head = ["category", "accuracy", *(["commonest class"] if with_commonest else [])]
    cells = [[name, own, *([other or ""] if with_commonest else [])] for name, own, other in lines]
    if search.labelled:
        head.append("labelled images")
        cells = [[*row, f"{count:,}"] for row, count in zip(cells, (*search.labelled, search.images), strict=True)]
    parts.append(Rows(tuple(head), cells))
    if pictures:
        names = "".join(f"\n![confusion {write_name(category)}]({name})" for category, name in pictures)
        parts.append(
            f"Confusion matrices: a row is a true class, a column an answer; colours are shares of the row.\n{names}"
        )
    return parts


def describe_certainty(search: SearchWords) -> list[Part]:
    """What the standard error of the best score allows one to say."""
    if search.tied is None:
        return ["The ledger holds no standard error of the best score."]
    on = f"the {search.scored:,} images" if search.scored else "the images"
    close = search.tied
    text = f"The standard error of the best score on {on} it was selected on is {search.error}."
    if len(search.ranked) > 1:
        verb = "are" if len(close) > 1 else "is"
        who = f"{name_trials(close)} {verb} not distinguishable from the best by this data." if close else ""
        text += f" {who[0].upper() + who[1:] if close else 'No other trial comes that close to the best.'} "
        text += (
            f"{describe_pairing(search)} The one that is best on all images of the kind is among the tied and the "
            "best with that probability; another seed of a configuration may score otherwise, which is not in this."
        )
    best_of = f"The best of {len(search.ranked)} scores" if len(search.ranked) > 1 else "A best epoch's score"
    warning = (
        f"{best_of} on one set of images looks better than it is. "
        "Only images that the search has not selected on can say by how much."
    )
    return [text, warning]
