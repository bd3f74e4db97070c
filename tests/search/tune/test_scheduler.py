"""`ASHA` decides as Ray's own ASHA does, says why, and finds its rungs again after a restart."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ray.tune.schedulers import AsyncHyperBandScheduler, TrialScheduler

from search.records.events import EpochEnded, SearchStarted, TrialStarted
from search.records.record import replay
from search.tune.results import EPOCH, SCORE
from search.tune.scheduler import ASHA

CONTROLLER = None


def run(scheduler, curves):
    """Epochs that each trial trains, one after another, each score the best so far."""
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
    assert run(ASHA(*numbers), curves) == run(theirs, curves)


def test_every_stop_has_a_reason():
    scheduler = ASHA(9, 1, 3)
    trained = run(scheduler, np.random.default_rng(0).random((30, 9)))
    assert {f"t{i}" for i, epochs in enumerate(trained) if epochs < 9} == scheduler.stops.keys()
    for name, stop in scheduler.stops.items():
        assert stop.rung == trained[int(name[1:])] and stop.score < stop.cutoff
        assert scheduler.rungs[stop.rung].scores[name] == stop.score


def test_a_failed_trial_does_not_lower_the_cutoff():
    scheduler = ASHA(9, 1, 3)
    trial = SimpleNamespace(trial_id="failed")
    scheduler.on_trial_add(CONTROLLER, trial)
    scheduler.on_trial_complete(CONTROLLER, trial, {EPOCH: 1, SCORE: 0.0})
    assert not any(rung.scores for rung in scheduler.rungs.values())


def test_rungs_come_back_from_the_ledger():
    curves = np.random.default_rng(1).random((12, 9))
    scheduler = ASHA(9, 1, 3)
    trained = run(scheduler, curves)
    events = [SearchStarted(name="s")]
    for number, epochs in enumerate(trained):
        events.append(TrialStarted(trial=number, trial_id=f"t{number}", params={}, enqueued=False))
        for epoch in range(1, epochs + 1):
            metrics = {"val/accuracy": curves[number, epoch - 1]}
            events.append(EpochEnded(trial=number, epoch=epoch, metrics=metrics))
    restored = ASHA(9, 1, 3)
    restored.load_scores(replay(events))
    for epoch, rung in scheduler.rungs.items():
        assert restored.rungs[epoch].scores == rung.scores and restored.rungs[epoch].ascending == rung.ascending


def test_an_epoch_run_again_is_judged_again():
    scheduler = ASHA(9, 1, 3)
    run(scheduler, [[0.9], [0.8], [0.7]])
    trial = SimpleNamespace(trial_id="t2")
    scheduler.on_trial_add(CONTROLLER, trial)
    assert scheduler.on_trial_result(CONTROLLER, trial, {EPOCH: 1, SCORE: 0.7}) == TrialScheduler.STOP
    assert scheduler.stops["t2"].cutoff == pytest.approx(np.percentile([0.9, 0.8], 100 * 2 / 3))
