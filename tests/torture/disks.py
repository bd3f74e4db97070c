"""A full disk: a file system in memory, of falling sizes, as results, storage, cache or temporary files."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench import Bench, Tried
from judge import DONE, NO_RESULT, REFUSED
from plans import Row
from processes import Stuck, end_all, wait_until
from tries import Outcome

SHARES = (0.8, 0.4, 0.1)  # of what a search takes there
PLACES = ("results", "storage", "cache", "temporary files")
NEEDS_MIB = {"results": 16.0, "storage": 6.0, "cache": 2.0, "temporary files": 60.0}  # about what a search takes
ROOMY_MIB = 512
FULL_S = 60.0  # nothing moves for so long: the search waits for space


def play(bench: Bench, case: str, number: int, draws: random.Random) -> Outcome:
    """Run into the full disk, free it, and go on to what the twin found."""
    twin = bench.twin
    place, share = case.split(": ")
    with bench.open_try() as tried:
        if not can_mount(tried.folder):
            tried.outcome.skipped = "mounting needs root"
            return tried.outcome
        disk = place_disk(tried, place)
        size = NEEDS_MIB[place] * float(share.rstrip("%")) / 100
        with mount(disk, size):
            run_full(tried, disk)
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


def run_full(tried: Tried, disk: Path) -> None:
    """Until the command ends, or waits for space; then the disk has room."""
    command = tried.begin()
    try:
        wait_until(lambda: False, command, tried.layout.folder, FULL_S)
    except Stuck:  # it waits, and goes on by itself once there is room
        tried.remember()
        enlarge(disk)
        tried.measure_going_on(command)
        tried.run_to_end(command)
        return
    tried.remember()
    tried.judge_ending(command, command.process.wait(), DONE, NO_RESULT, REFUSED)
    enlarge(disk)


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


def enlarge(folder: Path) -> None:
    """Give it room."""
    subprocess.run(["mount", "-o", f"remount,size={ROOMY_MIB}m", str(folder)], check=True)


ROWS = (Row("disk", "disk full", tuple(f"{place}: {share:.0%}" for place in PLACES for share in SHARES), 2, play),)
