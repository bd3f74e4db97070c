"""The append-only record of a search: one JSON object a line, in the order things happened. All else is a view of it.

The kinds of events: `search.records.events`.
"""

from __future__ import annotations

import base64
import fcntl
import json
import math
import os
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
    read_event,
    write_event,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SYNCED = (SearchStarted, TrialEnded, SearchEnded)  # written through to the disk: a power cut keeps them
SEAL = b', "crc32": '
ENCODER = json.JSONEncoder(allow_nan=False)  # made once: each event is written while the search waits
Kind = TypeVar("Kind", bound=Event)


def read_events(path: Path) -> list[Event]:
    """All events of a ledger; none where there is no file. A last line that a kill cut off is left out.

    Raises:
        SearchError: another line is damaged.
    """
    if not path.is_file():
        return []
    lines = path.read_bytes().split(b"\n")
    events = []
    for number, line in enumerate(lines[:-1], 1):  # the last piece is empty, or cut off
        try:
            check_seal(line)
            event = read_event(parse_json(line))
        except (ValueError, SearchError) as error:
            reason = "is not JSON" if isinstance(error, ValueError) else f"is none: {error}"
            raise SearchError(
                f"every line of a ledger must be an event, but {path.name}:{number} {reason}; restore it from a backup"
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

    Raises:
        SearchError: another process has it open.
    """

    def __init__(self, path: Path, tell: Callable[[str], None] = ignore, began: float | None = None) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path, self.tell = path, tell
        self.began = time.monotonic() if began is None else began
        self.file = path.open("ab", buffering=0)  # a line that does not fit must not wait in a buffer
        try:
            fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self.file.close()
            raise SearchError(
                f"one process may write a search at a time, but another writes {path}; wait for it, or end it"
            ) from None
        content = path.read_bytes()
        self.seq = content.count(b"\n")
        self.size = content.rfind(b"\n") + 1
        self.file.truncate(self.size)  # a line that a kill cut off

    def append(self, event: Kind) -> Kind:
        """Write one event down, and return it with its time and number. Numbers that are not finite become null."""
        elapsed = max(round(time.monotonic() - self.began, 3), 0.0)
        event = replace(event, time=time.time(), seq=self.seq, elapsed=elapsed)
        try:
            line = ENCODER.encode(write_event(event))
        except ValueError:
            event = replace(event, **{name: make_finite(value) for name, value in vars(event).items()})
            line = ENCODER.encode(write_event(event))
        content, is_synced = seal(line) + b"\n", isinstance(event, SYNCED)
        retry_while_full(lambda: self.write(content, is_synced=is_synced), self.path.parent, self.tell)
        self.seq += 1
        return event

    def write(self, line: bytes, *, is_synced: bool) -> None:
        """Write a whole line, or none of it.

        Raises:
            OSError: it cannot be written; nothing of it is left.
        """
        try:
            rest = memoryview(line)
            while rest:
                rest = rest[self.file.write(rest) :]
            if is_synced:
                os.fsync(self.file.fileno())
        except BaseException:
            self.file.truncate(self.size)
            raise
        self.size += len(line)

    def close(self) -> None:
        """Let another process write."""
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
