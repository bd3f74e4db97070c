"""What a person sees of a search: a quiet live panel on a terminal, plain lines elsewhere, and a summary at the end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from fashion_core.errors import first_line
from search.records.ranking import (
    compute_best,
    count_epochs,
    rank_trials,
    standard_error,
)
from search.records.record import SearchRecord, TrialRecord
from search.reporting.standing import Standing, take_standing
from search.reporting.words import (
    format_duration,
    format_score,
)

PROGRESS_INTERVAL_S = 60  # between two progress lines where there is no terminal
REFRESHES_PER_SECOND = 2
LOOK_SHARE = 20  # looking at the record takes at most one part in this many of the time
TOPIC_WIDTH = len("time left")  # else a long line beside it would squeeze it


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
