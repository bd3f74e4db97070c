"""The recipe for Slurm, on a real Slurm of two nodes, all on this machine."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from local_slurm import Slurm, serve_slurm, wait_until

from search.records.events import EpochEnded, SearchEnded, SearchResumed
from search.records.layout import SearchLayout
from search.records.ledger import read_events
from search.records.record import replay

RECIPE = Path(__file__).resolve().parents[2] / "search" / "cluster" / "slurm.sbatch"
pytestmark = [pytest.mark.slow, pytest.mark.long]

SPACE = """
description: a tiny network on drawn garments
trials: 4
fixed: {{image_size: 32, weights: none, batch_size: 16, backbone: test_resnet}}
search: {{lr: {{loguniform: [1e-4, 1e-2]}}}}
scheduler: {{type: none, max_epochs: {epochs}}}
"""
JOIN = "import ray; ray.init('{address}', log_to_driver=False)"


@pytest.fixture(scope="module")
def slurm() -> Iterator[Slurm]:
    with serve_slurm() as found:
        yield found


def submit(slurm: Slurm, folder: Path, data: Path, epochs: int) -> str:
    """The number of the job that searches."""
    (folder / "tiny.yaml").write_text(SPACE.format(epochs=epochs))
    command = ["sbatch", "--parsable", "--cpus-per-task", "1", "--time", "20", str(RECIPE), "tried"]
    return slurm.ask(*command, "--data", str(data), "--space", "tiny.yaml", cwd=folder)


def wait_for_end(slurm: Slurm, job: str, folder: Path) -> str:
    """What the job printed, where it came to a good end, and left nothing on its nodes."""
    wait_until(lambda: slurm.tell(job)["JobState"] not in ("RUNNING", "PENDING", "COMPLETING"), 600)
    output = (folder / f"slurm-{job}.out").read_text()
    assert slurm.tell(job)["JobState"] == "COMPLETED", output
    assert not Path(f"/tmp/fashion-ray-{job}").exists()
    assert not (folder / "results" / f".slurm-{job}" / "token").exists()
    mine = [process for process in psutil.process_iter(["cmdline"]) if f"fashion-ray-{job}/" in str(process.info)]
    assert not mine
    return output


def test_a_job_searches_on_both_nodes(slurm: Slurm, tmp_path: Path, sample_folder: Path) -> None:
    job = submit(slurm, tmp_path, sample_folder, epochs=2)
    output = wait_for_end(slurm, job, tmp_path)
    assert "2 trials, each with 1 CPU core" in output
    record = replay(read_events(SearchLayout(tmp_path / "results", "tried").ledger))
    assert [trial.status for trial in record.trials.values()] == ["finished"] * 4


def test_a_job_that_is_queued_again_goes_on(slurm: Slurm, tmp_path: Path, sample_folder: Path) -> None:
    epochs = 60
    job = submit(slurm, tmp_path, sample_folder, epochs)
    ledger = SearchLayout(tmp_path / "results", "tried").ledger

    def count(kind: type) -> int:
        return sum(isinstance(event, kind) for event in read_events(ledger)) if ledger.exists() else 0

    wait_until(lambda: count(EpochEnded) > 2, 300)
    address = f"{find_address(job)}:{20000 + int(job) % 10000}"
    stranger = {name: value for name, value in os.environ.items() if not name.startswith("RAY_AUTH")}
    stranger |= {"HOME": str(tmp_path), "RAY_AUTH_MODE": "disabled"}
    join = subprocess.run([sys.executable, "-c", JOIN.format(address=address)], env=stranger, capture_output=True)
    assert join.returncode and b"uthentication" in join.stderr

    slurm.ask("scancel", "--signal", "USR1", "--batch", job)  # as Slurm does when the time is nearly over
    wait_until(lambda: count(SearchResumed) == 1, 300)
    told = count(EpochEnded)
    wait_until(lambda: count(EpochEnded) > told + 2, 300)

    slurm.lose_node("n2")
    wait_until(lambda: slurm.tell(job)["JobState"] == "PENDING", 300)
    slurm.start_node("n2")
    wait_for_end(slurm, job, tmp_path)
    assert slurm.tell(job)["Restarts"] == "2" and count(SearchResumed) == 2 and count(SearchEnded) >= 1
    record = replay(read_events(ledger))
    assert [trial.status for trial in record.trials.values()] == ["finished"] * 4
    for trial in record.trials.values():
        assert sorted(row.epoch for row in trial.epochs) == list(range(1, epochs + 1))


def find_address(job: str) -> str:
    """The one that Ray's head of a job has."""
    for process in psutil.process_iter(["cmdline"]):
        line = process.info["cmdline"] or []
        for word in line:
            if f"fashion-ray-{job}/" in " ".join(line) and word.startswith("--node_ip_address="):
                return word.partition("=")[2]
    raise AssertionError("no Ray runs for the job")
