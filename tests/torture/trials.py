"""A trial that raises, exits, diverges, hangs, or is refused memory: it costs that trial, or an epoch, and no other."""

from __future__ import annotations

import json
import random
from pathlib import Path

from bench import NAME, Bench
from judge import DONE
from plans import Row
from tries import Outcome

from search.planning.options import SearchOptions
from search.records.ledger import read_events
from search.records.record import replay

ENDS = {  # statuses that trial 0 may end in
    "raises": {"failed"},
    "exits": {"finished", "stopped"},  # it goes on from its state
    "exits in Python": {"finished", "stopped", "failed"},
    "diverges": {"diverged"},
    "hangs": {"finished", "stopped"},
    "is refused memory": {"failed"},
}
SCRIPT = Path(__file__).resolve().parent / "bad_trial.py"
TIMEOUT_S = 30.0
OVER = {"finished", "stopped", "failed", "diverged"}


def play(bench: Bench, case: str, number: int, draws: random.Random) -> Outcome:
    """All trials come to an end, the bad one as it should; where it goes on, the search equals its twin."""
    twin = bench.twin
    with bench.open_try() as tried:
        options = {"data": str(bench.data), "space": "tiny.yaml", "name": NAME, "concurrent": 1}
        if "trial_timeout_s" in SearchOptions.model_fields:
            options["trial_timeout_s"] = TIMEOUT_S
        status = tried.run_to_end(tried.start(case, json.dumps(options), script=str(SCRIPT)))
        record = replay(read_events(tried.layout.ledger))
        found = {number: str(trial.status) for number, trial in record.trials.items()}
        if found.get(0) not in ENDS[case]:
            tried.outcome.endings.append(f"the trial that {case} ended as {found.get(0)}")
        tried.outcome.lost += sum(found.get(trial) not in OVER for trial in range(6))
        if status == DONE and case in ("exits", "hangs"):
            tried.outcome.lost = 0
            tried.judge(twin)
        return tried.outcome


ROWS = (Row("trials", "a trial raises, exits, diverges, hangs, is refused memory", tuple(ENDS), 2, play),)
