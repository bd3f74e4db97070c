"""Tries on judging images: which candidates were judged on them, or were about to be, whatever search they came from.

A try is written down before anything is judged, so one that is refused or cut off counts too. Images are known by the
digests of their files: a copy under other names is the same set, and a set that shares half or more of the smaller of
the two with another counts as that one. Beside the results, `.attempts/FINGERPRINT.jsonl` holds the tries on one set:
its images in the first line, then a line a try. `search.registry.attempts` holds the same with the registry.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field

from fashion_core.errors import SearchError
from fashion_core.files import MAX_JSON_BYTES, build_damage, check_form, parse_json, read_plain
from search.records.events import Moment

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from search.records.record import SearchRecord

DIGEST_LETTERS = 16  # of a file's SHA-256: 64 bits tell a billion images apart
ENDING = ".jsonl"


class Attempt(BaseModel):
    """A try, in one line.

    Attributes:
        time: unix seconds.
        search: its name.
        key: names the promotion with its options, see `PromotionOptions.build_key`.
        model: name of the registered model.
        opponent: what it was judged against, in words; "" before that is known.
        answers: digest of what was held against what; "" where it was begun and not judged yet.
        score: of what was judged, of its objective; None before it was, and in books of earlier versions.
        note: what a reader must know, of a look that was no promotion, or of a try that was written down by hand.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    time: Moment
    search: str
    key: str = Field(min_length=1)
    model: str = ""
    opponent: str = ""
    answers: str = ""
    score: float | None = None
    note: str = ""

    @property
    def identity(self) -> tuple[str, str]:
        """The same for a try that is given again with nothing changed."""
        return self.key, self.answers


class ImagesLine(BaseModel):
    """The first line of a file: the images, by the first letters of their files' SHA-256."""

    images: list[str] = Field(min_length=1)


@dataclass(frozen=True)
class JudgedImages:
    """A set of images, and the tries on it.

    Attributes:
        digests: of their files, `DIGEST_LETTERS` each.
    """

    digests: frozenset[str]
    attempts: tuple[Attempt, ...] = ()

    @property
    def fingerprint(self) -> str:
        """Names the set."""
        return hashlib.blake2b("".join(sorted(self.digests)).encode(), digest_size=8).hexdigest()

    def is_like(self, other: JudgedImages) -> bool:
        """Whether what was learned from one tells of the other: half of the smaller set, or more, is in both."""
        return 2 * len(self.digests & other.digests) >= min(len(self.digests), len(other.digests))


def describe_images(digests: Iterable[str]) -> JudgedImages:
    """The set of these images. digests: SHA-256 of their files, hex."""
    return JudgedImages(frozenset(digest[:DIGEST_LETTERS] for digest in digests))


def merge(*books: Sequence[JudgedImages]) -> list[JudgedImages]:
    """Every set once, with all tries that are known of it; of one that is known twice, the first."""
    found: dict[str, JudgedImages] = {}
    for each in (each for book in books for each in book):
        known = found.get(each.fingerprint, each)
        attempts: dict[tuple[str, str], Attempt] = {}
        for attempt in sorted((*known.attempts, *each.attempts), key=lambda attempt: attempt.time):
            attempts.setdefault(attempt.identity, attempt)
        found[each.fingerprint] = replace(known, attempts=tuple(attempts.values()))
    return list(found.values())


def list_attempts(books: Sequence[JudgedImages], images: JudgedImages) -> list[Attempt]:
    """The tries that count for some images, in order of time.

    One that was begun is one try with its judgement. Judged again, it is the same try where all answers are the same,
    and else another: the procedure has changed.
    """
    found: list[Attempt] = []
    told = (attempt for each in merge(books) if each.is_like(images) for attempt in each.attempts)
    for attempt in sorted(told, key=lambda attempt: attempt.time):
        answers = [each.answers for each in found if each.key == attempt.key]
        if "" in answers and attempt.answers:
            found[[each.identity for each in found].index((attempt.key, ""))] = attempt
        elif not answers or attempt.answers not in ("", *answers):
            found.append(attempt)
    return found


def find_number(attempts: Sequence[Attempt], attempt: Attempt) -> int:
    """Which of the tries it is, from 1; of one that is begun again, the number of its first judgement."""
    same = [each.identity == attempt.identity for each in attempts]
    return 1 + (same if any(same) else [each.key == attempt.key for each in attempts]).index(True)


# ------------------------------------------------------------------------------------------------- beside the results


def read_book(folder: Path) -> list[JudgedImages]:
    """All sets of images that were judged on, with their tries; none where there is no folder.

    Raises:
        SearchError: a file is damaged.
    """
    found = (read_file(path) for path in sorted(folder.glob(f"*{ENDING}")))
    return [each for each in found if each is not None]


def read_file(path: Path) -> JudgedImages | None:
    """One of them; None without a whole first line. A last line that a kill, or a full disk, cut off is left out.

    Raises:
        SearchError: the file is damaged, or of other images than it is named after.
    """
    try:
        lines = read_plain(path, MAX_JSON_BYTES).split(b"\n")[:-1]
        if not lines:
            return None
        first, *rest = lines
        images = describe_images(check_form(parse_json(first), ImagesLine).images)
        if images.fingerprint != path.stem:
            raise ValueError(f"its images have the fingerprint {images.fingerprint}")
        return replace(images, attempts=tuple(check_form(parse_json(line), Attempt) for line in rest))
    except (OSError, ValueError) as error:
        what, remedy = "hold tries on judging images, a line each", "restore it from a backup"
        raise build_damage(path, what, remedy, SearchError, error) from None


def enter_look(folder: Path, images: JudgedImages, look: Attempt) -> int:
    """Write down that something was scored on images, which is no promotion. Returns how often they were looked at.

    Raises:
        SearchError: it cannot be written, or a file is damaged.
    """
    known = merge(read_book(folder), [replace(images, attempts=(look,))])
    add_to_book(folder, [each for each in known if each.is_like(images)])
    return len(list_attempts(read_book(folder), images))


def describe_search(record: SearchRecord) -> Attempt:
    """A search that selects on the images that judge, as a look at them: the same for each of its promotions."""
    key, note = f"search {record.name}, begun {record.begun.time:.0f}", "the search selected on these images"
    return Attempt(time=record.begun.time, search=record.name, key=key, answers="searched", note=note)


def enter_search(folder: Path, record: SearchRecord, digests: Iterable[str]) -> None:
    """Write down that a search selects on val, before it does; nothing where it selects on images held out of train.

    digests: SHA-256 of the files of the images that it selects on.

    Raises:
        SearchError: see `enter_look`.
    """
    if record.settings.get("select_on") == "val":
        enter_look(folder, describe_images(digests), describe_search(record))


def add_to_book(folder: Path, books: Sequence[JudgedImages]) -> None:
    """Write down what is not there yet. Two processes that do so wait for each other.

    Raises:
        SearchError: it cannot be written, or a file is damaged.
    """
    for each in books:
        path = folder / f"{each.fingerprint}{ENDING}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with path.open("a+b") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                file.seek(0)
                size = file.read().rfind(b"\n") + 1
                file.truncate(size)  # a line that a kill cut off
                if not size:
                    file.write(json.dumps({"images": sorted(each.digests)}).encode() + b"\n")
                    file.flush()
                written = read_file(path)
                known = {attempt.identity for attempt in (() if written is None else written.attempts)}
                lines = [attempt.model_dump_json() for attempt in each.attempts if attempt.identity not in known]
                file.write("".join(f"{line}\n" for line in lines).encode())
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise SearchError(
                f"a try must be written down before it is judged, but {path} cannot be written "
                f"({error.strerror or error}); give another --results"
            ) from None
