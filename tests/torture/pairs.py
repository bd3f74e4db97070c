"""Two commands at once on one search: one of them wins, and the other says so."""

from __future__ import annotations

import random
import time

from bench import NAME, Bench, Tried
from judge import DONE, REFUSED
from plans import Row
from processes import ONE_COMMAND, Command
from tries import Outcome

APART_S = 3.0  # the most between the two starts
READERS = ("report", "list", "show")
PAIRS = (
    "run, run",
    "run, resume",
    "resume, resume",
    "replace, resume",
    "replace, replace",
    "delete, resume",
    "delete, replace",
    "delete, delete",
    "promote, delete",
    "promote, resume",
    "report, resume",
    "list, resume",
    "show, resume",
)


def play(bench: Bench, case: str, number: int, draws: random.Random) -> Outcome:
    """Start both, in either order, a moment apart."""
    twin, names = bench.twin, case.split(", ")
    draws.shuffle(names)
    begun = None if "run" in names else bench.twin.results.parent if "promote" in names else bench.half
    with bench.open_try(begun) as tried:
        if "delete" not in names and "replace" not in names:
            tried.remember()
        first = call(tried, names[0])
        time.sleep(draws.uniform(0, APART_S))
        second = call(tried, names[1])
        ends = [finish(tried, name, command) for name, command in zip(names, (first, second), strict=True)]
        writers = [end for name, end in zip(names, ends, strict=True) if name not in READERS]
        if writers.count(REFUSED) == 2:
            tried.outcome.endings.append(f"{case}: both were refused")
        if tried.layout.options.exists() and tried.finish():
            tried.judge(twin)
        return tried.outcome


def call(tried: Tried, name: str) -> Command:
    """Start one of the commands that a pair names."""
    words = COMMANDS[name](tried)
    return tried.start(*words, script="run.py" if str(words[0]).startswith("--") else ONE_COMMAND)


COMMANDS = {
    "run": lambda tried: tried.given,
    "replace": lambda tried: [*tried.given, "--replace"],
    "resume": lambda tried: tried.resuming,
    "delete": lambda tried: ["delete", NAME, "--yes"],
    "promote": lambda tried: ["promote", NAME, "--top", 1, "--seeds", 1, "--baseline", "none", "--force"],
    "report": lambda tried: ["report", NAME],
    "list": lambda tried: ["list"],
    "show": lambda tried: ["show", NAME],
}


def finish(tried: Tried, name: str, command: Command) -> int | None:
    """How one of them ended: done, or, of those that write, refused."""
    return tried.run_to_end(command, DONE, *([] if name in READERS else [REFUSED]))


ROWS = (Row("pairs", "two commands at once", PAIRS, 3, play),)
