"""A full disk: a file system in memory as results, storage, cache or temporary files, filled at some moment."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bench import HALF_LINES, Bench, Tried
from judge import DONE, NO_RESULT, REFUSED
from moments import has_plan
from plans import Row
from processes import Stuck, end_all, wait_until
from tries import Outcome

from search.records.ledger import read_events

PLACES = ("results", "storage", "cache", "temporary files")
MOMENTS = {"once the plan is shown": 0, "at its first events": 2, "half-way": HALF_LINES}  # lines of the ledger
LEFT_KIB = (0, 300)  # of the room, as drawn
ROOMY_MIB = 512
BALLAST = ".ballast"
WAITING = "waiting: "  # begins what a search says of a full disk
FULL_S = 120.0  # it prints nothing for so long: it waits for space, and does not say so
STAYS_FULL_S = 20.0  # after it has said so


def play(bench: Bench, case: str, number: int, draws: random.Random) -> Outcome:
    """Run into the full disk, free it, and go on to what the twin found."""
    twin = bench.twin
    place, moment = case.split(": ")
    with bench.open_try() as tried:
        if not can_mount(tried.folder):
            tried.outcome.skipped = "mounting needs root"
            return tried.outcome
        disk = place_disk(tried, place)
        with mount(disk, ROOMY_MIB):
            run_full(tried, disk, MOMENTS[moment], draws.choice(LEFT_KIB))
            if tried.finish():
                tried.judge(twin)
            end_all(tried.mark)
        return tried.outcome


def place_disk(tried: Tried, place: str) -> Path:
    """Where the small disk is mounted, and what makes the search use it."""
    disk = tried.folder / ("results" if place == "results" else "disk")
    if place == "storage":
        tried.given += ["--storage", disk]
    elif place == "cache":
        tried.given += ["--cache-dir", disk]
    elif place == "temporary files":
        tried.environment = {"TMPDIR": str(disk), "RAY_TMPDIR": str(disk)}
    return disk


def run_full(tried: Tried, disk: Path, lines: int, left_kib: int) -> None:
    """Fill the disk at a moment, until the command ends, or waits for space; then the disk has room again."""
    command = tried.begin()
    wait_until(
        lambda: has_plan(command.printed) and len(read_events(tried.layout.ledger)) >= lines,
        command,
        tried.layout.folder,
    )
    fill(disk, left_kib)
    try:
        # what it tries again and again moves files, so only what it prints tells that it waits
        waits = wait_until(lambda: WAITING in command.printed, command, stuck_s=FULL_S)
    except Stuck:
        waits = True
        tried.outcome.endings.append(f"{command.words}: it waits on a full disk, and does not say so")
    if waits:  # it goes on by itself once there is room
        tried.remember()
        time.sleep(STAYS_FULL_S)
        empty(disk)
        tried.measure_going_on(command)
        tried.run_to_end(command)
        return
    tried.remember()
    tried.judge_ending(command, command.process.wait(), DONE, NO_RESULT, REFUSED)
    empty(disk)


def can_mount(folder: Path) -> bool:
    """Whether this process may mount a file system."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        return False
    probe = folder / "probe"
    probe.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(probe)], capture_output=True)
    if done.returncode == 0:
        subprocess.run(["umount", str(probe)], check=True)
    probe.rmdir()
    return done.returncode == 0


@contextmanager
def mount(folder: Path, mib: float) -> Iterator[None]:
    """A file system in memory of so many MiB there."""
    folder.mkdir(parents=True)
    size = f"size={max(int(mib * 1024), 16)}k"
    subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path, left_kib: int) -> None:
    """Leave it so much room."""
    with (folder / BALLAST).open("ab", buffering=0) as file, suppress(OSError):
        file.write(bytes(max(shutil.disk_usage(folder).free - (left_kib << 10), 0)))


def empty(folder: Path) -> None:
    """Give it room."""
    (folder / BALLAST).unlink()


ROWS = (Row("disk", "disk full", tuple(f"{place}: {moment}" for place in PLACES for moment in MOMENTS), 2, play),)
