"""Folders of Ray's sessions: those that nobody uses go, no other does."""

import os
import subprocess
import sys
import time

import pytest

from search.jobs import sessions
from search.jobs.sessions import KEEP_S, MARK, open_session, remove_left

HOLD = """
import sys
from pathlib import Path
from search.jobs.sessions import open_session
temp = Path(sys.argv[1])
(temp / f"session_2026-01-01_00-00-00_000000_{__import__('os').getpid()}" / "logs").mkdir(parents=True)
session = open_session(temp)
print(session.folder, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def dead():
    """The id of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def make(temp, process, *, marked=False, age_s=0.0):
    folder = temp / f"session_2026-01-01_00-00-00_000000_{process}"
    (folder / "logs").mkdir(parents=True)
    (folder / "logs" / "raylet.out").touch()
    if marked:
        (folder / MARK).touch()
    for path in (folder / "logs" / "raylet.out", folder / "logs", folder):
        os.utime(path, (time.time() - age_s,) * 2)
    return folder


def test_what_was_killed_goes_and_what_did_not_start_stays_a_day(tmp_path, dead):
    for marked, age_s, stays in [(True, 0, False), (False, 0, True), (False, KEEP_S - 60, True), (False, 1e6, False)]:
        folder = make(tmp_path, dead, marked=marked, age_s=age_s)
        remove_left(tmp_path)
        assert folder.exists() == stays
        sessions.shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.parametrize("age_s", [0, 1e6])
@pytest.mark.parametrize("marked", [True, False])
def test_that_of_a_live_process_stays(tmp_path, marked, age_s):
    folders = [make(tmp_path, process, marked=marked, age_s=age_s) for process in (os.getpid(), 1)]
    others = [tmp_path / "session_latest", tmp_path / "session_of_mine", tmp_path / "models"]
    for path in others:
        path.mkdir()
    remove_left(tmp_path)
    assert all(path.is_dir() for path in (*folders, *others))


def test_one_whose_process_is_not_seen_here_stays_while_it_holds_it(tmp_path, monkeypatch):
    """As in another container that shares the folder; after a kill it goes."""
    monkeypatch.setattr(sessions, "is_alive", lambda process: False)
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    folder = tmp_path / os.path.basename(process.stdout.readline().strip())
    remove_left(tmp_path)
    assert (folder / MARK).is_file()
    process.kill()
    process.wait()
    remove_left(tmp_path)
    assert not folder.exists()


def test_the_newest_of_this_process_is_its_own(tmp_path):
    assert open_session(tmp_path) is None
    old = make(tmp_path, os.getpid())
    new = tmp_path / f"session_2026-01-02_00-00-00_000000_{os.getpid()}"
    new.mkdir()
    session = open_session(tmp_path)
    assert session.folder == new
    session.remove()
    assert not new.exists() and old.exists()
    session = open_session(tmp_path)
    session.keep_logs()
    assert old.is_dir() and not (old / MARK).exists()
