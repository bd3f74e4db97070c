"""A clock that stands a day back, or on, when a search goes on.

The clock is that of the command and of all its Python processes, by a `sitecustomize` of theirs. (libfaketime 0.9.10
shifts the clock that `time.sleep` waits by as well, which then fails.)
"""

from __future__ import annotations

import os
import random

from bench import Bench
from plans import Row
from processes import ROOT
from tries import Outcome

CASES = {"a day back": -86400, "a day on": 86400}
CODE = """import time

now, now_ns = time.time, time.time_ns
time.time, time.time_ns = lambda: now() + {shift}, lambda: now_ns() + {shift} * 10**9
"""


def play(bench: Bench, case: str, number: int, draws: random.Random) -> Outcome:
    """Go on with a search that was stopped half-way, under another date."""
    twin, half = bench.twin, bench.half
    with bench.open_try(half) as tried:
        tried.remember()
        folder = tried.folder / "clock"
        folder.mkdir()
        (folder / "sitecustomize.py").write_text(CODE.format(shift=CASES[case]))
        tried.environment = {"PYTHONPATH": os.pathsep.join(map(str, (folder, ROOT)))}
        if tried.finish():
            tried.judge(twin)
        return tried.outcome


ROWS = (Row("clock", "clock a day back, or on", tuple(CASES), 2, play),)
