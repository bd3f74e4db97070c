"""What views in the terminal share: text as it is, a console that shows nothing, lines of a topic and a text."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from fashion_core.escaping import show_lines
from fashion_core.secrets import hide_secrets

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def plain(text: str, style: str = "") -> Text:
    """Text for a console as it is: nothing in it is mark-up, an emoji's name, or a command to the terminal."""
    return Text(show_lines(hide_secrets(text)), style=style)


def choose_console(console: Console | None) -> Console:
    """The console that was given; where none was, one that shows nothing, neither on a terminal nor in a notebook."""
    if console is not None:
        return console
    return Console(file=io.StringIO(), quiet=True, force_terminal=False, force_jupyter=False)


def draw_pairs(rows: Iterable[tuple[str, str]]) -> Table:
    """Lines of a topic and a text."""
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for topic, text in rows:
        table.add_row(topic, plain(text))
    return table


def draw_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """Plain columns under dim heads, numbers to the right; the first takes more lines where it has to."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for index, text in enumerate(head):
        table.add_column(text, justify="right" if index else "left", no_wrap=bool(index), overflow="fold")
    for row in rows:
        table.add_row(*map(plain, row))
    return table
