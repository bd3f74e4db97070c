"""Which clusters may be used: those that ask for a token, or that nobody else reaches, with our libraries."""

import importlib.metadata

import pytest

from fashion_core.errors import SearchError
from search.jobs import nodes
from search.jobs.nodes import (
    ALIKE,
    check_answers,
    check_closed,
    check_libraries,
    check_shared,
    lets_strangers_in,
    list_unseen,
    tell_libraries,
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
