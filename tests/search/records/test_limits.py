"""What a search spends, and which limit it reaches, follow from its ledger, whatever the clock on the wall."""

import pytest

from search.records.events import (
    EpochEnded,
    SearchEnded,
    SearchResumed,
    SearchStarted,
    TrialEnded,
    TrialStarted,
)
from search.records.record import replay


def begin(elapsed, limits=None, **settings):
    return SearchStarted(name="s", elapsed=elapsed, settings=settings, limits=limits or {})


def start(number, elapsed):
    return TrialStarted(trial=number, trial_id="", params={}, enqueued=False, elapsed=elapsed)


def epoch(number, elapsed, score=0.5, number_of=1):
    return EpochEnded(trial=number, epoch=number_of, metrics={"val/accuracy": score}, elapsed=elapsed)


def end(number, elapsed=0.0, best=0.5, status="finished", **fields):
    return TrialEnded(trial=number, status=status, best=best, elapsed=elapsed, **fields)


def end_search(elapsed, reason="target"):
    return SearchEnded(reason=reason, seconds=0.0, elapsed=elapsed)


# Two trials overlap; the second runs when the command is killed, and ends in the next.
TOLD = [
    begin(10, gpus_per_trial=0.5),
    start(0, 13),
    start(1, 15),
    epoch(0, 20),
    end(0, 25),
    epoch(1, 33),  # the last before a kill
    SearchResumed(trials=2, elapsed=7),
    end(1, 7, status="interrupted"),
    start(1, 9),
    end(1, 19),
]


def test_time_goes_into_preparing_training_and_waiting():
    record = replay(TOLD)
    assert record.preparing_seconds == 10 + 7 and record.seconds == (33 - 10) + (19 - 7)
    assert record.training_seconds == (33 - 13) + (19 - 9)
    assert record.trial_seconds == (25 - 13) + (33 - 15) + (19 - 9)
    assert record.spent_seconds == record.preparing_seconds + record.seconds
    assert record.gpu_hours == pytest.approx(0.5 * 40 / 3600) and record.cost is None
    assert not record.running and not record.open


def test_a_clock_that_jumps_changes_nothing():
    times = [1e9, 1e9 - 86400, 2e9, 5.0, 1e9, 0.0, 3e9, 1.0, 2.0, 9e9]
    jumping = replay([type(event)(**{**vars(event), "time": time}) for event, time in zip(TOLD, times, strict=True)])
    assert (jumping.seconds, jumping.trial_seconds) == (replay(TOLD).seconds, replay(TOLD).trial_seconds)


def test_an_older_ledger_has_the_clock_on_the_wall():
    older = [
        SearchStarted(name="s", time=100),
        TrialStarted(trial=0, trial_id="", params={}, enqueued=False, time=103),
        TrialEnded(trial=0, status="finished", best=0.5, time=110),
    ]
    record = replay(older)
    assert (record.preparing_seconds, record.seconds, record.training_seconds) == (0, 10, 7)


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        ({"seconds": 52}, "time budget"),
        ({"seconds": 53}, None),
        ({"gpu_hours": 0.5 * 40 / 3600}, "GPU budget"),
        ({"gpu_hours": 1}, None),
        ({"cost": 0.5 * 40 / 3600 * 2, "price_per_gpu_hour": 2}, "cost budget"),
        ({"cost": 0.5 * 40 / 3600 * 2, "price_per_gpu_hour": 1.9}, None),
        ({"target": 0.5}, "target"),
        ({"target": 0.5, "seconds": 1}, "target"),
        ({"target": 0.51}, None),
        ({"patience": 1}, "no gain"),
        ({"patience": 2}, None),
        ({}, None),
    ],
)
def test_what_is_reached(limits, reason):
    first, *others = TOLD
    others[5] = SearchResumed(trials=2, elapsed=7, limits=limits)
    record = replay([first, *others])
    assert record.find_reached(record.trials.values()) == reason


@pytest.mark.parametrize(
    ("bests", "gain", "left"),
    [
        ([0.5], 0.0, 0),
        ([0.5, 0.5, 0.4], 0.0, 2),
        ([0.5, 0.4, 0.6], 0.0, 0),
        ([0.5, 0.51, 0.52, 0.53], 0.02, 1),  # what creeps up adds up: the gain counts from the last gain
        ([0.5, 0.51, 0.515], 0.02, 2),
        ([], 0.0, 0),
    ],
)
def test_trials_without_gain(bests, gain, left):
    events = [begin(0, {"gain": gain, "patience": 9})]
    for number, best in enumerate(bests):
        events += [start(number, 0), epoch(number, 0, best), end(number, best=best)]
    assert replay(events).without_gain == left


@pytest.mark.parametrize(("status", "best"), [("diverged", 0.0), ("failed", 0.9), ("failed", None), ("stopped", 0.1)])
def test_what_has_no_standing_is_no_gain(status, best):
    """A failed trial's score went with its process."""
    events = [begin(0), start(0, 0), end(0), start(1, 0), epoch(1, 0, 0.95), end(1, best=best, status=status)]
    assert replay(events).without_gain == 1


def test_a_trial_that_was_interrupted_is_not_over():
    events = [begin(0, {"patience": 1}), start(0, 0), end(0), start(1, 0), epoch(1, 0, 0.9)]
    record = replay([*events, end(1, best=0.9, status="interrupted"), start(2, 0), end(2, best=0.1)])
    assert record.without_gain == 1 and record.may_gain and record.find_reached([]) is None


def test_what_was_spent_before_an_extension_does_not_count_to_its_limits():
    limits = {"seconds": 100.0, "gpu_hours": 0.5 * 30 / 3600, "patience": 3}
    record = replay([*TOLD, end_search(20), SearchResumed(trials=9, elapsed=4, limits=limits, extended=True)])
    assert record.settings["trials"] == 9 and record.reached is None and record.without_gain == 0
    assert record.spent_seconds == 4 and record.gpu_hours == pytest.approx(0.5 * 40 / 3600)  # the report tells all
    for event in (start(2, 5), epoch(2, 34)):
        record.apply(event)
    assert record.find_reached([]) is None and record.spent_seconds == 34
    record.apply(epoch(2, 35, number_of=2))
    assert record.find_reached([]) == "GPU budget"
    resumed = SearchResumed(trials=9, elapsed=3, limits=limits)  # killed, and gone on: still of the extension
    record.apply(resumed)
    assert record.spent_seconds == 35 + 3 and record.find_reached([]) == "GPU budget"


def test_gpu_hours_are_of_the_gpus_that_each_trial_had_then():
    """A search that goes on may have more of a GPU, or less; what is no number is that of its beginning."""
    more, less = ({"changed": {"gpus_per_trial": gpus}} for gpus in ("2", "0.25"))
    told = [begin(0, gpus_per_trial=0.5), start(0, 0), epoch(0, 10)]
    record = replay([*told, SearchResumed(trials=1, elapsed=5, **more), start(0, 5), epoch(0, 25, number_of=2)])
    assert record.gpu_hours * 3600 == pytest.approx(0.5 * 10 + 2 * 20)
    limits = {"gpu_hours": 1 / 3600}
    for event in (SearchResumed(trials=1, elapsed=1, limits=limits, extended=True, **less), start(0, 1)):
        record.apply(event)
    for elapsed, reason in ((4.9, None), (5, "GPU budget")):
        record.apply(epoch(0, elapsed, number_of=3))
        assert record.find_reached([]) == reason
    assert record.gpu_hours * 3600 == pytest.approx(0.5 * 10 + 2 * 20 + 0.25 * 4)
    for words in ("all", "inf", "nan"):
        record.apply(SearchResumed(trials=1, changed={"gpus_per_trial": words}))
        assert record.gpus_per_trial == 0.5
