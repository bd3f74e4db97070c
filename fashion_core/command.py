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
OF_SIGNALS = 128  # and the signal's number, as shells have it: 130 after Ctrl-C, 143 after SIGTERM, 129 after SIGHUP
NO_READER = 1
ENDING = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))
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

    Errors of this project and of the operating system are told on stderr, without a traceback, with status 2; Ctrl-C,
    SIGTERM and SIGHUP end it quietly, with 130, 143 and 129; so does a reader that wants no more, such as `head`, with
    1.
    """
    caught = [int(signal.SIGINT)]
    try:
        with ended_like_interrupted(caught):
            try:
                command()
            finally:
                sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python complains when it closes it
        sys.exit(NO_READER)
    except KeyboardInterrupt:
        sys.exit(OF_SIGNALS + caught[-1])
    except (FashionError, OSError) as error:
        print(f"error: {show_lines(hide_secrets(str(error)))}", file=sys.stderr)
        sys.exit(FAULT)


@contextmanager
def ended_like_interrupted(caught: list[int]) -> Iterator[None]:
    """Inside, SIGTERM and SIGHUP do what Ctrl-C would do just then, so that what is under way is closed in order.

    In the main thread alone: no other can say what signals do. What is ignored, as by `nohup`, stays ignored.

    Args:
        caught: their numbers are added to it.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    terminals = [descriptor for descriptor in (1, 2) if os.isatty(descriptor)]

    def interrupt(number: int, _: object) -> None:
        caught.append(number)
        if number != signal.SIGTERM:  # the terminal is gone: what is written to it would fail
            for descriptor in terminals:
                os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)
        if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in what a script starts in the background
            raise KeyboardInterrupt
        signal.raise_signal(signal.SIGINT)

    before = {number: signal.getsignal(number) for number in ENDING}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


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
