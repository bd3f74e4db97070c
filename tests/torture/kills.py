"""SIGKILL at moments drawn over the whole command: of a search with one worker, of one with two, of a promotion."""

from __future__ import annotations

import random

from bench import NAME, Bench, Tried
from moments import Phase
from plans import Row, draw_kills
from processes import Command, Stuck
from tries import Outcome

from search.records.layout import SearchLayout
from search.records.ledger import read_events

SEARCHES = 40  # five kills each


def play(bench: Bench, case: str, number: int, draws: random.Random) -> Outcome:
    """Kill one search five times, each time going on, and compare it with its twin."""
    twin = bench.twin if case == "one worker" else None
    with bench.open_try() as tried:
        if twin is None:
            tried.given[tried.given.index("--concurrent") + 1] = 2
        return kill_and_judge(tried, twin, number, draws)


def kill_and_judge(tried: Tried, twin: SearchLayout | None, number: int, draws: random.Random) -> Outcome:
    """Kill a search five times, bring it to its end, and compare it with its twin, where it has one."""
    kill_on_the_way(tried, draw_kills(number, draws), draws)
    if tried.is_done or tried.finish():
        tried.judge(twin)
    else:
        tried.outcome.endings.append(f"{NAME} could not be brought to its end")
    return tried.outcome


def kill_on_the_way(tried: Tried, kills: list[tuple[str, Phase]], draws: random.Random) -> None:
    """Start, go on, and kill, as often as is asked; the last command runs to its end."""
    command, before = tried.begin(), 0
    for target, phase in kills:
        found = wait_for(tried, command, phase, before, draws)
        if found is None:  # the phase comes with a command that goes on
            before, command = len(read_events(tried.layout.ledger)), tried.go_on()
            found = wait_for(tried, command, phase, before, draws)
        if found is not None and tried.kill(command, target, draws):
            tried.outcome.kills.append((target, str(tried.place_kill(found))))
            tried.remember()
        if command.is_over:
            before, command = len(read_events(tried.layout.ledger)), tried.go_on()
    tried.measure_going_on(command)
    tried.run_to_end(command)


def wait_for(tried: Tried, command: Command, phase: Phase, before: int, draws: random.Random) -> Phase | None:
    """As `Tried.wait_for`; a command that is stuck is ended, one that has ended is judged."""
    try:
        found = tried.wait_for(command, phase, before, draws)
    except Stuck as error:
        tried.end_stuck(command, error)
        return None
    if found is None and (status := command.process.wait()) >= 0:
        tried.judge_ending(command, status)
    return found


ROWS = (
    Row("kill", "SIGKILL, one worker", ("one worker",), SEARCHES, play),
    Row("kill2", "SIGKILL, two workers", ("two workers",), 10, play),
)
