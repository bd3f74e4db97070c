"""Tables of any text stay tables, and no text says where it was written."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fashion_core.escaping import show_text
from search.reporting.tables import Rows, hide_places, join_parts, render_table

CELLS = st.text(
    st.sampled_from("|\n\r ab") | st.characters(exclude_categories=["Cs"], exclude_characters="\\"), max_size=8
)
NAMES = st.from_regex(r"[a-z0-9_]([a-z0-9_.-]{0,8}[a-z0-9_.])?", fullmatch=True)


def read_table(text):
    """Cells by row, as a reader of Markdown takes them: a bar divides where no backslash stands before it."""
    rows = []
    for line in text.split("\n"):
        assert line.startswith("| ") and line.endswith(" |")
        rows.append([cell.replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
    return rows


@given(st.integers(1, 4).flatmap(lambda width: st.lists(st.lists(CELLS, min_size=width, max_size=width), min_size=1)))
def test_a_table_holds_the_text_of_every_cell(lines):
    head, *rows = lines
    read = read_table(render_table(head, rows))
    assert [cell.strip() for cell in read.pop(1)] == ["---"] * len(head)
    assert [[cell[1:-1] for cell in row] for row in read] == [
        [show_text(cell.replace("\r\n", " ").replace("\r", " ").replace("\n", " ")) for cell in row] for row in lines
    ]


def test_a_document_is_of_paragraphs_and_tables():
    parts = ["# Title", Rows(("a", "b"), [("1", "2")]), "The end."]
    assert join_parts(parts) == "# Title\n\n| a | b |\n| --- | --- |\n| 1 | 2 |\n\nThe end.\n"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("no file /srv/me/x.py", "no file x.py"),
        ("'/a/b/c.txt' is gone", "'c.txt' is gone"),
        ("in ~/pictures/img: 3/4 of val/accuracy, ../shared/data", "in img: 3/4 of val/accuracy, ../shared/data"),
        (r"C:\Users\me\x.py", "x.py"),
        ("sqlite:////srv/me/m.db and s3://bucket/key", "sqlite:[address] and s3:[address]"),
        ("ray (pid=1, ip=10.0.0.7)", "ray (pid=1, ip=[address])"),
        ("loss was nan; lower `lr`, 0.5 / 2", "loss was nan; lower `lr`, 0.5 / 2"),
    ],
)
def test_places_are_hidden(text, shown):
    assert hide_places(text) == shown


@given(st.lists(NAMES, min_size=1, max_size=5), st.sampled_from(["/", "~/", "C:\\", "//"]), st.booleans())
def test_of_an_absolute_path_the_last_name_stays(names, root, is_folder):
    slash = "\\" if root == "C:\\" else "/"
    path = root + slash.join(names) + slash * is_folder
    assert hide_places(f"no file {path}") == f"no file {names[-1]}"
    assert hide_places(f"open('{path}'), twice") == f"open('{names[-1]}'), twice"


@given(st.lists(NAMES, min_size=2, max_size=5))
def test_a_relative_path_stays(names):
    text = "in " + "/".join(names)
    assert hide_places(text) == text


@given(st.ip_addresses(v=4), st.none() | st.integers(1, 65_535))
def test_addresses_are_hidden(address, port):
    where = f"{address}" if port is None else f"{address}:{port}"
    assert hide_places(f"no answer from {where}, ended") == "no answer from [address], ended"
    assert hide_places(f"see http://{where}/a/b?c=d for more") == "see http:[address] for more"


@given(st.text(st.sampled_from("ab ./~:'\\10"), max_size=30))
def test_hiding_twice_is_hiding_once(text):
    assert hide_places(hide_places(text)) == hide_places(text)
