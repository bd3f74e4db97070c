"""A command that begins again in its own place: with which words, and how often."""

import os

import pytest

from fashion_core.errors import RayLostError
from search.commands import again
from search.commands.again import MAX_TIMES, TIMES, begin_again, can_begin_again, find_way_on

GIVEN = ["--data", "d", "--space", "s", "--tracking-uri", "http://host", "--results=r", "--trials", "3"]


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (["run", *GIVEN], "run --resume one --tracking-uri http://host --results=r"),
        (["run", "--resume", "one", "--allow-changed", "code"], "run --resume one --allow-changed code"),
        (["extend", "one", "--trials", "5", "--results", "r"], "run --resume one --results r"),
        (["run", "--name", "one", "--replace"], "run --resume one"),
        (["promote", "one", "--replace", "--top", "2"], "promote one --top 2"),
        (["finish-stopped", "one", "--trials", "2"], "finish-stopped one --trials 2"),
    ],
)
def test_the_words_of_the_command_that_goes_on(given, wanted):
    assert find_way_on(given, "one") == wanted.split()
    assert find_way_on(given, "") == given  # nothing has begun


def test_a_command_begins_again_a_few_times(monkeypatch, capsys):
    started = []
    monkeypatch.setattr(again.os, "execv", lambda program, words: started.append(words))
    monkeypatch.delenv(TIMES, raising=False)
    monkeypatch.setattr(again.Command, "arguments", ["promote", "one"])
    for _ in range(MAX_TIMES):
        assert can_begin_again()
        begin_again(RayLostError("Ray's gcs_server died", "one", "go on"))
    assert not can_begin_again()
    assert {tuple(words[-2:]) for words in started} == {("promote", "one")} and len(started) == MAX_TIMES
    assert capsys.readouterr().err.splitlines()[0] == (
        "note: Ray's gcs_server died; the command begins again, and goes on"
    )
    del os.environ[TIMES]
