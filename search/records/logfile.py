"""A file that lines are appended to, by one process at a time."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from fashion_core.errors import SearchError
from fashion_core.files import try_lock

if TYPE_CHECKING:
    from pathlib import Path


class LogFile:
    """A log open for appending. A last line that a kill cut off is taken away. A context manager.

    Raises:
        SearchError: another process has it open.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.file = path.open("ab", buffering=0)  # a line that does not fit must not wait in a buffer
        if not try_lock(self.file):
            self.file.close()
            raise SearchError(
                f"one process may write a search at a time, but another writes {path}; wait for it, or end it"
            )
        self.size = self.read().rfind(b"\n") + 1
        self.file.truncate(self.size)

    def read(self) -> bytes:
        """All lines."""
        return self.path.read_bytes()

    def append(self, lines: bytes, *, is_synced: bool) -> None:
        """Write whole lines, or none of them.

        Args:
            is_synced: through to the disk, so that a power cut keeps them.

        Raises:
            OSError: they cannot be written; nothing of them is left.
        """
        try:
            rest = memoryview(lines)
            while rest:
                rest = rest[self.file.write(rest) :]
            if is_synced:
                os.fsync(self.file.fileno())
        except BaseException:
            self.file.truncate(self.size)
            raise
        self.size += len(lines)

    def close(self) -> None:
        """Let another process write."""
        self.file.close()

    def __enter__(self) -> LogFile:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
