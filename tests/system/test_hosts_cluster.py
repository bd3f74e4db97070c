"""A search on a cluster whose nodes are hosts of their own: see `hosts_cluster`."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hosts_cluster import WORK, HostsCluster, open_cluster
from same_search import find_differences
from whole_commands import start

from fashion_core.metrics import ACCURACY
from search.records.layout import SearchLayout
from search.records.ledger import read_events
from search.records.record import replay
from search.records.storage import open_storage

pytestmark = [pytest.mark.slow, pytest.mark.long]
NAME = "mine"
SPACE = """
description: a tiny network on drawn garments
trials: 4
fixed: {image_size: 32, weights: none, batch_size: 16, backbone: test_resnet}
search: {lr: {loguniform: [1e-4, 1]}, drop_path: {uniform: [0, 0.5]}}
scheduler: {type: asha, max_epochs: 8, grace_epochs: 2, reduction_factor: 2}
"""
GIVEN = ("--space", "tiny.yaml", "--name", NAME, "--concurrent", 1, "--cpus-per-trial", 1, "--data")
FINISH_S = 300.0
TELL_RUNS = """
import json, sys
import mlflow
client = mlflow.MlflowClient(sys.argv[1])
experiments = [each.experiment_id for each in client.search_experiments()]
runs = client.search_runs(experiments, f"tags.search_id = '{sys.argv[2]}'", max_results=100)
trials = {run.data.tags["trial"]: run.info.run_id for run in runs if "trial" in run.data.tags}
(parent,) = [run.info.run_id for run in runs if "trial" not in run.data.tags]
steps = {trial: [point.step for point in client.get_metric_history(run, sys.argv[3])] for trial, run in trials.items()}
print(json.dumps({"trials": steps, "files": [file.path for file in client.list_artifacts(parent)]}))
"""
FETCHED = re.compile(r"^(\S+) .*\"GET /searches/\.images/([0-9a-f]{64})", re.MULTILINE)


@dataclass
class Stage:
    """A cluster, a driver that has the data set and a space, and the same search on one machine.

    Attributes:
        folder: of the machine.
    """

    cluster: HostsCluster
    folder: Path

    @property
    def given(self) -> tuple[object, ...]:
        """Options of the search, for the driver."""
        cluster = self.cluster
        found = (*GIVEN, f"{WORK}/photographs", "--address", cluster.address, "--storage", cluster.storage)
        return (*found, "--tracking-uri", cluster.tracking_uri) if cluster.tracking is not None else found

    def take_results(self) -> SearchLayout:
        """What the driver has, copied to the machine."""
        shutil.rmtree(self.folder / "results", ignore_errors=True)
        self.cluster.take(self.cluster.driver, f"{WORK}/results", self.folder / "results")
        return SearchLayout(self.folder / "results", NAME)

    def run_twin(self) -> SearchLayout:
        """The same search on one machine, undisturbed."""
        process = start(self.folder, "run.py", *GIVEN, self.folder / "photographs", "--results", "twin")
        output = process.communicate(timeout=FINISH_S)[0]
        assert process.returncode == 0, output
        return SearchLayout(self.folder / "twin", NAME)


def build_stage(cluster: HostsCluster, folder: Path, sample_folder: Path) -> Stage:
    """Give the driver what a search needs."""
    (folder / "tiny.yaml").write_text(SPACE)
    shutil.copytree(sample_folder, folder / "photographs")
    cluster.give(cluster.driver, folder / "photographs", f"{WORK}/photographs")
    shutil.copy(folder / "tiny.yaml", cluster.look(cluster.driver, f"{WORK}/tiny.yaml"))
    return Stage(cluster, folder)


@pytest.fixture
def logs(tmp_path: Path) -> Iterator[Path]:
    """What servers print."""
    folder = tmp_path / "logs"
    folder.mkdir()
    yield folder


def test_a_search_is_the_same_as_on_one_machine(tmp_path: Path, logs: Path, sample_folder: Path) -> None:
    """One worker, which sees nothing of the driver's disk; MLflow and the storage are elsewhere too."""
    with open_cluster(logs, 1, tracking=True) as cluster:
        stage = build_stage(cluster, tmp_path, sample_folder)
        process = cluster.command("run.py", *stage.given)
        output = process.communicate(timeout=FINISH_S)[0]
        assert process.returncode == 0 and "Traceback" not in output, output
        layout = stage.take_results()
        storage = open_storage(stage_uri(cluster))
        assert storage.read_log() == layout.ledger.read_bytes()
        (worker,) = cluster.workers
        fetched = Counter(FETCHED.findall((logs / "store.log").read_text()))
        assert set(fetched.values()) == {1} and {host for host, _ in fetched} == {worker.address}
        assert len(fetched) == 2  # the images, and which of them are trained and judged on
        check_tracked(cluster, layout)
        twin = stage.run_twin()
    assert not find_differences(twin, layout, tracked=False)


def stage_uri(cluster: HostsCluster) -> str:
    """URI of the search on the storage."""
    place, _, query = cluster.storage.partition("?")
    return f"{place}/{NAME}?{query}"


def check_tracked(cluster: HostsCluster, layout: SearchLayout) -> None:
    """That MLflow holds every epoch of every trial once, and keeps files in the object store."""
    record = replay(read_events(layout.ledger))
    printed = cluster.driver.run(
        [sys.executable, "-c", TELL_RUNS, cluster.tracking_uri, record.search_id, ACCURACY],
        environment=cluster.environment,
    )
    told = json.loads(printed.splitlines()[-1])
    expected = {str(number): [row.epoch for row in trial.epochs] for number, trial in record.trials.items()}
    assert told["trials"] == expected and told["files"], told
    kept = open_storage(f"{cluster.storage.partition('?')[0]}/mlflow?{cluster.storage.partition('?')[2]}")
    assert kept.measure() > 0
