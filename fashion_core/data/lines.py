"""Text files of a data set's `split/` -> rows of words with their line numbers, whatever form they circulate in."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from fashion_core.errors import DataError, Fault

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SPLITS = ("train", "val", "test")
MAX_FILE_BYTES = 1 << 28
WHOLE_NUMBER = re.compile(r"[+-]?[0-9]{1,9}")  # nine digits fit int32


class TextRow(NamedTuple):
    """One row: its 1-based line and its words."""

    line: int
    words: list[str]


class SplitText(NamedTuple):
    """The rows of the files of one split, None where one is at fault or absent; and the faults of whole files."""

    split: str
    images: list[TextRow] | None
    boxes: list[TextRow] | None
    labels: list[TextRow] | None
    faults: list[Fault]


def read_splits(folder: Path) -> list[SplitText]:
    """The files of all splits of a data set's folder. Those of test may be absent, its labels alone too."""
    return [
        read_split(folder, split) for split in SPLITS if split != "test" or (folder / "split" / f"{split}.txt").exists()
    ]


def read_split(folder: Path, split: str) -> SplitText:
    """The files of one split."""
    faults: list[Fault] = []
    images = read_rows(folder, f"{split}.txt", faults, numbers=False)
    boxes = read_rows(folder, f"{split}_bbox.txt", faults)
    labels = None
    if split != "test" or (folder / "split" / f"{split}_attr.txt").exists():
        labels = read_rows(folder, f"{split}_attr.txt", faults)
    return SplitText(split, images, boxes, labels, faults)


def read_lines(path: Path, max_bytes: int = MAX_FILE_BYTES) -> list[str]:
    """The lines of a UTF-8 text file without their ends (LF, CRLF or CR), as an editor counts them.

    Raises:
        DataError: with one fault: the file is missing, too large, or not UTF-8.
    """
    file = f"{path.parent.name}/{path.name}"
    try:
        if not path.exists():
            raise fault_of_file(file, None, "the file must exist, but does not; restore it")
        if not path.is_file():  # reading a pipe or a device might never end
            raise fault_of_file(file, None, "it must be a plain file, but is not; replace it by one")
        if path.stat().st_size > max_bytes:
            size = f"{path.stat().st_size:,}"
            raise fault_of_file(file, None, f"it must have at most {max_bytes:,} bytes, but has {size}; split the set")
        content = path.read_bytes()
    except OSError as error:
        raise fault_of_file(file, None, f"it must be readable, but is not ({error.strerror})") from None
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise fault_of_file(file, line, f"it must be UTF-8 text, but is not ({error.reason}); convert it") from None
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def fault_of_file(file: str, line: int | None, message: str) -> DataError:
    """An error of this one fault."""
    return DataError("a file of the data set is at fault:", [Fault(file, line, message)])


def read_rows(folder: Path, name: str, faults: list[Fault], *, numbers: bool = True) -> list[TextRow] | None:
    """The rows of `split/<name>`, without empty lines and without what may stand before them: a count, a header.

    Args:
        faults: gets the reason where the answer is None, and a count that does not hold.
        numbers: a row is whole numbers; else a path.
    """
    try:
        lines = read_lines(folder / "split" / name)
    except DataError as error:
        faults.extend(error.faults)
        return None
    rows = [TextRow(number, line.split()) for number, line in enumerate(lines, 1) if line.strip()]
    # a count stands only before a header: alone, a single number is a row that lost its others
    if len(rows) > 1 and is_count(rows[0].words) and is_header(rows[1].words, numbers=numbers):
        announced, rows = rows[0], rows[2:]
        if int(announced.words[0]) != len(rows):
            message = f"the first line must be the number of rows, {len(rows)}, but is {announced.words[0]}; correct it"
            faults.append(Fault(f"split/{name}", announced.line, message))
    elif rows and is_header(rows[0].words, numbers=numbers):
        rows = rows[1:]
    return rows


def is_count(words: Sequence[str]) -> bool:
    """Whether a row is a single whole number."""
    return len(words) == 1 and is_whole(words[0])


def is_header(words: Sequence[str], *, numbers: bool) -> bool:
    """Whether a first row names columns: no word of it is a number, or nothing in it could be a path."""
    if numbers:
        return not any(is_whole(word) for word in words)
    return not any(mark in word for word in words for mark in "./\\") and not is_count(words)


def is_whole(word: str) -> bool:
    """Whether a word is a whole number that fits int32."""
    return WHOLE_NUMBER.fullmatch(word) is not None
