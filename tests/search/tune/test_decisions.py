"""`Rungs` decides as Ray's own ASHA does, says why, and decides the same again from the ledger."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ray.tune.schedulers import AsyncHyperBandScheduler, TrialScheduler

from search.records.events import EpochEnded, SearchStarted, TrialStarted
from search.records.record import replay
from search.space.rungs import list_rungs
from search.tune.decisions import Rungs
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
