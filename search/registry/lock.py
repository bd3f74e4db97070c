"""One change of a registered model's aliases at a time, whoever else wants one.

Where the registry is a SQLite file, a lock of the operating system on a file beside it; it ends with the process. Where
it is a server, a tag of the registered model: a server offers no operation that reads and writes at once.
"""

from __future__ import annotations

import fcntl
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from fashion_core.errors import SearchError

if TYPE_CHECKING:
    from pathlib import Path

    from mlflow.tracking import MlflowClient

LOCK_TAG = "promotion.lock"
WAIT_S = 60.0  # for another process; a change takes well below a second
POLL_S = 0.1
SETTLE_S = 2.0  # between writing the tag and reading it back: longer than a request to a server in use takes
LIFE_S = 30.0  # of a tag whose process was killed: shorter than others wait
Check = Callable[[], None]


@contextmanager
def lock_file(path: Path, wait_s: float = WAIT_S) -> Iterator[Check]:
    """Hold the lock file. Gives a check for the moment before a change that it is still held: this one always is.

    Raises:
        SearchError: another process holds it all the time.
    """
    deadline = time.monotonic() + wait_s
    with path.open("w") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise build_error(path.name, wait_s) from None
                time.sleep(POLL_S)
        yield lambda: None


@contextmanager
def lock_by_tag(
    client: MlflowClient, model: str, wait_s: float = WAIT_S, settle_s: float = SETTLE_S
) -> Iterator[Check]:
    """Hold the lock of a registered model through one of its tags: own token and expiry, read back after a pause.

    Of two that find no lock and write theirs, the later one's stays; both read back after that. What remains possible:
    a write that reaches the server more than the pause after its look, or clocks that differ by more than `LIFE_S`,
    leave two holders. The check narrows the first; the second needs clocks that no server keeps.

    Raises:
        SearchError: another process holds it all the time, or (from the check) has taken it over.
    """
    token = uuid.uuid4().hex
    deadline = time.monotonic() + wait_s

    def read() -> tuple[str, float]:
        holder, _, expiry = client.get_registered_model(model).tags.get(LOCK_TAG, "").partition(" ")
        return holder, float(expiry or 0)

    def check() -> None:
        holder, expiry = read()
        if holder != token or expiry < time.time():
            raise SearchError(
                f"a promotion must hold the lock of {model} (its tag {LOCK_TAG}), but another one took it over; "
                "run it again"
            )

    while True:
        holder, expiry = read()
        if not holder or expiry < time.time():
            client.set_registered_model_tag(model, LOCK_TAG, f"{token} {time.time() + LIFE_S:.0f}")
            time.sleep(settle_s)
            if read()[0] == token:
                break
        if time.monotonic() > deadline:
            raise build_error(f"tag {LOCK_TAG} of {model}", wait_s)
        time.sleep(POLL_S)
    try:
        yield check
    finally:
        if read()[0] == token:
            client.delete_registered_model_tag(model, LOCK_TAG)


def build_error(what: str, wait_s: float) -> SearchError:
    """That another one holds the lock, in words."""
    return SearchError(
        f"one promotion changes the registry at a time, but another one has held the lock ({what}) for {wait_s:g} s; "
        "run it again when that one has ended"
    )
