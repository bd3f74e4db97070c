"""A console that shows nothing shows nothing anywhere, and lines of a topic and a text stand in two columns."""

import ast
import io
from pathlib import Path

import pytest
from rich.console import Console

from search.reporting.terminal import choose_console, draw_pairs, draw_table, plain


def show(renderable, width=40):
    console = Console(file=io.StringIO(), width=width, force_terminal=False)
    console.print(renderable)
    return console.file.getvalue().splitlines()


def test_the_console_that_was_given_is_used():
    console = Console(file=io.StringIO())
    assert choose_console(console) is console


def test_where_none_was_given_nothing_is_shown(capfd, monkeypatch):
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.setenv(name, "1")
    console = choose_console(None)
    console.print("something")
    with console.status("working"):
        console.rule()
    assert not console.is_terminal and not console.is_jupyter and console.file.getvalue() == ""
    assert capfd.readouterr() == ("", "")
    assert choose_console(None) is not console  # no two who ask share one


def test_topics_and_texts_stand_in_columns():
    lines = show(draw_pairs([("trials", "3 of 5"), ("time left", "about 2 min")]))
    assert [line.rstrip() for line in lines] == ["trials     3 of 5", "time left  about 2 min"]
    assert show(draw_pairs([])) in ([], [""])


def test_a_long_text_is_folded_and_kept_whole():
    text = "results/" + "a-very-long-name" * 5
    lines = show(draw_pairs([("written to", text)]))
    assert len(lines) > 1 and all(len(line) <= 40 for line in lines)
    assert lines[0].startswith("written to  ") and "".join(line[12:].strip() for line in lines) == text


@pytest.mark.parametrize("text", ["[red]a[/red]", "[/x]", ":smile:", "[link=http://x]b[/]", "a\x1b]0;title\x07"])
def test_text_is_no_markup(text):
    shown = text.replace("\x1b", "\\x1b").replace("\x07", "\\x07")
    assert show(plain(text))[0].rstrip() == shown
    assert show(draw_pairs([("it", text)]))[0].rstrip() == f"it  {shown}"


def find_prints(path):
    """Lines of a file where a console is given text that is not `plain`."""
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        owner = ast.unparse(node.func.value).lower()
        if node.func.attr in ("print", "log", "rule", "status") and "console" in owner:
            texts = [each for each in node.args if isinstance(each, (ast.JoinedStr, ast.Name))]
            yield from (f"{path.name}:{node.lineno}: {ast.unparse(each)}" for each in texts)


def test_no_console_is_given_bare_text():
    """It would read mark-up in it: only what `plain` made, or a table of such cells, is printed."""
    packages = Path(__file__).resolve().parents[3] / "search"
    assert not [fault for path in sorted(packages.rglob("*.py")) for fault in find_prints(path)]


def test_a_table_that_is_too_wide_is_a_block_a_row():
    head, rows = (
        ("model", "score [95%]", "size"),
        [("trial 7, trained again", "0.812 [0.790, 0.834]", "4.1 M"), ("soup", "", "9 M")],
    )
    table = draw_table(head, rows)
    wide, narrow = show(table, width=80), show(table, width=40)
    assert [line.split()[0] for line in wide] == ["model", "trial", "soup"] and "4.1 M" in wide[1]
    assert [line.rstrip() for line in narrow] == [
        "trial 7, trained again",
        "  score [95%]  0.812 [0.790, 0.834]",
        "  size         4.1 M",
        "soup",
        "  size  9 M",
    ]


def test_the_first_column_of_a_table_is_folded_before_that():
    lines = show(draw_table(("name", "score"), [("a_name_that_is_long_" * 2, "0.81234567890123")]), width=40)
    assert len(lines) > 2 and lines[0].split() == ["name", "score"] and all(len(line) <= 40 for line in lines)
