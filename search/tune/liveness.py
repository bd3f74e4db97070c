"""Whether a running search gets on: Ray itself, and each trial by its steps. Asked often, it never waits."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import ray

from search.jobs.beats import Beats, name_collector, name_job
from search.jobs.cluster import Users
from search.jobs.health import HEAD, Health, is_headless
from search.jobs.nodes import find_unloaded, tell_none_left

if TYPE_CHECKING:
    from collections.abc import Collection

LOOK_S = 1.0  # between two looks


class RayDied(BaseException):
    """Ray is not there any more. No `Exception`: for one, Tune would ask Ray to clean up, and wait for it.

    Args:
        fault: in words.
        can_restart: Ray can be ended and started again in this process.
    """

    def __init__(self, fault: str, *, can_restart: bool) -> None:
        super().__init__(fault)
        self.can_restart = can_restart


class Liveness:
    """Of one run of Tune. Ray is touched from `open` on, when it runs.

    Args:
        name: of the trainable's class.
        timeout_s: how long a trial's process may take for a step.

    Attributes:
        collector: name of the actor that takes the beats.
        job: name of the class that Ray is to run.
        doing: what each running trial is at, in words, by number.
        starts: of Ray in this process, when this began.
    """

    def __init__(self, name: str, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        self.collector = name_collector()
        self.job = name_job(name, self.collector)
        self.doing: dict[int, str] = {}
        self.starts = Users.starts
        self.looked = 0.0
        self.beats: Beats | None = None
        self.health: Health | None = None

    def check_head(self) -> None:
        """Raises RayDied where Ray's head has died: asking it anything would wait for a minute."""
        if is_headless(Users.servers):
            raise RayDied(f"Ray's {HEAD} died", can_restart=False)

    def open(self) -> None:
        """Begin to look.

        Raises:
            RayDied: Ray is not there any more.
        """
        self.health = Health(Users.servers)
        if (fault := self.health.look()) is not None:
            raise RayDied(fault, can_restart=self.health.has_head)
        self.beats = Beats(self.collector, self.job, self.timeout_s)

    def begin(self, number: int) -> None:
        """A trial begins, or goes on in another process."""
        if self.beats is not None:
            self.beats.silence.begin(number)

    def look(self, running: Collection[int]) -> dict[int, str]:
        """End the processes of trials without steps.

        Args:
            running: numbers of the trials that a process has.

        Returns:
            Why, in words, by number, of each that was ended now.

        Raises:
            RayDied: Ray is not there any more.
        """
        if self.health is None or self.beats is None:
            return {}
        now = time.monotonic()
        if now - self.looked < LOOK_S:
            return {}
        self.looked = now
        if (fault := self.health.look()) is not None:
            raise RayDied(fault, can_restart=self.health.has_head)
        ended = self.beats.look(running)
        self.doing = self.beats.tell(running)
        return ended

    def find_node(self, number: int) -> str | None:
        """The node that a trial was on, as Ray names it; None where it has told nothing."""
        return None if self.beats is None else self.beats.silence.find_node(number)

    def list_lost(self, nodes: Collection[str]) -> set[str]:
        """Those nodes of the cluster that are there no more."""
        if self.health is None or not nodes:
            return set()
        return set(nodes) - {node["NodeID"] for node in ray.nodes() if node["Alive"]}

    def find_unloaded(self, death: str) -> tuple[str, str] | None:
        """See `search.jobs.nodes.find_unloaded`."""
        return None if self.health is None else find_unloaded(death)

    def tell_none_left(self, avoided: Collection[str]) -> str | None:
        """See `search.jobs.nodes.tell_none_left`."""
        return None if self.health is None else tell_none_left(avoided)

    def close(self, error: BaseException | None) -> RayDied | None:
        """Look no more. Returns that Ray died, where it did; None where it lives. error: what broke Tune."""
        death = self.find_death(error)
        if self.health is not None:
            self.health.close()
        if self.beats is not None:
            self.beats.close(is_dead=death is not None)
        return death

    def find_death(self, error: BaseException | None) -> RayDied | None:
        """See `close`."""
        if isinstance(error, RayDied) or self.health is None:
            return error if isinstance(error, RayDied) else None
        fault = self.health.look_closely() if isinstance(error, Exception) else self.health.look()
        return None if fault is None else RayDied(fault, can_restart=self.health.has_head)
