"""Markdown tables, and what must not stand in a report."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from fashion_core.escaping import show_lines, show_text

if TYPE_CHECKING:
    from collections.abc import Sequence

LINE_END = re.compile(r"\r\n|\r|\n")
URL = re.compile(r"\b(\w+)://[^\s'\"`,;)]+")
ADDRESS = re.compile(r"\b\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?\b")
ABSOLUTE_PATH = re.compile(r"(?<![\w.)/\\])(?:~|[A-Za-z]:)?(?:[/\\]+[^\s/\\:'\"`,;()<>|]+)+[/\\]?")


class Rows(NamedTuple):
    """A table: titles of its columns, and its rows."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]


Part = str | Rows  # of a markdown document


def join_parts(parts: Sequence[Part]) -> str:
    """A markdown document of its paragraphs and tables."""
    return "\n\n".join(show_lines(part) if isinstance(part, str) else render_table(*part) for part in parts) + "\n"


def render_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A markdown table. What is in its cells from outside must be escaped before, but for `|`."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(render_cell, line)) + " |" for line in lines)


def render_cell(text: str) -> str:
    """The text on one line; no bar in it divides cells."""
    return show_text(LINE_END.sub(" ", text)).replace("|", "\\|")


def hide_places(text: str) -> str:
    """The text without what says where it was written: URLs, network addresses, folders of absolute paths."""
    text = ADDRESS.sub("[address]", URL.sub(r"\1:[address]", text))
    return ABSOLUTE_PATH.sub(lambda match: re.split(r"[/\\]", match[0].rstrip("/\\"))[-1], text)
