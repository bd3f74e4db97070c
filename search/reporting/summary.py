"""The end of a search in the terminal: counts, the top five, how sure that is, and what to do next."""

from __future__ import annotations

import re
from collections.abc import Sequence

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.text import Text

from fashion_core import metrics
from fashion_core.errors import first_line
from search.records.ranking import (
    category_names,
    compute_best,
    count_epochs,
    count_saved,
    count_statuses,
    find_indistinguishable,
    rank_trials,
    standard_error,
)
from search.records.record import SearchRecord, TrialRecord
from search.reporting.words import (
    describe_counts,
    describe_origin,
    format_duration,
    format_score,
    group_params,
    name_trials,
)

MAX_FAILURES_SHOWN = 3
TOP = 5
WORD = re.compile(r"""(?:[^\s'"]|'[^']*'|"[^"]*")+""")  # of a shell command
STYLES = {"finished": "green", "stopped": "yellow", "failed": "red", "diverged": "red", "interrupted": "magenta"}
NUMBERS = "{:>4} {:>6}  {:<11} {:>6}  {:<15}  {}"  # columns of the summary's table; 58 wide without the last


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
        return Text(line, style=self.text_style, no_wrap=True, overflow="ignore")


def render_summary(record: SearchRecord, steps: Sequence[tuple[str, str]]) -> RenderableType:
    """The end of a search: counts, the top five, how sure that is, and what to do next.

    Args:
        steps: (purpose, command).
    """
    parts: list[RenderableType] = [Text(), describe_whole(record)]
    ranked = rank_trials(record)
    categories = category_names(record)
    if ranked:
        parts += [
            Text(),
            Text(NUMBERS.format("rank", "trial", "status", "epochs", metrics.ACCURACY, "origin"), style="dim"),
        ]
    for rank, trial in enumerate(ranked[:TOP], 1):
        score = format_score(compute_best(trial), standard_error(trial))
        row = (rank, trial.number, trial.status, len(trial.epochs), score, describe_origin(trial, record))
        parts.append(Text(NUMBERS.format(*row), style="bold" if rank == 1 else ""))
        shown = group_params(trial.params, categories)
        pieces = [f"{name} {value}" for name, value in shown.items()]
        parts.append(Wrapped(pieces, "dim", ", ", ",", (13, 13)))
    parts += [Text(), Text(describe_certainty(record, ranked))]
    failed = [trial for trial in record.trials.values() if trial.status in ("failed", "diverged")]
    for trial in failed[:MAX_FAILURES_SHOWN]:
        line = f"trial {trial.number} {trial.status}: {first_line(trial.reason)}"
        parts.append(Text(line, style=STYLES[trial.status]))
    if len(failed) > MAX_FAILURES_SHOWN:
        parts.append(Text(f"and {len(failed) - MAX_FAILURES_SHOWN} more that failed or diverged", style="red"))
    if steps:
        parts += [Text(), Text("what to do next", style="dim")]
    for purpose, command in steps:
        parts += [
            Text(f"  {purpose}:"),
            Wrapped(WORD.findall(command), "cyan", " ", " \\", (4, 8)),
        ]  # can be copied whole
    return Group(*parts)


def describe_whole(record: SearchRecord) -> Text:
    """One paragraph: how many trials ended how, in what time, and what stopping saved."""
    name, trials = record.search.get("name", "the search"), len(record.trials)
    seconds = (record.ended or {}).get("seconds")
    text = Text.assemble((str(name), "bold"), f": {trials} trial{'s' if trials != 1 else ''}")
    if trials:
        text.append(f", {describe_counts(count_statuses(record))}")
    if seconds is not None:
        text.append(f", in {format_duration(seconds)}")
    max_epochs = record.search.get("settings", {}).get("max_epochs")
    if trials and max_epochs:
        full, epochs, saved = trials * max_epochs, count_epochs(record), count_saved(record, max_epochs)
        text.append(f". {epochs} epochs of {full} for full training ({epochs / full:.0%})")
        if saved:
            text.append(f"; ASHA saved {saved} ({saved / full:.0%})")
    return text.append(".")


def describe_certainty(record: SearchRecord, ranked: Sequence[TrialRecord]) -> str:
    """Which of the top five the data cannot tell from the best."""
    if not ranked:
        return "No trial has a score."
    error = standard_error(ranked[0])
    if error is None:
        return "The standard error of the best score is not known."
    images = record.search.get("selection", {}).get("select_count")
    on = f" on {images:,} images" if images else ""
    close = find_indistinguishable(ranked[:TOP])
    if len(ranked) == 1:
        return f"± is one standard error{on}."
    if not close:
        return f"± is one standard error{on}; none of the others is that close to the best."
    verb = "is" if len(close) == 1 else "are"
    return f"± is one standard error{on}: {name_trials(close)} {verb} not distinguishable from the best."
