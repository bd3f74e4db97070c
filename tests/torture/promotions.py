"""SIGKILL at moments drawn over a whole promotion."""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Any

import numpy as np
from bench import Bench, Tried, is_after
from judge import DONE
from kills import kill_on_the_way
from moments import Phase, Seen, has_plan, tell_promotion
from plans import Row, draw_promotion_kills
from processes import Command, name_all
from tries import Outcome
from written_search import write_search

from search.records.layout import SearchLayout
from search.registry.versions import Registry
from search.tracking.store import default_uri

GOOD, POOR = 5e-3, 1e-9
WRITTEN = "promoted"
OPTIONS = (WRITTEN, "--top", 2, "--seeds", 2, "--baseline", "none", "--force")
NETWORKS = 4
PROMOTIONS = 12  # five kills each


class Promoted(Tried):
    """One promotion under faults, of a search that is written down."""

    def __init__(self, bench: Bench) -> None:
        super().__init__(bench)
        self.layout = write_search(self.folder / "results", WRITTEN, bench.data, [GOOD, POOR])

    def begin(self) -> Command:
        """The command; it goes on where it was cut off."""
        return self.start(*OPTIONS, script="promote.py")

    go_on = begin

    @property
    def is_done(self) -> bool:
        """Whether it ended; giving the command again changes nothing, so it is never sure."""
        return False

    def tell_phase(self, command: Command, before: int) -> Phase:
        """The phase that it is in."""
        folder = self.layout.folder
        paths = [*folder.glob(".final.new*"), self.layout.final.answers]
        written = {path.relative_to(folder).as_posix() for path in paths if is_after(path, command.at)}
        events = ["all trained"] if count_trained(self.layout) == NETWORKS else []
        printed = command.printed
        processes = () if has_plan(printed) else set(name_all(self.mark).values())
        return tell_promotion(Seen(processes, printed, events, written))


def play(bench: Bench, case: str, number: int, draws: random.Random) -> Outcome:
    """Kill one promotion five times, giving the same command again each time, and compare it with its twin."""
    kept = bench.keep("promotion", lambda tried: tried.run_to_end(tried.begin()), Promoted)
    with bench.open_try(kind=Promoted) as tried:
        kill_on_the_way(tried, draw_promotion_kills(number, draws), draws)
        begun = time.monotonic()
        if tried.run_to_end(tried.go_on()) == DONE:
            tried.outcome.going_on_s.append(round(time.monotonic() - begun, 1))
        compare(tried.outcome, tried.layout, SearchLayout(kept / "results", WRITTEN))
        return tried.outcome


def count_trained(layout: SearchLayout) -> int:
    """Networks that are trained again."""
    return len(list(layout.folder.glob("promotion/reruns/*/run.json")))


def compare(outcome: Outcome, layout: SearchLayout, twin: SearchLayout) -> None:
    """What a promotion that was killed has other than its twin."""
    one, other = describe(layout), describe(twin)
    outcome.differs = [name for name in one if one[name] != other[name]]
    outcome.lost = NETWORKS - count_trained(layout)


def describe(layout: SearchLayout) -> dict[str, Any]:
    """Every answer of what ships and of what was trained again; versions and aliases."""
    registry = Registry(default_uri(layout), "sample")
    return {
        "answers": read_arrays(layout.final.answers),
        "predictions": read_arrays(layout.final.predictions),
        "versions": [(version.number, version.aliases, version.tags["gate"]) for version in registry.list_versions()],
    }


def read_arrays(path: Path) -> dict[str, bytes]:
    """Contents of a file of arrays; none where it is not there."""
    if not path.exists():
        return {}
    with np.load(path) as arrays:
        return {name: arrays[name].tobytes() for name in arrays.files}


ROWS = (Row("promote", "SIGKILL of promotions", ("promotion",), PROMOTIONS, play),)
