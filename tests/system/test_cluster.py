"""A search on a Ray cluster of three nodes, all on this machine: that of the head, and two that train."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
from ray.cluster_utils import Cluster

from search.records.events import EpochEnded, TrialRetried
from search.records.ledger import read_events
from search.records.record import replay

REPOSITORY = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.slow

TRIALS, EPOCHS = 3, 20
SPACE = f"""
description: a tiny network on drawn garments
trials: {TRIALS}
fixed: {{image_size: 32, weights: none, batch_size: 16, backbone: test_resnet}}
search: {{lr: {{loguniform: [1e-4, 1e-2]}}}}
scheduler: {{type: none, max_epochs: {EPOCHS}}}
"""


def test_a_search_survives_the_loss_of_a_node(tmp_path, sample_folder):
    (tmp_path / "tiny.yaml").write_text(SPACE)
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    try:
        nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
        command = [sys.executable, str(REPOSITORY / "search" / "run.py"), "--data", str(sample_folder)]
        command += ["--space", "tiny.yaml", "--name", "spread", "--storage", "shared"]
        command += ["--address", cluster.address, "--allow-open-cluster"]
        process = subprocess.Popen(
            command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, encoding="utf-8"
        )
        ledger = tmp_path / "results" / "spread" / "ledger.jsonl"
        deadline = time.monotonic() + 120
        while len({event.trial for event in read_events(ledger) if isinstance(event, EpochEnded)}) < 2:
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.1)
        cluster.remove_node(nodes[0], allow_graceful=False)  # as by a power cut, while both nodes train
        output, _ = process.communicate(timeout=200)
        assert process.returncode == 0, output
    finally:
        cluster.shutdown()
    record = replay(read_events(ledger))
    assert "2 trials, each with 1 CPU core" in output
    assert [trial.status for trial in record.trials.values()] == ["finished"] * TRIALS
    for trial in record.trials.values():
        assert sorted(row.epoch for row in trial.epochs) == list(range(1, EPOCHS + 1))
    (retried,) = (event for event in read_events(ledger) if isinstance(event, TrialRetried))
    assert "the machine it was on" in retried.error
