"""A search on an object store goes on from that alone, on a machine that knows nothing of it."""

import os
import shutil
import signal
import time

import pytest
from local_s3 import join, serve_s3
from same_search import find_differences
from whole_commands import start

from search.records.layout import SearchLayout
from search.records.lease import LEASE_SECONDS
from search.records.ledger import read_events
from search.records.record import replay
from search.records.storage import open_storage

SPACE = """
trials: 4
fixed: {image_size: 32, weights: none, batch_size: 16, backbone: test_resnet}
search: {lr: {loguniform: [1e-4, 1]}, drop_path: {uniform: [0, 0.5]}}
scheduler: {type: asha, max_epochs: 4, grace_epochs: 1, reduction_factor: 2}
"""
LINES = 9  # of the ledger, when the search is killed


def finish(process):
    """What a command printed."""
    output = process.communicate()[0]
    return process.returncode, output


@pytest.mark.slow
def test_a_killed_search_goes_on_from_its_storage_alone(tmp_path, sample_folder):
    (tmp_path / "tiny.yaml").write_text(SPACE)
    given = ("--data", sample_folder, "--space", tmp_path / "tiny.yaml", "--concurrent", 1)
    status, output = finish(start(tmp_path, "run.py", *given, "--name", "mine", "--results", "twin"))
    assert status == 0, output
    layout = SearchLayout(tmp_path / "elsewhere", "mine")
    with serve_s3() as bucket:
        process = start(tmp_path, "run.py", *given, "--name", "mine", "--results", "gone", "--storage", bucket)
        ledger, deadline = tmp_path / "gone" / "mine" / "ledger.jsonl", time.monotonic() + 240
        while len(read_events(ledger)) < LINES and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGKILL)
        status, output = finish(process)
        assert replay(read_events(ledger)).ended is None and len(read_events(ledger)) >= LINES, output
        shutil.rmtree(tmp_path / "gone")
        (tmp_path / "tiny.yaml").unlink()
        going_on = ("--resume", "mine", "--results", "elsewhere", "--storage", bucket)
        status, output = finish(start(tmp_path, "run.py", *going_on))
        assert status == 2 and "if that was killed, it is free in" in " ".join(output.split()), output
        time.sleep(LEASE_SECONDS)
        status, output = finish(start(tmp_path, "run.py", *going_on))
        assert status == 0, output
        storage = open_storage(join(bucket, "mine"))
        assert storage.read_log() == layout.ledger.read_bytes()
        assert not [name for name in storage.list() if name.startswith("trial-")]  # no state is left
    assert not find_differences(SearchLayout(tmp_path / "twin", "mine"), layout)
