"""Whether the Ray under this process is alive, asked without waiting for it.

A dead raylet is not told to Tune, and Ray itself takes 15 seconds to see it; a dead head is seen by nobody for a
minute, after which Ray ends the process that uses it. So the two servers that Ray starts below this process are looked
at themselves, where the system shows them (`/proc`); and a thread asks Ray for its nodes, which a head that hangs, or
one on another machine, leaves without an answer.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import ray

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

HEAD = "gcs_server"
SERVERS = (HEAD, "raylet")  # Ray's head, and its node here
PROBE_S = 2.0
ANSWER_S = 20.0  # how long Ray may leave a question open
AWAKE_S = 5.0  # of a longer gap between two looks, this process slept the rest, and Ray may have too
DEAD, STOPPED = "ZX", "Tt"  # states of a process, as `/proc` has them


class Health:
    """Whether Ray is alive: `look` says so at once.

    Args:
        servers: of Ray, that this process started, by process id; None: those that live now.

    Attributes:
        count: how many look now.
        has_head: whether Ray's head was there at the last look: without it, nothing in Ray ends in order.
    """

    count = 0

    def __init__(self, servers: Mapping[int, str] | None = None) -> None:
        Health.count += 1
        self.servers = dict(servers or find_servers())
        self.node = ray.get_runtime_context().get_node_id()
        self.answers = self.seen = 0
        self.is_gone = False  # Ray says itself that the node here is
        self.has_head = True  # as far as is known
        self.unanswered_s, self.looked = 0.0, time.monotonic()
        self.stopped = threading.Event()
        threading.Thread(target=self.probe, name="ray-health", daemon=True).start()

    def probe(self) -> None:
        """Ask Ray for its nodes, again and again."""
        while not self.stopped.wait(PROBE_S):
            try:
                nodes = ray.nodes()
            except Exception:  # no answer: `look` counts for how long
                continue
            if self.stopped.is_set():  # by now it may be another Ray's answer
                return
            self.is_gone = not any(node["Alive"] and node["NodeID"] == self.node for node in nodes)
            self.answers += 1

    def look(self) -> str | None:
        """What is wrong with Ray, in words; None where it lives."""
        now = time.monotonic()
        passed, self.looked = min(now - self.looked, AWAKE_S), now
        states = {pid: read_state(pid) for pid in self.servers}
        dead = sorted(self.servers[pid] for pid, state in states.items() if state is None or state in DEAD)
        self.has_head = HEAD not in dead
        if dead:
            return f"Ray's {dead[0]} died"
        if self.is_gone:
            return "Ray lost the node that the search runs on"
        if self.answers != self.seen and not any(state in STOPPED for state in states.values() if state):
            self.seen, self.unanswered_s = self.answers, 0.0
        else:
            self.unanswered_s += passed
        self.has_head = self.unanswered_s <= ANSWER_S
        return None if self.has_head else f"Ray has not answered for {ANSWER_S:g} seconds"

    def look_closely(self) -> str | None:
        """The same, once an answer came to a question that was put from now on: after an error that may come of it."""
        before = self.answers
        while (fault := self.look()) is None and self.answers <= before + 1:
            time.sleep(0.1)
        return fault

    def close(self) -> None:
        """Ask no more."""
        if not self.stopped.is_set():
            self.stopped.set()
            Health.count -= 1


def find_servers() -> dict[int, str]:
    """Names of Ray's servers that this process started, by process id. None where there is no `/proc`."""
    return {
        pid: name
        for pid, (name, state, parent) in list_processes().items()
        if parent == os.getpid() and name in SERVERS and state not in DEAD
    }


def list_processes() -> dict[int, tuple[str, str, int]]:
    """Name, state and parent of every process of the system, by its id."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            found[int(path.parent.name)] = split_stat(path.read_text())
    return found


def is_headless(servers: Mapping[int, str]) -> bool:
    """Whether Ray's head is among these, and dead. servers: names by process id."""
    return any(name == HEAD and (read_state(pid) or "Z") in DEAD for pid, name in servers.items())


def read_state(pid: int) -> str | None:
    """State of a process, a letter; None where there is none."""
    try:
        return split_stat(Path(f"/proc/{pid}/stat").read_text())[1]
    except OSError:
        return None


def split_stat(text: str) -> tuple[str, str, int]:
    """Name, state and parent of a process. text: of `/proc/PID/stat`: `pid (name) state parent ...`."""
    name, rest = text.split("(", 1)[1].rsplit(")", 1)
    state, parent = rest.split()[:2]
    return name, state, int(parent)


def end_what_is_left(servers: Collection[int]) -> None:
    """End all processes of Ray below this one, and all below them: Ray itself cannot any more.

    Args:
        servers: those that this process started with Ray, by process id, whether dead or not.
    """
    parents = {pid: parent for pid, (_, _, parent) in list_processes().items()}
    ended = set(servers)
    while below := {pid for pid, parent in parents.items() if parent in ended} - ended:
        ended |= below
    for pid in ended:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    for pid in servers:
        with suppress(ChildProcessError):
            os.waitpid(pid, 0)


def end_stopped_servers() -> None:
    """End those of Ray's servers that were stopped: waiting for them would never end."""
    for pid in find_servers():
        if (read_state(pid) or "") in STOPPED:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
