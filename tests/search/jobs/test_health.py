"""Whether Ray's servers are alive, by what the system says of processes. Deaths under a search: `tests/system`."""

import os
import signal
import subprocess
import sys
import time

import pytest

from search.jobs import health
from search.jobs.health import (
    ANSWER_S,
    AWAKE_S,
    Health,
    end_what_is_left,
    find_servers,
    is_headless,
    read_state,
    split_stat,
)


def test_a_name_may_have_anything_in_it():
    assert split_stat("12 (a) b (c) S 7 1 2") == ("a) b (c", "S", 7)


@pytest.fixture
def child():
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as child:
        yield child
        child.kill()


def await_state(pid, states):
    for _ in range(200):
        if (found := read_state(pid)) is None or found in states:
            return found
        time.sleep(0.05)
    raise AssertionError(found)


def test_states_of_a_process(child):
    assert read_state(child.pid) in "RSD"
    child.send_signal(signal.SIGSTOP)
    assert await_state(child.pid, "Tt") == "T"
    child.kill()
    assert await_state(child.pid, "Z") == "Z"
    child.wait()
    assert read_state(child.pid) is None


@pytest.fixture
def make_health(monkeypatch):
    """Makes one of some servers. Each is closed: guards of Ray's head look while there is none."""
    made = []

    def make(servers):
        monkeypatch.setattr(health, "find_servers", lambda: servers)
        monkeypatch.setattr(Health, "probe", lambda self: None)
        monkeypatch.setattr(
            health.ray, "get_runtime_context", lambda: type("Context", (), {"get_node_id": lambda _: "n"})()
        )
        made.append(Health())
        return made[-1]

    yield make
    for each in made:
        each.close()


def test_a_dead_server_is_told_at_once(child, make_health):
    found = make_health({child.pid: "raylet"})
    assert found.look() is None
    child.kill()
    await_state(child.pid, "Z")
    assert found.look() == "Ray's raylet died"


@pytest.mark.parametrize(("name", "has_head"), [("raylet", True), ("gcs_server", False)])
def test_without_its_head_ray_cannot_be_restarted_here(name, has_head, child, make_health):
    found, servers = make_health({child.pid: name}), {child.pid: name}
    found.look()
    assert found.has_head and not is_headless(servers)
    child.kill()
    await_state(child.pid, "Z")
    found.look()
    assert (found.has_head, is_headless(servers)) == (has_head, not has_head)


def test_what_is_left_of_ray_is_ended_with_all_below_it():
    program = "import subprocess, sys; subprocess.run(['sleep', '60'])"
    with subprocess.Popen([sys.executable, "-c", program]) as parent:
        for _ in range(200):
            below = [pid for pid, (_, _, up) in health.list_processes().items() if up == parent.pid]
            if below:
                break
            time.sleep(0.05)
        end_what_is_left([parent.pid])
    assert read_state(parent.pid) is None and await_state(below[0], "ZX") in (None, "Z", "X")


def test_silence_counts_while_this_process_is_awake(make_health, monkeypatch):
    found, now = make_health({}), time.monotonic()
    monkeypatch.setattr(health.time, "monotonic", lambda: now)
    now += 3600  # it slept
    assert found.look() is None and found.unanswered_s == AWAKE_S
    for _ in range(int(ANSWER_S)):
        now += 1.0
        fault = found.look()
    assert fault == f"Ray has not answered for {ANSWER_S:g} seconds"
    found.answers += 1
    assert found.look() is None


def test_servers_are_children_of_this_process():
    assert all(name in health.SERVERS and read_state(pid) for pid, name in find_servers().items())
    assert os.getpid() not in find_servers()
