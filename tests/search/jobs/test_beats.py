"""Beats of trainings: what counts as silence, and what does not."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import ray
from ray.cluster_utils import Cluster
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from search.jobs import health
from search.jobs.beats import AWAKE_S, FORGET_S, STEPLESS, Beat, Collector, Pulse, Silence, end_processes


def beat(count, pid=1):
    return Beat(count, "epoch 1", count, 10, "node", pid)


def test_steps_however_slow_are_no_silence():
    silence = Silence()
    silence.begin(0)
    for count in range(20):
        for _ in range(9):
            silence.take({0: beat(count)}, [0], 1.0)
        assert silence.seconds[0] == 8.0


def test_silence_is_counted_while_the_search_is_awake():
    silence = Silence()
    silence.begin(0)
    silence.take({0: beat(1)}, [0], 1.0)
    silence.take({0: beat(1)}, [0], 2.0)
    assert silence.seconds == {0: 2.0}
    silence.take({0: beat(1)}, [0], 3600.0)  # it slept
    assert silence.seconds == {0: 2.0 + AWAKE_S}


def test_what_never_told_anything_is_unheard_once_nothing_else_begins():
    silence = Silence()
    silence.begin(0)
    for _ in range(5):
        silence.take({}, [0], 1.0)
    assert silence.list_silent([0], 1.0) == [] and silence.list_unheard([0], 5.0) == []
    assert silence.list_unheard([0], 4.9) == [0]
    silence.begin(1)
    silence.take({}, [0, 1], 1.0)
    assert silence.list_unheard([0, 1], 4.9) == []  # 1 may be the next to tell something
    silence.take({1: beat(1)}, [0, 1], 1.0)
    assert silence.list_unheard([0, 1], 4.9) == [0]


def test_the_last_beat_of_an_ended_process_says_nothing_of_the_next():
    silence = Silence()
    silence.take({0: beat(7)}, [0], 1.0)
    silence.begin(0)
    silence.take({0: beat(7)}, [0], 5.0)
    silence.take({0: beat(7)}, [0], 5.0)
    assert not silence.last and silence.list_silent([0], 1.0) == []
    silence.take({0: beat(1, pid=2)}, [0], 5.0)
    assert silence.seconds == {0: 0.0} and silence.last[0].pid == 2


def test_only_trainings_that_run_are_counted():
    silence = Silence()
    silence.take({0: beat(1), 1: beat(1)}, [1], 1.0)
    assert set(silence.seconds) == {1}


def test_a_beat_in_words():
    assert str(beat(3)) == "epoch 1, batch 3 of 10"
    assert str(Beat(1, "setting up", 0, 0, "node", 1)) == "setting up"


def test_a_pulse_that_nobody_asks_for_sends_nothing():
    with Pulse(None, 1.0) as pulse:
        pulse.begin(3)
        pulse.step("epoch 1", 1, 10)
        assert (pulse.name, pulse.at) == (3, ("epoch 1", 1, 10)) and STEPLESS > 1


@pytest.mark.parametrize(
    ("title", "is_stopped", "is_ended"),
    [("ray::job_1", False, True), ("ray::job_2", True, False), ("ray::IDLE", True, True), ("ray::IDLE", False, False)],
)
def test_only_processes_of_the_same_ray_are_ended(monkeypatch, title, is_stopped, is_ended):
    """Those of the raylet that is this process's parent; first, the planted process has another one."""
    process = subprocess.Popen(["bash", "-c", f"exec -a {title} sleep 600"])
    try:
        command = Path(f"/proc/{process.pid}/cmdline")
        while not command.read_bytes().startswith(title.encode()):
            time.sleep(0.01)
        if is_stopped:
            process.send_signal(signal.SIGSTOP)
            while health.read_state(process.pid) not in health.STOPPED:
                time.sleep(0.01)
        end_processes("job_1", [])
        time.sleep(0.1)
        assert process.poll() is None
        monkeypatch.setattr(os, "getppid", os.getpid)
        end_processes("job_1", [process.pid])
        time.sleep(0.1)
        assert process.poll() is None
        end_processes("job_1", [])
        if is_ended:
            assert process.wait() == -signal.SIGKILL
        else:
            time.sleep(0.1)
            assert process.poll() is None
    finally:
        process.kill()
        process.wait()


def test_what_is_kept_does_not_grow_with_the_number_of_trainings():
    collector, silence = Collector(), Silence()
    for number in range(1000):
        running = [number, number + 1]
        for each in running:
            collector.take(each, beat(number))
        silence.begin(number + 1)
        told = collector.tell(running)
        assert told.keys() == set(running)
        collector.take(number - 1, beat(number))  # one that was on its way when it ended
        silence.take(told, running, 1.0)
        assert len(collector.beats) <= 6
        for known in (silence.last, silence.seconds, silence.stale, silence.resting):
            assert len(known) <= FORGET_S + 3
    assert silence.last[1000] == beat(999) and silence.find_node(0) is None


def test_a_training_that_begins_while_others_are_asked_for_is_heard():
    collector = Collector()
    collector.take(0, beat(1))
    collector.take(1, beat(1))
    assert collector.tell([0]) == {0: beat(1)}
    assert collector.tell([0, 1]) == {0: beat(1), 1: beat(1)}
    collector.tell([0])
    collector.tell([0])
    assert collector.tell([0, 1]) == {0: beat(1)}


# -------------------------------------------------------------------------------------------------- a node that leaves


class Worker:
    """A training's process, which tells of itself as trainings do."""

    def __init__(self):
        self.pulse = Pulse("told", 60.0)
        self.pulse.begin(0)

    def hears_that_it_goes(self):
        return self.pulse.is_leaving


@pytest.mark.slow
@pytest.mark.long
def test_trainings_hear_that_ray_drains_their_node(monkeypatch):
    """By the command of the recipes, on a cluster of two nodes: the one hears it, the other does not."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(str, (Path(__file__).parent, Path(__file__).parents[3]))))
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    try:
        going = cluster.add_node(num_cpus=1)
        ray.init(cluster.address, logging_level="ERROR", log_to_driver=False)
        collector = ray.remote(num_cpus=0)(Collector).options(name="told").remote()
        ids = (ray.get_runtime_context().get_node_id(), going.node_id)
        ray.get(collector.tell.remote([]))
        stays, goes = (
            ray.remote(num_cpus=1)(Worker)
            .options(scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False))
            .remote()
            for node in ids
        )
        assert ray.get([each.hears_that_it_goes.remote() for each in (stays, goes)]) == [False, False]
        command = [Path(sys.executable).with_name("ray"), "drain-node", "--address", cluster.address]
        command += ["--node-id", going.node_id, "--reason", "DRAIN_NODE_REASON_PREEMPTION", "--reason-message", "spot"]
        subprocess.run([*command, "--deadline-remaining-seconds", "110"], check=True, capture_output=True)
        deadline = time.monotonic() + 20
        while not ray.get(goes.hears_that_it_goes.remote()):
            assert time.monotonic() < deadline
            time.sleep(0.2)
        assert not ray.get(stays.hears_that_it_goes.remote())
    finally:
        ray.shutdown()
        cluster.shutdown()
