"""What a person sees: lines, panel and summary of searches written down by a real ledger."""

import io
import subprocess
import time
from dataclasses import replace

import pytest
from rich.console import Console

from search.records.events import EpochEnded, SearchEnded, SearchResumed, SearchStarted, TrialEnded, TrialStarted
from search.records.ledger import Ledger
from search.records.record import SearchRecord, find_tied
from search.reporting.live import LiveView, expect_epochs, preparing
from search.reporting.summary import render_summary
from search.reporting.words import describe_search, format_duration

MAX_EPOCHS, TRIALS = 6, 5
CATEGORIES = ("pattern", "fit")
STEPS = [
    ("compare trials", "mlflow ui --backend-store-uri sqlite:///results/mlflow.db"),
    (
        "use it",
        "python -m fashion_core.predict results/some_long_name/best/model.safetensors 'my photo.jpg' --box 1,2,3,4",
    ),
]
LONG_REASON = "CUDA out of memory: a smaller batch_size, or fewer trials at once, usually helps; " + "x" * 60


class Search:
    """A search that is being written down. Listeners are called after every event."""

    def __init__(self, folder):
        self.ledger = Ledger(folder / "ledger.jsonl")
        self.record, self.listeners = SearchRecord(), []
        self.append(
            SearchStarted(
                name="some_search",
                settings={"trials": TRIALS, "max_epochs": MAX_EPOCHS, "sampler": "tpe"},
                data={"categories": {name: ["a", "b"] for name in CATEGORIES}},
                selection={"select_on": "val", "select_count": 500, "train_count": 5000},
            )
        )

    def append(self, event):
        event = self.ledger.append(event)
        self.record.apply(event)
        for listener in self.listeners:
            listener(event)

    def start(self, number, enqueued=False):
        params = {"backbone": "tf_efficientnet_lite0", "lr": 0.000123456, "dropout": 0.1 * number, "fc_layers": 0}
        params |= {"weight_pattern": 1.234567, "weight_fit": 0.765433}
        self.append(TrialStarted(trial=number, trial_id=f"id{number}", params=params, enqueued=enqueued))

    def epoch(self, number, epoch, score):
        self.append(EpochEnded(trial=number, epoch=epoch, metrics={"val/accuracy": score, "val/accuracy_se": 0.0071}))

    def end(self, number, status, best=None, best_epoch=None, reason="because", **fields):
        fields |= {"status": status, "reason": reason, "best": best, "best_epoch": best_epoch}
        self.append(TrialEnded(trial=number, **fields))

    def run(self):
        """Five trials: two finish, one is stopped, one fails, one diverges."""
        for number, scores in enumerate(
            [[0.7, 0.75, 0.78, 0.8, 0.81, 0.805], [0.6, 0.65], [0.7, 0.76, 0.79, 0.8, 0.8, 0.806]]
        ):
            self.start(number, enqueued=number == 0)
            for epoch, score in enumerate(scores, 1):
                self.epoch(number, epoch, score)
            best = max(scores)
            if len(scores) == MAX_EPOCHS:
                self.end(number, "finished", best, scores.index(best) + 1)
            else:
                self.end(number, "stopped", best, 2, rung=2, cutoff=0.75)
        self.start(3)
        self.epoch(3, 1, 0.9)  # better than all, but its model is gone
        self.end(3, "failed", 0.9, 1, LONG_REASON)
        self.start(4)
        self.end(4, "diverged", 0.0, None, "training loss must stay finite, but was nan")
        self.append(SearchEnded(reason="all trials ended", seconds=7380.0))


@pytest.fixture
def search(tmp_path):
    search = Search(tmp_path)
    yield search
    search.ledger.close()


def plain_console(width=80):
    return Console(file=io.StringIO(), width=width, force_terminal=False)


def written(console):
    return console.file.getvalue()


def view(search, console, **options):
    live = LiveView(console, search.record, TRIALS, MAX_EPOCHS, **options)
    search.listeners.append(live.update)
    return live


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
    console, now = plain_console(), time.time()
    live = view(search, console)
    search.start(0)
    search.epoch(0, 1, 0.7)
    assert written(console) == ""
    monkeypatch.setattr("search.reporting.live.time.time", lambda: now + 61)
    search.epoch(0, 2, 0.75)
    search.epoch(0, 3, 0.78)
    lines = written(console).splitlines()
    assert len(lines) == 1 and "[0/5] 2 epochs, best 0.7500, time left about" in lines[0]
    assert live.standing.epochs_here == 3


def test_a_resumed_search_does_not_tell_again_what_has_ended(search):
    search.run()
    console = plain_console()
    view(search, console, started=time.time() + 1)
    search.append(SearchResumed(trials=6))
    assert written(console) == ""


def test_pace_counts_this_session_only(search):
    search.run()
    live = view(search, plain_console(), started=time.time() + 1)
    search.append(SearchResumed(trials=6))
    assert live.standing.describe_pace(100) == live.standing.describe_left(100) == "known after the first epoch"


def test_pace_and_time_left(search):
    search.start(0)
    live = view(search, plain_console(), started=0)
    search.epoch(0, 1, 0.7)
    search.epoch(0, 2, 0.7)
    # 4 of this trial, 24 of the other four, 50 s each
    assert live.standing.describe_pace(100) == "an epoch every 50 s"
    assert live.standing.describe_left(100) == "about 23 min 20 s"
    search.end(0, "stopped", 0.7, 1)
    assert live.standing.describe_pace(100) == "36 trials/h, an epoch every 50 s"
    assert live.standing.describe_left(100) == "about 6 min 40 s"  # the four like the one: 2 epochs


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


def summary(record, steps=STEPS, width=80):
    console = plain_console(width)
    console.print(render_summary(describe_search(record), steps))
    return written(console)


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


def test_commands_can_be_copied_whole(search, tmp_path):
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


def test_ranking_leaves_out_what_does_not_stand(search):
    search.run()
    assert [trial.number for trial in search.record.rank()] == [0, 2, 1]
    lost = search.record.trials[3]
    lost.end = replace(lost.end, checkpoint="checkpoints/trial-0003")  # failed, but its model is kept
    assert search.record.rank()[0].number == 3


def test_noise_and_savings(search):
    search.run()
    ranked = search.record.rank()
    assert [trial.number for trial in find_tied(ranked)] == [2]
    ranked[0].epochs[4].metrics["val/accuracy_se"] = 0.003
    assert find_tied(ranked) == []
    assert search.record.count_saved(MAX_EPOCHS) == 4  # the stopped one's; not those of the failed


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


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "0 s"),
        (59.6, "1 min 00 s"),
        (3599, "59 min 59 s"),
        (3600, "1 h 00 min"),
        (7380, "2 h 03 min"),
        (90_000, "1 d 1 h"),
    ],
)
def test_durations(seconds, text):
    assert format_duration(seconds) == text


def test_text_from_a_ledger_is_no_markup(search):
    search.start(0)
    search.end(0, "failed", None, None, "list index [bold] out of [/range]")
    assert "[bold] out of [/range]" in summary(search.record)
