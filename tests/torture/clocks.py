"""A clock that stands a day back when a search goes on."""

from __future__ import annotations

import random
from pathlib import Path

from bench import Bench
from plans import Row
from tries import Outcome

CASES = ("a day back", "a day on")
LIBRARIES = ("/usr/lib/*/faketime/libfaketimeMT.so.1", "/usr/lib/faketime/libfaketimeMT.so.1")


def find_library() -> Path | None:
    """The library that shifts a process's clock, where it is installed."""
    return next((path for pattern in LIBRARIES for path in Path("/").glob(pattern[1:])), None)


def play(bench: Bench, case: str, number: int, draws: random.Random) -> Outcome:
    """Go on with a search that was stopped half-way, under another date."""
    twin, half, library = bench.twin, bench.half, find_library()
    with bench.open_try(half) as tried:
        if library is None:
            tried.outcome.skipped = "libfaketime is not installed (Debian: faketime)"
            return tried.outcome
        tried.remember()
        shift = "-1d" if case == "a day back" else "+1d"
        tried.environment = {"LD_PRELOAD": str(library), "FAKETIME": shift, "DONT_FAKE_MONOTONIC": "1"}
        if tried.finish():
            tried.judge(twin)
        return tried.outcome


ROWS = (Row("clock", "clock a day back", CASES, 2, play),)
