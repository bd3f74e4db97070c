"""The append-only record of a search: one JSON object a line, in the order things happened. All else is a view of it.

Events, beside `event`, `time` (unix seconds) and `seq` (0, 1, 2, ...):

    search_started   name, settings, space, space_name, space_hash, provenance, data, selection
    search_resumed   trials
    search_broke     error, restarts                     Ray Tune raised, and was restarted
    trial_started    trial, trial_id, params, enqueued   again, with the same number, where it went on after a restart
    trial_retried    trial, error                        its process died; it goes on from the last epoch saved
    epoch            trial, epoch, metrics               again, where an epoch was run again: the last one counts
    trial_ended      trial, status, reason, rung, cutoff, best, best_epoch, error, checkpoint, correct
    search_ended     reason, seconds
"""

from __future__ import annotations

import base64
import fcntl
import json
import math
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fashion_core.errors import SearchError

CORRECT = "correct"
STATUSES = ("finished", "stopped", "failed", "diverged", "interrupted")
SYNCED = ("search_started", "trial_ended", "search_ended")  # written through to the disk: a power cut keeps them
ENCODER = json.JSONEncoder(allow_nan=False)  # made once: each event is written while the search waits


def read_events(path: Path) -> list[dict[str, Any]]:
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
            events.append(json.loads(line))
        except ValueError:
            raise SearchError(
                f"every line of a ledger must be JSON, but {path.name}:{number} is not; restore it from a backup"
            ) from None
    return events


def compute_seconds(events: Sequence[dict[str, Any]]) -> float:
    """How long the search ran, without the time between an interruption and going on."""
    total, began, last = 0.0, None, 0.0
    for event in events:
        if event["event"] in ("search_started", "search_resumed"):
            total += last - began if began is not None else 0.0
            began = event["time"]
        last = event["time"]
    return total + (last - began if began is not None else 0.0)


def pack_correct(correct: np.ndarray) -> str:
    """[N, K] bool as text: a bit an answer, in base64."""
    return base64.b64encode(np.packbits(correct).tobytes()).decode()


def unpack_correct(text: str, images: int, categories: int) -> np.ndarray:
    """[N, K] bool of N images and K categories."""
    bits = np.unpackbits(np.frombuffer(base64.b64decode(text), np.uint8), count=images * categories)
    return bits.reshape(images, categories).astype(bool)


class Ledger:
    """A ledger open for appending, by one process at a time. A context manager.

    Raises:
        SearchError: another process has it open.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.file = path.open("ab")
        try:
            fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self.file.close()
            raise SearchError(
                f"one process may write a search at a time, but another writes {path}; wait for it, or end it"
            ) from None
        content = path.read_bytes()
        self.seq = content.count(b"\n")
        self.file.truncate(content.rfind(b"\n") + 1)  # a line that a kill cut off

    def append(self, event: str, **fields: Any) -> dict[str, Any]:
        """Write one event down, and return it. Numbers that are not finite become null."""
        entry = {"event": event, "time": time.time(), "seq": self.seq, **fields}
        try:
            line = ENCODER.encode(entry)
        except ValueError:
            entry = make_finite(entry)
            line = ENCODER.encode(entry)
        self.file.write(line.encode() + b"\n")
        self.file.flush()
        if event in SYNCED:
            os.fsync(self.file.fileno())
        self.seq += 1
        return entry

    def close(self) -> None:
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
