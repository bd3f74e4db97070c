"""Numbers in words say what the numbers say; a search in words what its record says."""

import re

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from search.records.events import EndReason, SearchEnded, SearchStarted, TrialEnded, TrialStarted
from search.records.limits import Limits
from search.records.record import SearchRecord, replay
from search.reporting.words import (
    MORE,
    describe_counts,
    describe_limits,
    describe_search,
    format_duration,
    format_score,
    format_value,
    group_params,
    name_trials,
    write_interval,
    write_points,
)
from search.statistics.intervals import BOTH, Estimate

UNITS = {"s": 1, "min": 60, "h": 3600, "d": 86_400}  # seconds


@pytest.mark.parametrize("reason", [*EndReason, "out of coffee"])
def test_every_end_says_how_to_go_on(reason):
    limits = {"seconds": 28800, "patience": 30, "gain": 0.002}
    record = replay([SearchStarted(name="mine", limits=limits), SearchEnded(reason=reason, seconds=1.0)])
    words, how = describe_search(record).ending.split("; ")
    given = {EndReason.TIME_BUDGET: "of 8 h 00 min is spent", EndReason.NO_GAIN: "30 trials in a row ended without a"}
    assert given.get(reason, "") in words
    if reason in MORE or reason == EndReason.ALL_ENDED:
        assert how.startswith("more with fashion-search extend mine --")
    else:
        assert how == "go on with --resume mine"


def test_limits_in_words():
    assert describe_limits(Limits(price_per_gpu_hour=2.5)) == ""
    given = Limits(3600, 20, 50, 2.5, 1, 0.0, 0.85)
    assert describe_limits(given) == (
        "after 1 h 00 min from the start, or after 20 GPU hours, or at a cost of 50, 20 GPU hours, "
        "or when a trial ended without a gain, or at a score of 0.85"
    )


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


@given(st.floats(0, 4000) | st.floats(3600, 90_000) | st.floats(0, 1e7))
def test_a_duration_is_right_to_half_its_smaller_unit(seconds):
    parts = re.findall(r"(\d+) ([a-z]+)", text := format_duration(seconds))
    assert " ".join(f"{number} {unit}" for number, unit in parts) == text and 1 <= len(parts) <= 2
    told = sum(int(number) * UNITS[unit] for number, unit in parts)
    assert abs(told - seconds) <= UNITS[parts[-1][1]] / 2 + 0.5  # rounded to seconds first
    assert all(int(number) < {"s": 60, "min": 60, "h": 24}[unit] for number, unit in parts if unit != "d")
    assert (len(parts) == 1) == (round(seconds) < 60)


def test_a_clock_that_was_set_back_takes_no_time():
    assert format_duration(-5.0) == "0 s"


@given(st.floats(allow_nan=False, allow_infinity=False), st.integers(2, 6))
def test_a_number_keeps_its_first_digits(value, digits):
    assume(value == 0 or 1e-300 < abs(value) < 1e300)
    text = format_value(value, digits)
    assert float(text) == pytest.approx(value, rel=0.5 * 10 ** (1 - digits) * 1.001, abs=0)
    assert len(text) <= digits + 7 and not re.search(r"e[+-]0", text)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "none"), (True, "true"), (False, "false"), (3, "3"), (1_000_000, "1000000"), ("resnet", "resnet"),
        (0.25, "0.25"), (3.6e-5, "3.6e-5"), (1e-10, "1e-10"), (123456.0, "1.23e+5"), (1.0, "1"), ("1e-05", "1e-05"),
    ],
)  # fmt: skip
def test_values(value, text):
    assert format_value(value) == text


def test_scores():
    assert format_score(None) == format_score(None, 0.1) == "-"
    assert format_score(0.80555) == "0.8055" and format_score(1.0) == "1.0000"
    assert format_score(0.80561, 0.00806) == "0.8056 ± 0.0081" and format_score(0.5, 0.0) == "0.5000 ± 0.0000"


def test_counts_name_what_there_is():
    counts = {"finished": 3, "stopped": 0, "failed": 2, "running": 1}
    assert describe_counts(counts) == "3 finished, 2 failed, 1 running"
    assert describe_counts(counts, skip=["running"]) == "3 finished, 2 failed"
    assert describe_counts({"finished": 0}) == describe_counts({}) == "none"


@pytest.mark.parametrize(
    ("numbers", "text"), [([3], "trial 3"), ([3, 7], "trials 3 and 7"), ([3, 7, 9], "trials 3, 7 and 9")]
)
def test_trials_are_named(numbers, text):
    assert name_trials(numbers) == text


def test_weights_are_one_parameter_in_the_order_of_the_categories():
    params = {"weight_fit": 0.76544, "lr": 1e-3, "weight_pattern": 1.23456, "weight_decay": 0.1, "deep": None}
    shown = group_params(params, ["pattern", "fit", "sleeve"])
    assert shown == {"lr": "0.001", "weight_decay": "0.1", "deep": "none", "category_weights": "1.2 0.77"}
    assert list(shown)[-1] == "category_weights"
    assert group_params({"weight_pattern": 1.0, "weight_fit": 1.0}, ["pattern", "fit"]) == {"category_weights": "all 1"}
    assert group_params({"lr": 2}, ["pattern"]) == {"lr": "2"}


@given(st.floats(-1, 1), st.floats(1e-3, 0.2), st.integers(1, 50), st.sampled_from([0.8, 0.95]))
def test_an_interval_is_students(value, error, df, level):
    estimate = Estimate(value, error, df, BOTH)
    wanted = (value, *stats.t.interval(level, df, value, error))
    if 0 <= value <= 1:  # as a score is, whose interval ends where scores do
        told = re.fullmatch(r"(\S+) \[(\S+), (\S+)\]", write_interval(estimate, level)).groups()
        assert [float(number) for number in told] == pytest.approx(np.clip(wanted, 0, 1), abs=0.51e-4)
    told = re.fullmatch(r"([+-]\S+) \[([+-]\S+), ([+-]\S+)\]", write_points(estimate, level)).groups()
    assert [float(number) / 100 for number in told] == pytest.approx(wanted, abs=0.51e-4)


def test_no_difference_has_no_words():
    assert write_points(None) == ""


# ---------------------------------------------------------------------------------------------------- a search in words


def test_a_search_in_words(search):
    search.run()
    words = describe_search(search.record)
    assert (words.name, words.categories, words.trials) == ("some_search", ("pattern", "fit"), 5)
    assert words.counts == "2 finished, 1 stopped, 1 failed, 1 diverged" and words.took == "2 h 03 min"
    assert [trial.number for trial in words.ranked] == [0, 2, 1] and [trial.number for trial in words.others] == [3, 4]
    assert [trial.number for trial in words.lost] == [3, 4]
    assert (words.epochs, words.full_epochs, words.saved_epochs) == (15, 30, 4)
    assert (words.tied, words.error, words.images, words.majority) == ((2,), "0.0071", 500, None)
    first, _, stopped = words.ranked
    assert (first.score, first.beside, first.best_epoch, first.epochs) == ("0.8100 ± 0.0071", "-", 5, 6)
    assert (first.origin, stopped.origin) == ("tried first", "sampled") and first.weighted == ("pattern", "fit")
    assert (stopped.status, stopped.cutoff, stopped.reason) == ("stopped", 0.75, "because")


def test_the_time_is_that_of_the_whole_command():
    events = [
        SearchStarted(name="mine", elapsed=20.0, time=0.0),
        TrialStarted(trial=0, trial_id="a", params={}, enqueued=False, time=5.0),
        TrialEnded(trial=0, status="finished", reason="because", time=65.0),
        SearchEnded(reason="all trials ended", seconds=66.0, time=66.0),
    ]
    words = describe_search(replay(events), after=8.0)
    assert words.took == "1 min 34 s"  # 20 + 66 + 8
    assert words.spent == "20 s preparing, 1 min 00 s training, 6 s waiting, 8 s reporting"
    assert describe_search(replay(events)).took == "1 min 26 s"  # as a report has it, which is written meanwhile


def test_the_best_stands_beside_the_commonest_class(search):
    search.start(0)
    search.record.search.data.update(majority=0.5, majority_by_category={"pattern": 0.4, "fit": 0.6})
    search.epoch(0, 1, 0.75)
    search.record.trials[0].epochs[0].metrics["val/accuracy/fit"] = 0.8
    words = describe_search(search.record)
    assert words.majority == "0.5000"
    assert words.accuracies == (("pattern", "-", "0.4000"), ("fit", "0.8000", "0.6000"), ("mean", "0.7500", "0.5000"))
    assert words.took is None  # it runs
    del search.record.search.data["majority_by_category"]  # as ledgers of earlier versions
    assert [row[2] for row in describe_search(search.record).accuracies] == [None] * 3


def test_points_of_a_grid_are_not_sampled():
    started = TrialStarted(trial=0, trial_id="a", params={}, enqueued=True)
    words = describe_search(replay([SearchStarted(name="s", settings={"sampler": "grid"}), started]))
    assert words.others[0].origin == "grid"


def test_a_search_that_has_not_begun_has_words():
    words = describe_search(SearchRecord())
    assert (words.name, words.counts, words.duration, words.trials, words.tied) == (
        "the search",
        "none",
        "0 s",
        0,
        None,
    )
    assert words.accuracies == (("mean", "-", None),) and words.lost == []
