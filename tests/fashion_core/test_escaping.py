"""Any text comes out of a Markdown reader as it went in, and does nothing to a terminal."""

from itertools import pairwise

import pytest
from hostile_names import CATEGORIES, CLASSES
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from matplotlib.figure import Figure

from fashion_core.command import run_command
from fashion_core.errors import Fault, SearchError
from fashion_core.escaping import (
    escape_markdown,
    name_file,
    show_lines,
    show_text,
    show_value,
    take_literally,
    write_code,
)
from fashion_core.escaping import write_name as write
from search.reporting.tables import render_table

TERMINAL = "a\x1b[31mb\r\nc\x07\u202ed\u2066e\x9bf\ud800g\u2028h"
SHOWN = r"a\x1b[31mb\r\nc\x07\u202ed\u2066e\x9bf\ud800g\u2028h"
TEXTS = st.text(
    st.sampled_from("`*_<>|$\\[]()!&#;~-+ ab1:") | st.characters(exclude_categories=["Cc", "Cf", "Cs", "Z"]),
    max_size=12,
)


def read(markdown):
    """The text of one paragraph, as a reader of GitHub's Markdown sees it, and the kinds of mark-up in it."""
    tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(markdown)
    kinds, texts = [token.type for token in tokens if token.type != "inline"], []
    for token in tokens:
        for child in token.children or []:
            kinds.append(child.type)
            texts.append(child.content)
    return "".join(texts), set(kinds)


@pytest.mark.parametrize("name", [*CATEGORIES, *CLASSES])
def test_a_name_is_read_as_it_is(name):
    text, kinds = read(f"- {write(name)}: it")
    assert text == f"{show_text(name)}: it"
    assert not kinds & {"em_open", "strong_open", "html_inline", "link_open", "s_open", "heading_open"}


def test_an_ordinary_name_stays_plain():
    for name in ("sleeve", "long_sleeve", "category_1", "Denim & Knit", "T-Shirt (new)", "größe 42", "a/b", "3.5"):
        assert write(name) == escape_markdown(name) == name


@given(TEXTS)
def test_any_name_is_read_as_it_is(name):
    if name.strip() != name or not name:
        return
    assert read(f"so {write(name)} is")[0] == f"so {name} is"
    assert read(f"so {write_code(name)} is")[0] == f"so {name} is"


@given(TEXTS)
def test_a_sentence_keeps_its_code_and_nothing_else(text):
    if text.strip() != text or "`" in text or not text:
        return
    shown, kinds = read(f"so {escape_markdown(f'{text} `lr` {text}')} is")
    assert shown == f"so {text} lr {text} is"
    assert kinds <= {"paragraph_open", "paragraph_close", "text", "text_special", "code_inline"}


@given(st.lists(TEXTS.filter(lambda text: text == text.strip() != ""), min_size=1, max_size=3))
def test_any_names_stand_in_their_cells(names):
    tokens = MarkdownIt("commonmark").enable("table").parse(render_table(["a", *map(write, names)], []))
    cells = [token for before, token in pairwise(tokens) if before.type == "th_open"]
    assert ["".join(child.content for child in cell.children) for cell in cells] == ["a", *names]


def test_what_a_terminal_would_obey_is_shown():
    assert show_text(TERMINAL) == write(TERMINAL).strip("`") == SHOWN
    assert show_lines("one\n two\x1b") == "one\n two\\x1b"
    assert show_text("größe 👨‍👩‍👧 نمی‌خواهم") == "größe 👨‍👩‍👧 نمی‌خواهم"  # joined letters stay joined
    assert str(Fault("a\nb", 3, "must not\x1b")) == "a\\nb:3: must not\\x1b"


def test_a_long_value_does_not_fill_a_message() -> None:
    assert show_value("a\nb") == repr("a\nb") and show_value(None) == "None"
    assert show_value("x" * 5000) == "'" + "x" * 199 + "..."


def test_an_error_of_a_command_does_nothing_to_the_terminal(capsys):
    def fail():
        raise SearchError(f"no search is {TERMINAL}\n  two")

    with pytest.raises(SystemExit):
        run_command(fail)
    assert capsys.readouterr().err == f"error: no search is {SHOWN}\n  two\n".replace("\\r\\n", "\\r\n")


def test_a_formula_is_drawn_as_text():
    figure = Figure()
    axes = figure.add_subplot()
    axes.set_title("under_$5_or_$10")
    axes.set_xticks(range(2), ["$x^$", "$\\frac$"])
    axes.plot([0, 1], [0, 1], label="$^$")
    axes.legend()
    take_literally(figure)
    figure.canvas.draw()  # raises where any is a formula
    assert axes.get_xticklabels()[0].get_text() == "$x^$"


@given(st.text(max_size=300), st.text(max_size=300))
def test_every_name_has_a_file_of_its_own(one, other):
    files = [name_file(one), name_file(other)]
    assert (files[0] == files[1]) == (one == other)
    for file in files:
        assert len(file.encode()) <= 160 and not set(file) & set("/\\ %?#()<>\"'`|\n\0")


def test_an_ordinary_names_file_is_the_name():
    assert [name_file(name) for name in ("sleeve", "category_1", "größe-2.5")] == ["sleeve", "category_1", "größe-2.5"]
