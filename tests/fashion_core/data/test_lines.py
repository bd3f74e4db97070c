"""Rows of the split files: what is a row, what is a header, and what no file may be."""

import os
from pathlib import Path

import pytest

from fashion_core.data.lines import TextRow, is_count, is_header, is_whole, read_lines, read_rows
from fashion_core.errors import DataError, Fault


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_are_those_of_an_editor(tmp_path: Path, end: str) -> None:
    path = tmp_path / "file.txt"
    path.write_bytes(b"\xef\xbb\xbf" + f"one two{end}{end}three".encode())
    assert read_lines(path) == ["one two", "", "three"]


def test_what_is_no_plain_text_is_told_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "split" / "train.txt"
    path.parent.mkdir()
    with pytest.raises(DataError, match=r"split/train\.txt: the file must exist"):
        read_lines(path)
    path.write_bytes(b"a\nb\nc\xff\n")
    with pytest.raises(DataError, match=r"split/train\.txt:3: it must be UTF-8 text"):
        read_lines(path)
    path.write_bytes(b"12345")
    with pytest.raises(DataError, match="at most 4 bytes, but has 5"):
        read_lines(path, 4)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(DataError, match="must be a plain file"):
        read_lines(path)


@pytest.mark.parametrize(
    ("text", "numbers", "rows"),
    [
        ("img/a.jpg\nimg/b.jpg\n", False, [(1, ["img/a.jpg"]), (2, ["img/b.jpg"])]),
        ("2\nimage_name\nimg/a.jpg\n\nimg/b.jpg", False, [(3, ["img/a.jpg"]), (5, ["img/b.jpg"])]),
        ("image_name\nimg/a.jpg\n", False, [(2, ["img/a.jpg"])]),
        ("x1 y1\n1 2\n3 4\n", True, [(2, ["1", "2"]), (3, ["3", "4"])]),
        ("1 2\n3 4\n", True, [(1, ["1", "2"]), (2, ["3", "4"])]),
        ("5\n3 4\n", True, [(1, ["5"]), (2, ["3", "4"])]),  # a row that lost its others, and no count
        ("", True, []),
    ],
)
def test_counts_and_headers_are_no_rows(tmp_path: Path, text: str, numbers: bool, rows: list) -> None:
    (tmp_path / "split").mkdir()
    (tmp_path / "split" / "val.txt").write_text(text)
    faults: list[Fault] = []
    assert read_rows(tmp_path / "split" / "val.txt", faults, numbers=numbers) == rows and not faults


def test_a_count_that_does_not_hold_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "split").mkdir()
    (tmp_path / "split" / "val.txt").write_text("3\nx1 y1\n1 2\n")
    faults: list[Fault] = []
    assert read_rows(tmp_path / "split" / "val.txt", faults) == [(3, ["1", "2"])]
    assert [(fault.line, "number of rows, 1, but is 3" in fault.message) for fault in faults] == [(1, True)]
    assert read_rows(tmp_path / "split" / "gone.txt", faults) is None and len(faults) == 2


def test_words() -> None:
    assert all(map(is_whole, ["0", "-12", "+7", "999999999"]))
    assert not any(map(is_whole, ["", "1.0", "1e3", "1234567890", "x", "\u0663"]))  # an Arabic 3 is a digit to `int`
    assert is_count(["12"]) and not is_count(["1", "2"]) and not is_count(["a"])
    for words, is_first in ((["image_name"], True), (["a.jpg"], False), (["7"], False)):
        assert is_header([TextRow(1, words), TextRow(2, ["b.jpg"])], numbers=False) is is_first
