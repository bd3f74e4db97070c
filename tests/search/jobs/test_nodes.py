"""Which clusters may be used: those that ask for a token, or that nobody else reaches, with our libraries."""

import importlib.metadata
import pickle
import subprocess
import sys
from types import SimpleNamespace

import pytest
import ray

from fashion_core.errors import SearchError
from search.jobs import nodes
from search.jobs.nodes import (
    ALIKE,
    check_answers,
    check_closed,
    check_libraries,
    check_shared,
    describe_lack,
    find_unloaded,
    leave_out,
    lets_strangers_in,
    list_unseen,
    run_if_fit,
    tell_libraries,
    tell_none_left,
)
from search.planning.resources import Node


@pytest.mark.parametrize("head, addresses", [("127.0.0.1:1", ["127.0.0.1"]), ("[::1]:1", ["127.0.0.2", "localhost"])])
def test_a_cluster_that_nobody_else_reaches_is_not_asked(head, addresses, monkeypatch):
    monkeypatch.setattr(nodes, "lets_strangers_in", lambda _: pytest.fail("it was asked"))
    check_closed(head, addresses)


@pytest.mark.parametrize(
    "head, addresses", [("10.0.0.1:6379", ["10.0.0.1"]), ("127.0.0.1:6379", ["127.0.0.1", "10.0.0.2"]), ("head:1", [])]
)
def test_a_cluster_that_asks_for_no_token_is_refused(head, addresses, monkeypatch):
    monkeypatch.setattr(nodes, "lets_strangers_in", lambda _: True)
    with pytest.raises(SearchError) as caught:
        check_closed(head, addresses)
    words = str(caught.value)
    assert head in words and "RAY_AUTH_MODE=token" in words and "--allow-open-cluster" in words and "\n" not in words
    monkeypatch.setattr(nodes, "lets_strangers_in", lambda _: False)
    check_closed(head, addresses)


def test_who_joined_without_a_token_needs_not_ask(monkeypatch):
    for mode in ("disabled", None):
        if mode is None:
            monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
        else:
            monkeypatch.setenv("RAY_AUTH_MODE", mode)
        assert lets_strangers_in("10.0.0.1:6379")


def test_a_head_that_sends_a_stranger_away_lets_none_in(monkeypatch):
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setattr(nodes, "ASK", "import sys; sys.exit({refused})")
    assert not lets_strangers_in("10.0.0.1:6379")
    monkeypatch.setattr(nodes, "ASK", "import os; assert os.environ['RAY_AUTH_MODE'] == 'disabled'")
    assert lets_strangers_in("10.0.0.1:6379")


@pytest.mark.parametrize("ask", ["import sys; sys.exit(1)", "import time; time.sleep(60)"])
def test_a_head_that_neither_answers_nor_refuses_is_not_taken_for_closed(ask, monkeypatch):
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setattr(nodes, "ASK", ask)
    monkeypatch.setattr(nodes, "ANSWER_S", 0.2 if "sleep" in ask else 60)
    with pytest.raises(SearchError, match=r"10\.0\.0\.1:6379 did not say .* whether it does; .*--allow-open-cluster"):
        lets_strangers_in("10.0.0.1:6379")


def test_a_node_with_other_libraries_is_told():
    own = tell_libraries()
    assert own["torch"] == importlib.metadata.version("torch").partition("+")[0] and set(ALIKE) < set(own)
    check_libraries({"10.0.0.1": own, "10.0.0.2": dict(own)})
    with pytest.raises(SearchError) as caught:
        check_libraries({"10.0.0.1": own, "10.0.0.2": own | {"timm": "0.9", "optuna": "not installed"}})
    words = str(caught.value)
    assert f"10.0.0.2 has timm 0.9 (here: {own['timm']}), optuna not installed" in words and "10.0.0.1" not in words
    with pytest.raises(SearchError, match=r"10\.0\.0\.1 has .*torch \S+ \(here: 9\)"):
        check_libraries({"10.0.0.1": own}, own | {"torch": "9"})


def test_a_node_that_does_not_answer_is_told_by_name():
    asked = [Node(f"10.0.0.{number}", 1, 0, str(number)) for number in range(4)]
    check_answers(asked, {"10.0.0.0", "10.0.0.1", "10.0.0.2"}, {"0", "1", "2"})  # the last one is gone
    with pytest.raises(SearchError, match=r"but 10\.0\.0\.2, 10\.0\.0\.3 did not in 120 s; "):
        check_answers(asked, {"10.0.0.0", "10.0.0.1"}, {"0", "1", "2", "3"})


def test_a_node_that_does_not_see_the_folder_is_told(monkeypatch, tmp_path):
    """Nodes that are asked in this process: one on the same disk, one that has nothing of it, one that lacks a file."""
    asked = [Node(f"10.0.0.{number}", 1, 0, str(number)) for number in range(3)]
    monkeypatch.setattr(nodes, "list_nodes", lambda: asked[: len(answers)])
    monkeypatch.setattr(nodes, "ask_nodes", lambda _, do, paths: {at: see(do, paths) for at, see in answers.items()})
    (tmp_path / "images").touch()
    answers = {"10.0.0.0": lambda do, paths: do(paths)}
    check_shared(tmp_path / "mine", [tmp_path / "images"])
    answers["10.0.0.1"] = lambda do, paths: list(paths)
    with pytest.raises(SearchError, match=r"10\.0\.0\.1 does not see \S+/mine; start in a shared folder, "):
        check_shared(tmp_path / "mine", [tmp_path / "images"])
    answers["10.0.0.1"] = lambda do, paths: do([*paths[:-1], tmp_path / "gone"])
    with pytest.raises(SearchError, match=r"10\.0\.0\.1 does not see \S+/gone; "):
        check_shared(tmp_path / "mine", [tmp_path / "images"])
    assert list((tmp_path / "mine").iterdir()) == [] and list_unseen([tmp_path, tmp_path / "no"]) == [tmp_path / "no"]


def test_of_libraries_what_nodes_are_asked_takes_ray_alone():
    """A node that lacks any other one can say so."""
    lacking = ("pydantic", "typer", "rich", "numpy", "torch", "timm", "optuna", "yaml")
    code = f"import sys, ray; sys.modules |= dict.fromkeys({lacking}); from search.jobs import nodes; "
    done = subprocess.run(
        [sys.executable, "-c", f"{code} print(nodes.tell_libraries()['torch'])"], capture_output=True, text=True
    )
    assert done.stdout.strip() == tell_libraries()["torch"], done.stderr


@pytest.fixture
def node(monkeypatch):
    """This process as a worker of a node: asked outside one, Ray would start."""
    monkeypatch.setattr(ray, "get_runtime_context", lambda: SimpleNamespace(get_node_id=lambda: "a1"))
    monkeypatch.setattr(ray.util, "get_node_ip_address", lambda: "10.0.0.9")


def test_what_is_to_run_runs_where_the_libraries_are_alike(node, tmp_path):
    packed = ray.cloudpickle.dumps((lambda *given: iter(given), (1, 2)))
    assert list(run_if_fit(tell_libraries(), [tmp_path], packed)) == [1, 2]
    assert list(run_if_fit(None, [tmp_path / "gone"], packed)) == [1, 2]
    (told,) = run_if_fit(tell_libraries() | {"timm": "0.1"}, [], packed)
    assert told["node"] == "a1" and told["misfit"].startswith("10.0.0.9 is not used: it has timm ")
    (told,) = run_if_fit(tell_libraries(), [tmp_path, tmp_path / "gone"], packed)
    assert told["node"] == "a1" and f"it does not see {tmp_path / 'gone'}; share it" in told["misfit"]


def test_what_is_to_run_does_not_where_it_cannot_be_loaded(node):
    packed = b"cnot_there_at_all\nrun\n."  # a pickle of what another library has
    (told,) = run_if_fit(tell_libraries(), [], packed)
    assert told["misfit"] == (
        "10.0.0.9 is not used: it lacks not_there_at_all; install the same versions there, and start Ray there again"
    )
    with pytest.raises(ModuleNotFoundError):  # nowhere else to go
        list(run_if_fit(None, [], packed))
    with pytest.raises(pickle.UnpicklingError):
        list(run_if_fit(None, [], b"?"))


@pytest.mark.parametrize(
    "error, words",
    [
        ("ModuleNotFoundError: No module named 'timm'", "lacks timm"),
        (
            "trace\nModuleNotFoundError: No module named 'timm.layers'; 'timm' is not a package\n",
            "cannot load what trainings need (ModuleNotFoundError: No module named 'timm.layers'; 'timm' is not a "
            "package)",
        ),
        (
            "RuntimeError: it failed\n\n  File 1\nOSError: libcudart.so.13: no such file\n",
            "cannot load what trainings need (OSError: libcudart.so.13: no such file)",
        ),
        ("", "cannot load what trainings need (no reason known)"),
    ],
)
def test_what_a_node_lacks_is_told_from_what_it_met(error, words):
    assert describe_lack(error) == words


def test_a_node_whose_process_could_not_load_its_work_is_found_by_the_actor(monkeypatch):
    """Ray's words, as it has them of an actor whose class cannot be loaded."""
    known = {"ab12": {"Address": {"NodeID": "n1", "IPAddress": "10.0.0.2"}}}
    monkeypatch.setattr(nodes.state, "actors", lambda actor: known.get(actor, {}))
    death = (
        "The actor died because of an error raised in its creation task, ray::A.__init__() (pid=1, ip=10.0.0.2, "
        "actor_id={}, repr=<A>)\nRuntimeError: The actor with name A failed to import on the worker. This may be "
        "because needed library dependencies are not installed in the worker environment:\n\n"
        "ModuleNotFoundError: No module named 'torch'\n"
    )
    found = find_unloaded(death.format("ab12"))
    assert found is not None and found[0] == "n1" and found[1].startswith("10.0.0.2 is not used: it lacks torch; ")
    assert find_unloaded(death.format("cd34")) is None  # Ray has forgotten it
    assert find_unloaded(death.format("ab12").replace("failed to import", "failed")) is None
    assert find_unloaded("The actor failed to import on the worker") is None


def test_that_no_node_is_left_is_told(monkeypatch):
    monkeypatch.setattr(
        nodes, "list_nodes", lambda: [Node(f"10.0.0.{number}", 1, 0, f"n{number}") for number in (1, 2)]
    )
    assert tell_none_left({"n1"}) is None and tell_none_left(set()) is None
    told = tell_none_left({"n2", "n1", "gone"})
    assert told is not None and told.startswith("no node is left")
    assert leave_out(set()) == {} and leave_out({"n2", "n1"}) == {"ray.io/node-id": "!in(n1,n2)"}
