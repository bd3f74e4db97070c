"""How every command of this project ends: in order, or with a line that says what is wrong, or quietly."""

from __future__ import annotations

import argparse
import os
import re
import signal
import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

from fashion_core.errors import FashionError
from fashion_core.escaping import show_lines, show_value
from fashion_core.secrets import hide_secrets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

FAULT = 2  # exit status where something is wrong; 1 is that of a crash
INTERRUPTED = 130  # as shells have it
NO_READER = 1
BAR_WIDTH, BAR_SECONDS = 30, 0.2  # of a progress bar: letters, and between two drawings
SKIP_BAD, ALONE = "--skip-bad", "true"  # the one option whose value may be left out
SHARE = re.compile(r"[0-9]*\.?[0-9]+")


def give_share(arguments: Sequence[str] | None) -> list[str]:
    """The arguments of a command, or `sys.argv`'s, with a value for each `--skip-bad`, which may stand alone.

    `--skip-bad DIR` is `--skip-bad=true DIR`, and `--skip-bad 0.2` is `--skip-bad=0.2`.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    given: list[str] = []
    while words:
        word = words.pop(0)
        if word == "--":
            return [*given, word, *words]
        if word == SKIP_BAD:
            is_share = bool(words) and SHARE.fullmatch(words[0]) is not None
            word = f"{word}={words.pop(0) if is_share else ALONE}"
        given.append(word)
    return given


def share(text: str) -> bool | float:
    """What `--skip-bad` was given: True where it stood alone, else a share of the rows.

    Raises:
        ValueError: it is neither.
    """
    if text == ALONE:
        return True
    try:
        value = float(text)
    except ValueError:
        value = -1
    if not 0 <= value <= 1:  # NaN too
        raise ValueError(f"must be a share of the rows from 0 to 1, like 0.2, but got {show_value(text)}")
    return value


class Parser(argparse.ArgumentParser):
    """A parser of a command line whose faults are told in one line, as all others are."""

    def error(self, message: str) -> NoReturn:
        """End the process with the fault."""
        self.exit(FAULT, f"error: {show_lines(hide_secrets(message))}; see {self.prog} --help\n")


def run_command(command: Callable[[], Any]) -> None:
    """Run a command. What ends it ends the process, by SystemExit.

    Errors of this project and of the operating system are told on stderr, without a traceback, with status 2; Ctrl-C
    and SIGTERM end it quietly, with 130; so does a reader that wants no more, such as `head`, with 1.
    """
    try:
        with terminated_like_interrupted():
            try:
                command()
            finally:
                sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python complains when it closes it
        sys.exit(NO_READER)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except (FashionError, OSError) as error:
        print(f"error: {show_lines(hide_secrets(str(error)))}", file=sys.stderr)
        sys.exit(FAULT)


@contextmanager
def terminated_like_interrupted() -> Iterator[None]:
    """Inside, SIGTERM does what Ctrl-C would do just then, so that what is under way is closed in order.

    In the main thread alone: no other can say what signals do.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def interrupt(*_: object) -> None:
    """Do what Ctrl-C would do; also where it does nothing, as in what a script starts in the background."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        raise KeyboardInterrupt
    signal.raise_signal(signal.SIGINT)


class ProgressBar:
    """A line on stderr that says how much is done and when all will be, where a person looks on; else nothing.

    Args:
        total: of what is counted.
        done: of it, before.
    """

    def __init__(self, total: int, done: int = 0) -> None:
        self.total, self.done, self.first = total, done, done
        self.begun = time.monotonic()
        self.drawn = 0.0
        self.is_shown = sys.stderr.isatty()

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(self, *_: object) -> None:
        if self.is_shown:
            self.draw(time.monotonic())
            print(file=sys.stderr)

    def advance(self) -> None:
        """One more is done."""
        self.done += 1
        if self.is_shown and (now := time.monotonic()) - self.drawn >= BAR_SECONDS:
            self.draw(now)

    def draw(self, now: float) -> None:
        """Write the line over the one before. now: seconds of the clock that does not jump."""
        self.drawn = now
        share = self.done / max(self.total, 1)
        speed = (self.done - self.first) / max(now - self.begun, 1e-9)
        left = f"{(self.total - self.done) / speed:,.0f} s left" if speed else ""
        bar = ("#" * int(BAR_WIDTH * share)).ljust(BAR_WIDTH, "-")
        text = f"{bar} {self.done:,} of {self.total:,}, {speed:.1f} a second, {left}"
        print(f"\r{text:<79.79}", end="", file=sys.stderr, flush=True)
