"""Commands in a process group of their own, all that comes of them known by a mark, and ended by id."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from heard_signals import hear_signals
from moments import GCS, RAYLET, WORKER

ROOT = Path(__file__).resolve().parents[2]
MARK = "TORTURE_TRY"  # the variable that every process of a try inherits
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "RAY_USAGE_STATS_ENABLED": "0",
    "HF_HUB_OFFLINE": "1",
    "RAY_ADDRESS": "local",
    "COLUMNS": "200",
    "PYTHONUNBUFFERED": "1",
}
STUCK_S = 240.0  # a command of which nothing moves for so long is stuck
LOOK_S = 0.02
EXIT_S = 20.0  # for a process that was killed to be gone


class Stuck(Exception):
    """A command of which nothing moved."""


@dataclass
class Command:
    """A command that was started.

    Attributes:
        words: as a person would type them.
        out, err: files of its output.
        started: monotonic seconds.
        at: unix seconds of the same.
    """

    words: str
    process: subprocess.Popen[bytes]
    out: Path
    err: Path
    started: float = field(default_factory=time.monotonic)
    at: float = field(default_factory=time.time)

    @property
    def is_over(self) -> bool:
        return self.process.poll() is not None

    @property
    def printed(self) -> str:
        return self.out.read_text(errors="replace")

    @property
    def told(self) -> str:
        """Of stderr."""
        return self.err.read_text(errors="replace")

    def signal(self, number: int, *, group: bool = False) -> None:
        """Send it, or all of its group, a signal."""
        with suppress(ProcessLookupError):
            (os.killpg if group else os.kill)(self.process.pid, number)

    def wait(self, watched: Path | None = None, stuck_s: float = STUCK_S) -> int:
        """Its exit status.

        Args:
            watched: a folder whose files show that it moves, as its output does.

        Raises:
            Stuck: nothing moved for so long.
        """
        wait_until(lambda: self.is_over, self, watched, stuck_s)
        return self.process.wait()


def start(
    script: str, options: Sequence[object], folder: Path, mark: str, environment: Mapping[str, str] | None = None
) -> Command:
    """Start `search/SCRIPT` in a folder, in a session of its own. `script` may be a path of another one."""
    number = sum(1 for _ in folder.glob("*.out"))
    out, err = folder / f"{number:03d}.out", folder / f"{number:03d}.err"
    path = Path(script) if os.path.isabs(script) else ROOT / "search" / script
    words = [sys.executable, str(path), *map(str, options)]
    given = {**os.environ, **ENVIRONMENT, "PYTHONPATH": str(ROOT), **(environment or {}), MARK: mark}
    with out.open("wb") as output, err.open("wb") as errors:
        process = subprocess.Popen(
            words,
            cwd=folder,
            env=given,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
            start_new_session=True,
            preexec_fn=hear_signals,
        )
    return Command(" ".join([path.name, *words[2:]]).replace(f"{folder}/", ""), process, out, err)


def wait_until(
    is_so: Callable[[], bool], command: Command, watched: Path | None = None, stuck_s: float = STUCK_S
) -> bool:
    """Wait until something is so, or the command is over. Returns whether it is so.

    Raises:
        Stuck: nothing moved for `stuck_s`.
    """
    last, moved = None, time.monotonic()
    while not is_so():
        if command.is_over:
            return is_so()
        now = time.monotonic()
        if (state := measure_progress(command, watched)) != last:
            last, moved = state, now
        elif now - moved > stuck_s:
            raise Stuck(f"{command.words}: nothing moved for {stuck_s:.0f} s")
        time.sleep(LOOK_S)
    return True


def measure_progress(command: Command, watched: Path | None) -> tuple[int, ...]:
    """What changes while a command works: sizes of its output and of the files of a folder."""
    sizes = [command.out.stat().st_size, command.err.stat().st_size]
    if watched is not None:
        for path in [watched, *watched.glob("*"), *watched.glob("promotion/*/*/*")]:
            with suppress(OSError):
                sizes += [path.stat().st_size, path.stat().st_mtime_ns]
    return tuple(sizes)


# --------------------------------------------------------------------------------------------- processes by their mark


def list_marked(mark: str) -> dict[int, str]:
    """Processes of a try, with their command lines; zombies are none."""
    found, wanted = {}, f"{MARK}={mark}".encode()
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if wanted in (path / "environ").read_bytes().split(b"\0"):
                line = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
                if line:
                    found[int(path.name)] = line
    return found


def name_process(line: str) -> str:
    """What a process is, of its command line: a worker, the raylet, the GCS server, or `other`."""
    program = line.split(" ", 1)[0]
    if program.startswith("ray::"):
        return "agent" if "Agent" in line else WORKER
    name = program.rsplit("/", 1)[-1]
    return name if name in (RAYLET, GCS) else "other"


def name_all(mark: str) -> dict[int, str]:
    """Processes of a try by what they are."""
    return {pid: name_process(line) for pid, line in list_marked(mark).items()}


def end_all(mark: str) -> None:
    """End every process of a try, and wait until they are gone."""
    deadline = time.monotonic() + EXIT_S
    while (left := list_marked(mark)) and time.monotonic() < deadline:
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.1)
