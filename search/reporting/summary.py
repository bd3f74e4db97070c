"""The end of a search in the terminal: why it ended and how to go on, counts, the top five, how sure that is, and what
to do next.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.text import Text

from fashion_core.escaping import show_text
from search.reporting.terminal import plain
from search.reporting.words import SearchWords, describe_objective, describe_pairing, name_trials, write_count

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_FAILURES_SHOWN = 3
TOP = 5
WORD = re.compile(r"""(?:[^\s'"]|'[^']*'|"[^"]*")+""")  # of a shell command
STYLES = {
    "finished": "green",
    "stopped": "yellow",
    "failed": "red",
    "diverged": "red",
    "interrupted": "magenta",
    "paused": "cyan",
}
NUMBERS = "{:>4} {:>5} {:<{width}} {:>6}  {:<15}  {}"  # columns of the summary's table


class Wrapped:
    """Pieces of text on as few lines as the width allows, none of them cut in two.

    Args:
        joint: between two pieces on a line. end: at the end of every line but the last.
        indents: of the first line and of the others, in characters.
    """

    def __init__(self, pieces: Sequence[str], style: str, joint: str, end: str, indents: tuple[int, int]) -> None:
        self.pieces, self.text_style, self.joint, self.end, self.indents = pieces, style, joint, end, indents

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        line, empty = " " * self.indents[0], True
        for piece in self.pieces:
            if not empty and len(line + self.joint + piece + self.end) > options.max_width:
                yield self.style(line + self.end)
                line, empty = " " * self.indents[1], True
            line += piece if empty else self.joint + piece
            empty = False
        yield self.style(line)

    def style(self, line: str) -> Text:
        """A line as it is printed."""
        return Text(show_text(line), style=self.text_style, no_wrap=True, overflow="ignore")


def render_summary(
    search: SearchWords, steps: Sequence[tuple[str, str]], way: tuple[str, str] | None = None
) -> RenderableType:
    """The end of a search: why it ended and how to go on, counts, the top five, how sure that is, and what to do next.

    Args:
        steps: (purpose, command).
        way: the same of how it goes on, or is given more; None where it is not known, or there is none.
    """
    parts: list[RenderableType] = [Text()]
    if search.why is not None:
        onward = search.way + "." if way is None else way[0] + ":"
        parts.append(Text(show_text(f"The search ended: {search.why}; {onward}"), style="bold"))
        parts += [] if way is None else [wrap_command(way[1])]
    parts.append(describe_whole(search))
    if search.ranked:
        score = search.objective.name if search.objective.is_default else "score"
        width = max(len(str(trial.status)) for trial in search.ranked[:TOP])
        head = ("rank", "trial", "status", "epochs", score, "origin")
        parts += [Text(), Text(NUMBERS.format(*head, width=width), style="dim")]
    for rank, trial in enumerate(search.ranked[:TOP], 1):
        origin = trial.origin + ", tied" * (trial.number in (search.tied or ()))
        row = (rank, trial.number, trial.status, trial.epochs, trial.score, origin)
        parts.append(Text(NUMBERS.format(*row, width=width), style="bold" if rank == 1 else ""))
        pieces = [f"{name} {value}" for name, value in trial.params.items()]
        parts.append(Wrapped(pieces, "dim", ", ", ",", (13, 13)))
    parts += [Text(), Text(describe_certainty(search))]
    for trial in search.lost[:MAX_FAILURES_SHOWN]:
        parts.append(plain(f"trial {trial.number} {trial.status}: {trial.reason}", STYLES[trial.status]))
    if len(search.lost) > MAX_FAILURES_SHOWN:
        more = len(search.lost) - MAX_FAILURES_SHOWN
        parts.append(Text(f"and {more} more that failed or diverged", style="red"))
    if steps:
        parts += [Text(), Text("what to do next", style="dim")]
    for purpose, command in steps:
        parts += [Text(f"  {purpose}:"), wrap_command(command)]
    return Group(*parts)


def wrap_command(command: str) -> Wrapped:
    """A command of the shell, which can be copied whole."""
    return Wrapped(WORD.findall(command), "cyan", " ", " \\", (4, 8))


def describe_whole(search: SearchWords) -> Text:
    """One paragraph: how many trials ended how, in what time, what stopping saved, what was spent on what."""
    text = Text.assemble(
        (show_text(search.name), "bold"), f": {search.trials} trial{'s' if search.trials != 1 else ''}"
    )
    if search.trials:
        text.append(f", {search.counts}")
    if search.took is not None:
        text.append(f", in {search.took}")
    if full := search.full_epochs:
        text.append(f". {write_count(search.epochs, 'epoch')} of {full} for full training ({search.epochs / full:.0%})")
        if saved := search.saved_epochs:
            text.append(f"; ASHA saved {saved} ({saved / full:.0%})")
    if search.spent:
        text.append(f". Spent: {search.spent}")
    if objective := describe_objective(search.objective):
        text.append(show_text(f". Scores are of {objective}"))
    return text.append(".")


def describe_certainty(search: SearchWords) -> str:
    """Which of the top five the data cannot tell from the best."""
    if not search.ranked:
        return "No trial has a score."
    if search.tied is None:
        return "The standard error of the best score is not known."
    on = f" on {search.scored:,} images" if search.scored else ""
    close = [trial.number for trial in search.ranked[:TOP] if trial.number in search.tied]
    if len(search.ranked) == 1:
        return f"± is one standard error{on}."
    if not close:
        return f"± is one standard error{on}; none of the others is that close to the best. {describe_pairing(search)}"
    verb = "is" if len(close) == 1 else "are"
    more = len(search.tied) - len(close)
    others = f", nor {'is' if more == 1 else 'are'} {more} below the top {TOP}" if more else ""
    text = f"± is one standard error{on}: {name_trials(close)} {verb} not distinguishable from the best{others}."
    return f"{text} {describe_pairing(search)}"
