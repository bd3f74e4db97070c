"""What a person sees of a search: a quiet live panel on a terminal, plain lines elsewhere, and a summary at the end."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.live import Live
from rich.panel import Panel
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from fashion_core import metrics
from search.ledger import SearchRecord, TrialRecord
from search.standing import (
    Standing,
    category_names,
    compute_best,
    count_epochs,
    count_saved,
    count_statuses,
    describe_counts,
    describe_origin,
    find_indistinguishable,
    first_line,
    format_duration,
    format_score,
    group_params,
    name_trials,
    rank_trials,
    standard_error,
    take_standing,
)

PROGRESS_INTERVAL_S = 60  # between two progress lines where there is no terminal
REFRESHES_PER_SECOND = 2
LOOK_SHARE = 20  # looking at the record takes at most one part in this many of the time
MAX_FAILURES_SHOWN = 3
TOP = 5
TOPIC_WIDTH = len("time left")  # else a long line beside it would squeeze it
WORD = re.compile(r"""(?:[^\s'"]|'[^']*'|"[^"]*")+""")  # of a shell command
STYLES = {"finished": "green", "stopped": "yellow", "failed": "red", "diverged": "red", "interrupted": "magenta"}
NUMBERS = "{:>4} {:>6}  {:<11} {:>6}  {:<15}  {}"  # columns of the summary's table; 58 wide without the last


class LiveView:
    """Shows a search while it runs. A context manager; `update` after every event.

    Where there is a terminal, its own thread looks at the record when it draws, and less often where looking takes
    long; so an event costs the search next to nothing, however many trials there are.

    Args:
        total_trials: how many the search is to have, those of before a restart included.
        max_epochs: of a trial that is not stopped.
        concurrent: trials at once.
        started: unix seconds since when pace and time are counted; default: now.
    """

    def __init__(
        self, console: Console, total_trials: int, max_epochs: int, concurrent: int, started: float | None = None
    ) -> None:
        self.console, self.total_trials = console, total_trials
        self.max_epochs, self.concurrent = max_epochs, concurrent
        self.started = time.time() if started is None else started
        self.record = SearchRecord()
        self.shown, self.look_at = Standing(), 0.0  # what is drawn, and from when on to look again
        self.ended: set[int] = set()  # trials
        self.last_line = self.started
        self.live = (
            Live(
                self,
                console=console,
                refresh_per_second=REFRESHES_PER_SECOND,
                transient=True,
                vertical_overflow="ellipsis",
            )
            if console.is_interactive
            else None
        )

    def __enter__(self) -> LiveView:
        if self.live is not None:
            self.live.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self.live is not None:
            self.live.stop()

    @property
    def standing(self) -> Standing:
        """How the search stands now."""
        record = SearchRecord(self.record.search, dict(self.record.trials))  # another thread may add to it
        return take_standing(record, self.total_trials, self.max_epochs, self.started)

    def __rich__(self) -> RenderableType:
        now = time.time()
        if now >= self.look_at:
            self.shown = self.standing
            self.look_at = now + LOOK_SHARE * (time.time() - now)
        elapsed = max(now - self.started, 1e-3)
        table = Table.grid(padding=(0, 2))
        table.add_column(style="dim", no_wrap=True, min_width=TOPIC_WIDTH)
        table.add_column(overflow="fold")
        lines = self.shown.lines or (("trials", f"0 of {self.total_trials} done; the first is starting"),)
        times = (
            ("pace", self.shown.describe_pace(elapsed)),
            ("time left", self.shown.describe_left(elapsed)),
        )
        for topic, text in (*lines, *times, *self.shown.running):
            table.add_row(topic, Text(text))
        return Panel(table, title=f"searching for {format_duration(elapsed)}", title_align="left", border_style="dim")

    def update(self, record: SearchRecord, event: dict[str, Any]) -> None:
        """Show the record as it is now, after this event."""
        if self.record is not record:  # the first event; before a restart, others may have ended
            self.record = record
            self.ended = {trial.number for trial in record.trials.values() if trial.status != "running"}
        elif event["event"] == "trial_ended":
            self.ended.add(event["trial"])
        if self.live is None:
            self.print_event(record, event)

    def print_event(self, record: SearchRecord, event: dict[str, Any]) -> None:
        """Without a terminal: a line for every trial that ends, and now and then one of progress."""
        now = time.time()
        if event["event"] == "trial_ended":
            self.print_line(now, describe_end(record.trials[event["trial"]], self.max_epochs))
        elif event["event"] == "epoch" and now - self.last_line >= PROGRESS_INTERVAL_S:
            best = compute_best(ranked[0]) if (ranked := rank_trials(record)) else None
            left = self.standing.describe_left(max(now - self.started, 1e-3))
            self.print_line(now, f"{count_epochs(record)} epochs, best {format_score(best)}, time left {left}")

    def print_line(self, now: float, text: str) -> None:
        """One line that is never wrapped; what does not fit stands in the ledger."""
        self.last_line = now
        clock = time.strftime("%H:%M:%S", time.localtime(now))
        self.console.print(
            Text(f"{clock} [{len(self.ended)}/{self.total_trials}] {text}"), no_wrap=True, overflow="ellipsis"
        )


def describe_end(trial: TrialRecord, max_epochs: int) -> str:
    """One line on a trial that has ended."""
    ended = f"trial {trial.number} {trial.status} after {len(trial.epochs)}/{max_epochs} epochs"
    if trial.status not in ("finished", "stopped"):
        return f"{ended}: {first_line(trial.reason)}"
    score = format_score(trial.best, standard_error(trial))
    return f"{ended}: {score}" + (f" < {trial.cutoff:.4f}" if trial.cutoff is not None else "")


@contextmanager
def preparing(console: Console, what: str = "images") -> Iterator[Callable[[int, int], None]]:
    """Yields the callback (images done, images in all) that shows how far preparing the data is.

    A bar on a terminal, a line at the start elsewhere; a line at the end on both. Shows nothing if it is never called:
    the data was prepared before.
    """
    began, total = time.time(), 0
    bar = Progress(
        TextColumn(f"preparing {what}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    )
    task = None

    def progress(done: int, count: int) -> None:
        nonlocal task, total
        if not total:
            total = count
            if console.is_interactive:
                bar.start()
                task = bar.add_task("", total=count)
            else:
                console.print(f"preparing {count:,} {what}, once for all searches", highlight=False)
        if task is not None:
            bar.update(task, completed=done)

    try:
        yield progress
    finally:
        if task is not None:
            bar.stop()
    if total:
        console.print(f"prepared {total:,} {what} in {format_duration(time.time() - began)}", highlight=False)


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
