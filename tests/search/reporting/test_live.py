"""What a person sees while a search runs: lines and panel, of one that a real session writes down."""

import io
import time

import pytest
from rich.console import Console
from told_search import MAX_EPOCHS, TRIALS

from search.records.events import SearchResumed, TrialPaused
from search.records.record import SearchRecord
from search.reporting.live import LiveView, expect_epochs, preparing


def plain_console(width=80):
    return Console(file=io.StringIO(), width=width, force_terminal=False)


def written(console):
    return console.file.getvalue()


def view(search, console, **options):
    live = LiveView(console, search.record, TRIALS, MAX_EPOCHS, **options)
    search.listeners.append(live.update)
    return live


@pytest.mark.parametrize("error", [BrokenPipeError, OSError])
def test_a_search_goes_on_where_nobody_reads(error, search):
    """Rich ends the process where a pipe is broken; what runs is worth more than what is printed of it."""

    class Gone(io.StringIO):
        def write(self, text):
            raise error

    with view(search, Console(file=Gone(), width=80)):
        search.run()
    assert search.record.ended is not None


def test_without_a_terminal_every_ended_trial_has_one_line(search):
    console = plain_console()
    with view(search, console):
        search.run()
    lines = written(console).splitlines()
    assert len(lines) == 5 and all(len(line) <= 80 for line in lines)
    assert "\x1b" not in written(console)
    assert "[1/5] trial 0 finished after 6/6 epochs: 0.8100 ± 0.0071" in lines[0]
    assert "[2/5] trial 1 stopped after 2/6 epochs: 0.6500 ± 0.0071 < 0.7500" in lines[1]
    assert "trial 3 failed after 1/6 epochs: CUDA out of memory" in lines[3]
    assert "trial 4 diverged after 0/6 epochs: training loss" in lines[4]


def test_without_a_terminal_progress_is_told_once_a_minute(search, monkeypatch):
    console, now = plain_console(), time.monotonic()
    live = view(search, console)
    search.start(0)
    search.epoch(0, 1, 0.7)
    assert written(console) == ""
    monkeypatch.setattr("search.reporting.live.time.monotonic", lambda: now + 61)
    search.epoch(0, 2, 0.75)
    search.epoch(0, 3, 0.78)
    lines = written(console).splitlines()
    assert len(lines) == 1 and "[0/5] 2 epochs, best 0.7500, time left about" in lines[0]
    assert live.standing.epochs_here == 2  # from the first on


def test_a_resumed_search_does_not_tell_again_what_has_ended(search):
    search.run()
    console = plain_console()
    view(search, console)
    search.append(SearchResumed(trials=6))
    assert written(console) == ""


def test_pace_counts_this_session_only(search):
    search.run()
    live = view(search, plain_console())
    search.append(SearchResumed(trials=6))
    assert live.standing.describe_pace(100) == live.standing.describe_left(100) == "known after two epochs"


def test_pace_and_time_left(search):
    search.start(0)
    live = view(search, plain_console())
    search.epoch(0, 1, 0.7)
    assert live.standing.describe_pace(100) == "known after two epochs"
    search.epoch(0, 2, 0.7)
    search.epoch(0, 3, 0.7)
    # 3 of this trial, 24 of the other four, 50 s each
    assert live.standing.describe_pace(100) == "an epoch every 50 s"
    assert live.standing.describe_left(100) == "about 22 min 30 s"
    search.end(0, "stopped", 0.7, 1)
    assert live.standing.describe_pace(100) == "36 trials/h, an epoch every 50 s"
    assert live.standing.describe_left(100) == "about 10 min 00 s"  # the four like the one: 3 epochs


def test_what_comes_before_the_first_epoch_is_not_in_the_pace(search, monkeypatch):
    now = time.monotonic()
    live = view(search, plain_console())
    search.start(0)
    monkeypatch.setattr("search.reporting.live.time.monotonic", lambda: now + 500)  # of starting up
    search.epoch(0, 1, 0.7)
    monkeypatch.setattr("search.reporting.live.time.monotonic", lambda: now + 510)
    search.epoch(0, 2, 0.7)
    paced = live.measure_paced(now + 510)
    assert live.standing.describe_pace(paced) == "an epoch every 10 s"
    assert live.describe_left(live.standing, 510, paced) == "about 4 min 40 s"


def test_a_trial_beyond_the_usual_is_expected_to_go_to_the_end(search):
    search.start(0)
    search.epoch(0, 1, 0.5)
    search.end(0, "stopped", 0.5, 1)
    search.start(1)
    for epoch in (1, 2):
        search.epoch(1, epoch, 0.7)
    assert expect_epochs(list(search.record.trials.values()), 2, MAX_EPOCHS) == 4


def draw(live, width):
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    console.print(live)
    return written(console).splitlines()


def test_the_panel_fits_80_columns_and_names_what_counts(search):
    live = view(search, plain_console())
    for number in (0, 1):
        search.start(number, enqueued=number == 0)
        search.epoch(number, 1, 0.7 + 0.1 * number)
    lines = draw(live, 80)
    text = "\n".join(lines)
    assert all(len(line) == 80 for line in lines)
    assert "0 of 5 done; 2 running" in text and "2, 7% of full training (30)" in text
    assert "0.8000 ± 0.0071  trial 1, epoch 1, sampled" in text
    assert "backbone tf_efficientnet_lite0, lr 0.000123, dropout 0.1," in text
    assert "fc_layers" in text and "1.2" in text  # the whole configuration, on as many lines as it takes
    assert "trial 0    epoch 1/6 done, 0.7000" in text
    for topic in ("trials", "epochs", "best", "pace", "time left"):
        assert f"│ {topic} " in text


def test_the_panel_stays_small_with_many_running_trials(search):
    live = view(search, plain_console())
    for number in range(40):
        search.start(number)
    assert len(draw(live, 80)) <= 20 and "and 32 more" in "\n".join(draw(live, 80))


def test_the_panel_before_the_first_event():
    assert "0 of 5 done" in "\n".join(draw(LiveView(plain_console(), SearchRecord(), TRIALS, MAX_EPOCHS), 80))


def test_on_a_terminal_the_panel_is_drawn_and_cleared(search):
    console = Console(file=io.StringIO(), width=80, height=24, force_terminal=True, force_interactive=True)
    with view(search, console):
        search.run()
    assert "searching for" in written(console) and "\x1b[2K" in written(console)


def test_preparing_is_quiet_when_there_is_nothing_to_do():
    console = plain_console()
    with preparing(console):
        pass
    assert written(console) == ""


def test_preparing_tells_start_and_end_without_a_terminal():
    console = plain_console()
    with preparing(console) as progress:
        for done in (1, 2, 3000):
            progress(done, 3000)
    lines = written(console).splitlines()
    assert lines[0] == "preparing 3,000 images, once for all searches" and "\x1b" not in written(console)
    assert len(lines) == 2 and lines[1].startswith("prepared 3,000 images in ")


def test_preparing_that_fails_claims_no_success():
    for interactive in (False, True):
        console = Console(file=io.StringIO(), width=80, force_terminal=interactive, force_interactive=interactive)
        with pytest.raises(ValueError), preparing(console) as progress:
            progress(1, 3000)
            raise ValueError
        assert "prepared 3,000" not in written(console)
        assert ("━" in written(console)) == interactive


def test_paused_trials_are_told_and_not_taken_for_done(search):
    console = plain_console()
    with view(search, console) as live:
        search.start(0)
        search.epoch(0, 1, 0.7)
        search.append(TrialPaused(trial=0, rung=1))
        search.start(1)
        lines = dict(live.standing.lines)
    assert lines["trials"] == "0 of 5 done; 1 running, 1 paused"
    assert "[0/5] trial 0 paused after 1/6 epochs: 0.7000 ± 0.0071" in written(console)


def test_what_a_trial_is_at_is_shown_until_it_ends(search):
    live = view(search, plain_console())

    def draw():
        live.look_at = 0.0  # at once
        console = plain_console()
        console.print(live)
        return written(console)

    for number in (0, 1):
        search.start(number)
    search.epoch(0, 1, 0.7)
    live.look({0: "epoch 2, batch 3 of 9", 1: "epoch 1, batch 8 of 9"})
    text = draw()
    assert "in trial 0" in text and "in trial 1" in text
    assert text.index("best") < text.index("lr 0.000123") < text.index("pace")
    search.end(1, "stopped", 0.6, 1)
    assert "in trial 0" in draw() and "in trial 1" not in draw()
    search.end(0, "finished", 0.7, 1)
    assert "in trial" not in draw()
