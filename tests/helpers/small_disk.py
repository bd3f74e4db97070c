"""A file system of a few MiB in memory, to be filled: errors of a full disk as the system gives them."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BALLAST = ".ballast"


class SmallDisk:
    """One that is mounted.

    Attributes:
        told: what it was told while something waited for room.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.told: list[str] = []

    def fill(self, but: int = 0) -> None:
        """Leave so many bytes free, in whole pages."""
        with (self.folder / BALLAST).open("ab", buffering=0) as file:
            free = shutil.disk_usage(self.folder).free - but
            try:
                file.write(bytes(max(free, 0)))
            except OSError as error:
                assert error.errno == errno.ENOSPC

    def free(self) -> None:
        """Give all the room back."""
        (self.folder / BALLAST).unlink(missing_ok=True)

    def tell(self, text: str) -> None:
        """Take in a line on what waits, and make room."""
        self.told.append(text)
        self.free()


@contextmanager
def mount_disk(folder: Path, mib: float) -> Iterator[SmallDisk]:
    """One of so many MiB there; the test is skipped where none can be mounted."""
    folder.mkdir(parents=True, exist_ok=True)
    options = ["-t", "tmpfs", "-o", f"size={int(mib * 1024)}k", "tmpfs", str(folder)]
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("not root: a file system is mounted")
    if subprocess.run(["mount", *options], capture_output=True).returncode != 0:
        pytest.skip("not root enough: no file system can be mounted")
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
