"""The end of a search as a person reads it: what came out, how sure it is, and commands that can be copied."""

import io
import subprocess

import pytest
from rich.console import Console

from search.records.events import SearchEnded
from search.records.record import SearchRecord
from search.reporting.summary import MAX_FAILURES_SHOWN, TOP, Wrapped, render_summary
from search.reporting.words import describe_search

STEPS = [
    ("compare trials", "mlflow ui --backend-store-uri sqlite:///results/mlflow.db"),
    (
        "use it",
        "python -m fashion_core.predict results/some_long_name/best/model.safetensors 'my photo.jpg' --box 1,2,3,4",
    ),
]


def show(renderable, width=80, **options):
    console = Console(file=io.StringIO(), width=width, force_terminal=False)
    console.print(renderable, **options)
    return console.file.getvalue()


def summary(record, steps=STEPS, width=80):
    return show(render_summary(describe_search(record), steps), width)


@pytest.mark.parametrize("width", [60, 80, 200])
def test_the_summary_fits(search, width):
    search.run()
    lines = summary(search.record, width=width).splitlines()
    assert max(map(len, lines)) <= width


def test_the_summary_says_what_came_out(search):
    search.run()
    text = " ".join(summary(search.record).split())
    assert "some_search: 5 trials, 2 finished, 1 stopped, 1 failed, 1 diverged, in 2 h 03 min." in text
    assert "15 epochs of 30 for full training (50%); ASHA saved 4 (13%)." in text
    assert "1 0 finished 6 0.8100 ± 0.0071 tried first" in text
    assert "2 2 finished 6 0.8060 ± 0.0071 sampled" in text
    assert "3 1 stopped 2 0.6500 ± 0.0071 sampled" in text
    assert "category_weights 1.2 0.77" in text
    assert "on 500 images: trial 2 is not distinguishable from the best" in text
    assert "trial 3 failed: CUDA out of memory" in text and "trial 4 diverged: training loss" in text


def test_why_it_ended_and_how_it_goes_on_are_told_first_and_once(search):
    search.run()
    way = "all trials ended; more with fashion-search extend some_search --trials 50."
    assert way in " ".join(summary(search.record, steps=()).split())
    command = "python -m search extend some_search --trials 50"
    text = show(render_summary(describe_search(search.record), STEPS, ("give it more", command)))
    assert text.startswith(f"\nThe search ended: all trials ended; give it more:\n    {command}\n")
    assert text.count("extend") == 1


def test_a_limit_stays_told_where_what_ran_still_was_cut_short(search):
    """It is given more, as one that the limit alone ended."""
    search.run()
    search.record.reached = "target"
    search.record.ended = SearchEnded(reason="interrupted", seconds=1.0)
    found = describe_search(search.record)
    assert "it was interrupted, and a trial has reached the target" in found.why and "extend some_search" in found.way
    search.record.reached = None
    found = describe_search(search.record)
    assert found.why == "it was interrupted" and found.way == "go on with --resume some_search"


def test_commands_can_be_copied_whole(search):
    search.run()
    lines = summary(search.record, width=60).splitlines()
    start = next(index for index, line in enumerate(lines) if "fashion_core.predict" in line)
    script = "set -- " + "\n".join(lines[start:]) + "\nprintf '%s\\n' \"$@\""
    words = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True).stdout.splitlines()
    assert words == [
        "python", "-m", "fashion_core.predict", "results/some_long_name/best/model.safetensors", "my photo.jpg",
        "--box", "1,2,3,4",
    ]  # fmt: skip


def test_a_summary_of_nothing(search):
    assert "0 trials" in summary(search.record) and "No trial has a score." in summary(search.record)
    search.start(0)
    search.end(0, "failed", None, None, "")
    text = summary(search.record, [])
    assert "1 trial, 1 failed" in text and "No trial has a score." in text
    assert "0 trials" in summary(SearchRecord())


def test_text_from_a_ledger_is_no_markup(search):
    search.start(0)
    search.end(0, "failed", None, None, "list index [bold] out of [/range]")
    assert "[bold] out of [/range]" in summary(search.record)


@pytest.mark.parametrize("width", [1, 12, 20, 200])
def test_pieces_are_never_cut(width):
    pieces = ["one", "twenty-two", "3", "a piece of many words", "5"]
    lines = show(Wrapped(pieces, "dim", ", ", ",", (2, 4)), width, crop=False).splitlines()
    assert "".join(line.strip() + " " for line in lines).strip() == ", ".join(pieces)
    assert [len(line) - len(line.lstrip()) for line in lines] == [2, *[4] * (len(lines) - 1)]
    for line in lines:
        assert len(line) <= width or line.strip(" ,") in pieces  # too long by itself alone
    assert len(lines) == {1: 5, 12: 5, 20: 4, 200: 1}[width]


def test_the_top_few_are_shown_and_the_first_failures(search):
    for number in range(TOP + 2):
        search.start(number)
        search.epoch(number, 1, 0.5 + number / 100)
        search.end(number, "finished", 0.5 + number / 100, 1)
    for number in range(10, 10 + MAX_FAILURES_SHOWN + 2):
        search.start(number)
        search.end(number, "failed", None, None, f"reason {number}")
    text = summary(search.record)
    assert f"{TOP}     2 finished" in text and "finished" in text and f"   {TOP + 1}     1 finished" not in text
    assert "trial 12 failed: reason 12" in text and "trial 13" not in text
    assert "and 2 more that failed or diverged" in text


@pytest.mark.parametrize(
    ("scores", "error", "told"),
    [
        ([0.8], 0.01, "± is one standard error on 500 images. what"),
        ([0.8, 0.7], 0.01, "on 500 images; none of the others is that close to the best."),
        ([0.8, 0.79, 0.5], 0.05, "on 500 images: trial 1 is not distinguishable from the best."),
        ([0.8, 0.79, 0.78], 0.05, "on 500 images: trials 1 and 2 are not distinguishable from the best."),
        ([0.8, 0.79], None, "The standard error of the best score is not known."),
    ],
)
def test_how_sure_it_is(search, scores, error, told):
    for number, score in enumerate(scores):
        search.start(number)
        search.epoch(number, 1, score)
        search.record.trials[number].epochs[0].metrics["val/accuracy_se"] = error
    assert told in " ".join(summary(search.record).split())
