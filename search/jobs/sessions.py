"""Folders of Ray's sessions on this machine, in a folder of ours: sockets, logs, and the scratch of what runs on it.

Ray leaves them for ever. One goes when its Ray has ended in order; that of a process that was killed, when the next
begins. A lock in it, held while its process lives, tells those of other containers, whose processes are not seen here.
"""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from fashion_core.files import try_lock

if TYPE_CHECKING:
    from pathlib import Path

MARK = "in_use.lock"
SESSIONS = "session_*_"  # as Ray names them: the date, then the id of the process that began it
KEEP_S = 24 * 3600.0  # of a Ray that did not start, or died: its logs may be wanted


@dataclass
class Session:
    """The session that this process began.

    Attributes:
        mark: held until it ends.
    """

    folder: Path
    mark: IO[bytes]

    def remove(self) -> None:
        """Take its folder away: Ray has ended."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.mark.close()

    def keep_logs(self) -> None:
        """Leave its folder for a while: Ray has died."""
        (self.folder / MARK).unlink(missing_ok=True)
        self.mark.close()


def open_session(temp: Path) -> Session | None:
    """That which this process has just begun; None where its folder cannot be found or marked."""
    own = sorted(temp.glob(f"{SESSIONS}{os.getpid()}"))
    try:
        mark = (own[-1] / MARK).open("ab")
    except (IndexError, OSError):
        return None
    try_lock(mark)
    return Session(own[-1], mark)


def remove_left(temp: Path) -> None:
    """Take away the folders of sessions whose processes are dead."""
    for folder in temp.glob(f"{SESSIONS}*"):
        if is_left(folder):
            shutil.rmtree(folder, ignore_errors=True)


def is_left(folder: Path) -> bool:
    """Whether nobody uses a session, or looks at it any more."""
    process = folder.name.rpartition("_")[2]
    if not process.isdecimal() or is_alive(int(process)):
        return False
    try:
        with (folder / MARK).open("rb") as mark:
            return try_lock(mark, shared=True)
    except FileNotFoundError:
        return time.time() - find_newest(folder) > KEEP_S
    except OSError:
        return False


def is_alive(process: int) -> bool:
    """Whether there is a process of this id, whosever it is."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # another user's
        return True
    return True


def find_newest(folder: Path) -> float:
    """When something was last written there, or in its logs; unix seconds."""
    times = []
    for path in (folder, folder / "logs", *(folder / "logs").glob("*")):
        try:
            times.append(path.lstat().st_mtime)
        except OSError:  # it has gone meanwhile
            continue
    return max(times, default=time.time())
