"""A search's page for a browser, `report.html`: six questions and their answers, in one file that needs no network.

What cannot be drawn is left out, with a line that says so: a page never costs a search.
"""

from __future__ import annotations

import base64
import gzip
import time
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

from fashion_core.errors import first_line
from fashion_core.files import write_whole
from search.reporting.answers import Answer, Source
from search.reporting.better import answer_better
from search.reporting.markup import Html, join, say, tag
from search.reporting.mattered import answer_mattered
from search.reporting.spent import answer_spent
from search.reporting.trust import answer_repeat, answer_trust
from search.reporting.won import answer_won
from search.reporting.words import describe_whole_time

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from search.records.layout import SearchLayout
    from search.records.record import SearchRecord
    from search.reporting.champion import Champion
    from search.reporting.words import SearchWords

QUESTIONS: tuple[tuple[str, str, Callable[[Source], Answer]], ...] = (
    ("won", "What won?", answer_won),
    ("better", "Is it better?", answer_better),
    ("mattered", "What mattered?", answer_mattered),
    ("spent", "Where did the compute go?", answer_spent),
    ("trust", "Can the data be trusted?", answer_trust),
    ("repeat", "How is it repeated?", answer_repeat),
)


def write_page(
    layout: SearchLayout,
    record: SearchRecord,
    search: SearchWords,
    photographs: Html | None = None,
    champion: Champion | str | None = None,
) -> Path:
    """Write the page of a search from its record; also of one that still runs. Returns where it stands.

    Args:
        photographs: what is shown of these; a page that has them has a name of its own.
        champion: see `Source`.
    """
    path = layout.page if photographs is None else layout.photographs_page
    write_whole(path, build_page(Source(layout, record, search, photographs, champion)))
    return path


def build_page(source: Source) -> str:
    """The page, as HTML."""
    answers = [(name, question, find_answer(find, source)) for name, question, find in QUESTIONS]
    shorts = [
        tag("li", tag("a", f"{place}. {question}", href=f"#{name}"), answer.short)
        for place, (name, question, answer) in enumerate(answers, 1)
    ]
    sections = [
        tag("section", tag("h2", f"{place}. {question}"), *answer.parts, id=name)
        for place, (name, question, answer) in enumerate(answers, 1)
    ]
    title = f"Search {source.record.name}"
    parts = [tag("h1", title), tag("p", describe_standing(source), class_="note"), tag("ol", *shorts, class_="answers")]
    return wrap(title, parts + sections, has_plots=any("data-plot" in part for part in sections))


def find_answer(find: Callable[[Source], Answer], source: Source) -> Answer:
    """An answer; where it cannot be found, why not."""
    try:
        return find(source)
    except Exception as error:  # of a sparse or a damaged ledger, of a library: whatever it is, it costs this answer
        why = f"This is left out: {first_line(str(error)) or type(error).__name__}"
        return Answer(why, [say(why)])


def describe_standing(source: Source) -> str:
    """When it ran, and whether it has ended."""
    record = source.record
    if record.search is None:
        return "It has not begun."
    began = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(record.search.time))
    if record.ended is None:
        return f"Begun {began}. It has not ended: it still runs, or was killed. This is what stands so far."
    ending = source.search.ending or "it ended"
    return f"Begun {began}, took {describe_whole_time(record)}. {ending[0].upper()}{ending[1:]}."


def wrap(title: str, parts: list[Html], *, has_plots: bool) -> str:
    """A whole document. has_plots: the library that draws goes along."""
    styles, program = read_part("page.css"), read_part("page.js")
    head = [
        Html('<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'),
        Html('<meta name="referrer" content="no-referrer">'),
        tag("title", title),
        Html(f"<style>{styles}</style>"),
    ]
    scripts = [
        Html(f'<script id="library" type="application/octet-stream">{pack_library()}</script>'),
        Html(f"<script>{program}</script>"),
    ]
    body = join([*parts, *(scripts if has_plots else [])])
    return f'<!doctype html>\n<html lang="en"><head>{join(head)}</head>\n<body>{body}</body></html>\n'


def read_part(name: str) -> str:
    """A file beside this one."""
    return resources.files("search.reporting").joinpath(name).read_text("utf-8")


@cache
def pack_library() -> str:
    """Plotly's program, compressed, as letters: a third of its size."""
    from plotly.offline import get_plotlyjs

    return base64.b64encode(gzip.compress(get_plotlyjs().encode(), 9, mtime=0)).decode()
