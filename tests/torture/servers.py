"""MLflow away: its server down from the start, or killed in the middle; its database locked, or not to be written."""

from __future__ import annotations

import random
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from bench import NAME, Bench, Tried
from disks import can_mount, mount
from free_port import find_port
from judge import REFUSED
from plans import Row
from processes import Command, Stuck, end_all, start, wait_until
from same_search import count_points
from tries import Outcome

from search.records.layout import SearchLayout
from search.records.ledger import read_events
from search.records.record import replay

CASES = (
    "down from the start",
    "killed in the middle, and back",
    "killed in the middle, never back",
    "database locked for a while",
    "database locked to the end",
    "database read-only",
)
AWAY_S = 10.0
START_S = 180.0  # of a server on a busy machine
AFTER_EVENTS = 8


def play(bench: Bench, case: str, number: int, draws: random.Random) -> Outcome:
    """The search itself is not to suffer, and what MLflow lacks is sent later."""
    twin = bench.twin
    with bench.open_try() as tried:
        if case == "database read-only":
            play_read_only(tried, twin)
        elif case.startswith("database locked"):
            play_locked(tried, twin, draws, for_a_while=case.endswith("while"))
        else:
            play_server(tried, twin, case, draws)
        return tried.outcome


def play_server(tried: Tried, twin: SearchLayout, case: str, draws: random.Random) -> None:
    """A server of its own, on a free port, with a database in the try's folder."""
    port = find_port()
    tried.given += ["--tracking-uri", f"http://127.0.0.1:{port}"]
    if case == "down from the start":
        tried.run_to_end(tried.begin(), REFUSED)
        return
    server = start_server(tried, port)
    command = tried.begin()
    wait_for_events(tried, command)
    time.sleep(draws.uniform(0, 5))
    server.signal(signal.SIGKILL, group=True)
    server.process.wait()
    tried.remember()
    if case.endswith("and back"):
        time.sleep(AWAY_S)
        start_server(tried, port)
    tried.run_to_end(command)
    judge_elsewhere(tried, twin)
    if case.endswith("never back"):
        if "resend" not in command.printed + command.told:
            tried.outcome.endings.append(f"`{command.words}`: did not say that `resend` sends what MLflow lacks")
        start_server(tried, port)
    tried.run_to_end(tried.start("resend", NAME))
    compare_points(tried, twin, tried.folder / "server.db")


def play_locked(tried: Tried, twin: SearchLayout, draws: random.Random, *, for_a_while: bool) -> None:
    """Another process holds the database's only right to write."""
    command = tried.begin()
    wait_for_events(tried, command)
    time.sleep(draws.uniform(0, 3))
    tried.remember()
    lock = sqlite3.connect(tried.layout.tracking_db, timeout=60, isolation_level=None)
    lock.execute("begin exclusive")
    if for_a_while:
        time.sleep(AWAY_S * 3)
        lock.close()
    tried.run_to_end(command)
    lock.close()
    judge_elsewhere(tried, twin)
    tried.run_to_end(tried.start("resend", NAME))
    compare_points(tried, twin, tried.layout.tracking_db)


def play_read_only(tried: Tried, twin: SearchLayout) -> None:
    """The database stands on a disk that takes nothing."""
    if not can_mount(tried.folder):
        tried.outcome.skipped = "mounting needs root"
        return
    disk = tried.folder / "disk"
    with mount(disk, 64):
        (disk / "mlflow.db").write_bytes(twin.tracking_db.read_bytes())
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        tried.given += ["--tracking-uri", f"sqlite:///{disk / 'mlflow.db'}"]
        tried.run_to_end(tried.begin(), REFUSED)
        end_all(tried.mark)


def judge_elsewhere(tried: Tried, twin: SearchLayout) -> None:
    """Compare all but MLflow's points with the twin's."""
    tried.judge(twin)
    tried.outcome.differs = [name for name in tried.outcome.differs if name not in ("points", "runs")]


def compare_points(tried: Tried, twin: SearchLayout, database: Path) -> None:
    """Compare MLflow's points in a database with the twin's."""
    one, other = (replay(read_events(layout.ledger)).search_id for layout in (tried.layout, twin))
    found, wanted = count_points(database, one), count_points(twin.tracking_db, other)
    tried.outcome.doubled = sum(count - 1 for count in found.values())
    if found.keys() != wanted.keys():
        tried.outcome.differs.append("points")


def wait_for_events(tried: Tried, command: Command) -> None:
    """Until the search has some results."""
    try:
        wait_until(lambda: len(read_events(tried.layout.ledger)) >= AFTER_EVENTS, command, tried.layout.folder)
    except Stuck as error:
        tried.end_stuck(command, error)


def start_server(tried: Tried, port: int) -> Command:
    """MLflow's server, once it answers."""
    script = tried.folder / "server.py"
    script.write_text("import sys\nfrom mlflow.cli import cli\nsys.exit(cli(sys.argv[1:]))\n")
    options = ["server", "--backend-store-uri", f"sqlite:///{tried.folder / 'server.db'}", "--host", "127.0.0.1"]
    options += ["--port", port, "--workers", 1, "--default-artifact-root", tried.folder / "server-files"]
    server = start(str(script), options, tried.folder, tried.mark, {"PATH": f"{Path(sys.executable).parent}:/usr/bin"})
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and not server.is_over:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5):
                return server
        except OSError:
            time.sleep(0.5)
    raise RuntimeError(f"MLflow's server must answer within {START_S:.0f} s, but told {server.told[-300:]}")


ROWS = (Row("mlflow", "MLflow down, killed, locked, read-only", CASES, 2, play),)
