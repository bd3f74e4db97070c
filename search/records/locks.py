"""One process at a time works on a search: runs it, goes on with it, promotes or deletes it.

It holds a lock of the operating system on a file beside the search's folder, since one within would be deleted with it,
before it reads anything that it will write or delete. The lock ends with the process. The file tells who holds it, and
goes when the lock is let go. Whoever only reads a search takes no lock.
"""

from __future__ import annotations

import fcntl
import os
import socket
import time
from contextlib import contextmanager, suppress
from typing import IO, TYPE_CHECKING

from pydantic import BaseModel

from fashion_core.errors import SearchError, first_line
from fashion_core.files import MAX_JSON_BYTES, is_full, parse_json, read_plain, try_lock
from search.records.layout import LOCKS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from search.records.layout import SearchLayout

TRIES, PAUSE_S = 6, 0.05  # whoever only looks whether a lock is held has it for a moment
RUN, PROMOTE, DELETE, FINISH = "runs", "promotes", "deletes", "finishes stopped trials of"


class Holder(BaseModel):
    """Who works on a search.

    Attributes:
        does: runs, promotes or deletes it, or finishes stopped trials of it.
        since: unix seconds.
    """

    does: str
    pid: int
    host: str
    since: float

    def __str__(self) -> str:
        since = time.strftime("%Y-%m-%d %H:%M", time.localtime(self.since))
        return f"process {self.pid} on {self.host} {self.does} it since {since}"


@contextmanager
def hold_search(layout: SearchLayout, does: str, option: str = "--results") -> Iterator[None]:
    """Be the one that works on a search.

    Args:
        does: `RUN`, `PROMOTE`, `DELETE` or `FINISH`.
        option: that named the folder.

    Raises:
        SearchError: another process works on it; or the folder takes no lock.
    """
    path, is_new = layout.lock, not layout.results.exists()
    try:
        with bar_starts(layout.results, shared=True):
            file = open_locked(path)
    except OSError as error:
        remedy = "free some room there" if is_full(error) else f"give another {option}"
        raise SearchError(
            f"the folder of {option.strip('-')} must be one to write into, on a file system with locks, but "
            f"{layout.results} is not ({first_line(error.strerror or error)}); {remedy}"
        ) from None
    if file is None:
        raise build_busy(layout)
    with file:
        tell_holder(file, does)
        try:
            yield
        finally:
            with suppress(OSError):
                path.unlink(missing_ok=True)
                path.parent.rmdir()  # where no other is held
                if is_new:
                    layout.results.rmdir()  # where nothing came of it


@contextmanager
def bar_starts(results: Path, *, shared: bool = False) -> Iterator[None]:
    """While this is held, no process begins to work on a search of these results: it waits.

    Args:
        shared: of a process that begins: many may at once.
    """
    try:
        handle = os.open(results, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:  # there is no such folder, so there is nothing in it that another could take away
        yield
        return
    try:
        with suppress(OSError):  # a file system that locks no folders
            fcntl.flock(handle, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def tell_holder(file: IO[str], does: str) -> None:
    """Write down who holds a lock. It is held without that too: a full disk does not matter."""
    file.truncate(0)
    try:
        os.write(
            file.fileno(), name_holder(does).model_dump_json().encode()
        )  # nothing is left to be written at its end
    except OSError as error:
        if not is_full(error):
            raise


def name_holder(does: str) -> Holder:
    """This process, from now on."""
    return Holder(does=does, pid=os.getpid(), host=socket.gethostname(), since=time.time())


def check_free(layout: SearchLayout) -> None:
    """Raises SearchError where a process works on a search: to say so early, before `hold_search` makes sure."""
    if is_busy(layout):
        raise build_busy(layout)


def build_busy(layout: SearchLayout) -> SearchError:
    """That another process works on a search, and which."""
    holder = find_holder(layout)
    return SearchError(
        f"one process works on a search at a time, but {holder or f'another works on {layout.name}'}; wait for it, "
        "or end it"
    )


def open_locked(path: Path) -> IO[str] | None:
    """A file, made if there is none, locked until it is closed; None where another process has it.

    Raises:
        OSError: it cannot be opened, or nothing can be locked there.
    """
    for attempt in range(TRIES):
        if attempt:
            time.sleep(PAUSE_S)
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            file = path.open("a")
        except FileNotFoundError:  # the last holder has just removed the folder
            continue
        try:
            if try_lock(file) and os.path.samestat(
                os.fstat(file.fileno()), path.stat()
            ):  # else the last holder has just removed it
                return file
        except FileNotFoundError:
            pass
        except OSError:
            file.close()
            raise
        file.close()
    return None


def is_held(path: Path) -> bool:
    """Whether a process holds the lock of this file."""
    try:
        with path.open("rb") as file:
            return not try_lock(file, shared=True)
    except OSError:  # there is none, or it cannot be read or locked
        return False


def find_holder(layout: SearchLayout) -> Holder | None:
    """Who works on a search; None where nobody does, or nobody knows."""
    if not is_busy(layout):
        return None
    try:
        return Holder.model_validate(parse_json(read_plain(layout.lock, MAX_JSON_BYTES)))
    except (OSError, ValueError):
        return None


def is_busy(layout: SearchLayout) -> bool:
    """Whether a process works on a search."""
    return is_held(layout.lock)


def is_running(layout: SearchLayout) -> bool:
    """Whether a process runs a search; also where it does not say what it does, as on a full disk."""
    holder = find_holder(layout)
    return is_busy(layout) if holder is None else holder.does == RUN


def list_busy(results: Path) -> list[str]:
    """Names of the searches that a process works on, sorted: also of those that have no folder yet."""
    return sorted(path.stem for path in (results / LOCKS).glob("*.lock") if is_held(path))
