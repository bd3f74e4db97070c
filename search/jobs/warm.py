"""What takes seconds before the first trial, done while something else is waited for.

Ray starts a worker a CPU core with itself, and gives it to the first actor that asks for no environment of its own.
Such a worker imports what trainings need as soon as it is there, and not when its first trial comes.
"""

from __future__ import annotations

import fcntl
import importlib
import os
import threading
from contextlib import nullcontext, suppress
from pathlib import Path

HOOK = f"{__name__}.begin"  # see `search.jobs.cluster`
OF_WORKERS = ("search.jobs.training", "ray.tune")
FEW_CORES = 3  # so many, or fewer: one worker after another, so that the first is ready as early as can be


def begin() -> None:
    """Of a worker that starts. It is there at once, and imports meanwhile: else Ray would start another."""
    threading.Thread(target=import_in_turn, name="imports", daemon=True).start()


def import_in_turn() -> None:
    """Import what trainings need; on few cores one worker after another, so that the first is ready early."""
    with Path(__file__).open("rb") if len(os.sched_getaffinity(0)) <= FEW_CORES else nullcontext() as file:
        if file is not None:
            fcntl.flock(file, fcntl.LOCK_EX)
        import_all(OF_WORKERS)


def import_beside(*names: str) -> None:
    """Import modules in a thread. Whoever imports them meanwhile waits for it."""
    threading.Thread(target=import_all, args=(names,), name="imports", daemon=True).start()


def import_all(names: tuple[str, ...]) -> None:
    """Import modules; an error is for whoever needs them to meet."""
    for name in names:
        with suppress(Exception):
            importlib.import_module(name)
