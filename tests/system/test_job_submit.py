"""A search submitted as a job to a Ray that asks for its token, as the recipe for Ray's own launcher does."""

from __future__ import annotations

import importlib.util
import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from free_port import find_port

from search.records.layout import SearchLayout
from search.records.ledger import read_events
from search.records.record import replay

REPOSITORY = Path(__file__).resolve().parents[2]
RAY = [sys.executable, "-m", "ray.scripts.scripts"]
TRIES = 3  # Ray gives up where it does not start in 30 s
pytestmark = [pytest.mark.slow, pytest.mark.long]

SPACE = """
description: a tiny network on drawn garments
trials: 2
fixed: {image_size: 32, weights: none, batch_size: 16, backbone: test_resnet}
search: {lr: {loguniform: [1e-4, 1e-2]}}
scheduler: {type: none, max_epochs: 2}
"""


@contextmanager
def serve_ray(environment: dict[str, str]) -> Iterator[str]:
    """A head with Ray's pages, of one core. Gives their address."""
    if importlib.util.find_spec("aiohttp_cors") is None:
        pytest.skip("needs ray[default], which has Ray's pages and takes jobs")
    with tempfile.TemporaryDirectory(prefix="rj-", ignore_cleanup_errors=True) as folder:
        for _ in range(TRIES):
            port, pages, client = (find_port() for _ in range(3))
            command = [*RAY, "start", "--head", "--block", "--num-cpus", "1", "--temp-dir", folder]
            command += ["--port", str(port), "--dashboard-port", str(pages), "--ray-client-server-port", str(client)]
            head = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
            assert head.stdout is not None
            if any("Ray runtime started" in line for line in head.stdout):
                break
            head.wait()
        else:
            pytest.fail(f"Ray must start in one of {TRIES} tries, but did not")
        try:
            yield f"http://127.0.0.1:{pages}"
        finally:
            head.terminate()
            head.wait(60)


def test_a_search_is_submitted_as_a_job(tmp_path: Path, sample_folder: Path) -> None:
    token = tmp_path / "token"
    token.touch(mode=0o600)
    token.write_text(secrets.token_hex(32))
    environment = os.environ | {
        "PYTHONPATH": str(REPOSITORY),
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token),
        "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0",
    }
    (tmp_path / "tiny.yaml").write_text(SPACE)
    with serve_ray(environment) as address:
        with pytest.raises(HTTPError) as refused:
            urlopen(f"{address}/api/jobs/", timeout=60)
        assert refused.value.code == 401
        search = [sys.executable, str(REPOSITORY / "search" / "run.py"), "--name", "sent", "--address", "auto"]
        search += ["--data", str(sample_folder), "--space", str(tmp_path / "tiny.yaml")]
        search += ["--results", str(tmp_path / "results")]
        began = time.monotonic()
        command = [*RAY, "job", "submit", "--address", address, "--", *search]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=400)
        assert done.returncode == 0, f"after {time.monotonic() - began:.0f} s: {done.stdout}{done.stderr}"
    assert "all trials ended" in done.stdout
    record = replay(read_events(SearchLayout(tmp_path / "results", "sent").ledger))
    assert [trial.status for trial in record.trials.values()] == ["finished"] * 2
