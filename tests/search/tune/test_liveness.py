"""Searches under real Ray whose trials, or whose Ray, die or stop on the way: what is lost, what is told."""

import os
import signal
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from house_rules import by_size
from hurried_silence import TIMEOUT_S, hurry
from ray import cloudpickle
from same_search import find_differences

from search.commands.run import check_end
from search.experiment.search import run_search
from search.jobs import health
from search.jobs.cluster import use_ray
from search.planning.options import SearchOptions
from search.planning.resources import Machine
from search.records.events import SearchBroke, TrialRetried
from search.records.ledger import read_events
from search.tune.trainable import TrialTrainable

pytestmark = pytest.mark.slow
cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import a test

MACHINE = Machine(2, 0)
SLOW_TIMEOUT_S = 15.0
SPACE = """
trials: {trials}
fixed: {{image_size: 32, backbone: test_resnet, weights: none, batch_size: 16}}
search: {{lr: {{loguniform: [1e-4, 1e-2]}}}}
scheduler: {{type: none, max_epochs: {epochs}}}
"""


@pytest.fixture(scope="module", autouse=True)
def its_ray():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        with use_ray(MACHINE):
            yield


@pytest.fixture(scope="module")
def search(sample_folder, tmp_path_factory):
    """Runs a search of one worker, and gives its result."""
    folder = tmp_path_factory.mktemp("searches")

    def run(name, trainable=TrialTrainable, *, trials=2, epochs=3, timeout_s=TIMEOUT_S):
        space = folder / "tiny.yaml"  # its name is a parameter in MLflow
        space.write_text(SPACE.format(trials=trials, epochs=epochs))
        given = {"data": sample_folder, "space": str(space), "name": name, "results": folder / "results"}
        options = SearchOptions(**given, concurrent=1, trial_timeout_s=timeout_s)
        return run_search(options, machine=MACHINE, trainable=trainable)

    return run


def list_of(kind, result):
    return [event for event in read_events(result.layout.ledger) if isinstance(event, kind)]


class SlowsDown(TrialTrainable):
    """After an epoch without pauses, every batch takes a fifth of the time-out."""

    def setup(self, config):
        super().setup(config)
        step = self.pulse.step

        def take(phase, done, total):
            step(phase, done, total)
            if phase == "epoch 2":
                time.sleep(SLOW_TIMEOUT_S / 5)

        self.pulse.step = take


@pytest.mark.long  # `tests/search/jobs/test_beats.py` has the parts
def test_a_slow_epoch_after_a_fast_one_is_left_alone(search):
    result = search("slow", SlowsDown, trials=1, epochs=2, timeout_s=SLOW_TIMEOUT_S)
    assert result.record.trials[0].status == "finished" and not list_of(TrialRetried, result)
    assert result.record.trials[0].epochs[1].metrics["train/seconds"] > SLOW_TIMEOUT_S


class Misbehaves(TrialTrainable):
    """Does something at a batch of its second epoch: the first trial once, in all or in each process."""

    mark = None

    def setup(self, config):
        super().setup(config)
        step = self.pulse.step

        def take(phase, done, total):
            step(phase, done, total)
            if (phase, done, self.config["number"]) == ("epoch 2", 3, 0) and not Path(self.mark).exists():
                Path(self.mark).touch()
                self.misbehave()

        self.pulse.step = take

    def misbehave(self):
        while True:
            pass


class StopsItself(Misbehaves):
    def misbehave(self):
        os.kill(os.getpid(), signal.SIGSTOP)


class KillsItself(Misbehaves):
    def misbehave(self):
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.fixture(scope="module")
def twin(search):
    return search("twin").layout


class StopsEarly(TrialTrainable):
    """Stops itself once before it has told anything: in a fresh process, or in one that has run another trial."""

    mark = None
    is_fresh = True

    def setup(self, config):
        if self.is_fresh:
            self.stop_once()
        super().setup(config)

    def reset_config(self, new_config):
        if not self.is_fresh:
            self.stop_once()
        return super().reset_config(new_config)

    def stop_once(self):
        if not Path(self.mark).exists():
            Path(self.mark).touch()
            os.kill(os.getpid(), signal.SIGSTOP)


@pytest.mark.parametrize("is_fresh", by_size(ci=[True], whole=[True, False]))
def test_a_process_that_stops_before_it_tells_anything_is_ended_too(is_fresh, search, twin, tmp_path, monkeypatch):
    hurry(monkeypatch, tmp_path / "happened")
    StopsEarly.mark, StopsEarly.is_fresh = str(tmp_path / "happened"), is_fresh
    result = search(f"early-{is_fresh}", StopsEarly)
    (retried,) = list_of(TrialRetried, result)
    assert retried.trial == (0 if is_fresh else 1) and retried.error == "its process said nothing for 120 seconds"
    assert find_differences(twin, result.layout) == []


class StopsItsListener(Misbehaves):
    """Stops the actor that takes the beats, and hangs."""

    def misbehave(self):
        end_processes_with(signal.SIGSTOP, "ray::Collector_")
        super().misbehave()


def end_processes_with(number, title):
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        if path.read_text().startswith(title) and str(os.getppid()) in (path.parent / "stat").read_text().split():
            os.kill(int(path.parent.name), number)


def test_a_hanging_trial_is_seen_though_nobody_takes_its_beats_for_a_time(search, twin, tmp_path, monkeypatch):
    monkeypatch.setattr("search.jobs.beats.ANSWER_S", 2.0)
    hurry(monkeypatch, tmp_path / "happened")
    StopsItsListener.mark = str(tmp_path / "happened")
    result = search("listener", StopsItsListener)
    (retried,) = list_of(TrialRetried, result)
    assert retried.trial == 0 and retried.error.startswith("no step for 60 seconds: in ")
    assert find_differences(twin, result.layout) == []


@pytest.mark.parametrize("kind", by_size(ci=[KillsItself], whole=[Misbehaves, StopsItself, KillsItself]))
def test_a_trial_that_hangs_or_dies_goes_on_once_and_nothing_is_changed(kind, search, twin, tmp_path, monkeypatch):
    if kind is not KillsItself:
        hurry(monkeypatch, tmp_path / "happened")
    kind.mark = str(tmp_path / "happened")
    result = search(kind.__name__, kind)
    (retried,) = list_of(TrialRetried, result)
    wanted = "the trial's process died" if kind is KillsItself else "no step for 60 seconds: in "
    assert retried.trial == 0 and retried.error.startswith(wanted)
    assert find_differences(twin, result.layout) == []


def refuse_memory():
    np.empty(1 << 50, dtype=np.uint8)


def run_for_ever():
    while True:
        pass


def raise_error():
    raise RuntimeError("a fault\nof the network")


DIED = "the trial's process died"
FIRST_WAYS = (
    (raise_error, "RuntimeError: a fault"),
    (lambda: os._exit(7), DIED),
    (refuse_memory, "out of memory: a smaller batch_size"),
)
OTHER_WAYS = (
    (run_for_ever, "no step for 60 seconds: in epoch 1, batch 1 of 7"),
    (lambda: sys.exit(7), DIED),
    (lambda: os.kill(os.getpid(), signal.SIGKILL), DIED),  # as the system does, out of memory
)
WAYS = dict(enumerate(by_size(ci=FIRST_WAYS, whole=FIRST_WAYS + OTHER_WAYS)))


class Fails(TrialTrainable):
    """Each trial in its own way, whenever it is tried; the last one not."""

    def setup(self, config):
        super().setup(config)
        step = self.pulse.step

        def take(phase, done, total):
            step(phase, done, total)
            if (phase, done) == ("epoch 1", 1) and (way := WAYS.get(self.config["number"])) is not None:
                way[0]()

        self.pulse.step = take


def test_trials_that_fail_cost_themselves_alone(search):
    result = search("fails", Fails, trials=len(WAYS) + 1, epochs=1)
    trials = result.record.trials
    assert {number: trial.status for number, trial in trials.items()} == dict.fromkeys(WAYS, "failed") | {
        len(WAYS): "finished"
    }
    for number, (_, reason) in WAYS.items():
        assert trials[number].reason.startswith(reason) and "\n" not in trials[number].reason
    assert result.record.ended.reason == "all trials ended"
    check_end(result.record)


def test_ray_begins_again_where_its_node_died(search, twin):
    """The raylet, once the first trial has an epoch."""

    def harm():
        ledger = twin.results / "node" / "ledger.jsonl"
        while not ledger.is_file() or b'"epoch"' not in ledger.read_bytes():
            time.sleep(0.05)
        (raylet,) = (pid for pid, name in health.find_servers().items() if name == "raylet")
        os.kill(raylet, signal.SIGKILL)

    harming = threading.Thread(target=harm)
    harming.start()
    result = search("node")
    harming.join()
    (broke,) = list_of(SearchBroke, result)
    assert broke.error == "Ray's raylet died" and find_differences(twin, result.layout) == []
