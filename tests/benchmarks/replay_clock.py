"""A search on a simulated clock: who trains what, and what has been spent when the best so far was found.

An epoch is the unit of what is spent, whichever worker trains it; a full training is E of them.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from replay_surface import RawWorld, World

SLOWEST, FASTEST = 1.25, 0.8  # seconds an epoch takes in one trial and in another: the workers fall out of step
SPEED_STREAM = 7_000_003  # keeps these draws apart from all others


@dataclass(frozen=True)
class Segment:
    """What a free worker is to do: epochs `first` to `last`, both included, of a trial."""

    trial: int
    params: dict[str, Any]
    first: int
    last: int


class Method(Protocol):
    """A way to search: what a free worker does, and which trial ends early."""

    def next(self) -> Segment | None:
        """What a free worker does now; None where it waits for the others."""

    def take(self, trial: int, epoch: int, score: float) -> bool:
        """Take in a score; gives whether the segment ends here, before its last epoch."""


@dataclass
class Trace:
    """What a search had after each epoch that any worker trained.

    Attributes:
        regrets: points from the best that the surface holds, of the model with the best score so far: how good it
            is without the noise of that score. One value an epoch.
        trials: how many configurations were begun.
    """

    regrets: list[float] = field(default_factory=list)
    trials: int = 0

    def at(self, epochs: int) -> float:
        """The regret after so many epochs, or after the last there was."""
        return self.regrets[min(epochs, len(self.regrets)) - 1]

    def find(self, points: float) -> int | None:
        """After how many epochs the regret first was no greater; None where it never was."""
        return next((place for place, regret in enumerate(self.regrets, 1) if regret <= points), None)


def replay(
    method: Method,
    world: World | RawWorld,
    workers: int,
    budget_epochs: int,
    seed: int,
    pause_epochs: float = 0.0,
) -> Trace:
    """Run a search until its budget is spent.

    Args:
        pause_epochs: what it costs that a trial goes on after a pause, in epochs of the budget: see `pauses.py`.

    Raises:
        RuntimeError: no worker has anything to do.
    """
    trace, best, now, owed = Trace(), -np.inf, 0.0, 0.0
    idle, order = list(range(workers)), 0
    running: list[tuple[float, int, int, Segment, int]] = []  # when, tie-break, worker, segment, epoch
    while len(trace.regrets) < budget_epochs:
        waiting = []
        for worker in idle:
            segment = method.next()
            if segment is None:
                waiting.append(worker)
                continue
            trace.trials = max(trace.trials, segment.trial + 1)
            order += 1
            start = pause_epochs if segment.first > 1 else 0.0
            owed += start
            when = now + (1 + start) * draw_seconds(seed, segment.trial)
            heapq.heappush(running, (when, order, worker, segment, segment.first))
        idle = waiting
        if not running:
            raise RuntimeError(f"a method must give work to one of {workers} free workers, but gave none")
        while owed >= 1 and trace.regrets:  # whole epochs that pauses have taken: nothing was learned in them
            trace.regrets.append(trace.regrets[-1])
            owed -= 1
        now, _, worker, segment, epoch = heapq.heappop(running)
        score, truth = world.score(segment.trial, segment.params, epoch)
        if score > best:
            best, regret = score, 100 * (world.best - truth)
        trace.regrets.append(regret)
        if method.take(segment.trial, epoch, score) or epoch == segment.last:
            idle.append(worker)
        else:
            order += 1
            heapq.heappush(running, (now + draw_seconds(seed, segment.trial), order, worker, segment, epoch + 1))
    del trace.regrets[budget_epochs:]
    return trace


def draw_seconds(seed: int, trial: int) -> float:
    """What an epoch of a trial takes, the same in all methods."""
    return float(np.random.default_rng([seed, SPEED_STREAM, trial]).uniform(FASTEST, SLOWEST))
