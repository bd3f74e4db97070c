"""A search on a cluster whose nodes are hosts of their own: see `hosts_cluster`."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hosts_cluster import WORK, HostsCluster, open_cluster
from same_search import compute_digest, find_differences
from whole_commands import start
from written_search import write_search

from fashion_core.metrics import ACCURACY
from search.records.events import EpochEnded, Event
from search.records.layout import SearchLayout
from search.records.lease import LEASE_SECONDS
from search.records.ledger import read_events
from search.records.record import replay
from search.records.storage import open_storage

pytestmark = [pytest.mark.slow, pytest.mark.long]
NAME = "mine"
SHARED = "/var/tmp"  # that no host has for itself
SPACE = """
description: a tiny network on drawn garments
trials: 4
fixed: {image_size: 32, weights: none, batch_size: 16, backbone: test_resnet}
search: {lr: {loguniform: [1e-4, 1]}, drop_path: {uniform: [0, 0.5]}}
scheduler: {type: asha, max_epochs: 8, grace_epochs: 4, reduction_factor: 2}
"""
LONG = SPACE.partition("scheduler:")[0] + "scheduler: {type: none, max_epochs: 60}\n"
GIVEN = ("--space", "tiny.yaml", "--name", NAME, "--concurrent", 1, "--cpus-per-trial", 1, "--data")
FINISH_S, AWAY_S, NOTICE_S, JOIN_S = 300.0, 60.0, 5.0, 10.0
MAX_LINES = 80  # of a command, with its plan and its summary
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
FETCHED = re.compile(r"^(\S+) .*GET /searches/\.images/([0-9a-f]{64})", re.MULTILINE)


@dataclass
class Stage:
    """A cluster, and a driver that has the data set and a space.

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

    def find_ledger(self) -> Path:
        """Of the driver's view, as the machine sees it."""
        return self.cluster.look(self.cluster.driver, f"{WORK}/results/{NAME}/ledger.jsonl")

    def wait_for(self, process: subprocess.Popen[str], kind: type[Event], count: int) -> None:
        """Wait until the search that runs has told so many events of a kind."""
        deadline = time.monotonic() + FINISH_S
        while sum(isinstance(event, kind) for event in read_events(self.find_ledger())) < count:
            assert process.poll() is None, process.communicate()[0]
            assert time.monotonic() < deadline
            time.sleep(0.1)

    def take_results(self) -> SearchLayout:
        """What the driver has, copied to the machine."""
        shutil.rmtree(self.folder / "results", ignore_errors=True)
        self.cluster.take(self.cluster.driver, f"{WORK}/results", self.folder / "results")
        layout = SearchLayout(self.folder / "results", NAME)
        print(dict(Counter(event.kind for event in read_events(layout.ledger))))  # for the table of what was found
        return layout


class Twin:
    """The same search on one machine, undisturbed, while the cluster starts. folder: of the machine."""

    def __init__(self, folder: Path, data: Path) -> None:
        (folder / "tiny.yaml").write_text(SPACE)
        self.process = start(folder, "run.py", *GIVEN, data)
        self.layout = SearchLayout(folder / "results", NAME)
        self.output: str | None = None

    def find_differences(self, layout: SearchLayout) -> list[str]:
        """In which another search differs from it, once it has ended."""
        if self.output is None:
            self.output = self.process.communicate(timeout=FINISH_S)[0]
        assert self.process.returncode == 0, self.output
        return find_differences(self.layout, layout, tracked=False)


@pytest.fixture(scope="module")
def twin(tmp_path_factory: pytest.TempPathFactory, sample_folder: Path) -> Iterator[Twin]:
    """Of all searches here."""
    found = Twin(tmp_path_factory.mktemp("twin"), sample_folder)
    yield found
    found.process.kill()


def build_stage(cluster: HostsCluster, folder: Path, sample_folder: Path, space: str = SPACE) -> Stage:
    """Give the driver what a search needs."""
    (folder / "tiny.yaml").write_text(space)
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


def test_a_search_is_the_same_as_on_one_machine(tmp_path: Path, logs: Path, sample_folder: Path, twin: Twin) -> None:
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
    assert not twin.find_differences(layout)


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


def test_a_cluster_that_may_not_be_used_is_refused(tmp_path: Path, logs: Path, sample_folder: Path) -> None:
    """One that asks strangers for no token; one whose node has another library. A dry run tells what it has."""
    with open_cluster(logs, 1, has_token=False) as cluster:
        stage = build_stage(cluster, tmp_path, sample_folder)
        status, words = tell(cluster, *stage.given)
        assert status == 2 and words.count("error:") == 1 and "Traceback" not in words, words
        assert f"{cluster.address} asks for none" in words and "--allow-open-cluster" in words
        status, words = tell(cluster, *stage.given, "--allow-open-cluster", "--dry-run")
        assert status == 0 and "1 node to train on: 1 with 1 CPU core" in words, words
        assert "the code, and 1 MiB of images, once to each node by s3://" in words, words
        odd = cluster.add_host()
        library = cluster.look(odd, "/tmp/other/torch-0.1.dist-info")
        library.mkdir(parents=True)
        (library / "METADATA").write_text("Metadata-Version: 2.1\nName: torch\nVersion: 0.1\n")
        cluster.join(odd, cpus=1, environment={"PYTHONPATH": "/tmp/other"})
        status, words = tell(cluster, *stage.given, "--allow-open-cluster")
        assert status == 2 and f"{odd.address} has torch 0.1 (here: " in words, words


def tell(cluster: HostsCluster, *options: object) -> tuple[int, str]:
    """The status of a search that ends soon, and what it prints, on one line."""
    process = cluster.command("run.py", *options)
    output = process.communicate(timeout=FINISH_S)[0]
    return process.returncode, " ".join(output.split())


# ---------------------------------------------------------------------------------------------- what is taken away


def test_what_is_taken_away_changes_nothing(tmp_path: Path, logs: Path, sample_folder: Path, twin: Twin) -> None:
    """MLflow, its database, the object store and the node that trains, while a search runs: it ends as undisturbed."""
    with open_cluster(logs, 1, tracking=True) as cluster:
        stage = build_stage(cluster, tmp_path, sample_folder)
        assert cluster.tracking is not None
        process = cluster.command("run.py", *stage.given)
        stage.wait_for(process, EpochEnded, 2)
        cluster.tracking.cut()
        stage.wait_for(process, EpochEnded, 5)
        cluster.store.cut()
        time.sleep(AWAY_S)
        cluster.store.plug_in()
        cluster.tracking.plug_in()
        stage.wait_for(process, EpochEnded, 8)
        cluster.restart_postgres()
        busy = cluster.find_busy()
        busy.cut()
        busy.power_off()
        cluster.add_worker()
        output = process.communicate(timeout=FINISH_S)[0]
        layout = stage.take_results()
        check_quiet(output)
        assert process.returncode == 0 and "answers again" in output, output
        check_tracked(cluster, layout)
    assert not twin.find_differences(layout)


def test_nodes_that_are_cut_off_or_taken_back_change_nothing(
    tmp_path: Path, logs: Path, sample_folder: Path, twin: Twin
) -> None:
    """The node that trains is cut off for a minute; the other one is told to end. A third goes on with what is left."""
    with open_cluster(logs, 2) as cluster:
        stage = build_stage(cluster, tmp_path, sample_folder)
        process = cluster.command("run.py", *stage.given)
        stage.wait_for(process, EpochEnded, 3)
        host = cluster.find_busy()
        host.cut()
        time.sleep(AWAY_S)
        host.plug_in()
        stage.wait_for(process, EpochEnded, 8)
        other = next(each for each in cluster.workers if each is not host)
        cluster.end_ray(other)
        time.sleep(NOTICE_S)
        other.power_off()
        cluster.add_worker()
        output = process.communicate(timeout=FINISH_S)[0]
        layout = stage.take_results()
        check_quiet(output)
        assert process.returncode == 0, output
    assert not twin.find_differences(layout)


def test_a_search_goes_on_elsewhere(tmp_path: Path, logs: Path, sample_folder: Path, twin: Twin) -> None:
    """Its driver loses its power; from another host it goes on with nothing but the storage. Then the head does."""
    with open_cluster(logs, 1) as cluster:
        stage = build_stage(cluster, tmp_path, sample_folder)
        process = cluster.command("run.py", *stage.given)
        stage.wait_for(process, EpochEnded, 5)
        told = len(read_events(stage.find_ledger()))
        cluster.driver.cut()
        cluster.driver.power_off()
        process.wait()
        died = time.monotonic()
        cluster.driver = cluster.add_host()
        cluster.join(cluster.driver, cpus=0)
        cluster.give(cluster.driver, stage.folder / "photographs", f"{WORK}/moved")
        time.sleep(max(0.0, died + LEASE_SECONDS - time.monotonic()))
        going_on = ("--resume", NAME, "--storage", cluster.storage, "--data", f"{WORK}/moved")
        process = cluster.command("run.py", *going_on, "--address", cluster.address)
        stage.wait_for(process, EpochEnded, 9)
        assert len(read_events(stage.find_ledger())) > told

        cluster.restart_ray()
        output = process.communicate(timeout=FINISH_S)[0]
        check_quiet(output)
        if process.returncode:
            process = cluster.command("run.py", *going_on, "--address", cluster.address)
            output = process.communicate(timeout=FINISH_S)[0]
            check_quiet(output)
        assert process.returncode == 0, output
        layout = stage.take_results()
    assert not twin.find_differences(layout)


def test_a_node_that_joins_gets_work(tmp_path: Path, logs: Path, sample_folder: Path) -> None:
    """Two trials at once, on one node; the second node has one as soon as it is there."""
    with open_cluster(logs, 1) as cluster:
        stage = build_stage(cluster, tmp_path, sample_folder, LONG)
        at_once = stage.given.index("--concurrent") + 1
        process = cluster.command("run.py", *stage.given[:at_once], 2, *stage.given[at_once + 1 :])
        stage.wait_for(process, EpochEnded, 2)
        host = cluster.add_worker()
        joined = time.monotonic()
        while not cluster.is_busy(host):
            assert process.poll() is None and time.monotonic() < joined + FINISH_S
            time.sleep(0.2)
        taken_s = time.monotonic() - joined
        output = process.communicate(timeout=FINISH_S)[0]
        assert process.returncode == 0, output
        print(f"work after {taken_s:.1f} s")
    assert taken_s <= JOIN_S


# ------------------------------------------------------------------------------------------------------- promotions


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder that the machine and all hosts have in common, as nodes have one by NFS."""
    folder = Path(tempfile.mkdtemp(prefix="shared-", dir=SHARED))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def test_a_promotion_there_is_the_same(shared: Path, logs: Path, sample_folder: Path) -> None:
    """Its networks are trained on a node; the command is killed once one of them is done. What ships is the same."""
    data = shared / "photographs"
    shutil.copytree(sample_folder, data)
    folders = [shared / place / "results" for place in ("here", "there")]
    for folder in folders:
        folder.mkdir(parents=True)
    layouts = [write_search(folder, NAME, data, [5e-3, 1e-9]) for folder in folders]
    options = ("--top", 2, "--seeds", 2, "--force", "--concurrent", 1, "--cpus-per-trial", 1)
    undisturbed = start(shared / "here", "promote.py", NAME, *options)
    with open_cluster(logs, 1) as cluster:
        given = (NAME, "--results", layouts[1].results, *options, "--address", cluster.address)
        process = cluster.command("promote.py", *given)
        first, deadline = layouts[1].promotion_folder / "reruns", time.monotonic() + FINISH_S
        while not list(first.glob("*/run.json")):
            assert process.poll() is None, process.communicate()[0]
            assert time.monotonic() < deadline
            time.sleep(0.05)
        for pid in cluster.list_commands(cluster.driver, "promote.py"):
            os.kill(pid, signal.SIGKILL)
        process.communicate()
        process = cluster.command("promote.py", *given)
        output = process.communicate(timeout=FINISH_S)[0]
        check_quiet(output)
        assert process.returncode == 0 and "version 1, is the champion" in " ".join(output.split()), output
        assert "0 done before" not in " ".join(output.split())
    told = undisturbed.communicate(timeout=FINISH_S)[0]
    assert undisturbed.returncode == 0, told
    weights = [
        {path.relative_to(each.folder): compute_digest(path) for path in each.promotion_folder.rglob("*.safetensors")}
        for each in layouts
    ]
    assert weights[0] == weights[1] and len(weights[0]) >= 6
    with np.load(layouts[0].final.answers) as one, np.load(layouts[1].final.answers) as two:
        assert np.array_equal(one["correct"], two["correct"])


def check_quiet(output: str) -> None:
    """That a command says what happened in lines of its own: no traces, no state of Ray's."""
    assert "Traceback" not in output and "(raylet" not in output and len(output.splitlines()) < MAX_LINES, output
