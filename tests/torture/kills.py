"""SIGKILL at moments drawn over the whole command: of a search with one worker, of one with two, of a promotion."""

from __future__ import annotations

import random
import time

from bench import NAME, Bench, Tried
from moments import DRIVER, GROUP, SHORT_S, Phase
from plans import Row, draw_kills
from processes import Stuck, end_all
from tries import Outcome

from search.records.ledger import read_events

SEARCHES = 40  # five kills each


def play(bench: Bench, case: str, number: int, draws: random.Random) -> Outcome:
    """Kill one search five times, each time going on, and compare it with its twin."""
    twin = bench.twin if case == "one worker" else None
    with bench.open_try(f"kill-{number}") as tried:
        if twin is None:
            tried.given[tried.given.index("--concurrent") + 1] = 2
        kill_on_the_way(tried, draw_kills(number, draws), draws)
        if tried.finish():
            tried.judge(twin)
        else:
            tried.outcome.endings.append(f"{NAME} could not be brought to its end")
        return tried.outcome


def kill_on_the_way(tried: Tried, kills: list[tuple[str, Phase]], draws: random.Random) -> None:
    """Start, or go on, and kill, as often as is asked. The command is dead in the end, or over."""
    command, before = tried.begin(), 0
    for target, phase in kills:
        try:
            found = tried.wait_for(command, phase, before, draws)
        except Stuck as error:
            tried.end_stuck(command, error)
            found = None
        if found is not None and tried.kill(command, target, draws):
            if target not in (DRIVER, GROUP):
                time.sleep(SHORT_S)
            found = Phase.BETWEEN if found in (Phase.TRIALS, Phase.BETWEEN) and tried.is_behind() else found
            found = Phase.TRIALS if found == Phase.BETWEEN and not tried.is_behind() else found
            tried.outcome.kills.append((target, str(found)))
            tried.remember()
            if target not in (DRIVER, GROUP):  # the command is to notice, and to go on by itself
                continue
        elif command.is_over:
            status = command.process.wait()
            if status >= 0:
                tried.judge_ending(command, status)
        if tried.layout.report.exists() and is_ended(tried):
            return
        before = len(read_events(tried.layout.ledger))
        command = tried.go_on()
    if not command.is_over:
        tried.measure_going_on(command)
        tried.run_to_end(command)
    end_all(tried.mark)


def is_ended(tried: Tried) -> bool:
    """Whether a search has nothing more to do but its report."""
    events = read_events(tried.layout.ledger)
    return bool(events) and events[-1].kind == "search_ended" and tried.layout.best_config.exists()


ROWS = (
    Row("kill", "SIGKILL, one worker", ("one worker",), SEARCHES, play),
    Row("kill2", "SIGKILL, two workers", ("two workers",), 10, play),
)
