"""Which tries there are, in which order, and at which moments kills fall: all of it follows from the seed."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from moments import FROM_START, LAST, ONCE, PROMOTING, SEARCHING, TARGETS, Phase

KILLS_A_SEARCH = 5


@dataclass(frozen=True)
class Row:
    """One kind of fault.

    Args:
        name: as `--rows` takes it.
        title: in the table.
        cases: kinds of it; tries go through them in turn.
        rounds: how often a whole run goes through all cases.
        play: (bench, case, number of the try, its random numbers) -> what was found.
    """

    name: str
    title: str
    cases: tuple[str, ...]
    rounds: int
    play: Callable[[Any, str, int, random.Random], Any]

    @property
    def tries(self) -> int:
        """Of a whole run."""
        return len(self.cases) * self.rounds


@dataclass(frozen=True)
class Planned:
    """A try to be made: the number counts those of the row."""

    row: Row
    number: int
    case: str

    def draw_random(self, seed: int) -> random.Random:
        """Its random numbers, whatever was tried before it."""
        return random.Random(f"{seed} {self.row.name} {self.number}")


def plan_tries(rows: Sequence[Row], seed: int) -> list[Planned]:
    """All tries of a whole run, so ordered that any beginning of it is a fair share of every row."""
    placed = []
    for position, row in enumerate(rows):
        order = random.Random(f"{seed} {row.name}").sample(row.cases, len(row.cases))
        for number in range(row.tries):
            share = (number + 0.5) / row.tries if number else 0.0
            placed.append((share, position, Planned(row, number, order[number % len(order)])))
    return [planned for _, _, planned in sorted(placed, key=lambda each: each[:2])]


def draw_kills(number: int, draws: random.Random, phases: Sequence[Phase] = SEARCHING) -> list[tuple[str, Phase]]:
    """(what to kill, in which phase) of one search, in the order in which these moments can come.

    Successive searches take successive phases, so that none stays empty; what is killed is drawn among what lives then.
    """
    taken = [phases[(KILLS_A_SEARCH * number + step) % len(phases)] for step in range(KILLS_A_SEARCH)]
    first = [phase for phase in taken if phase in ONCE]
    last = [phase for phase in taken if phase in LAST]
    middle = [phase for phase in taken if phase not in (*ONCE, *LAST)]
    draws.shuffle(middle)
    middle.sort(key=lambda phase: phase in FROM_START and draws.random() < 0.5, reverse=True)
    early = [phase for phase in middle if phase in FROM_START] if first else []
    late = [phase for phase in middle if phase not in early]
    order = [*early, *sorted(first, key=phases.index), *late, *sorted(last, key=phases.index)]
    return [(draws.choice(TARGETS[phase]), phase) for phase in order]


def draw_promotion_kills(number: int, draws: random.Random) -> list[tuple[str, Phase]]:
    """The same of one promotion: its phases come in order, but those of every start."""
    return draw_kills(number, draws, PROMOTING)
