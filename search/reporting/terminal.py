"""What views in the terminal share: text as it is, a console that shows nothing, lines of a topic and a text."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from fashion_core.escaping import show_lines
from fashion_core.secrets import hide_secrets

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import ConsoleOptions, RenderableType, RenderResult

FIRST, BETWEEN = 16, 2  # letters that the first column of a table has at least, and blanks between two columns


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


class FoldingTable(Table):
    """Plain columns under dim heads; in a terminal that is too narrow for them, a block a row: topics and texts.

    The first column takes more lines before that.
    """

    def __init__(self) -> None:
        super().__init__(box=None, pad_edge=False, header_style="dim")

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        head = [str(column.header) for column in self.columns]
        rows = list(zip(*(map(read_cell, column.cells) for column in self.columns), strict=True))
        widths = [max(map(cell_len, texts)) for texts in zip(head, *rows, strict=True)]
        if sum(widths[1:]) + BETWEEN * (len(widths) - 1) + min([*widths[:1], FIRST]) <= options.max_width:
            yield from super().__rich_console__(console, options)
            return
        for first, *rest in rows:
            yield plain(first, "bold")
            pairs = [(topic, text) for topic, text in zip(head[1:], rest, strict=True) if text.strip()]
            yield Padding(draw_pairs(pairs), (0, 0, 0, 2))


def read_cell(cell: RenderableType) -> str:
    """The text of a cell."""
    return cell.plain if isinstance(cell, Text) else str(cell)


def draw_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """Plain columns under dim heads, numbers to the right; see `FoldingTable`."""
    table = FoldingTable()
    for index, text in enumerate(head):
        table.add_column(text, justify="right" if index else "left", no_wrap=bool(index), overflow="fold")
    for row in rows:
        table.add_row(*map(plain, row))
    return table
