"""What a ledger adds up to: worked out again here, step by step, from drawn events."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from told_search import MAX_EPOCHS

from fashion_core.errors import SearchError
from search.records.events import (
    EpochEnded,
    SearchEnded,
    SearchResumed,
    SearchStarted,
    TrialEnded,
    TrialPaused,
    TrialRetried,
    TrialStarted,
    TrialStatus,
)
from search.records.layout import SearchLayout
from search.records.ledger import Ledger
from search.records.limits import Limits
from search.records.record import (
    SearchRecord,
    list_searches,
    load_record,
    replay,
    sum_up,
)

SCORES = st.none() | st.sampled_from([0.0, 0.25, 0.5, 0.75])
# What happens to one of three trials, in turn.
STEPS = st.lists(st.tuples(st.integers(0, 2), st.sampled_from(["epoch", "again", *TrialStatus]), SCORES), max_size=30)


def start(number, **fields):
    return TrialStarted(**{"trial": number, "trial_id": f"id{number}", "params": {}, "enqueued": False, **fields})


def tell(steps):
    """Events of a search that can have been, and by trial what it comes to: ([(epoch, score)], its end)."""
    events = [SearchStarted(name="drawn", settings={"max_epochs": MAX_EPOCHS})]
    trials = {}
    for number, step, score in steps:
        rows, end = trials.setdefault(number, ([], "none"))
        if end == "none" or (step in ("epoch", "again") and end != "running"):
            events.append(start(number))
        if step in ("epoch", "again"):
            if step == "epoch" or not rows:  # else the last one is told again, and the first time counts
                rows.append((len(rows) + 1, score))
            events.append(EpochEnded(trial=number, epoch=len(rows), metrics={"val/accuracy": score}))
            trials[number] = (rows, "running")
        elif step is TrialStatus.RUNNING:
            events.append(TrialRetried(trial=number, error="lost"))
            trials[number] = (rows, "running")
        else:
            best = 0.0 if step is TrialStatus.DIVERGED else max((each or 0.0 for _, each in rows), default=None)
            events.append(TrialEnded(trial=number, status=step, best=best))
            trials[number] = (rows, step)
        if step is TrialStatus.RUNNING and end not in ("none", "running"):
            events[-1:-1] = [start(number)]
    return events, trials


@given(STEPS)
def test_a_record_is_what_happened(steps):
    events, trials = tell(steps)
    record = replay(events)
    assert record.trials.keys() == trials.keys() and record.next_number == max(trials, default=-1) + 1
    for number, (rows, status) in trials.items():
        trial = record.trials[number]
        assert [(row.epoch, row.metrics["val/accuracy"]) for row in trial.epochs] == rows
        assert trial.status == status and (trial.end is None) == (status == "running")
        best = max((score or 0.0 for _, score in rows), default=None)
        assert trial.best == (0.0 if status == "diverged" else best)
        if status != "diverged" and any(score == best for _, score in rows):
            assert trial.best_epoch == next(epoch for epoch, score in rows if score == best)
    assert record.count_epochs() == sum(len(rows) for rows, _ in trials.values())
    counts = record.count_statuses()
    assert counts == {status: sum(each == status for _, each in trials.values()) for status in counts}
    assert list(counts) == ["finished", "stopped", "failed", "diverged", "interrupted", "paused", "running"]
    stopped = [rows for rows, status in trials.values() if status == "stopped"]
    assert record.count_saved(100) == 100 * len(stopped) - sum(map(len, stopped))


@given(STEPS)
def test_the_ranking_is_of_scores_that_stand(steps):
    events, trials = tell(steps)
    record = replay(events)
    lost = {"failed", "diverged"}  # no model of these is kept
    standing = [
        (-max(score or 0.0 for _, score in rows), number)
        for number, (rows, status) in trials.items()
        if rows and status not in lost
    ]
    assert [trial.number for trial in record.rank()] == [number for _, number in sorted(standing)]
    outcome = sum_up(record)
    assert outcome.ranked == record.rank()
    assert [trial.number for trial in outcome.others] == sorted(trials.keys() - {number for _, number in standing})
    assert outcome.full_epochs == MAX_EPOCHS * len(trials)


@given(STEPS, st.lists(st.floats(0, 100), min_size=80, max_size=80), st.data())
def test_time_runs_but_between_an_interruption_and_going_on(steps, gaps, data):
    events, _ = tell(steps)
    resumed = data.draw(st.sets(st.integers(1, len(events))))
    for place in sorted(resumed, reverse=True):
        events.insert(place, SearchResumed(trials=3))
    now, ran, timed = 1000.0, 0.0, []
    for event, gap in zip(events, (gaps * 2)[: len(events)], strict=True):
        now += gap
        ran += 0 if isinstance(event, (SearchStarted, SearchResumed)) else gap
        timed.append(replace(event, time=now))
    assert replay(timed).seconds == pytest.approx(ran)


def test_wall_time_leaves_out_interruptions():
    epoch = {"trial": 0, "epoch": 1, "metrics": {}}
    events = [
        SearchStarted(name="s", time=100),
        TrialStarted(time=100, trial=0, trial_id="a", params={}, enqueued=False),
        EpochEnded(time=160, **epoch),
        SearchResumed(time=1000, trials=1),
        EpochEnded(time=1010, **epoch),
        SearchEnded(time=1030, reason="all trials ended", seconds=90),
    ]
    assert replay(events).seconds == 90
    assert replay([]).seconds == 0


def test_ranking_leaves_out_what_does_not_stand(search):
    search.run()
    assert [trial.number for trial in search.record.rank()] == [0, 2, 1]
    lost = search.record.trials[3]
    lost.end = replace(lost.end, checkpoint="checkpoints/trial-0003")  # failed, but its model is kept
    assert search.record.rank()[0].number == 3


def test_what_was_saved(search):
    search.run()
    assert search.record.count_saved(MAX_EPOCHS) == 4  # the stopped one's; not those of the failed


def test_a_number_that_another_trial_has_is_a_new_trial():
    """As after a restart from an older state: Ray gives the number again, with another id."""
    row = EpochEnded(trial=0, epoch=1, metrics={"val/accuracy": 0.9})
    record = replay([start(0), row, start(0, trial_id="other", params={"lr": 1})])
    (trial,) = record.trials.values()
    assert (trial.trial_id, trial.params, trial.epochs, trial.best) == ("other", {"lr": 1}, [], None)


def test_of_equal_epochs_the_first_is_the_best():
    rows = [EpochEnded(trial=0, epoch=epoch, metrics={"val/accuracy": 0.5, "lr": epoch}) for epoch in (1, 2)]
    trial = replay([start(0), *rows]).trials[0]
    assert trial.best_epoch == 1 and trial.best_metrics == {"val/accuracy": 0.5, "lr": 1}


def replay_objective(objective, **settings):
    """Two trials of two epochs: by accuracy trial 0 in epoch 2 is the best, by the other scores trial 1 in epoch 1."""
    rows = {0: [(0.6, 0.4, 0.3), (0.8, 0.3, 0.2)], 1: [(0.7, 0.6, 0.5), (0.75, 0.5, 0.4)]}
    settings |= {} if objective is None else {"objective": objective}
    events = [SearchStarted(name="s", settings=settings, data={"categories": {"fit": ["a", "b"]}})]
    for number, scores in rows.items():
        events.append(start(number))
        for epoch, values in enumerate(scores, 1):
            named = dict(zip(("val/accuracy", "val/class_accuracy", "val/accuracy/fit"), values, strict=True))
            errors = {"val/accuracy_se": 0.01, "val/class_accuracy_se": 0.02, "val/accuracy_se/fit": 0.03}
            events.append(EpochEnded(trial=number, epoch=epoch, metrics=named | errors))
    return replay(events)


@pytest.mark.parametrize(
    ("objective", "best", "error", "ranked"),
    [
        (None, {0: (0.8, 2), 1: (0.75, 2)}, 0.01, [0, 1]),  # an older ledger
        ("val/accuracy", {0: (0.8, 2), 1: (0.75, 2)}, 0.01, [0, 1]),
        ("val/class_accuracy", {0: (0.4, 1), 1: (0.6, 1)}, 0.02, [1, 0]),
        ("val/accuracy/fit", {0: (0.3, 1), 1: (0.5, 1)}, 0.03, [1, 0]),
    ],
)
def test_the_score_of_a_trial_is_that_of_the_objective(objective, best, error, ranked):
    record = replay_objective(objective)
    assert {number: (trial.best, trial.best_epoch) for number, trial in record.trials.items()} == best
    assert [trial.number for trial in record.rank()] == ranked
    assert {trial.standard_error for trial in record.trials.values()} == {error}
    assert record.trials[0].find_score(1) == record.trials[0].read_score(record.trials[0].epochs[0])
    record.limits = Limits(target=0.79)
    reached = record.find_reached(record.trials.values())
    assert (reached == "target") == (objective in (None, "val/accuracy"))


@pytest.mark.parametrize("objective", ["val/accuracy/collar", "val/class_accuracy"])
def test_an_objective_of_other_categories_is_refused(objective):
    record = replay_objective(objective)
    record.begun.selection["select_labels"] = [[0], [1, 2]]
    with pytest.raises(SearchError, match="must be of its categories, fit, but those of s are not; restore"):
        _ = record.measure


def test_a_diverged_trial_has_no_best_epoch():
    row = EpochEnded(trial=0, epoch=1, metrics={"val/accuracy": 0.5, "val/accuracy_se": 0.1})
    trial = replay([start(0), row, TrialEnded(trial=0, status="diverged", best=0.0)]).trials[0]
    assert trial.best_epoch is None and trial.best_metrics == {} and trial.standard_error is None


def test_what_an_end_tells_holds_until_the_trial_goes_on():
    end = TrialEnded(
        trial=0, status="stopped", reason="it was weak\nat epoch 2", best=0.5, checkpoint="c", rung=2, cutoff=0.6,
        correct="x", time=130.0,
    )  # fmt: skip
    record = replay([start(0, time=100.0), end])
    trial = record.trials[0]
    assert (trial.reason, trial.checkpoint, trial.rung, trial.cutoff, trial.correct, trial.seconds) == (
        "it was weak", "c", 2, 0.6, "x", 30.0
    )  # fmt: skip
    record.apply(start(0, time=200.0))
    assert record.trials[0] is trial and trial.status == "running" and trial.reason == "" and trial.best is None
    assert {trial.checkpoint, trial.rung, trial.cutoff, trial.correct, trial.seconds} == {None}


def test_a_search_that_goes_on_has_not_ended():
    record = replay([SearchStarted(name="s"), SearchEnded(reason="interrupted", seconds=1.0)])
    assert record.ended is not None and record.ended.reason == "interrupted"
    record.apply(SearchResumed(trials=1))
    assert record.ended is None


def test_a_name_given_twice_names_two_searches():
    one, other = (replay([SearchStarted(name="mine", time=time)]) for time in (1.0, 1.5))
    assert one.search_id == "mine@1000" and other.search_id == "mine@1500"


def test_a_search_that_has_not_begun_is_empty():
    record = SearchRecord()
    assert (record.name, record.settings, record.data, record.selection) == ("", {}, {}, {})
    assert record.category_names == record.param_names == record.rank() == []
    outcome = sum_up(record)
    assert (outcome.epochs, outcome.full_epochs, outcome.saved_epochs) == (0, 0, 0)


def test_names_are_in_the_order_in_which_they_came():
    record = replay(
        [
            start(1, params={"c": 1, "a": 2}),
            start(0, params={"b": 1, "a": 3}),
            EpochEnded(trial=0, epoch=1, metrics={"val/accuracy": 0.5, "val/accuracy/fit": 0.4, "val/accuracy_se": 0}),
            EpochEnded(trial=1, epoch=1, metrics={"val/accuracy/pattern": 0.4, "val/accuracy/fit": 0.4}),
        ]
    )
    assert record.param_names == ["b", "a", "c"]
    assert sorted(record.category_names) == ["fit", "pattern"]  # where the ledger lacks the data's own
    record.apply(SearchStarted(name="s", data={"categories": {"sleeve": [], "fit": []}}))
    assert record.category_names == ["sleeve", "fit"]


# ---------------------------------------------------------------------------------------------------------- on the disk


def test_a_search_is_found_by_its_ledger(tmp_path):
    layout, other = (SearchLayout(tmp_path, name) for name in ("mine", "another"))
    for each in (layout, other):
        with Ledger(each.ledger) as ledger:
            ledger.append(SearchStarted(name=each.name))
    (tmp_path / "pictures").mkdir()
    assert list_searches(tmp_path) == ["another", "mine"] and list_searches(tmp_path / "elsewhere") == []
    assert load_record(layout).name == "mine"
    with pytest.raises(SearchError, match=r"no search of the name 'yours' .*; known are another, mine$"):
        load_record(SearchLayout(tmp_path, "yours"))
    with pytest.raises(SearchError, match="known are none"):
        load_record(SearchLayout(tmp_path / "elsewhere", "mine"))


def test_a_search_that_was_killed_before_it_began_is_told_to_go_on(tmp_path):
    """Not that there is none of its name, beside a list of names that has it."""
    layout = SearchLayout(tmp_path, "mine")
    Ledger(layout.ledger).close()
    with pytest.raises(SearchError, match=r"must tell how it began, but .*; .* go on with --resume mine$"):
        load_record(layout)


def test_what_happens_before_its_trial_started_is_refused():
    for event in (EpochEnded(trial=1, epoch=0, metrics={}), TrialEnded(trial=1, status=TrialStatus.FINISHED)):
        with pytest.raises(SearchError, match=r"must come after its trial has started, but trial 1 has not"):
            SearchRecord().apply(event)


def test_a_paused_trial_is_neither_running_nor_over():
    row = {"trial": 0, "metrics": {"val/accuracy": 0.5}}
    events = [
        SearchStarted(name="s", settings={"max_epochs": 9}, time=100),
        start(0, time=100),
        EpochEnded(time=110, epoch=1, **row),
        TrialPaused(time=110, trial=0, rung=1, correct="x"),
    ]
    record = replay(events)
    trial = record.trials[0]
    assert (trial.status, trial.rung, trial.climbed, trial.correct, trial.best) == ("paused", 1, 1, "x", 0.5)
    assert trial.reason == "paused after epoch 1" and trial.seconds == 10
    assert record.running == set() and record.open == {0} and record.count_statuses()["paused"] == 1
    record.apply(start(0, time=150))
    assert (trial.status, trial.rung, trial.climbed, trial.correct) == ("running", None, 1, None)
    assert record.trials[0] is trial and record.running == {0} and trial.seconds is None
    record.apply(EpochEnded(time=170, epoch=2, **row))
    record.apply(TrialPaused(time=170, trial=0, rung=3))
    record.apply(TrialEnded(time=500, trial=0, status="stopped", best=0.5, rung=3))
    assert (trial.status, trial.rung, trial.seconds) == ("stopped", 3, 30)  # without its pauses
    assert record.trial_seconds == 30 and record.open == set()


def test_a_trial_without_gain_counts_once_however_often_it_pauses():
    record = replay([SearchStarted(name="s", limits={"patience": 3})])

    def go_on(number, epoch, score, rung=None):
        record.apply(start(number))
        record.apply(EpochEnded(trial=number, epoch=epoch, metrics={"val/accuracy": score}))
        if rung is not None:
            record.apply(TrialPaused(trial=number, rung=rung))

    go_on(0, 1, 0.5, rung=1)
    assert (record.mark, record.without_gain) == (0.5, 0)
    go_on(1, 1, 0.4, rung=1)
    go_on(1, 2, 0.45, rung=2)
    record.apply(TrialEnded(trial=1, status="stopped", best=0.45, rung=2))
    assert record.without_gain == 1
    go_on(0, 2, 0.6, rung=2)
    assert (record.mark, record.without_gain) == (0.6, 0)
