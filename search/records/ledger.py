"""The append-only record of a search: one JSON object a line, in the order things happened. All else is a view of it.

The kinds of events: `search.records.events`.
"""

from __future__ import annotations

import base64
import json
import math
import time
import zlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from fashion_core.errors import SearchError
from fashion_core.files import parse_json, retry_while_full
from fashion_core.metrics import has_missing
from search.records.events import (
    Event,
    SearchEnded,
    SearchStarted,
    TrialEnded,
    TrialSaved,
    read_event,
    write_event,
)
from search.records.logfile import LogFile

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from search.records.storage import Storage

SYNCED = (SearchStarted, TrialEnded, SearchEnded)  # written through to the disk: a power cut keeps them
SEAL = b', "crc32": '
GATHERED = (TrialSaved,)  # written to a storage with the next event: nothing is decided on them, or sent anywhere
ENCODER = json.JSONEncoder(allow_nan=False)  # made once: each event is written while the search waits
Kind = TypeVar("Kind", bound=Event)
T = TypeVar("T")


def read_events(path: Path) -> list[Event]:
    """All events of a ledger; none where there is no file. A last line that a kill cut off is left out.

    Raises:
        SearchError: another line is damaged.
    """
    return parse_events(path.read_bytes(), path.name) if path.is_file() else []


def parse_events(content: bytes, name: object) -> list[Event]:
    """All events of a ledger's bytes. A last line that a kill cut off is left out.

    Args:
        name: of the ledger, for messages.

    Raises:
        SearchError: another line is damaged.
    """
    events = []
    for number, line in enumerate(content.split(b"\n")[:-1], 1):  # the last piece is empty, or cut off
        try:
            check_seal(line)
            event = read_event(parse_json(line))
        except (ValueError, SearchError) as error:
            reason = "is not JSON" if isinstance(error, ValueError) else f"is none: {error}"
            raise SearchError(
                f"every line of a ledger must be an event, but {name}:{number} {reason}; restore it from a backup"
            ) from None
        if event is not None:
            events.append(event)
    return events


def seal(line: str) -> bytes:
    """A JSON object of the ledger with the CRC-32 of its bytes as its last key."""
    content = line.encode()
    return content[:-1] + SEAL + b"%d}" % zlib.crc32(content)


def check_seal(line: bytes) -> None:
    """Raises SearchError where a line is not as it was written; one of an older version does not tell."""
    content, found, digits = line.rpartition(SEAL)
    if found and digits != b"%d}" % zlib.crc32(content + b"}"):
        raise SearchError("it has changed since it was written (checksum)")


def pack_correct(correct: np.ndarray) -> str:
    """Answers as text, in base64: a bit an answer, 1 for right; where labels are missing, another one a label.

    Args:
        correct: [N, K], see `fashion_core.metrics.mark_correct`.
    """
    bits = np.packbits(correct == 1).tobytes()
    if has_missing(correct):
        bits += np.packbits(~np.isnan(correct)).tobytes()
    return base64.b64encode(bits).decode()


def unpack_correct(text: str, images: int, categories: int) -> np.ndarray:
    """What `pack_correct` took, [N, K] of N images and K categories.

    Raises:
        SearchError: the text is that of other numbers.
    """
    try:
        packed = np.frombuffer(base64.b64decode(text, validate=True), np.uint8)
    except ValueError:
        packed = np.zeros(0, np.uint8)
    count = images * categories
    size = (count + 7) // 8
    if len(packed) not in (size, 2 * size) or count == 0:
        raise SearchError(
            f"a trial's answers must be those to {images} images in {categories} categories, but are not; restore the "
            "ledger from a backup"
        )
    correct, *labelled = (
        np.unpackbits(part, count=count).reshape(images, categories).astype(bool) for part in packed.reshape(-1, size)
    )
    return np.where(labelled[0], correct, np.nan) if labelled else correct


def ignore(text: str) -> None:
    """Tell nobody."""


class Ledger:
    """A ledger open for appending, by one process at a time. A context manager.

    Args:
        tell: called with a line where the disk is full: writing waits until it is not.
        began: when the command did, by `time.monotonic`; None: now.
        storage: holds the record, where the file is its view: it has each line first. None: the file is the record.
        check: called before each pause of such a wait: see `fashion_core.files.retry_while_full`.

    Attributes:
        last: when the last event came, by `time.monotonic`; before the first of this process, when the command began.

    Raises:
        SearchError: another process has it open.
    """

    def __init__(
        self,
        path: Path,
        tell: Callable[[str], None] = ignore,
        began: float | None = None,
        storage: Storage | None = None,
        check: Callable[[str, float], None] | None = None,
    ) -> None:
        self.file, self.tell, self.storage, self.check = LogFile(path), tell, storage, check
        self.began = self.last = time.monotonic() if began is None else began
        self.seq = self.file.read().count(b"\n")
        self.gathered = b""  # lines that the storage has not

    @property
    def path(self) -> Path:
        """Of its file."""
        return self.file.path

    def append(self, event: Kind) -> Kind:
        """Write one event down, and return it with its time and number. Numbers that are not finite become null.

        Raises:
            SearchError: another process has taken the storage.
        """
        elapsed = max(round(time.monotonic() - self.began, 3), 0.0)
        event = replace(event, time=time.time(), seq=self.seq, elapsed=elapsed)
        try:
            line = ENCODER.encode(write_event(event))
        except ValueError:
            event = replace(event, **{name: make_finite(value) for name, value in vars(event).items()})
            line = ENCODER.encode(write_event(event))
        self.gathered += seal(line) + b"\n"
        if self.storage is None or not isinstance(event, GATHERED):
            self.write_out(is_synced=isinstance(event, SYNCED))
        self.seq += 1
        self.last = self.began + elapsed
        return event

    def write_out(self, *, is_synced: bool) -> None:
        """Write what was gathered: to the storage, then to the file."""
        lines, storage, self.gathered = self.gathered, self.storage, b""
        if storage is not None:
            storage.append_log(lines, is_synced=is_synced)
        self.wait(lambda: self.file.append(lines, is_synced=is_synced), self.path.parent)

    def wait(self, write: Callable[[], T], folder: Path) -> T:
        """What `write` gives, once there is room, told like that of the ledger's own disk. folder: where it writes."""
        return retry_while_full(write, folder, self.tell, self.check)

    def close(self) -> None:
        """Let another process write. What was gathered for an event that did not come is left out."""
        self.file.close()

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def make_finite(value: Any) -> Any:
    """The value with None for every number that JSON has no word for."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: make_finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [make_finite(item) for item in value]
    return value
