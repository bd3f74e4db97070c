"""A console that shows nothing, for whoever gives none: in a notebook, a thread, another program."""

from __future__ import annotations

import io

from rich.console import Console


def choose_console(console: Console | None) -> Console:
    """The console that was given; where none was, one that shows nothing, neither on a terminal nor in a notebook."""
    if console is not None:
        return console
    return Console(file=io.StringIO(), quiet=True, force_terminal=False, force_jupyter=False)
