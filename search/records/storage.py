"""Where a search stands that can go on from anywhere: a folder that machines share, or an object store.

```
<storage>/NAME/     options.json, space.yaml, starts/, trial-0007/epoch-0003/, models/trial-0007/
                    ledger.jsonl (folder), or ledger/00000012-00000001-<digest>.jsonl (object store)
<storage>/.locks/   NAME.lock (folder, flock), or NAME/<claims> (object store): see `search.records.lease`
<storage>/.images/  prepared images by SHA-256, for the nodes of clusters: see `search.jobs.travel`
```

An object store has no append: each write of the ledger is a part of its own, written once. Its name tells its number,
the generation of the lease that it was written under, and what it holds. A process that lost its lease unaware may
still write a part: what stands behind a part of a later generation, or beside it, does not count.
"""

from __future__ import annotations

import errno
import hashlib
import math
import re
import shutil
import tempfile
from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import pyarrow as pa
import pyarrow.fs as pafs

from fashion_core.errors import SearchError, first_line
from fashion_core.escaping import show_value
from fashion_core.files import hash_file, whole, write_whole
from search.records.layout import LOCKS, SearchLayout
from search.records.lease import LEASE_SECONDS, Lease, read_file, write_file
from search.records.locks import hold_search
from search.records.logfile import LogFile
from search.records.outage import Outage, tell_nobody

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

SCRATCH = ".part-"  # begins the name of a folder that is being written
LEDGER, OPTIONS, SPACE, STARTS, MODELS = "ledger", "options.json", "space.yaml", "starts", "models"
BEGINNING = {
    LEDGER,
    LEDGER + ".jsonl",
    OPTIONS,
    SPACE,
    STARTS,
}  # of a search killed before its first event
PART = re.compile(r"(\d{8})-(\d{8})-([0-9a-f]{16})\.jsonl")
REGION_KNOWN = re.compile(r"(^|&)(region|endpoint_override)=")  # in the query of a URI
READERS = 16  # parts that are read at once
Result = TypeVar("Result")


class Storage(ABC):
    """A search on its storage: the ledger's lines, files, and the right to write them. Names are relative to its home.

    Args:
        home: path of all that is the search's. filesystem: that it is on.
        uri: of the home, for messages.
    """

    def __init__(self, uri: str, filesystem: pafs.FileSystem, home: str) -> None:
        self.uri, self.filesystem, self.home = uri, filesystem, home.rstrip("/")
        folder, _, self.name = self.home.rpartition("/")
        self.locks = f"{folder}/{LOCKS}"
        self.outage, self.patience_s = Outage(uri), 0.0

    @contextmanager
    def hold(
        self, does: str, tell: Callable[[str], None] = tell_nobody, check: Callable[[str, float], None] | None = None
    ) -> Iterator[None]:
        """Be the one process that works on the search, inside. While the storage is away, all that is asked waits.

        Args:
            does: see `search.records.locks`.
            tell: called with a line where the storage goes away, and one where it is back.
            check: see `Outage`.

        Raises:
            SearchError: another does; or the storage is away, or not to be written to.
        """
        self.outage = Outage(self.uri, tell, check)
        with ExitStack() as stack:
            try:
                stack.enter_context(self.lock(does))
            except OSError as error:
                raise SearchError(
                    f"--storage must be a place to write into, but {self.uri} is not ({first_line(error)}); look at "
                    "its address and your rights, or give another"
                ) from None
            self.patience_s = math.inf
            stack.callback(setattr, self, "patience_s", 0.0)
            yield

    @abstractmethod
    def lock(self, does: str) -> AbstractContextManager[None]:
        """What `hold` holds.

        Raises:
            SearchError, OSError: it cannot be had.
        """

    @abstractmethod
    def read_log(self) -> bytes:
        """All whole lines of the ledger.

        Raises:
            SearchError: a part of it is damaged, or missing.
        """

    def append_log(self, lines: bytes, *, is_synced: bool = True) -> None:
        """Write whole lines to the end of the ledger, while it is held. Returns when they are there to stay, however
        long the storage is away.

        Args:
            is_synced: against a power cut too.

        Raises:
            SearchError: it is not held any more.
        """
        self.outage.retry(lambda: self.write_log(lines, is_synced=is_synced))

    @abstractmethod
    def write_log(self, lines: bytes, *, is_synced: bool) -> None:
        """Try once to write them.

        Raises:
            OSError: the storage is away, or full: the same lines may be tried again.
        """

    # --------------------------------------------------------------------------------------------------------- files

    def write(self, name: str, content: bytes) -> None:
        """Write a file, whole or not at all."""
        self.retry(lambda: self.write_once(name, content))

    @abstractmethod
    def write_once(self, name: str, content: bytes) -> None:
        """Try once to write it.

        Raises:
            OSError: the storage is away, or full.
        """

    def send(self, name: str, source: Path) -> None:
        """Copy a file of this machine to the storage, whole or not at all."""
        self.retry(lambda: self.send_once(name, source))

    @abstractmethod
    def send_once(self, name: str, source: Path) -> None:
        """Try once to copy it.

        Raises:
            OSError: the storage is away, or full.
        """

    @abstractmethod
    def save_folder(self, name: str, digests: dict[str, str]) -> AbstractContextManager[Path]:
        """A folder to write files into, which then stands on the storage under this name. A context manager.

        Args:
            digests: gets SHA-256 by file.

        Raises:
            OSError: the storage is full, or away; nothing is left that looks like the folder.
        """

    @property
    def settled_uri(self) -> str:
        """The URI for other processes: whoever opens it needs to ask nobody where it is."""
        return self.uri

    def locate(self, name: str) -> str:
        """A path of the file system."""
        return f"{self.home}/{name}" if name else self.home

    def read(self, name: str) -> bytes | None:
        """The bytes of a file; None where there is none."""
        try:
            return self.retry(lambda: read_file(self.filesystem, self.locate(name)))
        except FileNotFoundError:
            return None

    def fetch(self, name: str, target: Path) -> None:
        """Copy a file to this machine, complete or absent.

        Raises:
            OSError: it is not there, or the storage is away.
        """
        self.retry(lambda: self.fetch_once(name, target))

    def fetch_once(self, name: str, target: Path) -> None:
        """Try once to copy it."""
        with whole(target) as temporary:
            local = pafs.LocalFileSystem()
            pafs.copy_files(
                self.locate(name), str(temporary), source_filesystem=self.filesystem, destination_filesystem=local
            )

    def copy(self, source: str, target: str) -> None:
        """Copy a file within the storage.

        Raises:
            OSError: it is not there, or the storage is away.
        """
        self.retry(lambda: self.copy_once(source, target))

    def copy_once(self, source: str, target: str) -> None:
        """Try once to copy it. An object store tells of a source that is not there as it does of being away."""
        if self.filesystem.get_file_info(self.locate(source)).type == pafs.FileType.NotFound:
            raise FileNotFoundError(errno.ENOENT, "there is no such file", self.locate(source))
        self.filesystem.create_dir(self.locate(target).rpartition("/")[0])
        self.filesystem.copy_file(self.locate(source), self.locate(target))

    def list(self, name: str = "") -> list[str]:
        """What stands in a folder, by name; nothing where there is none."""
        found = self.retry(
            lambda: self.filesystem.get_file_info(pafs.FileSelector(self.locate(name), allow_not_found=True))
        )
        return sorted(entry.base_name for entry in found)

    def measure(self) -> int:
        """Bytes of all files."""
        selector = pafs.FileSelector(self.home, allow_not_found=True, recursive=True)
        return sum(entry.size or 0 for entry in self.retry(lambda: self.filesystem.get_file_info(selector)))

    def delete(self, name: str = "") -> None:
        """Delete a folder with all in it; what is gone already is no fault."""
        with suppress(FileNotFoundError):
            self.retry(lambda: self.filesystem.delete_dir(self.locate(name)))

    def retry(self, ask: Callable[[], Result]) -> Result:
        """What `ask` gives, though the storage be away for a while: for ever where it is held."""
        return self.outage.retry(ask, self.patience_s)


class FolderStorage(Storage):
    """A folder: lines are appended to a file, under a lock of the file system."""

    def __init__(self, uri: str, filesystem: pafs.FileSystem, home: str) -> None:
        super().__init__(uri, filesystem, home)
        self.log: LogFile | None = None

    @property
    def log_path(self) -> Path:
        """Of the ledger."""
        return Path(self.locate(LEDGER + ".jsonl"))

    @contextmanager
    def lock(self, does: str) -> Iterator[None]:
        """See `Storage`."""
        folder = Path(self.home).parent
        with hold_search(SearchLayout(folder, self.name), does, "--storage"):
            try:
                yield
            finally:
                if self.log is not None:
                    self.log.close()
                    self.log = None

    def read_log(self) -> bytes:
        """See `Storage`."""
        content = self.log_path.read_bytes() if self.log_path.is_file() else b""
        return content[: content.rfind(b"\n") + 1]

    def write_log(self, lines: bytes, *, is_synced: bool) -> None:
        """See `Storage`."""
        if self.log is None:
            self.log = LogFile(self.log_path)
        self.log.append(lines, is_synced=is_synced)

    def write_once(self, name: str, content: bytes) -> None:
        """See `Storage`."""
        path = Path(self.locate(name))
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, content)

    def send_once(self, name: str, source: Path) -> None:
        """See `Storage`."""
        path = Path(self.locate(name))
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole(path) as temporary:
            shutil.copyfile(source, temporary)

    @contextmanager
    def save_folder(self, name: str, digests: dict[str, str]) -> Iterator[Path]:
        """See `Storage`."""
        folder = Path(self.locate(name))
        folder.parent.mkdir(parents=True, exist_ok=True)
        with open_scratch(folder.parent) as made:
            yield made
            digests |= hash_files(made)
            shutil.rmtree(folder, ignore_errors=True)
            made.rename(folder)


@dataclass(frozen=True)
class Part:
    """A part of the ledger, by its name.

    Attributes:
        digest: the first 16 hex digits of the SHA-256 of its bytes.
    """

    number: int
    generation: int
    digest: str

    @property
    def file(self) -> str:
        """Its name."""
        return f"{LEDGER}/{self.number:08d}-{self.generation:08d}-{self.digest}.jsonl"


class ObjectStorage(Storage):
    """An object store: lines are written as numbered parts, under a lease.

    Args:
        lease_seconds: how long the lease of a killed process lasts.
    """

    def __init__(self, uri: str, filesystem: pafs.FileSystem, home: str, lease_seconds: float = LEASE_SECONDS) -> None:
        super().__init__(uri, filesystem, home)
        self.lease_seconds = lease_seconds
        self.lease: Lease | None = None
        self.next_number: int | None = None
        self.doubtful: Part | None = None  # was tried, and may be there or not

    @property
    def settled_uri(self) -> str:
        """See `Storage`. Of S3's, with the region, which pyarrow would ask AWS for each time."""
        place, _, query = self.uri.partition("?")
        region = getattr(self.filesystem, "region", None)
        if not region or REGION_KNOWN.search(query):
            return self.uri
        return f"{place}?{query}{'&' if query else ''}region={region}"

    @contextmanager
    def lock(self, does: str) -> Iterator[None]:
        """See `Storage`."""
        lease = Lease(self.filesystem, f"{self.locks}/{self.name}", does, self.outage, self.lease_seconds)
        lease.take(max((part.generation for part in self.list_parts()), default=0))
        self.lease, self.next_number, self.doubtful = lease, None, None
        try:
            yield
        finally:
            self.lease = None
            lease.release()

    def list_parts(self) -> list[Part]:
        """All parts, those that do not count too."""
        matches = filter(None, map(PART.fullmatch, self.list(LEDGER)))
        return [Part(int(match[1]), int(match[2]), match[3]) for match in matches]

    def choose_parts(self) -> list[Part]:
        """The parts that count, in order.

        Raises:
            SearchError: one is missing, or two have one place.
        """
        places: dict[int, list[Part]] = {}
        for part in self.list_parts():
            places.setdefault(part.number, []).append(part)
        chosen: list[Part] = []
        for number in range(max(places, default=-1) + 1):
            if number not in places:
                raise self.build_damage(f"number {number} is missing")
            best, *others = sorted(places[number], key=lambda part: part.generation, reverse=True)
            if others and others[0].generation == best.generation:
                raise self.build_damage(f"{best.file} and {others[0].file} have one place")
            if chosen and best.generation < chosen[-1].generation:
                break  # written by a process that had lost its lease
            chosen.append(best)
        return chosen

    def build_damage(self, what: str) -> SearchError:
        """That the ledger cannot be read, and why."""
        return SearchError(
            f"every part of a ledger must be there, as it was written, but in {self.uri} {what}; restore it from a "
            "backup"
        )

    def read_log(self) -> bytes:
        """See `Storage`. Whoever holds it writes behind what was read first: what comes later is of one who lost it."""
        parts = self.choose_parts()
        if self.lease is not None and self.next_number is None:
            self.next_number = len(parts)
        with ThreadPoolExecutor(READERS) as pool:
            contents = list(pool.map(lambda part: self.read(part.file) or b"", parts))
        for part, content in zip(parts, contents, strict=True):
            if shorten(content) != part.digest or not content.endswith(b"\n"):
                raise self.build_damage(f"{part.file} is damaged")
        return b"".join(contents)

    def write_log(self, lines: bytes, *, is_synced: bool) -> None:
        """See `Storage`. What an object store has taken is there to stay."""
        if self.lease is None:
            raise SearchError(f"whoever writes a search holds its storage, but this process let go of {self.uri}")
        if self.next_number is None:
            self.next_number = len(self.choose_parts())
        part = Part(self.next_number, self.lease.generation, shorten(lines))
        if self.doubtful not in (None, part):
            raise SearchError(
                f"a search goes on when its storage has taken each event, but {self.uri} was not waited for; go on "
                "with --resume when it answers again"
            )
        self.lease.check()
        self.doubtful = part
        self.filesystem.create_dir(self.locate(LEDGER))
        write_file(self.filesystem, self.locate(part.file), lines)
        self.next_number, self.doubtful = part.number + 1, None

    def write_once(self, name: str, content: bytes) -> None:
        """See `Storage`."""
        path = self.locate(name)
        self.filesystem.create_dir(path.rpartition("/")[0])
        write_file(self.filesystem, path, content)

    def send_once(self, name: str, source: Path) -> None:
        """See `Storage`."""
        self.filesystem.create_dir(self.home)
        pafs.copy_files(str(source), self.locate(name), destination_filesystem=self.filesystem)

    @contextmanager
    def save_folder(self, name: str, digests: dict[str, str]) -> Iterator[Path]:
        """See `Storage`."""
        with open_scratch(None) as made:
            yield made
            digests |= hash_files(made)
            self.retry(lambda: self.upload(made, name))

    def upload(self, folder: Path, name: str) -> None:
        """Copy the files of a folder of this machine to the storage."""
        self.filesystem.create_dir(self.locate(name))
        pafs.copy_files(str(folder), self.locate(name), destination_filesystem=self.filesystem)


def open_storage(uri: str, patience_s: float = 0.0, tell: Callable[[str], None] = tell_nobody) -> Storage:
    """The storage of a search.

    Args:
        uri: an absolute path, or a URI that pyarrow knows (s3://, gs://, file://).
        patience_s: how long an object store that is away is asked again. A folder is there, or is not.
        tell: called with a line where it goes away, and one where it is back.

    Raises:
        SearchError: it knows no such store, or the store is away, or has no such bucket.
    """
    outage = Outage(uri, tell)
    try:  # pyarrow asks AWS for the region of a bucket where the URI has none
        filesystem, home = outage.retry(lambda: pafs.FileSystem.from_uri(uri), patience_s)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise SearchError(
            f"--storage must be a folder, s3://... or gs://..., but got {show_value(uri)} ({error}); give another"
        ) from None
    except OSError as error:
        raise SearchError(
            f"--storage must be a bucket that answers, but {uri} does not ({first_line(error)}); look at its name, "
            "your rights and the network, or name the region: s3://BUCKET/FOLDER?region=REGION"
        ) from None
    if isinstance(filesystem, pafs.LocalFileSystem):
        return FolderStorage(uri, filesystem, home)
    storage = ObjectStorage(uri, filesystem, home)
    storage.outage, storage.patience_s = outage, patience_s
    return storage


def is_folder(uri: str) -> bool:
    """Whether it names a folder, by a path or a URI."""
    return "://" not in uri or uri.startswith("file://")


@contextmanager
def open_scratch(beside: Path | None) -> Iterator[Path]:
    """A folder that is gone in the end, unless it was renamed. beside: in there; None: in the temp folder."""
    made = Path(tempfile.mkdtemp(prefix=SCRATCH, dir=beside))
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def hash_files(folder: Path) -> dict[str, str]:
    """SHA-256 of each file of a folder, by name."""
    return {path.name: hash_file(path) for path in sorted(folder.iterdir())}


def shorten(content: bytes) -> str:
    """What a part's name tells of its bytes."""
    return hashlib.sha256(content).hexdigest()[:16]
