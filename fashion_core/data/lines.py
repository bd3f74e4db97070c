"""Text files of a data set's `split/` -> rows of words with their line numbers, whatever form they circulate in."""

from __future__ import annotations

import codecs
import re
from typing import TYPE_CHECKING, NamedTuple

from fashion_core.errors import DataError, Fault

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SPLITS = ("train", "val", "test")
SPLIT_NAMES = {  # the words that people have for them, in small letters
    **{name: "train" for name in ("train", "training")},
    **{name: "val" for name in ("val", "valid", "validation", "dev")},
    **{name: "test" for name in ("test", "testing")},
}
MAX_FILE_BYTES = 1 << 28
WHOLE_NUMBER = re.compile(r"[+-]?[0-9]{1,9}")  # nine digits fit int32
NUMBER = re.compile(r"[+-]?[0-9]{1,9}(\.[0-9]{0,30})?([eE][+-]?[0-9]{1,2})?")  # as numpy.savetxt writes them too
MAX_NUMBER = 10**9
UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
NUMBER_START = re.compile(r"[+-]?\.?[0-9]")


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
    images = read_rows(folder / "split" / f"{split}.txt", faults, numbers=False)
    boxes = read_rows(folder / "split" / f"{split}_bbox.txt", faults)
    labels = None
    if split != "test" or (folder / "split" / f"{split}_attr.txt").exists():
        labels = read_rows(folder / "split" / f"{split}_attr.txt", faults)
    return SplitText(split, images, boxes, labels, faults)


def read_lines(path: Path, max_bytes: int = MAX_FILE_BYTES) -> list[str]:
    """The lines of a text file without their ends (LF, CRLF or CR), as an editor counts them.

    It is UTF-8; or UTF-16 that begins with its mark, as spreadsheets write it.

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
        text = content.decode("utf-16" if content.startswith(UTF16_MARKS) else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise fault_of_file(file, line, f"it must be UTF-8 text, but is not ({error.reason}); convert it") from None
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def fault_of_file(file: str, line: int | None, message: str) -> DataError:
    """An error of this one fault."""
    return DataError("a file of the data set is at fault:", [Fault(file, line, message)])


def read_rows(path: Path, faults: list[Fault], *, numbers: bool = True) -> list[TextRow] | None:
    """The rows of a file, without empty lines and without what may stand before them: a count, a header.

    Args:
        faults: gets the reason where the answer is None, and a count that does not hold.
        numbers: a row is numbers; else a path.
    """
    try:
        lines = read_lines(path)
    except DataError as error:
        faults.extend(error.faults)
        return None
    rows = [TextRow(number, line.split()) for number, line in enumerate(lines, 1) if line.strip()]
    # a count stands only before a header: alone, a single number is a row that lost its others
    if len(rows) > 1 and is_count(rows[0].words) and is_header(rows[1:], numbers=numbers):
        announced, rows = rows[0], rows[2:]
        if int(announced.words[0]) != len(rows):
            message = f"the first line must be the number of rows, {len(rows)}, but is {announced.words[0]}; correct it"
            faults.append(Fault(f"{path.parent.name}/{path.name}", announced.line, message))
    elif rows and is_header(rows, numbers=numbers):
        rows = rows[1:]
    return rows


def is_count(words: Sequence[str]) -> bool:
    """Whether a row is a single whole number."""
    return len(words) == 1 and is_whole(words[0])


def is_header(rows: Sequence[TextRow], *, numbers: bool) -> bool:
    """Whether the first of these rows names columns.

    No word of it begins as a number does, between commas either; or nothing in it could be a path, as all below could.
    """
    if numbers:
        return not has_number(rows[0].words)
    return not (could_be_path(rows[0].words) or is_count(rows[0].words)) and all(
        could_be_path(row.words) for row in rows[1:2]
    )


def has_number(words: Sequence[str]) -> bool:
    """Whether a word of a row begins as a number does, or one between its commas."""
    return any(NUMBER_START.match(part) for word in words for part in re.split("[,;]", word))


def could_be_path(words: Sequence[str]) -> bool:
    """Whether something in a row could be a path."""
    return any(mark in word for word in words for mark in "./\\")


def is_whole(word: str) -> bool:
    """Whether a word is a whole number that fits int32."""
    return WHOLE_NUMBER.fullmatch(word) is not None


def parse_number(word: str) -> float | None:
    """The number that a word is, of at most nine digits before the point; None where it is none."""
    number = float(word) if NUMBER.fullmatch(word) else MAX_NUMBER
    return number if abs(number) < MAX_NUMBER else None


def parse_whole(word: str) -> int | None:
    """The whole number that a word is, `5` or `5.0`; None where it is none."""
    number = parse_number(word)
    return int(number) if number is not None and number.is_integer() else None
