"""`Rungs` decides as Ray's own ASHA does, says why, and decides the same again from the ledger."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ray.tune.schedulers import AsyncHyperBandScheduler, TrialScheduler

from search.records.events import EpochEnded, SearchStarted, TrialEnded, TrialPaused, TrialStarted
from search.records.record import SearchRecord, replay
from search.space.rungs import list_rungs
from search.tune.decisions import Promotions, Rungs
from search.tune.results import EPOCH, SCORE

CONTROLLER = None


def run(numbers, curves):
    """Epochs that each trial trains, one after another, and the rungs in the end."""
    rungs, trained = build(numbers), []
    for number, curve in enumerate(np.maximum.accumulate(curves, 1)):
        epochs = (epoch for epoch, score in enumerate(curve, 1) if rungs.take(number, epoch, float(score)))
        trained.append(next(epochs, len(curve)))
    return trained, rungs


def build(numbers):
    return Rungs(list_rungs(*numbers), numbers[2])


def run_theirs(scheduler, curves):
    trained = []
    for number, curve in enumerate(curves):
        trial = SimpleNamespace(trial_id=f"t{number}")
        scheduler.on_trial_add(CONTROLLER, trial)
        for epoch, score in enumerate(np.maximum.accumulate(curve), 1):
            decision = scheduler.on_trial_result(CONTROLLER, trial, {EPOCH: epoch, SCORE: float(score)})
            if decision == TrialScheduler.STOP:
                break
        trained.append(epoch)
        scheduler.on_trial_complete(CONTROLLER, trial, {EPOCH: epoch, SCORE: float(score)})
    return trained


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([(9, 1, 3), (6, 1, 3), (8, 1, 2), (10, 3, 4), (5, 2, 2)]))
def test_same_decisions_as_rays_own(seed, numbers):
    max_epochs, grace, factor = numbers
    curves = np.random.default_rng(seed).random((20, max_epochs))
    theirs = AsyncHyperBandScheduler(
        time_attr=EPOCH, metric=SCORE, mode="max", max_t=max_epochs, grace_period=grace, reduction_factor=factor
    )
    assert run(numbers, curves)[0] == run_theirs(theirs, curves)


def test_every_stop_has_a_reason():
    trained, rungs = run((9, 1, 3), np.random.default_rng(0).random((30, 9)))
    assert {number for number, epochs in enumerate(trained) if epochs < 9} == rungs.stops.keys()
    for number, stop in rungs.stops.items():
        assert stop.rung == trained[number] and stop.score < stop.cutoff
        assert stop.score in rungs.scores[stop.rung]


def test_without_rungs_none_is_stopped():
    rungs = Rungs([], None)
    assert [rungs.take(number, 1, score) for number, score in enumerate([0.9, 0.1, 0.0])] == [None] * 3


def test_the_cutoff_is_a_quantile_of_those_before():
    rungs = build((9, 1, 3))
    assert rungs.take(0, 1, 0.9) is None
    rungs.take(1, 1, 0.8)
    assert rungs.take(2, 1, 0.7).cutoff == pytest.approx(np.percentile([0.9, 0.8], 100 * 2 / 3))


@pytest.mark.slow
@given(st.integers(0, 10**6))
def test_decisions_come_back_from_any_part_of_the_ledger(seed):
    """Trials that run side by side, their epochs in any order."""
    rng = np.random.default_rng(seed)
    curves, rungs = rng.random((8, 9)), build((9, 1, 3))
    events = [SearchStarted(name="s")]
    events += [TrialStarted(trial=number, trial_id="", params={}, enqueued=False) for number in range(8)]
    events = [type(event)(**{**vars(event), "seq": seq}) for seq, event in enumerate(events)]
    epochs, bests = dict.fromkeys(range(8), 0), dict.fromkeys(range(8), 0.0)
    while epochs:
        number = int(rng.choice(list(epochs)))
        epochs[number] += 1
        score = float(curves[number, epochs[number] - 1])
        bests[number] = max(bests[number], score)
        values = {"val/accuracy": score}
        events.append(EpochEnded(trial=number, epoch=epochs[number], metrics=values, seq=len(events)))
        stop = rungs.take(number, epochs[number], bests[number])
        again = build((9, 1, 3))
        again.take_all(replay(events))
        assert again.stops == rungs.stops and again.scores == rungs.scores
        if stop or epochs[number] == 9:
            del epochs[number]


class PromotionAsha:
    """Li et al. 2020, algorithm 2, as it is printed: `get_job` over the rungs from the top down."""

    def __init__(self, levels, eta, planned):
        self.scores = [{} for _ in range(levels)]  # of each rung, by trial
        self.promoted = [set() for _ in range(levels)]
        self.eta, self.planned, self.begun = eta, planned, 0

    def get_job(self):
        """(trial, rung that it trains to), None where all have begun and none is promotable."""
        for level in reversed(range(len(self.scores))):
            ranked = sorted(self.scores[level], key=self.scores[level].get, reverse=True)
            for trial in ranked[: len(ranked) // self.eta]:
                if trial not in self.promoted[level]:
                    self.promoted[level].add(trial)
                    return trial, level + 1
        if self.begun == self.planned:
            return None
        self.begun += 1
        return self.begun - 1, 0


class Stream:
    """A search of so many workers in the promotion form, event by event, with random scores and durations."""

    def __init__(self, numbers, planned, rng):
        self.epochs = list_rungs(*numbers)
        self.max_epochs, self.factor, self.planned, self.rng = numbers[0], numbers[2], planned, rng
        self.record, self.rungs = SearchRecord(), Promotions(self.epochs, numbers[2], numbers[0])
        self.reference = PromotionAsha(len(self.epochs), numbers[2], planned)
        self.bests, self.most = dict.fromkeys(range(planned), 0.0), 0
        self.events = []
        self.apply(SearchStarted(name="s"))

    def apply(self, event):
        self.events.append(type(event)(**{**vars(event), "seq": len(self.events)}))
        self.record.apply(self.events[-1])

    def hand_out(self, running, *, is_last=False):
        """The next trial, as the ledger and as the paper have it."""
        number = self.rungs.choose(self.record.trials, running, is_last=is_last)
        if number is None and self.record.next_number < self.planned:
            number = self.record.next_number
        return number

    def start(self, number):
        climbed = self.record.trials[number].climbed if number in self.record.trials else 0
        self.apply(TrialStarted(trial=number, trial_id="", params={}, enqueued=False))
        return self.rungs.find_next(climbed)

    def train(self, number, until, status=None):
        """To its rung or its end. status: it is lost instead."""
        trial = self.record.trials[number]
        while status is None and trial.last_epoch < until:
            score = float(self.rng.random())
            self.bests[number] = max(score, self.bests[number])
            self.apply(EpochEnded(trial=number, epoch=trial.last_epoch + 1, metrics={"val/accuracy": score}))
            self.rungs.take(number, trial.last_epoch, self.bests[number])
        if status is not None or until == self.max_epochs:
            self.apply(TrialEnded(trial=number, status=status or "finished", best=self.bests[number]))
        else:
            self.apply(TrialPaused(trial=number, rung=until))

    def end_hopeless(self):
        for number in self.rungs.list_hopeless(self.record.trials, self.planned):
            self.apply(TrialEnded(trial=number, status="stopped", best=self.bests[number]))
        paused = [trial for trial in self.record.trials.values() if trial.status == "paused"]
        self.most = max([self.most, *(sum(trial.climbed == epoch for trial in paused) for epoch in self.epochs)])


FORMS = [(9, 1, 3), (8, 1, 2), (30, 5, 4), (5, 2, 2), (27, 1, 3)]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(FORMS), st.sampled_from([1, 2, 7]), st.integers(1, 40))
def test_promotions_are_those_of_the_paper(seed, numbers, workers, planned):
    """Every job is the one that the paper hands out, and what was ended as hopeless is never one."""
    rng = np.random.default_rng(seed)
    stream, running = Stream(numbers, planned, rng), {}
    while True:
        while len(running) < workers:
            job, number = stream.reference.get_job(), stream.hand_out(running)
            assert number == (None if job is None else job[0])
            if number is None:
                break
            running[number] = stream.start(number)
            assert running[number] == [*stream.epochs, numbers[0]][job[1]]
        if not running:
            break
        number = int(rng.choice(list(running)))
        until = running.pop(number)
        stream.train(number, until)
        if until < numbers[0]:
            stream.reference.scores[stream.epochs.index(until)][number] = stream.bests[number]
        stream.end_hopeless()
    assert stream.most <= max(planned // numbers[2], 1)
    again = Promotions(stream.epochs, numbers[2], numbers[0])
    again.take_all(replay(stream.events))
    assert again.reached == stream.rungs.reached


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(FORMS), st.integers(1, 12), st.floats(0, 0.6))
def test_a_search_ends_with_a_finished_trial_unless_all_that_could_are_lost(seed, numbers, planned, share):
    rng = np.random.default_rng(seed)
    stream = Stream(numbers, planned, rng)
    while (number := stream.hand_out((), is_last=stream.record.next_number == planned)) is not None:
        until = stream.start(number)
        lost = str(rng.choice(["diverged", "failed"])) if rng.random() < share else None
        stream.train(number, until, lost)
        stream.end_hopeless()
    statuses = [trial.status for trial in stream.record.trials.values()]
    assert len(statuses) == planned and ("finished" in statuses or "paused" not in statuses)
    if share == 0:
        assert "finished" in statuses


def test_what_was_lost_is_none_of_the_best():
    """The best of three diverges on its way up; the second takes its place, though it would not have been promoted."""
    stream = Stream((9, 1, 3), 3, np.random.default_rng(0))
    for number in range(3):
        stream.train(number, stream.start(number))
    best = stream.hand_out(())
    assert stream.bests[best] == max(stream.bests.values())
    stream.start(best)
    stream.train(best, 3, "diverged")
    second = stream.hand_out(())
    assert stream.bests[second] == sorted(stream.bests.values())[1]


def test_a_search_that_was_lengthened_has_a_trial_that_is_trained_to_the_new_end():
    """Those that finished before cannot go on: they take no place, and do not stand for one that went to the end."""
    stream = Stream((3, 1, 3), 3, np.random.default_rng(0))
    while (number := stream.hand_out((), is_last=stream.record.next_number == 3)) is not None:
        stream.train(number, stream.start(number))
        stream.end_hopeless()
    assert [trial.status for trial in stream.record.trials.values()].count("finished") == 1
    stream.planned, stream.max_epochs, stream.epochs = 6, 9, list_rungs(9, 1, 3)
    stream.bests |= dict.fromkeys(range(3, 6), 0.0)
    stream.rungs = Promotions(stream.epochs, 3, 9)
    stream.rungs.take_all(stream.record)
    while (number := stream.hand_out((), is_last=stream.record.next_number == 6)) is not None:
        stream.train(number, stream.start(number))
        stream.end_hopeless()
    assert max(trial.last_epoch for trial in stream.record.trials.values()) == 9


def test_of_a_rung_that_was_the_end_before_the_best_third_of_the_others_go_on():
    """Below it, those that finished before hold the places that they took there."""
    stream = Stream((3, 1, 3), 9, np.random.default_rng(0))
    for number in range(9):
        stream.train(number, stream.start(number))
    while (number := stream.hand_out(())) is not None and stream.record.trials[number].pause is not None:
        stream.train(number, stream.start(number))
    finished = [number for number, trial in stream.record.trials.items() if trial.status == "finished"]
    assert len(finished) == 3
    stream.planned, stream.max_epochs, stream.epochs = 9, 9, list_rungs(9, 1, 3)
    stream.rungs = Promotions(stream.epochs, 3, 9)
    stream.rungs.take_all(stream.record)
    assert stream.rungs.find_ended(3, stream.record.trials) == set(finished)
    assert not stream.rungs.find_ended(1, stream.record.trials)
    assert stream.rungs.choose(stream.record.trials, (), is_last=False) is None  # three of nine went on from rung 1
    stream.planned = 18
    stream.bests |= dict.fromkeys(range(9, 18), 0.0)
    for number in range(9, 18):
        stream.train(number, stream.start(number))
    arrived = 0
    while (number := stream.hand_out(())) is not None and stream.record.trials[number].climbed < 3:
        stream.train(number, stream.start(number))
        arrived += 1
        waiting = [each for each in stream.record.trials.values() if each.status == "paused" and each.climbed == 3]
        chosen = stream.rungs.choose(stream.record.trials, (), is_last=False)
        goes_on = chosen is not None and stream.record.trials[chosen].climbed == 3
        assert goes_on == (arrived >= 3)
        assert not goes_on or chosen == max(waiting, key=lambda each: stream.bests[each.number]).number
    assert arrived == 3


def test_one_that_was_handed_out_is_not_handed_out_again():
    stream = Stream((9, 1, 3), 6, np.random.default_rng(0))
    for number in range(3):
        stream.train(number, stream.start(number))
    first = stream.hand_out(())
    assert stream.record.trials[first].status == "paused" and stream.hand_out({first}) == 3


@pytest.mark.parametrize("objective", ["val/accuracy", "val/class_accuracy", "val/accuracy/fit"])
def test_rungs_compare_the_objective(objective):
    """The second trial is the worse one by accuracy, the first by the other scores."""
    events = [SearchStarted(name="s", settings={"objective": objective})]
    for number, (accuracy, other) in enumerate([(0.8, 0.3), (0.5, 0.6), (0.4, 0.2)]):
        events.append(TrialStarted(trial=number, trial_id="", params={}, enqueued=False))
        values = {"val/accuracy": accuracy, "val/class_accuracy": other, "val/accuracy/fit": other}
        events.append(EpochEnded(trial=number, epoch=1, metrics=values))
    record = replay([type(event)(**{**vars(event), "seq": seq}) for seq, event in enumerate(events)])
    stopping, promotions = build((9, 1, 3)), Promotions([1, 3], 2, 9)
    for rungs in (stopping, promotions):
        rungs.take_all(record)
    is_default = objective == "val/accuracy"
    assert sorted(stopping.stops) == ([1, 2] if is_default else [2])
    assert promotions.rank(1, record.trials) == ([0, 1, 2] if is_default else [1, 0, 2])
