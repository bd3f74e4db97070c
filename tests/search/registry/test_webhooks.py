"""A promotion calls the webhooks of an MLflow server: the version, and the champion that it becomes."""

import json
import threading
import time
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from registered_models import START_S, run_server

from search.registry.copying import copy_version
from search.registry.lock import lock_by_tag
from search.registry.versions import Registry, Version
from search.tracking.store import open_store

EVENTS = ("model_version.created", "model_version_alias.created", "model_version_alias.deleted")
ALLOWED = {"MLFLOW_WEBHOOK_ALLOWED_SCHEMES": "http", "MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS": "true"}  # this machine's


class Receiver(ThreadingHTTPServer):
    """Takes what a server calls with; a context manager."""

    def __init__(self) -> None:
        received: list[dict[str, Any]] = []
        self.received = received

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        super().__init__(("127.0.0.1", 0), Handler)

    def list_calls(self) -> list[tuple[str, ...]]:
        """What was called for, sorted: deliveries may overtake each other."""
        shown = ("name", "version", "alias")
        return sorted(
            (f"{each['entity']}.{each['action']}", *(each["data"][key] for key in shown if key in each["data"]))
            for each in self.received
        )

    def await_calls(self, count: int) -> list[tuple[str, ...]]:
        """The same, once there are as many."""
        deadline = time.monotonic() + START_S
        while len(self.received) < count:
            assert time.monotonic() < deadline, self.received
            time.sleep(0.1)
        return self.list_calls()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()


@pytest.mark.slow
def test_a_promotion_and_a_copy_call_the_servers_webhooks(
    store: str, final: Path, photos: list[Path], champion: Version, receiver: Receiver, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("search.registry.versions.lock_by_tag", partial(lock_by_tag, settle_s=0.1))
    command = ["server", "--backend-store-uri", f"sqlite:///{tmp_path}/mlflow.db"]
    command += ["--artifacts-destination", str(tmp_path / "files")]
    with run_server(command, "health", tmp_path, MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false", **ALLOWED) as address:
        client = open_store(address)
        client.create_webhook("deploy", f"http://127.0.0.1:{receiver.server_port}/hook", list(EVENTS))
        run = client.create_run(client.create_experiment("remote")).info.run_id
        registry = Registry(address, "hooked")
        version = registry.register(
            final, run_id=run, promotion_id="a", tags={"gate": "passed"}, example_image=photos[0].read_bytes()
        )
        registry.promote(version, None, {})
        created, crowned = ("model_version.created", "hooked", "1"), ("model_version_alias.created", "hooked", "1")
        assert receiver.await_calls(2) == [created, (*crowned, "champion")]
        (told,) = [each["data"] for each in receiver.received if each["entity"] == "model_version"]
        assert told["tags"]["gate"] == "passed" and told["run_id"] == run
        registry.promote(version, None, {})  # given again: nothing changes, so nobody is called

        done = copy_version("served", address, tracking_uri=store, champion=True)
        served = [("model_version.created", "served", "1"), ("model_version_alias.created", "served", "1", "champion")]
        assert receiver.await_calls(4) == sorted([created, (*crowned, "champion"), *served])
        assert done.version.tags["gate"] == "passed" and done.registry.find("champion") == done.version
