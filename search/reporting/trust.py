"""Whether the data can be trusted, and how the search is repeated."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

import numpy as np

from search.records.events import EndReason
from search.reporting.answers import Answer
from search.reporting.audited import read_audited
from search.reporting.markup import (
    Html,
    code,
    command,
    fold,
    lead,
    note,
    render_line,
    render_markdown,
    say,
    table,
    tag,
)
from search.reporting.mislabelled import has_models, read_mislabelled, show_mislabelled, sum_up_mislabelled
from search.reporting.report import describe_end, describe_run
from search.reporting.tables import hide_places
from search.reporting.ties import Standing, find_answers
from search.reporting.won import name_search
from search.reporting.words import describe_whole_time, write_interval, write_points
from search.statistics.intervals import compare, estimate_score

if TYPE_CHECKING:
    from collections.abc import Sequence

    from search.records.record import SearchRecord
    from search.reporting.answers import Source
    from search.reporting.audited import Audited

STOPS: dict[str, str] = {
    EndReason.STOPPED: "This one was asked to stop",
    EndReason.INTERRUPTED: "This one was interrupted",
}
MIN_LEFT = 2  # images that a score can be of, labelled in every category


def answer_trust(source: Source) -> Answer:
    """Whether the data can be trusted."""
    record = source.record
    facts, worries = list_facts(record), list_worries(record)
    audited, name = read_audited(source.layout), name_search(source.layout)
    looked, shown = show_audit(source, audited)
    also: list[str] = []
    if audited is not None:
        looked = describe_doubles(audited, record)
        touching, also = summarise_audit(audited, record)
        worries += touching
    short = f"{looked}."
    if len(worries) == 1:
        short += f" To know: {worries[0]}."
    elif worries:
        short += f" {len(worries)} things to know before trusting a score, first: {worries[0]}."
    mislabelled = read_mislabelled(source.layout)
    if mislabelled is not None and mislabelled.found:
        short += f" {sum_up_mislabelled(mislabelled)}"
    parts = [lead(short)]
    if points := [*worries, *(f"also: {each}" for each in also)]:
        parts.append(Html(f"<ul>{''.join(f'<li>{render_line(each)}</li>' for each in points)}</ul>"))
    if facts:
        parts.append(table(("", ""), facts, class_="pairs"))
    parts += compare_without_duplicates(record, audited)
    return Answer(short, [*parts, *show_mislabelled(record, source.layout, name), *shown])


def show_audit(source: Source, audited: Audited | None) -> tuple[str, list[Html]]:
    """Whether the data was audited, in a sentence, and its text."""
    path = source.layout.audit
    if not path.is_file():
        folder = shlex.quote(hide_places(str(source.record.data.get("folder", "DIR"))))
        line = f"python -m fashion_core.audit {folder}"
        return "The data was not audited", [note("No audit stands beside this page."), command("audit the data", line)]
    text = path.read_text(errors="replace")
    parts = [fold("the audit: classes, images that show one picture, odd boxes", render_audit(text))]
    if audited is None and has_models(source.record, source.layout):
        line = f"python -m search.report {name_search(source.layout)} --check-data"
        parts.append(command("sum the audit up, and score without near-duplicates", line))
    return "The audit stands below; its numbers are not summed up", parts


def list_facts(record: SearchRecord) -> list[tuple[str, Html]]:
    """(topic, text) on the data and on what is scored."""
    pairs = describe_run(record.search, "", record.changed)
    return [(topic, render_line(text)) for topic, text in pairs if topic in ("data", "selected on")]


def list_worries(record: SearchRecord) -> list[str]:
    """What the record tells that makes scores less sure, as lines of Markdown."""
    data, selection, found = record.data, record.selection, []
    if data.get("skipped"):
        found.append(f"{data['skipped']:,} faulty rows of the data were left out")
    if selection.get("labelled"):
        found.append("labels are missing: an image counts in the categories that it is labelled in")
    for count in selection.get("seen_by_starts", {}).values():
        found.append(
            f"networks start from a model that was trained on {count:,} of the images scored: scores look too good"
        )
    if data.get("has_boxes") is False:
        found.append("images have no boxes: networks see the whole of each")
    images = selection.get("select_count")
    if isinstance(images, int) and 0 < images < 300:
        found.append(f"{images} images are few to tell trials apart: see the width of the intervals")
    return found


def describe_doubles(audited: Audited, record: SearchRecord) -> str:
    """Whether images that are scored show pictures that were trained on, in a sentence."""
    images, count = record.selection.get("select_count"), len(audited.in_train)
    of = f"of the {images:,} images scored" if isinstance(images, int) else "of the images scored"
    if not count:
        return f"None {of} shows a picture that was trained on"
    return f"{count:,} {of} {'shows' if count == 1 else 'show'} a picture that was trained on: scores look too good"


def summarise_audit(audited: Audited, record: SearchRecord) -> tuple[list[str], list[str]]:
    """What else an audit found: what touches images that are scored, and the rest."""
    scored = "val" if record.settings.get("select_on") == "val" else "train"
    touching: list[str] = []
    rest: list[str] = []
    for each in audited.shared:
        pairs = f"{each.exact} are the same files, {each.near} nearly alike"
        if each.first == each.second:
            if each.first == scored == "val":
                touching.append(f"val has pairs of images that show one picture: {pairs}; such a picture counts twice")
            continue
        is_touching = scored == "val" and scored in (each.first, each.second)
        (touching if is_touching else rest).append(f"{each.first} and {each.second} share pictures: {pairs}")
    if audited.conflicting:
        rest.append(
            f"{audited.conflicting} of {audited.pairs} pairs of images that show one picture have different labels"
        )
    return touching, rest


def compare_without_duplicates(record: SearchRecord, audited: Audited | None) -> list[Html]:
    """The best trial's score, and its lead, on the images of whose picture none was trained on."""
    ranked = record.rank()
    names: list[str] = record.selection.get("select_images", [])
    if audited is None or not ranked or not names:
        return []
    title = tag("h3", "The score without near-duplicates")
    leave = set(audited.in_train)
    kept = np.array([row for row, name in enumerate(names) if name not in leave], np.int64)
    if len(kept) == len(names):
        return [
            title,
            say(f"No near-duplicates found: none of the {len(names):,} images scored shows a picture of train."),
        ]
    left_out = f"{len(names) - len(kept):,} of {len(names):,} images scored show a picture that was trained on too"
    answers = [find_answers(record, trial) for trial in ranked[:2]]
    if answers[0] is None or answers[0].shape[1] != len(names):
        return [
            title,
            say(f"{left_out}; the ledger does not tell what was answered to each, so no score leaves them out."),
        ]
    if len(kept) < MIN_LEFT or np.isfinite(answers[0][0, kept]).sum(0).min() < MIN_LEFT:
        return [title, say(f"{left_out}: too few are left for a score.")]
    rows = [
        (words, *(score_on(record, answers, images)))
        for words, images in (("all images", np.arange(len(names))), ("without them", kept))
    ]
    head = ["", "images", f"trial {ranked[0].number}"]
    if answers[-1] is not None and len(ranked) > 1:
        head.append(f"less trial {ranked[1].number}, points")
    return [
        title,
        say(
            f"{left_out}. Scores are in {record.objective.name}, with 95% intervals over images; that of the lead "
            "allows for the best's having been picked."
        ),
        table(head, rows, class_="short"),
    ]


def score_on(record: SearchRecord, answers: Sequence[np.ndarray | None], images: np.ndarray) -> list[str]:
    """How many images these are, the first one's score on them, and how much it is above the second's."""
    measure = record.measure.take(images)
    taken = [each[:, images] for each in answers if each is not None]
    scores, freedom = [measure.score_images(each) for each in taken], measure.count_freedom(taken[0])
    cells = [f"{len(images):,}", write_interval(estimate_score(scores[0], None, freedom))]
    if len(scores) > 1:
        beside = Standing(compare(scores[1], scores[0], None, freedom), True, len(record.rank()) - 1)
        cells.append(write_points(beside.gain, beside.level))
    return cells


def render_audit(text: str) -> Html:
    """The audit as it stands beside the report."""
    return Html(render_markdown(text).replace("<h2>", "<h3>").replace("</h2>", "</h3>"))


def describe_repeat(record: SearchRecord) -> str:
    """What comes of the same command."""
    if record.is_repeatable:
        return "One worker on a CPU gives the same numbers"
    if record.settings.get("sampler") in ("grid", "random"):
        return "The same configurations, scored within noise"
    why = "whose order differs" if (record.settings.get("concurrent") or 1) > 1 else "which differ by noise"
    return f"The first trials come again; later ones may be others, as they are drawn from results, {why}"


def write_again(line: str, name: str) -> str:
    """The command of a search, as it can be given again: the search that stands there stays."""
    line = re.sub(r"\s--replace(?=\s|$)", "", hide_places(line))
    line = re.sub(r"\s--name[ =](?:'[^']*'|\S+)", "", line)
    return f"{line} --name {shlex.quote(f'{name}-again')}"


def answer_repeat(source: Source) -> Answer:
    """How to repeat it."""
    record, search = source.record, source.search
    line = record.provenance.get("command")
    pairs = [*describe_run(record.search, describe_whole_time(record), record.changed), *describe_end(record, search)]
    rows = [(topic, render_line(text)) for topic, text in pairs if topic != "command"]
    parts: list[Html] = []
    if line:
        what = "the command, without --replace and under a name of its own; absolute paths are shortened to their end"
        parts.append(command(what, write_again(line, record.name)))
    if record.search is not None and record.search.space:
        parts.append(fold("the space, as it ran", Html(f"<pre>{code(record.search.space)}</pre>")))
    if rows:
        parts.append(table(("", ""), rows, class_="pairs"))
    name = name_search(source.layout)
    parts.append(command("write this page again from the ledger", f"python -m search.report {name}"))
    parts.append(
        command(
            "open it in optuna-dashboard",
            f"python -m search.report {name} --export-study study.db\noptuna-dashboard sqlite:///study.db",
        )
    )
    short = (
        f"{describe_repeat(record)}. Command, versions and fingerprints of data and space are below."
        if line
        else "The ledger tells no command."
    )
    if record.ended is not None and record.ended.reason in STOPS:
        short += f" {STOPS[record.ended.reason]}; the command alone does not stop there."
    return Answer(short, [lead(short), *parts])
