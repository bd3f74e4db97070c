"""Whole commands, given as a person gives them: in a process of their own, or in this one, which costs no start."""

from __future__ import annotations

import io
import os
import runpy
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest
from heard_signals import hear_signals

from search.jobs.cluster import use_ray
from search.planning.resources import detect_machine

SEARCH = Path(__file__).resolve().parents[2] / "search"
ONE_COMMAND = Path(__file__).with_name("one_command.py")
ONE_THREAD = {"OMP_NUM_THREADS": "1"}  # networks this small are slower on two


def start(folder: Path, script: str, *options: Any) -> subprocess.Popen[str]:
    """A script of `search/`, or a sub-command of the one command, in a process and a group of its own, working in the
    folder.
    """
    program = [str(SEARCH / script)] if script.endswith(".py") else [str(ONE_COMMAND), script]
    return subprocess.Popen(
        [sys.executable, *program, *map(str, options)],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | ONE_THREAD,
        start_new_session=True,
        preexec_fn=hear_signals,
    )


def call(folder: Path, script: str, *options: Any) -> subprocess.CompletedProcess[str]:
    """The same in this process; on the Ray that it uses, where it uses one."""
    arguments = [str(SEARCH / script), *map(str, options)]
    output, errors, status = io.StringIO(), io.StringIO(), 0
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(output), redirect_stderr(errors):
        patch.chdir(folder)
        patch.setattr(sys, "argv", arguments)
        patch.setattr(sys, "path", [*sys.path])
        try:
            runpy.run_path(arguments[0], run_name="__main__")
        except SystemExit as stopped:
            status = int(stopped.code or 0)
    return subprocess.CompletedProcess(arguments, status, output.getvalue(), errors.getvalue())


def tell(folder: Path, script: str, *options: Any, status: int = 0) -> str:
    """What a command prints that must end with this exit status, on one line."""
    done = call(folder, script, *options)
    output = done.stdout + done.stderr
    assert done.returncode == status, output
    return " ".join(output.split())


@contextmanager
def share_ray() -> Iterator[None]:
    """One Ray for all commands that this process calls inside."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ONE_THREAD.items():
            patch.setenv(name, value)
        with use_ray(detect_machine()):
            yield


class KeptRay:
    """One Ray for files that follow each other in this process: its start costs as much as a search."""

    opened = ExitStack()
    is_there = False

    @classmethod
    def open(cls) -> None:
        if not cls.is_there:
            cls.opened.enter_context(share_ray())
            cls.is_there = True

    @classmethod
    def close(cls) -> None:
        cls.is_there = False
        cls.opened.close()
