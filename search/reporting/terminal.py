"""What views in the terminal share: a console that shows nothing, and lines of a topic and a text."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterable


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
        table.add_row(topic, text)
    return table
