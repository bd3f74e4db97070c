"""What won: the best trial in words, as commands, by category and class, and what it takes for what."""

from __future__ import annotations

import json
import shlex
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel

from fashion_core import metrics
from fashion_core.errors import FashionError, SearchError
from fashion_core.files import MODEL_FILE, read_json, write_whole
from search.cli import DEFAULT_RESULTS
from search.records.best_config import looks_at_box, read_best_config
from search.records.own_space import collect_parameters, read_own_space
from search.reporting.answers import Answer
from search.reporting.markup import Html, code, command, fold, join, lead, note, say, table, tag
from search.reporting.report import ORIGINS
from search.reporting.ties import find_answers
from search.reporting.words import bound_score, describe_epochs, find_way, format_score, format_value, group_params
from search.space.weights import WEIGHTS
from search.statistics.intervals import IMAGES, Estimate, compute_wilson

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fashion_core.data.schema import AttributeSchema
    from search.records.layout import SearchLayout
    from search.records.record import SearchRecord, TrialRecord
    from search.reporting.answers import Source

MAX_CLASSES = 30  # of a matrix that can still be read


class Confusion(BaseModel):
    """What the best trial's model took for what.

    Attributes:
        classes, matrices: by category; of a matrix, a row is a true class, a column an answer.
    """

    trial: int
    epoch: int
    classes: dict[str, list[str]]
    matrices: dict[str, list[list[int]]]


def build_confusion(trial: int, epoch: int, schema: AttributeSchema, matrices: Sequence[Any]) -> Confusion:
    """What a model took for what. matrices: [C_i, C_i] of each category, in order."""
    classes = {category.name: list(category.classes) for category in schema.categories}
    rows = (np.asarray(matrix).tolist() for matrix in matrices)
    return Confusion(trial=trial, epoch=epoch, classes=classes, matrices=dict(zip(classes, rows, strict=True)))


def write_confusion(layout: SearchLayout, found: Confusion) -> None:
    """Keep it beside the report, which can then be made without the model."""
    write_whole(layout.confusions, json.dumps(found.model_dump()) + "\n")


def read_confusion(layout: SearchLayout, trial: int, epoch: int | None) -> Confusion | None:
    """What a trial's model of this epoch took for what; None where neither it nor its model is kept, or is damaged."""
    try:
        if layout.confusions.is_file():
            kept = read_json(layout.confusions, Confusion, "hold matrices", "write the report again", FashionError)
            if (kept.trial, kept.epoch) == (trial, epoch):
                return kept
        file = layout.checkpoint_folder(trial) / MODEL_FILE
        if not file.is_file():
            return None
        from fashion_core.models.saved import read_description  # torch takes seconds

        found = read_description(file)
        if found.epoch != epoch:
            return None
        return build_confusion(trial, found.epoch, found.build_schema(), found.confusion)
    except (FashionError, OSError, ValueError):
        return None


def answer_won(source: Source) -> Answer:
    """What won."""
    record, search = source.record, source.search
    ranked = record.rank()
    if not ranked:
        return Answer("No trial has a score yet.", [say("No trial has a score yet.")])
    best, words = ranked[0], search.ranked[0]
    own, params = record.objective, collect_parameters(read_own_space(record), best.params)
    network = describe_network(params)
    against = "" if search.majority is None else f" Always answering the commonest class scores {search.majority}."
    what = f"mean over {len(search.categories)} categories" if own.is_default else own.words
    on = "" if not search.scored else f" on {search.scored:,} images"
    words_of_best = lead(
        tag("strong", f"Trial {best.number}"),
        f"{f' ({network})' if network else ''}, {ORIGINS[words.origin]}, scores ",
        tag("strong", words.score),
        f" in {own.name} ({what}){on}, {describe_epochs(record, best)}."
        f"{write_span(best.best, best.standard_error)}{against}",
    )
    confusion = read_confusion(source.layout, best.number, best.best_epoch)
    parts = [
        words_of_best,
        list_params(record, best),
        fold("all that it trains with", list_values(params)),
        *list_commands(source, best),
        tag("h3", "By category"),
        list_categories(source, best),
        *list_classes(confusion),
        *show_photographs(source, best),
    ]
    short = f"Trial {best.number}{f', {network}' if network else ''}: {own.name} {words.score}.{against}"
    return Answer(short, parts)


def describe_network(params: Mapping[str, Any]) -> str:
    """`resnet18 at 224 px, batches of 32`: of these, what is known."""
    network = " at ".join(
        f"{params[name]}{unit}" for name, unit in (("backbone", ""), ("image_size", " px")) if name in params
    )
    batches = f"batches of {params['batch_size']}" if "batch_size" in params else ""
    return ", ".join(text for text in (network, batches) if text)


def list_values(params: Mapping[str, Any]) -> Html:
    """A table of parameters."""
    return table(("parameter", "value"), ((code(name), format_value(value)) for name, value in params.items()))


def name_search(layout: SearchLayout) -> str:
    """The search's name as a command takes it, with its folder of results where that is not the usual one."""
    where = "" if layout.results == DEFAULT_RESULTS else f" --results {shlex.quote(layout.results.name or '.')}"
    return shlex.quote(layout.name) + where


def write_span(score: float | None, error: float | None) -> str:
    """` 95% interval: 0.82 to 0.86.`: within 0 and 1; empty where the error is not known."""
    if score is None or not error:
        return ""
    low, high = bound_score(Estimate(score, error, np.inf, IMAGES))
    return f" 95% interval over images: {low:.4f} to {high:.4f}."


def list_params(record: SearchRecord, best: TrialRecord) -> Html:
    """The searched parameters of the best trial, beside those of the first known configuration."""
    categories = record.category_names
    own = group_params(best.params, categories)
    known = next((trial for trial in record.rank() if trial.enqueued and trial is not best), None)
    if known is None or record.settings.get("sampler") == "grid":
        return table(("parameter", "value"), ((code(name), value) for name, value in own.items()))
    other = group_params(known.params, categories)
    rows = [
        (code(name), tag("strong", value) if value != other.get(name) else value, other.get(name, ""))
        for name, value in own.items()
    ]
    weighted = [name for name in categories if f"weight_{name}" in best.params]
    parts = [table(("parameter", "the best", f"known: trial {known.number}"), rows)]
    if len(weighted) > 1 and not own.get(WEIGHTS, "all").startswith("all"):
        parts.append(note(f"Weights of categories, in this order: {', '.join(weighted)}."))
    return join(parts)


def list_commands(source: Source, best: TrialRecord) -> list[Html]:
    """What to do with the best trial."""
    layout, parts = source.layout, []
    name, where = name_search(layout), f"{layout.results.name}/{layout.name}"
    if layout.best_model.is_file():
        box = " --box x1,y1,x2,y2" if looks_at_box(layout) else ""
        parts.append(command(f"ask {name_kept(layout, best)}", f"python -m search.predict {name} IMAGE.jpg{box}"))
        parts.append(offer_promotion(source.record, best, name))
    if layout.best_config.is_file():
        config = shlex.quote(f"{where}/best_config.json")
        again = f"python search/run.py --data DIR --space SPACE --enqueue {config}"
        what = "this configuration" if name_kept(layout, best) == "it" else "the configuration of that trial"
        parts.append(command(f"try {what} first in another search", again))
    return parts


def name_kept(layout: SearchLayout, best: TrialRecord) -> str:
    """Whose model stands in the best one's place: `it`, or another trial where the best one's is not kept."""
    with suppress(SearchError):
        kept = read_best_config(layout).trial
        if kept != best.number:
            return f"trial {kept}, the best whose model is kept"
    return "it"


def offer_promotion(record: SearchRecord, best: TrialRecord, name: str) -> Html:
    """The command that promotes it; where it was not trained to its end, what a promotion takes instead."""
    what, candidate = "train it again with fresh seeds, judge it, and ship it if it holds", record.find_candidate()
    if candidate is None:
        text = "A promotion takes trials that were trained to their end, and there is none"
        way = find_way(record)
        if way.resumes:
            return note(f"{text}: let the search go on, with ", code(f"python search/run.py --resume {name}"), ".")
        if way.more is not None:
            return note(f"{text}: give the search more, with ", code(f"fashion-search extend {name} {way.more}"), ".")
        return note(f"{text}.")
    if candidate is not best:
        what = (
            f"promote trial {candidate.number} ({format_score(candidate.best)}), the best that was trained to its end: "
            f"trial {best.number} was not, so a promotion does not take it"
        )
    return command(what, f"python search/promote.py {name}")


def list_categories(source: Source, best: TrialRecord) -> Html:
    """Accuracy of each category, beside always answering the commonest class."""
    record, search = source.record, source.search
    images = record.selection.get("select_count")
    commonest: dict[str, float] = record.data.get("majority_by_category") or {}
    labelled = record.selection.get("labelled") or {}
    rows = []
    for name in record.category_names:
        value = best.best_metrics.get(f"{metrics.ACCURACY}/{name}")
        if value is None:
            rows.append((name, "-", "", "", ""))
            continue
        mark = commonest.get(name)
        count = labelled.get(name, images)
        bar = tag(
            "span",
            tag("i"),
            *([tag("b")] if mark is not None else []),
            class_="bar",
            style=f"--share:{value};--mark:{mark or 0}",
        )
        span = "{:.3f} to {:.3f}".format(*compute_wilson(value, count)) if isinstance(count, int) and count else ""
        rows.append((name, f"{value:.4f}", bar, span, format_score(mark)))
    mean = search.accuracies[-1]
    rows.append(("mean", mean[1], "", "", mean[2] or ""))
    words = note("The upright line in a bar is what always answering the category's commonest class in train scores.")
    whole = table(("category", "accuracy", "", "95% interval", "commonest class"), rows, class_="short")
    return join(
        [whole, words]
        if commonest
        else [table(("category", "accuracy", "", "95% interval"), (row[:4] for row in rows), class_="short")]
    )


def list_classes(confusion: Confusion | None) -> list[Html]:
    """Every class: how often it was seen, and what it was taken for."""
    if confusion is None:
        return [note("Classes and confusion are left out: the model of this trial is not kept beside the report.")]
    parts: list[Html] = [tag("h3", "By class, and what is taken for what")]
    for name, rows in confusion.matrices.items():
        classes, matrix = confusion.classes[name], np.array(rows)
        recalls = matrix.diagonal() / np.maximum(matrix.sum(1), 1)
        seen = np.flatnonzero(matrix.sum(1))
        if not len(seen):
            continue
        worst = min(seen, key=lambda row: recalls[row])
        title = f"{name}: weakest class {classes[worst]}, {recalls[worst]:.0%} of {matrix[worst].sum()} images right"
        parts.append(
            fold(title, draw_matrix(classes, matrix) if len(classes) <= MAX_CLASSES else list_worst(classes, matrix))
        )
    parts.append(
        note("A row is a true class, a column an answer; the deeper the colour, the larger the share of the row.")
    )
    return parts


def draw_matrix(classes: Sequence[str], matrix: np.ndarray) -> Html:
    """A confusion matrix as a table. matrix: [C, C], row = truth."""
    rows: list[tuple[object, ...]] = []
    for name, row in zip(classes, matrix, strict=True):
        total = int(row.sum())
        cells = [draw_cell(int(count), total) for count in row]
        right = row[len(rows)] / total if total else None
        rows.append((name, *cells, "-" if right is None else f"{right:.0%}"))
    return table(("truth \\ answer", *classes, "right"), rows, class_="matrix")


def draw_cell(count: int, total: int) -> Html:
    """A cell of a matrix, as deep as its share of the row."""
    share = count / total if total else 0.0
    return tag("td", count or "", style=f"--share:{share:.3f}")


def list_worst(classes: Sequence[str], matrix: np.ndarray) -> Html:
    """Of a category with many classes, those that are most often taken for another."""
    wrong = matrix - np.diag(matrix.diagonal())
    places = np.dstack(np.unravel_index(np.argsort(-wrong, axis=None)[:MAX_CLASSES], wrong.shape))[0]
    rows = [(classes[t], classes[a], str(wrong[t, a]), str(matrix[t].sum())) for t, a in places if wrong[t, a]]
    return table(("truth", "answer", "images", "of the class"), rows)


def show_photographs(source: Source, best: TrialRecord) -> list[Html]:
    """Photographs that it gets right and wrong, where they were asked for; else how to see them."""
    if source.photographs is not None:
        return [tag("h3", "Photographs it gets right and wrong"), source.photographs]
    answers = find_answers(source.record, best)
    if answers is None or len(source.record.selection.get("select_images", [])) != answers.shape[1]:
        return []
    name = name_search(source.layout)
    return [command("see photographs that it gets right and wrong", f"python -m search.report {name} --photographs")]
