"""A search on a Ray cluster of three nodes, all on this machine: that of the head, and two that train."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
from other_nodes import hide_timm, write_other_torch
from ray.cluster_utils import Cluster

from search.records.events import EpochEnded, TrialRetried
from search.records.ledger import read_events
from search.records.record import replay

REPOSITORY = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.slow

TRIALS = 4
LEDGER = "results/spread/ledger.jsonl"
SPACE = """
description: a tiny network on drawn garments
trials: 4
fixed: {image_size: 32, weights: none, batch_size: 16, backbone: test_resnet}
search: {lr: {loguniform: [1e-4, 1e-2]}}
scheduler: {type: none, max_epochs: EPOCHS}
"""


@pytest.fixture
def cluster():
    """A head without cores, to which a test adds nodes."""
    found = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    yield found
    found.shutdown()


def start_search(folder, data, cluster, epochs, *options):
    """The search, in a process of its own."""
    (folder / "tiny.yaml").write_text(SPACE.replace("EPOCHS", str(epochs)))
    command = [sys.executable, str(REPOSITORY / "search" / "run.py"), "--data", str(data)]
    command += ["--space", "tiny.yaml", "--name", "spread", "--storage", "shared", *options]
    command += ["--address", cluster.address, "--allow-open-cluster"]
    return subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, encoding="utf-8"
    )


def wait_for_training(process, ledger, trials):
    """Wait until so many trials have ended an epoch."""
    deadline = time.monotonic() + 120
    while len({event.trial for event in read_events(ledger) if isinstance(event, EpochEnded)}) < trials:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.1)


def check_trained(ledger, epochs):
    """That each trial has every epoch. Gives the retries."""
    events = read_events(ledger)
    record = replay(events)
    assert [trial.status for trial in record.trials.values()] == ["finished"] * TRIALS
    for trial in record.trials.values():
        assert sorted(row.epoch for row in trial.epochs) == list(range(1, epochs + 1))
    return [event for event in events if isinstance(event, TrialRetried)]


def test_a_search_survives_the_loss_of_a_node(cluster, tmp_path, sample_folder):
    nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
    process, ledger = start_search(tmp_path, sample_folder, cluster, 20), tmp_path / LEDGER
    wait_for_training(process, ledger, 2)
    cluster.remove_node(nodes[0], allow_graceful=False)  # as by a power cut, while both nodes train
    output, _ = process.communicate(timeout=200)
    assert process.returncode == 0, output
    assert "2 trials, each with 1 CPU core" in output
    (retried,) = check_trained(ledger, 20)
    assert "the machine it was on" in retried.error


@pytest.mark.long
def test_nodes_with_other_libraries_or_without_that_join_are_left_alone(cluster, tmp_path, sample_folder):
    """Their trials go elsewhere, and none of them counts as one that failed."""
    cluster.add_node(num_cpus=1)
    process, ledger = start_search(tmp_path, sample_folder, cluster, 40, "--concurrent", "3"), tmp_path / LEDGER
    wait_for_training(process, ledger, 1)
    for folder in (write_other_torch(tmp_path / "other"), hide_timm(tmp_path / "without")):
        cluster.add_node(num_cpus=1, env_vars={"PYTHONPATH": str(folder)})
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    words = " ".join(output.split())
    assert words.count("is not used: it has torch 0.1 (here: ") == 1 and "Traceback" not in output, output
    assert words.count("is not used: it lacks timm; install the same versions there, and start Ray there again") == 1
    assert not check_trained(ledger, 40) and "no node is left" not in words
