"""A dead head of Ray raises an exception where nobody else looks at it, and none where somebody does."""

import subprocess
import sys
import threading
import time

import pytest

from fashion_core.errors import RayLostError
from search.jobs import guard
from search.jobs.cluster import Users
from search.jobs.guard import HeadGuard
from search.jobs.health import Health


@pytest.fixture
def head(monkeypatch):
    """A process in the place of Ray's head."""
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as process:
        monkeypatch.setattr(Users, "servers", {process.pid: "gcs_server"})
        monkeypatch.setattr(guard, "LOOK_S", 0.01)
        monkeypatch.setattr(guard, "lose_ray", lambda: None)
        yield process
        process.kill()


@pytest.mark.parametrize("name", ["", "mine"])
def test_work_in_the_main_thread_is_left(name, head):
    handler = guard.signal.getsignal(guard.SIGNAL)
    with (
        pytest.raises(RayLostError, match="Ray's gcs_server died, and only") as lost,
        HeadGuard() as made,
    ):
        time.sleep(0.1)
        made.name = name
        head.kill()
        time.sleep(30)
    assert lost.value.name == name and (f"--resume {name}" in str(lost.value)) == bool(name)
    assert guard.signal.getsignal(guard.SIGNAL) is handler


def test_one_that_swallows_it_is_told_again(head):
    swallowed = 0
    with HeadGuard() as made:
        head.kill()
        while swallowed < 3:
            try:
                time.sleep(30)
            except guard.HeadDied:
                swallowed += 1
        made.close()
        time.sleep(0.1)


def test_nothing_is_raised_while_somebody_looks_or_in_another_thread(head, monkeypatch):
    monkeypatch.setattr(Health, "count", 1)
    with HeadGuard():
        head.kill()
        time.sleep(0.2)
        monkeypatch.setattr(guard, "LOOK_S", 30.0)

    def enter():
        with HeadGuard():
            time.sleep(0.2)

    monkeypatch.setattr(Health, "count", 0)
    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()


def test_where_the_main_thread_waits_in_other_code_the_command_begins_again_without_it(head, monkeypatch):
    begun, ended = [], []
    monkeypatch.setattr(guard, "PATIENCE_S", 0.05)
    monkeypatch.setattr(guard, "end_what_is_left", ended.append)
    with HeadGuard("mine", begun.append):
        guard.signal.signal(guard.SIGNAL, lambda *_: None)
        head.kill()
        time.sleep(0.5)
    assert begun[0].name == "mine" and ended[0] == Users.servers


def test_an_error_of_re_runs_gets_the_name(head):
    with pytest.raises(RayLostError) as lost, HeadGuard("mine"):
        raise RayLostError("Ray's raylet died", "", "go on")
    assert lost.value.name == "mine"
