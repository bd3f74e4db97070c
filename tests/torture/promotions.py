"""SIGKILL at moments drawn over a whole promotion."""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Any

import numpy as np
from bench import Bench, Tried, is_after
from judge import find_search
from moments import DELAY_S, DRIVER, GROUP, SHORT_S, Phase, Seen, tell_promotion
from plans import Row, draw_promotion_kills
from processes import Command, Stuck, name_all, wait_until
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


def play(bench: Bench, case: str, number: int, draws: random.Random) -> Outcome:
    """Kill one promotion five times, giving the same command again each time, and compare it with its twin."""
    twin = find_search(bench.keep("promotion", lambda tried: tried.run_to_end(begin(tried))), WRITTEN)
    with bench.open_try(f"promote-{number}") as tried:
        command = begin(tried)
        for target, phase in draw_promotion_kills(number, draws):
            try:
                found = wait_for(tried, command, phase, draws)
            except Stuck as error:
                tried.end_stuck(command, error)
                found = None
            if found is not None and tried.kill(command, target, draws):
                tried.outcome.kills.append((target, str(found)))
                if target not in (DRIVER, GROUP):
                    continue
            elif command.is_over and command.process.wait() >= 0:
                tried.judge_ending(command, command.process.wait())
            command = begin(tried)
        begun = time.monotonic()
        if tried.run_to_end(command) == 0:
            tried.outcome.going_on_s.append(round(time.monotonic() - begun, 1))
        compare(tried.outcome, find_search(tried.folder, WRITTEN), twin)
        return tried.outcome


def begin(tried: Tried) -> Command:
    """The promotion, of a search that is written down where it is not yet."""
    layout = SearchLayout(tried.folder / "results", WRITTEN)
    tried.layout = layout
    if not layout.folder.exists():
        write_search(layout.results, WRITTEN, tried.bench.data, [GOOD, POOR])
    return tried.start(*OPTIONS, script="promote.py")


def wait_for(tried: Tried, command: Command, phase: Phase, draws: random.Random) -> Phase | None:
    """As `Tried.wait_for`."""
    wait_until(lambda: tell_promotion(look(tried, command)) == phase, command, tried.layout.folder)
    time.sleep(draws.uniform(0, DELAY_S.get(phase, SHORT_S)))
    return None if command.is_over else tell_promotion(look(tried, command))


def look(tried: Tried, command: Command) -> Seen:
    """What is seen of a promotion."""
    folder = tried.layout.folder
    paths = [*folder.glob(".final.new*"), tried.layout.final.answers]
    written = {path.relative_to(folder).as_posix() for path in paths if is_after(path, command.at)}
    trained = len(list(folder.glob("promotion/reruns/*/run.json")))
    events = ["all trained"] if trained == NETWORKS else []
    return Seen(set(name_all(tried.mark).values()), command.printed, events, written)


def compare(outcome: Outcome, layout: SearchLayout, twin: SearchLayout) -> None:
    """What a promotion that was killed has other than its twin."""
    one, other = describe(layout), describe(twin)
    outcome.differs = [name for name in one if one[name] != other[name]]
    outcome.lost = NETWORKS - len(list(layout.folder.glob("promotion/reruns/*/run.json")))


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
