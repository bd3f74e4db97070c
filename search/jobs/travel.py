"""Files that trainings open, on their way from the machine that searches to the nodes of a cluster.

    STORAGE/.images/DIGEST      on the storage of searches, by SHA-256: sent once, and of use to every search
    TEMP/fashion-images-UID/    on each node: fetched once, checked, opened by all trainings there

A node that sees a file by the path that it has on the machine that searches, on a disk that they share, opens that.
What a node fetched takes half of its disk at most: what was not asked for for longest goes first.
"""

from __future__ import annotations

import errno
import hashlib
import math
import os
import shutil
import stat
import tempfile
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from fashion_core.errors import DataError, FashionError
from fashion_core.files import hash_file, try_lock, whole
from fashion_core.training.progress import Progress, tell_nobody
from search.jobs.nodes import ask_nodes, list_nodes, start_on
from search.records.storage import open_storage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from search.records.storage import Storage

FETCHING = "fetching images"  # a phase of a training
CACHE = "fashion-images-{uid}"
CHUNK = 1 << 23  # bytes
PATIENCE_S = 240.0  # of a node whose storage is away: then its trial fails
WAIT_S = 0.2  # between two looks whether another process has fetched a file
IN_USE_S = 900.0  # what was asked for since is not deleted: a training may be about to open it
SHARE = 0.5  # of a node's disk, for what was fetched
PASSING = (".lock", ".tmp")  # suffixes of files that are none that was fetched
TRIES = 2  # of a file that comes damaged


@dataclass(frozen=True)
class Parcel:
    """A file that nodes can have.

    Attributes:
        path: where it stands on the machine that searches.
        uri: of the folder on the storage that holds it, named by its digest.
        digest: SHA-256. size: bytes.
    """

    path: Path
    uri: str
    digest: str
    size: int

    def find(self, progress: Progress = tell_nobody) -> Path:
        """Where it stands on this machine; fetched, where it does not.

        Raises:
            DataError: it comes damaged.
            SearchError, OSError: the storage is away, or the disk is full.
        """
        if is_here(self.path, self.size):
            return self.path
        target = open_cache() / f"{self.digest}{self.path.suffix}"
        with wait_for_lock(target.with_suffix(".lock"), progress):
            if not target.exists():
                make_room(target.parent, self.size)
                self.fetch(target, progress)
            os.utime(target)
        return target

    def fetch(self, target: Path, progress: Progress) -> None:
        """Copy it from the storage. Raises as `find` does."""
        storage = open_storage(self.uri, PATIENCE_S)
        for _ in range(TRIES):
            with suppress(DamagedError), whole(target) as temporary:
                storage.retry(partial(self.copy, storage, temporary, progress))
                return
        raise DataError(
            f"{self.path.name} must come from the storage as it was sent, but does not; delete {self.digest} in "
            f"{self.uri}, and go on with --resume"
        )

    def copy(self, storage: Storage, target: Path, progress: Progress) -> None:
        """Copy it once. Raises DamagedError where it is not what was sent."""
        found, done, source = hashlib.sha256(), 0, storage.locate(self.digest)
        with storage.filesystem.open_input_stream(source) as stream, target.open("wb") as file:
            while content := stream.read(CHUNK):
                found.update(content)
                file.write(content)
                done += len(content)
                progress(FETCHING, done, max(self.size, done))
        if found.hexdigest() != self.digest:
            raise DamagedError


class DamagedError(Exception):
    """What came is not what was sent."""


def send_unseen(paths: Sequence[Path], uri: str, tell: Callable[[str], None]) -> dict[Path, Parcel]:
    """Send files to the storage, and have every node fetch them; nothing, where every node sees all where they are.

    Args:
        uri, tell: see `send_files`.

    Returns:
        What nodes can have, by path.
    """
    sizes, nodes = {path: path.stat().st_size for path in paths}, list_nodes()
    seen = ask_nodes(nodes, sees_all, sizes)
    if nodes and len(seen) == len(nodes) and all(seen.values()):
        return {}
    parcels = send_files(paths, uri, tell)
    begin_fetching(list(parcels.values()))
    return parcels


def sees_all(sizes: Mapping[Path, int]) -> bool:
    """Whether files of these sizes stand on this machine, by the same paths."""
    return all(is_here(path, size) for path, size in sizes.items())


def is_here(path: Path, size: int) -> bool:
    """Whether a file of this size does."""
    with suppress(OSError):
        return path.stat().st_size == size
    return False


def send_files(paths: Iterable[Path], uri: str, tell: Callable[[str], None]) -> dict[Path, Parcel]:
    """Send files to the storage that are not there yet, for nodes to fetch.

    Args:
        uri: of the folder on the storage.
        tell: called with a line where the storage goes away, and one where it is back.
    """
    storage = open_storage(uri, math.inf, tell)
    parcels = {path: Parcel(path, storage.settled_uri, hash_file(path), path.stat().st_size) for path in paths}
    there = set(storage.list())
    for parcel in parcels.values():
        if parcel.digest not in there:
            storage.send(parcel.digest, parcel.path)
            there.add(parcel.digest)
    return parcels


def begin_fetching(parcels: Sequence[Parcel]) -> None:
    """Have every node fetch files while its first training starts. A node that comes later does so by itself."""
    for node in list_nodes():
        start_on(node, fetch_all, parcels)


def fetch_all(parcels: Sequence[Parcel]) -> None:
    """Fetch files to this node. What fails is met, and told, by the training that needs it."""
    with suppress(FashionError, OSError):
        for parcel in parcels:
            parcel.find()


def open_cache() -> Path:
    """The folder of what was fetched to this machine, for its user alone.

    Raises:
        DataError: somebody else has made it.
    """
    folder = Path(tempfile.gettempdir()) / CACHE.format(uid=os.getuid())
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise DataError(f"fetched images need a folder of their user alone, but {folder} is another's; set TMPDIR")
    return folder


@contextmanager
def wait_for_lock(path: Path, progress: Progress) -> Iterator[None]:
    """Hold a lock file, once another process of this machine lets go of it; that is told as a phase meanwhile."""
    with path.open("w") as file:
        progress(FETCHING, 0, 0)
        while not try_lock(file):
            time.sleep(WAIT_S)
        yield


def make_room(folder: Path, size: int) -> None:
    """Delete what was fetched and not asked for for longest, until so many bytes more are in bounds.

    Raises:
        OSError: the disk has not the room.
    """
    disk = shutil.disk_usage(folder)
    files = {path: path.stat() for path in folder.iterdir() if path.suffix not in PASSING and path.is_file()}
    used, free = sum(found.st_size for found in files.values()), disk.free
    for path, found in sorted(files.items(), key=lambda item: item[1].st_mtime):
        is_over = used + size > SHARE * disk.total or size > free
        if is_over and time.time() - found.st_mtime > IN_USE_S:
            path.unlink(missing_ok=True)  # who has it open keeps it
            used, free = used - found.st_size, free + found.st_size
    if size > free:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))
