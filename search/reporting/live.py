"""What a person sees of a search while it runs: a quiet live panel on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.live import Live
from rich.panel import Panel
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from fashion_core.errors import first_line
from fashion_core.escaping import show_text
from search.records.events import EpochEnded, Event, SearchBroke, TrialEnded, TrialPaused, TrialStatus
from search.records.record import SearchRecord, TrialRecord
from search.reporting.terminal import plain
from search.reporting.ties import compare_with_best
from search.reporting.words import (
    describe_counts,
    describe_origin,
    format_duration,
    format_score,
    format_value,
    group_params,
    name_trials,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from rich.console import Console, RenderableType

MAX_RUNNING_SHOWN = 8
MAX_TIED_SHOWN = 5
PROGRESS_INTERVAL_S = 60  # between two progress lines where there is no terminal
REFRESHES_PER_SECOND = 2
LOOK_SHARE = 20  # looking at the record takes at most one part in this many of the time
TOPIC_WIDTH = len("time left")  # else a long line beside it would squeeze it


class LiveView:
    """Shows a search while it runs. A context manager; `update` after every event.

    Where there is a terminal, its own thread looks at the record when it draws, and less often where looking takes
    long; so an event costs the search next to nothing, however many trials there are.

    Args:
        record: of the search, kept up to date by others.
        total_trials: how many the search is to have, those of before a restart included.
        max_epochs: of a trial that is not stopped.
    """

    def __init__(self, console: Console, record: SearchRecord, total_trials: int, max_epochs: int) -> None:
        self.console, self.record = console, record
        self.total_trials, self.max_epochs = total_trials, max_epochs
        self.started = time.monotonic()
        self.before = count_done(record)  # pace and time left are of what this view has seen,
        self.paced_from: float | None = None  # from its first epoch on: what comes before is start-up
        self.shown, self.look_at = Standing(), 0.0  # what is drawn, and from when on to look again
        self.ended = self.before[1]
        self.last_line = self.started
        self.spent = record.spent_seconds  # before
        self.doing: Mapping[int, str] = {}
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
        return take_standing(record, self.total_trials, self.max_epochs, self.before)

    def __rich__(self) -> RenderableType:
        now = time.monotonic()
        if now >= self.look_at:
            self.shown = self.standing
            self.look_at = now + LOOK_SHARE * (time.monotonic() - now)
        elapsed = max(now - self.started, 1e-3)
        paced = self.measure_paced(now)
        table = Table.grid(padding=(0, 2))
        table.add_column(style="dim", no_wrap=True, min_width=TOPIC_WIDTH)
        table.add_column(overflow="fold")
        lines = self.shown.lines or (("trials", f"0 of {self.total_trials} done; the first is starting"),)
        times = (
            ("pace", self.shown.describe_pace(paced)),
            ("time left", self.describe_left(self.shown, elapsed, paced)),
        )
        running = dict(self.shown.running)  # one that has ended is at nothing, whatever was told of it last
        at = [(f"in trial {number}", text) for number, text in list(self.doing.items()) if f"trial {number}" in running]
        for topic, text in (*lines, *times, *self.shown.running, *at):
            table.add_row(topic, plain(text))
        return Panel(table, title=f"searching for {format_duration(elapsed)}", title_align="left", border_style="dim")

    def look(self, doing: Mapping[int, str]) -> None:
        """Show what each running trial is at: in words, by number. Called now and then."""
        self.doing = doing
        now = time.monotonic()
        if self.live is None and now - self.last_line >= PROGRESS_INTERVAL_S:
            each = [f"trial {number}: {text}" for number, text in list(doing.items())[:MAX_RUNNING_SHOWN]]
            self.print_line(now, "; ".join(each) or "no trial has begun to train: it waits for resources, or starts")

    def update(self, event: Event) -> None:
        """Show the record as it is now, after this event."""
        if isinstance(event, TrialEnded) and event.status.is_over:
            self.ended += 1
        if isinstance(event, EpochEnded) and self.paced_from is None:
            self.paced_from, self.before = time.monotonic(), count_done(self.record)
        if isinstance(event, SearchBroke):
            self.print_line(time.monotonic(), f"Ray broke: {first_line(event.error)}")
        if self.live is None:
            self.print_event(event)

    def print_event(self, event: Event) -> None:
        """Without a terminal: a line for every trial that ends or pauses, and now and then one of progress."""
        now = time.monotonic()
        if isinstance(event, (TrialEnded, TrialPaused)):
            self.print_line(now, describe_end(self.record.trials[event.trial], self.max_epochs))
        elif isinstance(event, EpochEnded) and now - self.last_line >= PROGRESS_INTERVAL_S:
            best = ranked[0].best if (ranked := self.record.rank()) else None
            left = self.describe_left(self.standing, max(now - self.started, 1e-3), self.measure_paced(now))
            self.print_line(now, f"{self.record.count_epochs()} epochs, best {format_score(best)}, time left {left}")

    def measure_paced(self, now: float) -> float:
        """Seconds since the first epoch ended: pace and time left are of these."""
        return max(now - (self.started if self.paced_from is None else self.paced_from), 1e-3)

    def describe_left(self, standing: Standing, elapsed: float, paced: float) -> str:
        """Time left at the pace of so many seconds, and what is left of the time budget."""
        text, budget = standing.describe_left(paced), self.record.limits.seconds
        if budget is None:
            return text
        left = max(budget - self.spent - elapsed, 0.0)
        return f"{text}, at most {format_duration(left)} by --time-budget"

    def print_line(self, now: float, text: str) -> None:
        """One line that is never wrapped; what does not fit stands in the ledger."""
        self.last_line = now
        clock = time.strftime("%H:%M:%S", time.localtime())
        try:
            self.console.print(
                plain(f"{clock} [{self.ended}/{self.total_trials}] {text}"), no_wrap=True, overflow="ellipsis"
            )
        except (OSError, SystemExit):  # which Rich raises: nobody reads any more, and the search goes on
            self.console.quiet = True


@dataclass(frozen=True)
class Standing:
    """The search at one moment, in words: what a thread can draw while the record changes.

    Attributes:
        lines: (topic, text) on the whole search. running: the same on each running trial.
        epochs_here, ended_here: epochs and trials that ended since the first epoch that the view saw.
        epochs_left: expected.
    """

    lines: tuple[tuple[str, str], ...] = ()
    running: tuple[tuple[str, str], ...] = ()
    epochs_here: int = 0
    ended_here: int = 0
    epochs_left: float = 0.0

    def describe_pace(self, elapsed: float) -> str:
        """Trials per hour, and seconds from one epoch to the next over all trials."""
        if not self.epochs_here:
            return "known after two epochs"
        rate = 3600 * self.ended_here / elapsed
        trials = f"{rate:,.{0 if rate >= 10 else 1}f} trials/h, " if self.ended_here else ""
        return f"{trials}an epoch every {format_value(elapsed / self.epochs_here)} s"

    def describe_left(self, elapsed: float) -> str:
        """Time left, at the pace so far and with as many epochs a trial as those had that ended."""
        if not self.epochs_here:
            return "known after two epochs"
        return f"about {format_duration(self.epochs_left * elapsed / self.epochs_here)}"


def take_standing(record: SearchRecord, total_trials: int, max_epochs: int, before: tuple[int, int]) -> Standing:
    """How the search stands now. before: epochs and trials that were done when the view began."""
    trials = list(record.trials.values())
    running = [trial for trial in trials if trial.status == TrialStatus.RUNNING]
    epochs, full = record.count_epochs(), total_trials * max_epochs
    paused = sum(trial.status == TrialStatus.PAUSED for trial in trials)
    done = len(trials) - len(running) - paused
    counts = ": " + describe_counts(record.count_statuses(), skip=["running", "paused"]) if done else ""
    ranked = record.rank()
    lines = [
        (
            "trials",
            f"{done} of {total_trials} done{counts}; {len(running)} running" + f", {paused} paused" * (paused > 0),
        ),
        ("epochs", f"{epochs}, {epochs / full:.0%} of full training ({full})"),
        ("best", "known after the first epoch"),
    ]
    if ranked:
        best = ranked[0]
        origin = describe_origin(best, is_grid=record.settings.get("sampler") == "grid")
        where = f"trial {best.number}, epoch {best.best_epoch}, {origin}"
        params = group_params(best.params, record.category_names)
        lines[-1] = ("best", f"{format_score(best.best, best.standard_error)}  {where}")
        lines.append(("", ", ".join(f"{name} {text}" for name, text in params.items())))
        tied = [number for number, each in (compare_with_best(record, ranked) or {}).items() if each.is_tied]
        if tied:
            more = f", and {len(tied) - MAX_TIED_SHOWN} more" if len(tied) > MAX_TIED_SHOWN else ""
            lines.append(("tied", f"{name_trials(tied[:MAX_TIED_SHOWN])}{more}"))
    shown = [(f"trial {trial.number}", describe_running(trial, max_epochs)) for trial in running[:MAX_RUNNING_SHOWN]]
    if len(running) > MAX_RUNNING_SHOWN:
        shown.append(("", f"and {len(running) - MAX_RUNNING_SHOWN} more"))
    epochs_done, trials_done = count_done(record)
    return Standing(
        lines=tuple(lines),
        running=tuple(shown),
        epochs_here=epochs_done - before[0],
        ended_here=trials_done - before[1],
        epochs_left=expect_epochs(trials, total_trials, max_epochs),
    )


def count_done(record: SearchRecord) -> tuple[int, int]:
    """Epochs and trials that are done."""
    return record.count_epochs(), sum(trial.status.is_over for trial in record.trials.values())


def describe_running(trial: TrialRecord, max_epochs: int) -> str:
    """Epoch and score of a running trial."""
    if not trial.epochs:
        return f"in epoch 1/{max_epochs}"
    row = trial.epochs[-1]
    return f"epoch {row.epoch}/{max_epochs} done, {format_score(row.metrics.get(trial.objective.name))}"


def expect_epochs(trials: Sequence[TrialRecord], total_trials: int, max_epochs: int) -> float:
    """Epochs still to come, if the other trials train for as long as those that ended did on average."""
    ended = [len(trial.epochs) for trial in trials if trial.status != TrialStatus.RUNNING]
    usual = sum(ended) / len(ended) if any(ended) else max_epochs
    left = max(total_trials - len(trials), 0) * usual
    for trial in trials:
        if trial.status == TrialStatus.RUNNING:  # one that outlasted the usual goes on to the end
            left += max(usual - len(trial.epochs), 0) or max_epochs - len(trial.epochs)
    return left


def describe_end(trial: TrialRecord, max_epochs: int) -> str:
    """One line on a trial that has ended or pauses."""
    ended = f"trial {trial.number} {trial.status} after {len(trial.epochs)}/{max_epochs} epochs"
    if trial.status not in (TrialStatus.FINISHED, TrialStatus.STOPPED, TrialStatus.PAUSED):
        return f"{ended}: {trial.reason}"
    score = format_score(trial.best, trial.standard_error)
    return f"{ended}: {score}" + (f" < {trial.cutoff:.4f}" if trial.cutoff is not None else "")


@contextmanager
def preparing(console: Console, what: str = "images") -> Iterator[Callable[[int, int], None]]:
    """Yields the callback (images done, images in all) that shows how far preparing the data is.

    A bar on a terminal, a line at the start elsewhere; a line at the end on both. Shows nothing if it is never called:
    the data was prepared before.
    """
    began, total = time.monotonic(), 0
    bar = Progress(
        TextColumn(f"preparing {show_text(what)}", markup=False),
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
                console.print(plain(f"preparing {count:,} {what}, once for all searches"))
        if task is not None:
            bar.update(task, completed=done)

    try:
        yield progress
    finally:
        if task is not None:
            bar.stop()
    if total:
        console.print(plain(f"prepared {total:,} {what} in {format_duration(time.monotonic() - began)}"))
