"""Ray of this process: how many searches use it, who ends it, and what is told where it does not start."""

import logging
import os
import signal
import stat
import tempfile
import threading
from contextlib import nullcontext
from pathlib import Path

import pytest
import ray

from fashion_core.errors import SearchError
from search.jobs import cluster
from search.jobs.cluster import (
    MAX_TEMP,
    OF_WORKERS,
    SAID,
    SETTINGS,
    Users,
    describe_remedy,
    find_temp_folder,
    look_at_cluster,
    open_ray,
    use_ray,
)
from search.planning.resources import Machine, detect_machine


class RayState:
    """Ray as this process sees it, but with nothing started: whether it runs, and how often it was."""

    def __init__(self):
        self.runs, self.starts, self.ends, self.options = False, 0, 0, None

    def init(self, **options):
        assert not self.runs
        self.runs, self.starts, self.options = True, self.starts + 1, options

    def shutdown(self):
        self.runs, self.ends = False, self.ends + 1


@pytest.fixture
def state(monkeypatch):
    """Starting Ray itself takes seconds: whole searches do that, in tests/system."""
    state = RayState()
    monkeypatch.setattr(ray, "init", state.init)
    monkeypatch.setattr(ray, "shutdown", state.shutdown)
    monkeypatch.setattr(ray, "is_initialized", lambda: state.runs)
    monkeypatch.setattr(os, "environ", os.environ.copy())
    levels = {name: logging.getLogger(name).level for name in ("ray", "ray.train", "ray.tune")}
    yield state
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)
    assert (Users.count, Users.is_ours) == (0, False)


def test_the_last_user_ends_what_the_first_began(state):
    with use_ray(Machine(3, 1)):
        with use_ray(Machine(9, 0)):
            assert (state.starts, state.ends) == (1, 0)
        assert state.runs
    assert not state.runs and (state.starts, state.ends) == (1, 1)
    assert (state.options["num_cpus"], state.options["num_gpus"], state.options["address"]) == (3, 1, "local")
    with use_ray(Machine(1, 0)):
        assert state.runs and state.starts == 2  # it can begin anew


def test_it_does_not_matter_who_leaves_first(state):
    first, second = use_ray(Machine(1, 0)), use_ray(Machine(1, 0))
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert state.runs
    second.__exit__(None, None, None)
    assert not state.runs


def test_searches_at_once_start_it_once(state):
    entered, leave = threading.Barrier(5), threading.Event()

    def search():
        with use_ray(Machine(1, 0)):
            entered.wait(timeout=60)
            leave.wait(timeout=60)

    threads = [threading.Thread(target=search) for _ in range(4)]
    for thread in threads:
        thread.start()
    entered.wait(timeout=60)
    assert (state.starts, state.ends, Users.count) == (1, 0, 4)
    leave.set()
    for thread in threads:
        thread.join()
    assert (state.starts, state.ends) == (1, 1)


def test_a_ray_of_someone_else_goes_on(state):
    ray.init(num_cpus=1)
    with use_ray(Machine(1, 0)):
        pass
    assert state.runs and (state.starts, state.ends) == (1, 0)


def test_a_search_that_fails_leaves_it_too(state):
    with pytest.raises(ZeroDivisionError), use_ray(Machine(1, 0)):
        raise ZeroDivisionError
    assert not state.runs


def test_signals_are_handled_as_before(state, monkeypatch):
    def stop(*_):
        raise AssertionError("not sent")

    def init(**options):
        state.init(**options)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # as Ray does, in its own way

    monkeypatch.setattr(ray, "init", init)
    before = signal.signal(signal.SIGTERM, stop)
    try:
        with use_ray(Machine(1, 0)):
            assert signal.getsignal(signal.SIGTERM) is stop
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize(
    "error, remedy",
    [
        (OSError("AF_UNIX path length cannot exceed 107 bytes: /very/long"), "set TMPDIR to a short path"),
        (TimeoutError("The current node timed out during startup"), "too busy"),
        (PermissionError("[Errno 13] Permission denied: '/root'"), "HOME and TMPDIR can be written"),
        (FileNotFoundError("[Errno 2] No such file"), "HOME and TMPDIR can be written"),
        (ValueError("what it was"), "has room and can be written"),
    ],
)
def test_what_helps_is_told_where_it_does_not_start(error, remedy, state, monkeypatch):
    def init(**_):
        state.runs = True  # half begun
        raise error

    monkeypatch.setattr(ray, "init", init)
    assert remedy in describe_remedy(error)
    with (
        pytest.raises(SearchError, match="Ray must start on this machine, but does not") as caught,
        use_ray(Machine(1, 0)),
    ):
        raise AssertionError("it did not start")
    assert remedy in str(caught.value) and type(error).__name__ in str(caught.value)
    assert not state.runs and caught.value.__cause__ is error


@pytest.mark.parametrize(("busy", "starts"), [(0, 1), (1, 2), (3, 4), (9, 4)])
def test_it_is_started_again_where_the_machine_was_too_busy(busy, starts, state, monkeypatch):
    tried = []

    def init(**options):
        tried.append(options)
        if len(tried) <= busy:
            raise Exception("The current node timed out during startup.")
        state.init(**options)

    monkeypatch.setattr(ray, "init", init)
    with pytest.raises(SearchError, match="too busy") if busy == 9 else nullcontext(), use_ray(Machine(1, 0)):
        pass
    assert len(tried) == starts


def test_a_cluster_that_does_not_answer_is_told(state, monkeypatch):
    def init(**_):
        raise ConnectionError("nobody there\nand more")

    monkeypatch.setattr(ray, "init", init)
    for look in (look_at_cluster, open_ray):
        with pytest.raises(SearchError) as caught, look("10.0.0.1:6379"):
            raise AssertionError("it did not answer")
        assert "--address" in str(caught.value) and "'10.0.0.1:6379'" in str(caught.value)
        assert "ray start --head" in str(caught.value) and "and more" not in str(caught.value)


def make_node(address, **resources):
    return {"NodeManagerAddress": address, "Alive": True, "NodeID": f"id of {address}", "Resources": resources}


def test_a_cluster_is_used_as_large_as_it_is_and_gets_this_code(state, monkeypatch):
    nodes = [make_node("10.0.0.3", CPU=64.0, GPU=8.0), make_node("10.0.0.2", CPU=32.0), make_node("10.0.0.1")]
    asked = []
    monkeypatch.setattr(cluster, "check_cluster", lambda *, allow_open: asked.append(allow_open))
    monkeypatch.setattr(ray, "nodes", lambda: [*nodes, make_node("10.0.0.4", CPU=9.0) | {"Alive": False}])
    with open_ray("auto", Machine(1, 0), allow_open=True) as machine:
        assert (machine.cpus, machine.gpus) == (96, 8) and state.options["address"] == "auto"
        assert [(node.address, node.cpus) for node in machine.nodes] == [("10.0.0.2", 32), ("10.0.0.3", 64)]
    assert asked == [True]
    assert {path.rsplit("/", 1)[1] for path in state.options["runtime_env"]["py_modules"]} == {
        "fashion_core",
        "search",
        "spaces",
    }
    nodes.clear()
    with look_at_cluster("auto") as machine:
        assert machine == Machine(0, 0)
    assert (state.starts, state.ends) == (2, 2) and asked == [True, False]


def test_a_cluster_that_may_not_be_used_is_left(state, monkeypatch):
    def refuse(*, allow_open):
        raise SearchError("it asks for no token")

    monkeypatch.setattr(cluster, "check_cluster", refuse)
    with pytest.raises(SearchError, match="it asks for no token"), look_at_cluster("10.0.0.1:6379"):
        raise AssertionError("it must not be used")
    assert (state.starts, state.ends) == (1, 1)


MISMATCH = """Version mismatch: The cluster was started with:
    Ray: 2.50.0
    Python: 3.11.2
This process on node 10.0.0.1 was started with:
    Ray: 2.60.0
    Python: 3.11.9
"""


@pytest.mark.parametrize(
    "cause, words",
    [
        (
            RuntimeError(MISMATCH),
            "has Ray 2.50.0 and Python 3.11.2 (here: 2.60.0 and 3.11.9); install the same",
        ),
        (ValueError("no node info found matching attributes: ''"), "ray start --address 10.0.0.1:6379 --num-cpus 0"),
    ],
)
def test_what_helps_is_told_where_a_cluster_cannot_be_joined(cause, words, state, monkeypatch):
    def init(**_):
        if isinstance(cause, RuntimeError):
            raise cause
        raise ConnectionError("Failed to connect to Ray cluster") from cause

    monkeypatch.setattr(ray, "init", init)
    with pytest.raises(SearchError) as caught, look_at_cluster("10.0.0.1:6379"):
        raise AssertionError("it was not joined")
    assert words in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("said", [None, *SAID])
def test_threads_of_workers_wait_as_is_best_beside_others_unless_a_person_said_how(state, monkeypatch, said):
    monkeypatch.setattr(cluster, "check_cluster", lambda *, allow_open: None)
    monkeypatch.setattr(ray, "nodes", list)
    for name in SAID:
        monkeypatch.delenv(name, raising=False)
    if said is not None:
        monkeypatch.setenv(said, "7")
    wanted, seen = {} if said else OF_WORKERS, []
    monkeypatch.setattr(ray, "init", lambda **given: seen.append({name: os.environ.get(name) for name in OF_WORKERS}))
    with use_ray(Machine(1, 0)):
        assert seen == [{name: wanted.get(name, os.environ.get(name)) for name in OF_WORKERS}]
        assert (said in OF_WORKERS) == any(name in os.environ for name in OF_WORKERS)  # this process keeps its own
    monkeypatch.setattr(ray, "init", state.init)
    with look_at_cluster("auto"):
        assert state.options["runtime_env"]["env_vars"] == wanted


def test_looking_at_this_machine_starts_nothing(state):
    with look_at_cluster(None) as machine:
        assert machine == detect_machine()
    with look_at_cluster(None, Machine(3, 2)) as machine:
        assert machine == Machine(3, 2)
    assert not state.starts


def test_settings_that_a_person_made_stay(state, monkeypatch):
    for name in SETTINGS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RAY_DEDUP_LOGS", "1")
    with use_ray(Machine(1, 0)):
        assert {name: os.environ[name] for name in SETTINGS} == SETTINGS | {"RAY_DEDUP_LOGS": "1"}


def test_secrets_of_the_environment_stay_here(state, monkeypatch):
    """Ray would copy them to every worker, and into a log."""
    hidden = {"AWS_SECRET_ACCESS_KEY": "a", "MLFLOW_TRACKING_PASSWORD": "b", "GH_TOKEN": "c", "PGPASSWORD": "d"}
    hidden |= {"DATABASE_URL": "postgresql://me:secret@host/db", "MYSQL_PWD": "e", "my_api_key": "f"}
    kept = {"PWD": "/srv", "PATH": "/bin", "RAY_AUTH_TOKEN": "g", "HF_TOKEN": "h", "LANG": "C"}
    for name, value in (hidden | kept).items():
        monkeypatch.setenv(name, value)
    seen = []
    monkeypatch.setattr(ray, "init", lambda **options: (seen.append(dict(os.environ)), state.init(**options)))
    with use_ray(Machine(1, 0)):
        assert {name: os.environ[name] for name in hidden} == hidden  # this process goes on having them
    assert not hidden.keys() & seen[0].keys() and kept.items() <= seen[0].items()
    with use_ray(Machine(1, 0), "s3://bucket/ray"):
        pass
    assert seen[1]["AWS_SECRET_ACCESS_KEY"] == "a" and "PGPASSWORD" not in seen[1]
    with use_ray(Machine(1, 0), "/shared/ray"):
        pass
    assert "AWS_SECRET_ACCESS_KEY" not in seen[2]


def test_its_temp_folder_is_short_and_ours_alone(state, monkeypatch, tmp_path):
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    deep = tmp_path / ("x" * 85)
    deep.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    with use_ray(Machine(1, 0)):
        folder = Path(state.options["_temp_dir"])
    assert len(str(folder)) <= MAX_TEMP and folder.parent.stat().st_uid == os.getuid()
    assert stat.S_IMODE(folder.parent.stat().st_mode) == 0o700  # Ray opens its own to everybody
    monkeypatch.setenv("RAY_TMPDIR", "/srv/ray")  # a person's own choice stays
    with use_ray(Machine(1, 0)):
        assert "_temp_dir" not in state.options


def test_a_temp_folder_that_somebody_else_made_is_not_used(tmp_path, monkeypatch):
    monkeypatch.setattr(cluster, "MAX_TEMP", 1000)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    ours = tmp_path / f"fashion-ray-{os.getuid()}"
    assert find_temp_folder().parent == ours
    ours.rmdir()
    (tmp_path / "theirs").mkdir()
    ours.symlink_to(tmp_path / "theirs")
    assert find_temp_folder().parent != ours
    monkeypatch.setattr(cluster, "MAX_TEMP", 1)
    with pytest.raises(SearchError, match="set TMPDIR to another short path"):
        find_temp_folder()
