"""Whether the data can be trusted, and how the search is repeated."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

from search.reporting.answers import Answer
from search.reporting.markup import Html, code, command, fold, lead, note, render_line, render_markdown, table
from search.reporting.report import describe_end, describe_run
from search.reporting.tables import hide_places
from search.reporting.won import name_search

if TYPE_CHECKING:
    from search.records.record import SearchRecord
    from search.reporting.answers import Source

ACROSS = re.compile(r"^- (train|val|test) and (train|val|test): (\d+) byte-identical pairs, (\d+) nearly alike", re.M)
CONFLICTS = re.compile(r"^- (\d+) of all (\d+) pairs have different labels", re.M)


def answer_trust(source: Source) -> Answer:
    """Whether the data can be trusted."""
    record = source.record
    facts, worries = list_facts(record), list_worries(record)
    audit = source.layout.audit.read_text(errors="replace") if source.layout.audit.is_file() else None
    if audit is None:
        looked = "The data was not audited"
        folder = shlex.quote(hide_places(str(record.data.get("folder", "DIR"))))
        shown: list[Html] = [
            note("No audit stands beside this page."),
            command("audit the data", f"python -m fashion_core.audit {folder}"),
        ]
    else:
        found = summarise_audit(audit)
        worries += found
        looked = "The audit found nothing that splits share" if not found else "The audit found pictures to know of"
        shown = [fold("the audit: classes, images that show one picture, odd boxes", render_audit(audit))]
    short = f"{looked}."
    if len(worries) == 1:
        short += f" To know: {worries[0]}."
    elif worries:
        short += f" {len(worries)} things to know before trusting a score, first: {worries[0]}."
    parts = [lead(short)]
    if worries:
        parts.append(Html(f"<ul>{''.join(f'<li>{render_line(each)}</li>' for each in worries)}</ul>"))
    if facts:
        parts.append(table(("", ""), facts, class_="pairs"))
    return Answer(short, [*parts, *shown])


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


def summarise_audit(text: str) -> list[str]:
    """What an audit found that makes scores less sure; see `fashion_core.data.audit`."""
    found = []
    for first, second, exact, near in ACROSS.findall(text):
        if int(exact) + int(near):
            found.append(f"{first} and {second} share pictures: {exact} are the same files, {near} nearly alike")
    if (match := CONFLICTS.search(text)) and int(match[1]):
        found.append(f"{match[1]} of {match[2]} pairs of images that show one picture have different labels")
    return found


def render_audit(text: str) -> Html:
    """The audit as it stands beside the report."""
    return Html(render_markdown(text).replace("<h2>", "<h3>").replace("</h2>", "</h3>"))


def answer_repeat(source: Source) -> Answer:
    """How to repeat it."""
    record, search = source.record, source.search
    line = record.provenance.get("command")
    pairs = [*describe_run(record.search, search.duration, record.changed), *describe_end(record, search)]
    rows = [(topic, render_line(text)) for topic, text in pairs if topic != "command"]
    parts: list[Html] = []
    if line:
        parts.append(command("the command", hide_places(line)))
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
    exact = "One worker on a CPU gives the same numbers" if record.is_repeatable else "The same trials, within noise"
    short = (
        f"{exact}: command, versions and fingerprints of data and space are below."
        if line
        else "The ledger tells no command."
    )
    return Answer(short, [lead(short), *parts])
