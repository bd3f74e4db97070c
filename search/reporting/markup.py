"""HTML of a page that one file holds: text from outside is escaped wherever it stands, and what is drawn is data.

`Html` is what is markup already; every other text that becomes a part of it is escaped on its way.
"""

from __future__ import annotations

import html
import json
import math
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from fashion_core.escaping import show_lines
from fashion_core.secrets import hide_secrets
from search.reporting.tables import Rows, render_table

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from markdown_it import MarkdownIt

    from search.reporting.tables import Part

# What a line of Markdown may be in a report: no image, no link, and nothing that is HTML.
LEFT_OUT = ("html_block", "html_inline", "image", "link", "autolink", "reference")


class Html(str):
    """Text that is markup already."""

    __slots__ = ()


def escape(text: object) -> Html:
    """A text as it is read, whatever it holds; markup stays."""
    return text if isinstance(text, Html) else Html(html.escape(show_lines(hide_secrets(str(text)))))


def tag(name: str, *inside: object, **attributes: object) -> Html:
    """An element. attributes: None is left out, True has no value; `class_` is `class`, and `data_id` is `data-id`."""
    written = ""
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        shown = key.rstrip("_").replace("_", "-")
        written += f" {shown}" if value is True else f' {shown}="{escape(value)}"'
    return Html(f"<{name}{written}>{join(inside)}</{name}>")


def join(parts: Iterable[object], between: str = "") -> Html:
    """Parts behind each other."""
    return Html(between.join(map(escape, parts)))


def say(*parts: object) -> Html:
    """A paragraph."""
    return tag("p", *parts)


def lead(*parts: object) -> Html:
    """The paragraph that an answer begins with."""
    return tag("p", *parts, class_="lead")


def note(*parts: object) -> Html:
    """A paragraph for those who want to know more."""
    return tag("p", *parts, class_="note")


def code(text: str) -> Html:
    """A name or a value, as it is typed."""
    return tag("code", text)


def command(purpose: str, line: str) -> Html:
    """A command that can be copied, under what it is for."""
    return tag("div", tag("span", purpose), tag("pre", tag("code", line)), class_="command")


def table(head: Sequence[object], rows: Iterable[Sequence[object]], class_: str | None = None) -> Html:
    """A table, which scrolls by itself where it is wider than the page. The first column names the rows."""
    titles = tag("tr", *(tag("th", title, scope="col") for title in head))
    lines = [
        tag("tr", tag("th", row[0], scope="row"), *(cell if is_cell(cell) else tag("td", cell) for cell in row[1:]))
        for row in rows
    ]
    whole = tag("table", tag("thead", titles), tag("tbody", *lines), class_=class_)
    return tag("div", whole, class_="wide", tabindex="0")


def is_cell(part: object) -> bool:
    """Whether a part of a row is a cell with attributes of its own."""
    return isinstance(part, Html) and part.startswith(("<td ", "<td>"))


def fold(title: object, *inside: object, is_open: bool = False) -> Html:
    """What is shown once somebody asks for it."""
    return tag("details", tag("summary", title), *inside, open=is_open)


@cache
def build_reader() -> MarkdownIt:
    """What reads the Markdown of the other reports."""
    from markdown_it import MarkdownIt

    return MarkdownIt("commonmark", {"html": False}).enable("table").disable(list(LEFT_OUT))


def render_markdown(part: Part) -> Html:
    """A part of a report in Markdown."""
    text = render_table(*part) if isinstance(part, Rows) else show_lines(part)
    rendered = build_reader().render(hide_secrets(text))
    rendered = rendered.replace("<table>", '<div class="wide" tabindex="0"><table>')
    return Html(rendered.replace("</table>", "</table></div>"))


def render_line(text: str) -> Html:
    """A line of Markdown, within another element."""
    return Html(build_reader().renderInline(hide_secrets(show_lines(text))))


@dataclass(frozen=True)
class Chart:
    """A picture that Plotly draws.

    Attributes:
        words: what it shows, for those who do not see it, and its caption.
        traces, layout: Plotly's. A colour that begins with `@` is the page's, by its name: see page.css.
        height: pixels.
    """

    words: str
    traces: Sequence[Mapping[str, Any]]
    layout: Mapping[str, Any]
    height: int = 360

    def render(self, *, caption: bool = True) -> Html:
        """The place of the picture, with what is drawn there."""
        figure = write_json({"data": self.traces, "layout": self.layout})
        place = tag(
            "div", class_="plot", style=f"height:{self.height}px", role="img", aria_label=self.words, data_plot=True
        )
        data = Html(f'<script type="application/json">{figure}</script>')
        return tag("figure", place, data, *([tag("figcaption", self.words)] if caption else []))


def write_json(values: object) -> Html:
    """JSON that can stand within a script: nothing in it ends that."""
    text = json.dumps(round_numbers(values), separators=(",", ":"), allow_nan=False)
    return Html(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def round_numbers(values: Any) -> Any:
    """The same with numbers as precise as a picture is; no number: none."""
    if isinstance(values, float):
        return float(f"{values:.6g}") if math.isfinite(values) else None
    if isinstance(values, dict):
        return {key: round_numbers(value) for key, value in values.items()}
    return [round_numbers(value) for value in values] if isinstance(values, (list, tuple)) else values


def write_label(text: str) -> str:
    """A text from outside within a picture: Plotly takes some tags there for markup, and has entities for letters."""
    return html.escape(show_lines(hide_secrets(text)), quote=False)
