"""What a trial took, of all its epochs together."""

from __future__ import annotations

import pytest

from search.records.events import EpochAgain, EpochEnded, SearchStarted, TrialStarted
from search.records.record import replay
from search.records.usage import Usage, measure_usage

ROW = {
    "train/seconds": 3.0,
    "val/seconds": 1.0,
    "train/images_per_second": 60.0,
    "train/peak_memory_mib": 500.0,
    "train/cpu_joules": 10.0,
}


def measure(*rows: dict[str, float | None]) -> Usage:
    events = [EpochEnded(trial=0, epoch=epoch, metrics=row) for epoch, row in enumerate(rows, 1)]
    started = TrialStarted(trial=0, trial_id="0", params={}, enqueued=False)
    again = [EpochAgain(trial=0, epoch=1, metrics=ROW)] if rows else []
    return measure_usage(replay([SearchStarted(name="mine"), started, *events, *again]).trials[0])


def test_a_trial_took_what_its_epochs_took() -> None:
    other = ROW | {"train/images_per_second": 30.0, "train/peak_memory_mib": 400.0, "train/cpu_joules": 6.0}
    assert measure(ROW, other) == Usage(8.0, pytest.approx(40), 500.0, None, 16.0, None)


def test_what_no_ledger_tells_is_none() -> None:
    assert measure() == measure({"val/accuracy": 0.5}) == Usage(None, None, None, None, None, None)


def test_energy_is_of_all_epochs_or_not_told() -> None:
    """A trial that went on on a machine that does not tell it."""
    assert measure(ROW, ROW | {"train/cpu_joules": None}).cpu_joules is None


def test_how_busy_a_gpu_was_is_the_mean_of_what_is_known() -> None:
    assert measure(ROW | {"train/gpu_busy": 0.5}, ROW, ROW | {"train/gpu_busy": 0.9}).gpu_busy == pytest.approx(0.7)
