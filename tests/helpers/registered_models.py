"""A registered model to ask, and versions with nothing in them."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pytest
from free_port import find_port

from fashion_core import predict as core
from search.registry.versions import PROMOTION_TAG, Registry, Version

REPOSITORY = Path(__file__).resolve().parents[2]
BOX = "10,5,70,90"
START_S = 120  # for a server or another process on a busy machine
TOLERANCE = 1e-5  # of probabilities: another process has another number of threads


def draw_versions(store: str, model: str, count: int) -> tuple[Registry, list[Version]]:
    """Versions with nothing in them: enough for aliases."""
    registry = Registry(store, model)
    client = registry.connect()
    client.create_registered_model(model)
    for number in range(count):
        client.create_model_version(model, f"file:///nowhere/{number}", tags={PROMOTION_TAG: str(number)})
    return registry, registry.list_versions()


@contextmanager
def run_server(command: list[str], path: str, folder: Path, **environment: str) -> Iterator[str]:
    """An MLflow command that serves on a free port of this machine, until it answers at the path; gives its address."""
    port = find_port()
    address = f"http://127.0.0.1:{port}"
    scripts = str(Path(sys.executable).parent)
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "mlflow", *command, "--host", "127.0.0.1", "--port", str(port), "--workers", "1"],
            env={**os.environ, "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}", **environment},
            cwd=folder,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + START_S
        while True:
            try:
                urllib.request.urlopen(f"{address}/{path}", timeout=START_S).close()
                break
            except OSError:
                assert server.poll() is None and time.monotonic() < deadline, (folder / "log").read_text()
                time.sleep(0.2)
        yield address
    finally:
        os.killpg(server.pid, signal.SIGKILL)  # with its workers
        server.wait()


def post(address: str, content: dict) -> dict:
    """What a server of a model answers to JSON. Raises HTTPError where it refuses."""
    body, kind = json.dumps(content).encode(), {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{address}/invocations", body, kind)
    with urllib.request.urlopen(request, timeout=START_S) as response:
        return json.load(response)


def ask_core(final: Path, photos: list[Path], capsys: pytest.CaptureFixture[str], *options: str) -> list[dict]:
    core.main([*map(str, (final, *photos)), "--json", "--device", "cpu", *options])
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def check_table(table: pd.DataFrame, expected: list[dict]) -> None:
    """The answers of a served model are those of fashion_core.predict."""
    by_category = ["pattern", "pattern_probability", "fit", "fit_probability"]
    assert list(table) == [*by_category, "probabilities", "warning", "error"] and table["error"].isna().all()
    assert len(table) == len(expected)
    for row, answer in zip(table.to_dict("records"), expected, strict=True):
        said = json.loads(row["probabilities"])
        for name, values in answer["attributes"].items():
            assert row[name] == values["class"]
            assert row[f"{name}_probability"] == pytest.approx(values["probability"], abs=TOLERANCE)
            assert said[name] == pytest.approx(values["probabilities"], abs=TOLERANCE)
