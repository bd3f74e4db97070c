"""One process at a time works on a search; whoever reads it takes no lock, and none that is held stops it."""

import io
import os
import re
import signal
import subprocess
import sys
import threading
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
from made_search import make_search

from fashion_core.errors import SearchError
from search.commands.app import main
from search.experiment.result import load_search
from search.records import locks
from search.records.layout import SearchLayout, unique_name
from search.records.locks import DELETE, PROMOTE, RUN, find_holder, hold_search, is_busy, is_running, list_busy

HOLD = """
import sys, time
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from search.records.layout import SearchLayout
from search.records.locks import hold_search
with hold_search(SearchLayout(Path(sys.argv[1]), "mine"), sys.argv[2]):
    print("held", flush=True)
    sys.stdin.read()
"""
RUN_COMMAND = ("run", "--data", "no_data", "--space", "demo", "--name", "mine")
DEEDS = {
    "run": RUN_COMMAND,
    "replace": (*RUN_COMMAND, "--replace"),
    "resume": ("run", "--resume", "mine"),
    "promote": ("promote", "mine"),
    "delete": ("delete", "mine", "--yes"),
}


@pytest.fixture
def layout(tmp_path):
    return SearchLayout(tmp_path / "results", "mine")


def start_holder(layout, does):
    """Another process that holds the search."""
    command = [sys.executable, "-c", HOLD, str(layout.results), does]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    return process


def list_files(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_one_holds_it_and_the_other_is_told_who(layout, monkeypatch):
    monkeypatch.setattr(locks, "TRIES", 2)
    with hold_search(layout, PROMOTE):
        holder = find_holder(layout)
        assert (holder.pid, holder.does) == (os.getpid(), PROMOTE)
        assert is_busy(layout) and not is_running(layout) and list_busy(layout.results) == ["mine"]
        told = rf"at a time, but process {os.getpid()} on \S+ promotes it since \d+-\d+-\d+ \d+:\d+; wait for it"
        with pytest.raises(SearchError, match=told), hold_search(layout, RUN):
            pass
        with hold_search(SearchLayout(layout.results, "other"), RUN):  # which is nobody's yet
            assert list_busy(layout.results) == ["mine", "other"]
    assert not is_busy(layout) and find_holder(layout) is None and list_busy(layout.results) == []
    assert not layout.lock.exists() and not layout.folder.exists()
    with hold_search(layout, RUN):
        assert is_running(layout)


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff", b'{"does": 1}', b"[" * 5000])
def test_a_holder_that_does_not_say_who_it_is(layout, monkeypatch, content):
    monkeypatch.setattr(locks, "TRIES", 2)
    with hold_search(layout, RUN):
        layout.lock.write_bytes(content)
        assert is_busy(layout) and find_holder(layout) is None
        with pytest.raises(SearchError, match="but another works on mine"), hold_search(layout, RUN):
            pass


@pytest.mark.slow
def test_what_a_killed_process_held_is_free_at_once(layout):
    process = start_holder(layout, RUN)
    assert is_running(layout) and find_holder(layout).pid == process.pid
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert layout.lock.exists() and not is_busy(layout) and not is_running(layout)
    with hold_search(layout, DELETE):
        assert find_holder(layout).does == DELETE


def test_a_lock_that_its_holder_removes_is_not_taken_for_the_next_one(layout):
    """Who waits for a lock has its file open; when that is removed, a third may have made another."""
    inside, mistakes = [], []

    def work():
        for _ in range(15):
            try:
                with hold_search(layout, RUN):
                    inside.append(1)
                    if len(inside) > 1:
                        mistakes.append(len(inside))
                    inside.pop()
            except SearchError:
                pass

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not mistakes


def test_looking_stops_nobody(layout):
    """Whoever looks whether a lock is held has it for a moment: a search that begins just then begins all the same."""
    over = threading.Event()

    def look():
        while not over.is_set():
            is_busy(layout)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        for _ in range(50):
            with hold_search(layout, RUN):
                pass
    finally:
        over.set()
        thread.join()


def test_a_search_that_has_no_name_yet_takes_one_that_nobody_has(layout):
    name = unique_name(layout.results, "demo", 0.0)
    with hold_search(SearchLayout(layout.results, name), RUN):
        assert unique_name(layout.results, "demo", 0.0) == f"{name}-2"


def test_results_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(SearchError, match="one to write into"), hold_search(SearchLayout(tmp_path / "file", "a"), RUN):
        pass


def call(arguments, results):
    """A command in this process, beside that which holds the lock: its exit status, and what it said."""
    output, errors = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(output), redirect_stderr(errors):
        patch.chdir(results.parent)
        with pytest.raises(SystemExit) as ended:
            main([*arguments, "--results", str(results)])
    return int(ended.value.code or 0), errors.getvalue()


@pytest.mark.slow
@pytest.mark.parametrize("second", sorted(DEEDS))
def test_of_two_commands_at_once_one_says_so_and_touches_nothing(layout, second):
    make_search(layout.results, "mine")
    before = list_files(layout.folder)
    process = start_holder(layout, RUN)
    try:
        status, told = call(DEEDS[second], layout.results)
    finally:
        process.communicate()
    assert status == 2, told
    assert re.fullmatch(rf"error: one process works .* process {process.pid} on .* runs it since .*\n", told), told
    assert list_files(layout.folder) == before


@pytest.mark.slow
def test_readers_need_no_lock(layout):
    make_search(layout.results, "mine")
    process = start_holder(layout, RUN)
    try:
        for arguments in (("show", "mine"), ("report", "mine"), ("list",)):
            status, told = call(arguments, layout.results)
            assert status == 0, told
        assert load_search("mine", layout.results).name == "mine"
    finally:
        process.communicate()
    assert sorted(path.name for path in layout.results.iterdir() if path.is_dir()) == ["mine"]
    assert Path(layout.lock).exists() is False
