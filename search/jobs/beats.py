"""Whether trainings get on, step by step: workers tell it beside their work, and one whose steps stop is ended.

A worker's thread sends how far its training is to an actor of ours, once a second; the search asks that actor, and
waits for none of it. Silence is counted on the search's own clock and only while the search itself is awake: a laptop
that slept, or a search that was stopped with all its processes, ends no training.
"""

from __future__ import annotations

import os
import signal
import threading
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray
from ray._private import worker
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from search.jobs.cluster import spare_warm_workers
from search.jobs.health import STOPPED, list_processes

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

TRIAL_TIMEOUT_S = 300.0
BEAT_S = 1.0  # between two beats of a worker
ASK_S = 2.0  # how long Ray may take to tell whether a node is to be taken away
HEARD_S = 20.0  # a training waits so long for its first beat to be taken: an actor that begins takes seconds
START_S = 60.0  # the least time for a process to start in, before its training tells anything
ANSWER_S = 20.0  # how long the actor may leave a question open
FORGET_S = 60.0  # what does not run for so long is forgotten: beats on their way have come by then
AWAKE_S = 5.0  # the search looks far more often: of a longer gap, the rest was sleep
BEGINNING, BETWEEN = "beginning", "between two epochs"
WAITING = "waiting for room on a disk"
AT_ONCE = (BEGINNING, BETWEEN)  # phases that take no time, or hang
OF_RAY, IDLE = "ray::", "ray::IDLE"  # how the titles of its processes begin
STEPLESS = 2  # any other without steps, such as a download, may take so many times as long as a step


@dataclass(frozen=True)
class Beat:
    """How far a training is.

    Attributes:
        count: grows with every step, and with time in a phase without steps.
        phase, done, total: see `fashion_core.training.progress.Progress`.
        node, pid: of the process.
    """

    count: int
    phase: str
    done: int
    total: int
    node: str
    pid: int

    def __str__(self) -> str:
        return f"{self.phase}, batch {self.done} of {self.total}" if self.total else self.phase


class Collector:
    """The newest beat of each training, by name. An actor of Ray."""

    def __init__(self) -> None:
        self.beats: dict[Any, Beat] = {}
        self.others: set[Any] = set()  # that were not asked for the last time

    def take(self, name: Any, beat: Beat) -> None:
        """Keep a beat."""
        self.beats[name] = beat

    def tell(self, names: Collection[Any]) -> dict[Any, Beat]:
        """Those of the trainings that run. What is not asked for twice in a row is forgotten: one may just begin."""
        others = self.beats.keys() - set(names)
        for name in others & self.others:
            del self.beats[name]
        self.others = others & self.beats.keys()
        return {name: self.beats[name] for name in names if name in self.beats}


class Pulse:
    """A worker's side: told of every step, it sends the newest from a thread of its own. A context manager.

    Args:
        collector: name of the actor; None: nobody asks.
        timeout_s: a phase without steps counts as progress for `STEPLESS` times as long.
    """

    def __init__(self, collector: str | None, timeout_s: float) -> None:
        self.collector, self.timeout_s = collector, timeout_s
        self.name: Any = None  # of the training; None: there is none
        self.at = ("", 0, 0)
        self.since = time.monotonic()  # when the phase began
        self.count = 0
        self.is_leaving = False  # this node is about to be taken away
        self.stopped = threading.Event()
        if collector is not None:
            threading.Thread(target=self.run, name="beats", daemon=True).start()

    def __enter__(self) -> Pulse:
        return self

    def __exit__(self, *_: object) -> None:
        self.stopped.set()

    def begin(self, name: Any) -> None:
        """A training of this name begins: whatever it does next, the search knows of its process."""
        self.step(BEGINNING, 0, 0)
        self.name = name
        if self.collector is not None:
            with suppress(ray.exceptions.RayError, ValueError):
                ray.get(ray.get_actor(self.collector).take.remote(name, self.make_beat()), timeout=HEARD_S)

    def step(self, phase: str, done: int, total: int) -> None:
        """Take a step of the training: a `Progress`."""
        if phase != self.at[0]:
            self.since = time.monotonic()
        self.at = (phase, done, total)
        self.count += 1

    def run(self) -> None:
        """Send beats until the end."""
        actor = None
        while not self.stopped.wait(BEAT_S):
            if self.name is None:
                continue
            phase, _, total = self.at
            if not total and phase not in AT_ONCE and time.monotonic() - self.since < STEPLESS * self.timeout_s:
                self.count += 1
            try:
                actor = actor or ray.get_actor(self.collector)
                actor.take.remote(self.name, self.make_beat())
                self.is_leaving = is_leaving()
            except (ray.exceptions.RayError, ValueError):  # it begins again: the next beat finds it
                actor = None

    def make_beat(self) -> Beat:
        """How far it is now."""
        phase, done, total = self.at
        return Beat(self.count, phase, done, total, ray.get_runtime_context().get_node_id(), os.getpid())


@dataclass
class Silence:
    """How long each training has been silent while the search was awake. Knows nothing of Ray.

    Attributes:
        last: the newest beat of each that runs and was heard.
        seconds: since it changed, or since the training was begun.
        stale: the last beat of each before it was begun, which says nothing of it.
        resting: seconds since each that is known was among those that run.
    """

    last: dict[Any, Beat] = field(default_factory=dict)
    seconds: dict[Any, float] = field(default_factory=dict)
    stale: dict[Any, Beat | None] = field(default_factory=dict)
    resting: dict[Any, float] = field(default_factory=dict)

    def begin(self, name: Any) -> None:
        """A training begins, or goes on in another process."""
        self.stale[name] = self.last.pop(name, None) or self.stale.get(name)
        self.seconds[name] = self.resting[name] = 0.0

    def find_node(self, name: Any) -> str | None:
        """Where a training is; None where it was not heard yet."""
        beat = self.last.get(name)
        return None if beat is None else beat.node

    def take(self, beats: dict[Any, Beat], names: Collection[Any], passed_s: float) -> None:
        """Count what the newest beats say of the trainings that run.

        Args:
            passed_s: seconds since the last time; more than `AWAKE_S` count as so many.
        """
        for name in names:
            beat = beats.get(name)
            if beat is None or beat in (self.stale.get(name), self.last.get(name)):
                self.seconds[name] = self.seconds.get(name, 0.0) + min(passed_s, AWAKE_S)
            else:
                self.last[name], self.seconds[name] = beat, 0.0
        self.forget(set(names), min(passed_s, AWAKE_S))

    def forget(self, running: set[Any], passed_s: float) -> None:
        """Forget what has not run for `FORGET_S`: a search of many trials knows of few of them at a time."""
        for name in self.seconds.keys() | self.resting.keys():
            self.resting[name] = 0.0 if name in running else self.resting.get(name, 0.0) + passed_s
            if self.resting[name] > FORGET_S:
                for known in (self.last, self.seconds, self.stale, self.resting):
                    known.pop(name, None)

    def list_silent(self, names: Collection[Any], timeout_s: float) -> list[Any]:
        """Those of the trainings that run whose steps stopped."""
        return [name for name in names if name in self.last and self.seconds[name] > timeout_s]

    def list_unheard(self, names: Collection[Any], timeout_s: float) -> list[Any]:
        """Those that told nothing for so long, once all that told nothing did: one that begins now is heard first."""
        found = [name for name in names if name not in self.last]
        is_time = all(self.seconds.get(name, 0.0) > timeout_s for name in found)
        return found if is_time else []


class Beats:
    """The search's side: asks for beats without waiting, and ends processes whose steps stopped.

    Args:
        name: of the actor; one of its own for each search.
        job: what Ray is to do for the trainings, see `name_job`.
        timeout_s: how long a process may take for a step.
    """

    def __init__(self, name: str, job: str, timeout_s: float) -> None:
        self.name, self.job, self.timeout_s = name, job, timeout_s
        collector = type(name_job(Collector.__name__, name), (Collector,), {})
        self.node = ray.get_runtime_context().get_node_id()
        here = NodeAffinitySchedulingStrategy(self.node, soft=True)  # a node that joins may not be able to load it
        options = {"name": name, "runtime_env": spare_warm_workers(), "scheduling_strategy": here}
        self.actor = ray.remote(num_cpus=0, max_restarts=-1)(collector).options(**options).remote()
        self.silence = Silence()
        self.answer: Any = None  # that is awaited
        self.taken = self.waited = time.monotonic()
        self.waited_s = 0.0  # for that answer

    def look(self, names: Iterable[Any]) -> dict[Any, str]:
        """Take the answer to the last question, end what is silent, and ask again. Returns at once.

        Args:
            names: of the trainings that run.

        Returns:
            Why, in words, by the name of each whose process was ended now.
        """
        now = time.monotonic()
        if self.answer is not None and not ray.wait([self.answer], timeout=0)[0]:
            self.waited_s += min(now - self.waited, AWAKE_S)
            self.waited = now
            if self.waited_s > ANSWER_S:  # its process was stopped: Ray begins it again
                self.end_job(name_job(Collector.__name__, self.name), [])
                self.waited_s = 0.0
            return {}
        names = list(names)
        with suppress(ray.exceptions.RayError):  # the actor begins again where its worker died
            if self.answer is not None:
                self.silence.take(ray.get(self.answer), names, now - self.taken)
        self.answer, self.taken, self.waited, self.waited_s = self.actor.tell.remote(names), now, now, 0.0
        ended = {name: self.end(name) for name in self.silence.list_silent(names, self.timeout_s)}
        return ended | self.end_unheard(names)

    def tell(self, names: Collection[Any]) -> dict[Any, str]:
        """What each of these trainings is at, in words."""
        return {name: str(beat) for name, beat in self.silence.last.items() if name in names}

    def end(self, name: Any) -> str:
        """End the process of a training. Returns why, in words."""
        beat = self.silence.last[name]
        self.silence.begin(name)
        there = NodeAffinitySchedulingStrategy(beat.node, soft=False)
        ray.remote(num_cpus=0, max_retries=0)(end_process).options(scheduling_strategy=there).remote(beat.pid)
        return f"no step for {self.timeout_s:g} seconds: in {beat}"

    def end_unheard(self, names: Collection[Any]) -> dict[Any, str]:
        """End the processes of trainings that never told anything. Gives why, by name.

        Nobody has said which they are: all that do this job, but for those that are heard.
        """
        timeout_s = max(STEPLESS * self.timeout_s, START_S)
        unheard = self.silence.list_unheard(names, timeout_s)
        if unheard:
            self.end_job(self.job, [beat.pid for name, beat in self.silence.last.items() if name in names])
        for name in unheard:
            self.silence.begin(name)
        return dict.fromkeys(unheard, f"its process said nothing for {timeout_s:g} seconds")

    def end_job(self, job: str, heard: list[int]) -> None:
        """Have every node end the processes that do a job, but for those that are heard."""
        for node in ray.nodes():
            if node["Alive"]:
                there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
                remote = ray.remote(num_cpus=0, max_retries=0)(end_processes).options(scheduling_strategy=there)
                remote.remote(job, heard)

    def close(self, *, is_dead: bool) -> None:
        """End the actor. is_dead: Ray is; a process that was stopped has not seen it, and is ended."""
        if not is_dead:
            ray.kill(self.actor)
            return
        for beat in self.silence.last.values():
            if beat.node == self.node:
                end_process(beat.pid)


def is_leaving() -> bool:
    """Whether Ray was told that this node is about to be taken away: `ray start --block` got a SIGTERM, for instance.

    Of Ray, `GcsClient.get_draining_nodes`: there is no public way to it.
    """
    with suppress(Exception):  # a head that does not answer: the next beat asks again
        draining = worker.global_worker.gcs_client.get_draining_nodes(timeout=ASK_S)
        return ray.get_runtime_context().get_node_id() in draining
    return False


def end_process(pid: int) -> None:
    """End a process of this node, a stopped one too; it may have ended meanwhile."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def name_collector() -> str:
    """A name for an actor, that no other has."""
    return f"beats_{uuid.uuid4().hex}"


def name_job(name: str, collector: str) -> str:
    """A name for what Ray is to do, by which the processes that do it are found: Ray makes it their title."""
    return f"{name}_{collector}"


def end_processes(job: str, heard: Collection[int]) -> None:
    """End the processes of this node that do a job, and the stopped ones that wait for any.

    Only those of the raylet that started this process: another Ray on the machine is none of our business.

    Args:
        job: see `name_job`.
        heard: process ids that are left alone.
    """
    raylet = os.getppid()
    for pid, (_, state, parent) in list_processes().items():
        if parent != raylet:
            continue
        with suppress(OSError):
            title = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0", 1)[0].decode(errors="replace")
            is_stuck = title.startswith(IDLE) and state in STOPPED
            if (title.startswith(f"{OF_RAY}{job}") or is_stuck) and pid not in heard:
                end_process(pid)
