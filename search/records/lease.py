"""A lock on an object store, which has no flock: a lease that its holder renews, and that others may have once it ends.

Each who asks writes a claim, a file of its own in the lock's folder: `00000003-<token>.json`, which begins with the
generation of the lease. Nobody writes the file of another, so that two who ask at once see each other's and both step
back, to try again. A claim is renewed by being written again, and its age is told by the store's own clock, against a
file written just then: clocks of machines may differ. A later generation has taken the lease from an earlier one.
"""

from __future__ import annotations

import json
import random
import secrets
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow.fs as pafs

from fashion_core.errors import SearchError
from search.records.locks import Holder, name_holder

if TYPE_CHECKING:
    from collections.abc import Mapping

    from search.records.outage import Outage

LEASE_SECONDS = 20.0  # without being renewed; a killed holder's is free after that
RENEWALS = 4  # of a lease, while it would last once
TRIES = 8  # of two who ask at once
LONGEST_PAUSE = 0.5  # in seconds, of one that stepped back


@dataclass(frozen=True)
class Claim:
    """One who holds the lease, held it, or asks for it.

    Attributes:
        age: in seconds since it was written last, by the store's clock.
    """

    path: str
    generation: int
    age: float


class Lease:
    """A lease, held from `take` to `release`.

    Args:
        folder: of the claims.
        does: what its holder, see `search.records.locks`.
        outage: of the storage, whose thread that renews the lease sees it first.
        seconds: how long it lasts without being renewed.

    Attributes:
        generation: of this holding: larger than that of any before.
    """

    def __init__(
        self,
        filesystem: pafs.FileSystem,
        folder: str,
        does: str,
        outage: Outage,
        seconds: float = LEASE_SECONDS,
    ) -> None:
        self.filesystem, self.folder, self.outage, self.seconds = filesystem, folder, outage, seconds
        self.owner = name_holder(does).model_dump()
        self.token = secrets.token_hex(8)
        self.generation = 0
        self.valid_until = 0.0  # by this process's monotonic clock
        self.is_lost = False
        self.ended = threading.Event()
        self.lock = threading.Lock()  # of renewing, which the thread does and whoever writes
        self.thread: threading.Thread | None = None

    @property
    def path(self) -> str:
        """Of this one's claim."""
        return f"{self.folder}/{self.generation:08d}-{self.token}.json"

    # -------------------------------------------------------------------------------------------------------- taking

    def take(self, at_least: int = 0) -> None:
        """Hold it, and renew it from a thread.

        Args:
            at_least: a generation that is known from elsewhere; this one's is larger.

        Raises:
            SearchError: another holds it.
        """
        for _ in range(TRIES):
            if self.try_once(at_least):
                self.thread = threading.Thread(target=self.keep_renewing, daemon=True, name="lease")
                self.thread.start()
                return
            time.sleep(random.uniform(0, LONGEST_PAUSE))
        raise self.build_busy(None)

    def try_once(self, at_least: int) -> bool:
        """Claim it, and look whether another did at the same time: then the claim is taken back."""
        claims = self.list_claims()
        for claim in claims:
            if claim.age <= self.seconds and not (owner := self.read_owner(claim)).get("released", False):
                if owner.get("asks", False):
                    return False  # it may step back yet
                raise self.build_busy(owner, self.seconds - claim.age)
        self.generation = max([at_least, *(claim.generation for claim in claims)]) + 1
        started = time.monotonic()
        self.write(self.path, asks=True)
        if any(other.generation >= self.generation for other in self.list_others()):
            self.filesystem.delete_file(self.path)
            return False
        self.write(self.path)
        self.valid_until = started + self.seconds
        for claim in claims:  # all ended, and of earlier generations
            with suppress(OSError):
                self.filesystem.delete_file(claim.path)
        return True

    def list_claims(self) -> list[Claim]:
        """All claims, with their ages."""
        now = f"{self.folder}/now-{self.token}"
        self.filesystem.create_dir(self.folder)
        write_file(self.filesystem, now, b"")
        entries = self.filesystem.get_file_info(pafs.FileSelector(self.folder))
        self.filesystem.delete_file(now)
        present = next((entry.mtime_ns for entry in entries if entry.base_name == f"now-{self.token}"), None)
        if present is None:
            raise SearchError(f"a storage must list what was just written, but {self.folder} does not; use another")
        return [
            Claim(entry.path, int(entry.base_name.partition("-")[0]), (present - entry.mtime_ns) / 1e9)
            for entry in entries
            if is_claim(entry.base_name)
        ]

    def list_others(self) -> list[Claim]:
        """The claims of others, without their ages."""
        entries = self.filesystem.get_file_info(pafs.FileSelector(self.folder, allow_not_found=True))
        return [
            Claim(entry.path, int(entry.base_name.partition("-")[0]), 0.0)
            for entry in entries
            if is_claim(entry.base_name) and self.token not in entry.base_name
        ]

    def read_owner(self, claim: Claim) -> dict[str, Any]:
        """What a claim says; nothing where it is gone or damaged: then its age alone counts."""
        with suppress(OSError, ValueError):
            found = json.loads(read_file(self.filesystem, claim.path))
            if isinstance(found, dict):
                return found
        return {}

    def build_busy(self, owner: Mapping[str, Any] | None, seconds_left: float | None = None) -> SearchError:
        """That another holds it, and who."""
        who = f"another process works on {self.outage.uri}"
        with suppress(ValueError):
            who = str(Holder.model_validate(owner))
        free = "" if seconds_left is None else f" (if that was killed, it is free in {max(seconds_left, 0):.0f} s)"
        return SearchError(f"one process works on a search at a time, but {who}; wait for it, or end it{free}")

    # -------------------------------------------------------------------------------------------------------- holding

    def check(self) -> None:
        """Whoever writes asks first. Renews a lease that has run out meanwhile.

        Raises:
            SearchError: another has taken it. So it will be from then on.
            OSError: it has run out, and cannot be renewed now.
        """
        if not self.is_lost and time.monotonic() > self.valid_until:
            self.renew()
        if self.is_lost:
            raise SearchError(
                f"whoever writes a search holds its storage, but another process has taken {self.outage.uri} since "
                f"this one did not renew it for {self.seconds:.0f} s; what was written till then stands, and that "
                "process goes on with it"
            )

    def renew(self) -> None:
        """Write the claim again, then look whether another has taken the lease."""
        with self.lock:
            if self.is_lost or self.ended.is_set():
                return
            started = time.monotonic()
            self.write(self.path)
            if any(other.generation >= self.generation and self.has_taken(other) for other in self.list_others()):
                self.is_lost = True
                with suppress(OSError):
                    self.filesystem.delete_file(self.path)
                return
            self.valid_until = started + self.seconds

    def has_taken(self, other: Claim) -> bool:
        """Whether such a claim counts: one of this generation that only asks steps back."""
        return other.generation > self.generation or not self.read_owner(other).get("asks", True)

    def keep_renewing(self) -> None:
        """Until the end. A storage that is away is asked again: nobody else can have it meanwhile."""
        while not self.ended.wait(self.seconds / RENEWALS):
            try:
                self.renew()
            except OSError as error:
                self.outage.begin(error)
            else:
                self.outage.end()

    def release(self) -> None:
        """Let another have it at once. The claim stays, so that the next generation is a larger one."""
        self.ended.set()
        if self.thread is not None:
            self.thread.join()
        with suppress(OSError):
            if not self.is_lost:
                self.write(self.path, released=True)

    def write(self, path: str, **state: bool) -> None:
        """Write the claim."""
        write_file(self.filesystem, path, json.dumps(self.owner | {"token": self.token} | state).encode())


def is_claim(name: str) -> bool:
    """Whether a file of the folder is one."""
    return name.partition("-")[0].isdigit() and name.endswith(".json")


def write_file(filesystem: pafs.FileSystem, path: str, content: bytes) -> None:
    """Write a file of a storage at once."""
    with filesystem.open_output_stream(path) as stream:
        stream.write(content)


def read_file(filesystem: pafs.FileSystem, path: str) -> bytes:
    """The bytes of a file of a storage."""
    with filesystem.open_input_stream(path) as stream:
        content: bytes = stream.read()
    return content
