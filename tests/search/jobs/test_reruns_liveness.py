"""Re-runs under real Ray whose processes hang, stop or die: they go on from where they were, and nothing is changed."""

import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from house_rules import by_size
from hurried_silence import TIMEOUT_S, hurry
from ray import cloudpickle

from fashion_core import metrics
from fashion_core.config import TrainConfig
from search.jobs import reruns
from search.jobs.cluster import use_ray
from search.jobs.reruns import Training, load_run, train, train_all
from search.jobs.training import TrainingJob, save_selection
from search.planning.resources import Machine, Resources

pytestmark = pytest.mark.slow
cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import a test

SILENT = by_size(ci=("hangs",), whole=("hangs", "stops"))  # ways of which the beats tell
DEAD = by_size(ci=(), whole=("dies",))
CONFIG = TrainConfig(
    image_size=64, backbone="test_resnet", weights="none", batch_size=8, epochs=3, lr=0.01, precision="fp32", seed=3
)


@dataclass(frozen=True)
class Misbehaving(TrainingJob):
    """Does something at the second batch of its second epoch: once, or in each process."""

    way: str = "hangs"
    mark: str = ""
    again: bool = False
    save_s: float = 60.0  # seconds between two saved states

    def run(self, state=None, progress=None):
        reruns.SAVE_INTERVAL_S = self.save_s

        def take(phase, done, total):
            progress(phase, done, total)
            if (phase, done) == ("epoch 2", 1) and (self.again or not Path(self.mark).exists()):
                Path(self.mark).touch()
                misbehave(self.way)

        return super().run(state, take)


def misbehave(way):
    """Hang, stop or kill this process."""
    if way != "hangs":
        os.kill(os.getpid(), {"stops": signal.SIGSTOP, "dies": signal.SIGKILL}[way])
    while True:
        pass


def stop_once(training, collector, timeout_s):
    """A `train` that stops before it tells anything, once."""
    mark = Path(training.job.mark)
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGSTOP)
    yield from train(training, collector, timeout_s)


@pytest.fixture(scope="module", autouse=True)
def its_ray():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        with use_ray(Machine(2, 0)):
            yield


@pytest.fixture
def build(sample_prepared, tmp_path):
    """A training that misbehaves: (its name, how, more of `Misbehaving`)."""

    def make(name, way, **fields):
        save_selection(tmp_path / "selection.npz", np.arange(16), np.arange(120, 128))
        given = (CONFIG, sample_prepared.path, tmp_path / "selection.npz", None)
        job = Misbehaving(*given, threads=1, way=way, mark=str(tmp_path / f"{name} happened"), **fields)
        return Training("trial-0003", 1, job, tmp_path / name)

    return make


def run_all(*trainings, timeout_s=TIMEOUT_S):
    """Train them; gives what was told of each, by name."""
    told = {training.name: [] for training in trainings}
    resources = Resources(concurrent=2, cpus_per_trial=1, gpus_per_trial=0)
    train_all(trainings, resources, lambda training, event: told[training.name].append(event), timeout_s=timeout_s)
    return told


def list_scores(training):
    return [(row[metrics.TRAIN_LOSS], row[metrics.ACCURACY]) for row in load_run(training).scores]


def test_one_that_hangs_stops_or_dies_goes_on_beside_another_and_nothing_is_changed(build, monkeypatch):
    undisturbed = build("undisturbed", "hangs")
    Path(undisturbed.job.mark).touch()
    ways = [build(way, way) for way in (*SILENT, *DEAD)] + [build("saved", "dies", save_s=0.0)]
    hurry(monkeypatch, *(Path(training.job.mark) for training in ways if training.name in SILENT))
    told = run_all(undisturbed, *ways)
    assert {events[-1].get("status") for events in told.values()} == {"finished"}, told
    assert all(Path(training.job.mark).exists() for training in ways)
    assert [list_scores(training) for training in ways] == [list_scores(undisturbed)] * len(ways)
    epochs = {name: [event.get("epoch") for event in events] for name, events in told.items()}
    assert epochs == {
        "undisturbed": [1, 2, 3, None],
        **{name: [1, 1, 2, 3, None] for name in (*SILENT, *DEAD)},
        "saved": [1, 2, 3, None],  # it goes on from its state, and nothing that it tells then is passed over
    }


@pytest.mark.long
def test_one_that_hangs_again_and_again_fails_and_says_where(build):
    fails, well = build("fails", "hangs", again=True), build("well", "hangs")
    Path(well.job.mark).touch()
    told = run_all(fails, well, timeout_s=3.0)
    assert told["well"][-1]["status"] == "finished"
    assert told["fails"][-1] == {"status": "failed", "error": "no step for 3 seconds: in epoch 2, batch 1 of 2"}


def test_one_that_stops_before_it_tells_anything_is_ended_and_goes_on(build, monkeypatch):
    monkeypatch.setattr(reruns, "train", stop_once)
    training = build("early", "hangs")
    hurry(monkeypatch, Path(training.job.mark))
    told = run_all(training)
    assert told["early"][-1] == {"status": "finished", "error": None}
