"""A console that shows nothing shows nothing anywhere, and lines of a topic and a text stand in two columns."""

import io

from rich.console import Console

from search.reporting.terminal import choose_console, draw_pairs


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
