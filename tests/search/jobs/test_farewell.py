"""What is said for a command that ends while it joins Ray."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from search.jobs.farewell import WORDS

PROGRAM = """
import os, signal
from search.jobs.farewell import leave_a_witness
with leave_a_witness():
    {inside}
{after}
"""


def run(inside: str, after: str = "") -> tuple[int, str]:
    """(exit status, what is told on stderr, also after the end) of a process."""
    reading, writing = os.pipe()
    program = PROGRAM.format(inside=inside, after=after)
    with subprocess.Popen([sys.executable, "-c", program], stderr=writing) as process:
        os.close(writing)
    with open(reading, encoding="utf-8") as told:
        return process.returncode, told.read()


@pytest.mark.parametrize(
    ("inside", "status"), [("os._exit(1)", 1), ("os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL)]
)
def test_how_to_go_on_is_said_where_nothing_else_can(inside: str, status: int) -> None:
    assert run(inside) == (status, f"{WORDS}\n")


@pytest.mark.parametrize("after", ["", "os._exit(1)", "os.kill(os.getpid(), signal.SIGKILL)"])
def test_who_lives_on_speaks_for_itself(after: str) -> None:
    _, told = run("pass", after)
    assert told == ""


def test_an_error_speaks_for_itself() -> None:
    _, told = run("raise SystemExit('error: no room; make some')")
    assert told == "error: no room; make some\n"


def test_a_witness_that_is_ended_changes_nothing() -> None:
    ended = "import subprocess; subprocess.run(['pkill', '-KILL', '-P', str(os.getpid())])"
    assert run(ended, "print('on', file=__import__('sys').stderr)") == (0, "on\n")


def test_without_a_shell_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert run("os._exit(1)") == (1, "")
