"""Re-runs on a Ray cluster whose nodes cannot all train: those that join without our libraries are left alone."""

from pathlib import Path

import numpy as np
import pytest
from other_nodes import hide_timm, write_other_torch
from ray.cluster_utils import Cluster

from fashion_core.config import TrainConfig
from search.jobs.cluster import join_ray
from search.jobs.nodes import tell_libraries
from search.jobs.reruns import Training, load_run, train_all
from search.jobs.training import TrainingJob, save_selection
from search.planning.resources import Resources

pytestmark = [pytest.mark.slow, pytest.mark.long]
CONFIG = TrainConfig(
    image_size=64, backbone="test_resnet", weights="none", batch_size=8, epochs=4, lr=0.01, precision="fp32", seed=3
)


@pytest.fixture
def cluster():
    """A head without cores, and a node that trains."""
    found = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    found.add_node(num_cpus=1)
    yield found
    found.shutdown()


def test_nodes_without_our_libraries_that_join_cost_no_training(cluster, sample_prepared, tmp_path):
    save_selection(tmp_path / "selection.npz", np.arange(16), np.arange(120, 128))
    job = TrainingJob(CONFIG, sample_prepared.path.resolve(), tmp_path / "selection.npz", None, threads=1)
    trainings = [Training("one", number, job, tmp_path / f"run{number}") for number in range(4)]
    folders: list[Path] = [write_other_torch(tmp_path / "other"), hide_timm(tmp_path / "without")]
    told: list[tuple[str, dict]] = []
    own = tell_libraries()
    with join_ray(cluster.address, allow_open=True):
        for folder in folders:
            cluster.add_node(num_cpus=1, env_vars={"PYTHONPATH": str(folder)})
        resources = Resources(concurrent=3, cpus_per_trial=1, gpus_per_trial=0)
        train_all(trainings, resources, lambda training, event: told.append((training.name, event)), None, 60.0, own)
    notes = sorted(event["note"].partition(": ")[2] for _, event in told if "note" in event)
    assert len(notes) == 2 and notes[0].startswith("it has torch 0.1 (here: ") and notes[1].startswith("it lacks timm;")
    for training in trainings:
        epochs = [event.get("epoch") for name, event in told if name == training.name and "note" not in event]
        assert epochs == [1, 2, 3, 4, None] and training.status == "finished"
        assert len(load_run(training).scores) == 4
