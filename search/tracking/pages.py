"""MLflow's pages, served for a person: quietly, and opened at the leaderboard."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fashion_core.errors import SearchError
from search.address import Address
from search.tracking.store import open_store, tell_errors
from search.tracking.view import VIEW_TAG, build_page_path, name_view

if TYPE_CHECKING:
    from collections.abc import Iterator

HOST = "127.0.0.1"
DEFAULT_PORT = 5000
START_S = 300  # of a server, on a busy machine
LOOK_S = 0.3
END_S = 15
LAST_LINES = 5
# Read by MLflow's server: no usage reports, and no processes for jobs that only its GenAI pages have.
QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}


@dataclass(frozen=True)
class Page:
    """A page to open.

    Attributes:
        title: the search or the space that it is of.
        path: what comes after the server's address.
        is_prepared: whether MLflow has the leaderboard's view; not where an older version sent the runs.
    """

    title: str
    path: str
    is_prepared: bool = True


def list_pages(uri: Address | str, name: str | None = None, space: str | None = None) -> list[Page]:
    """The leaderboards that MLflow has, the newest first.

    Args:
        name, space: a search and its space: its page alone. None: a page for every space.

    Raises:
        SearchError: MLflow does not answer, or has no runs of that search.
    """
    with tell_errors(uri):
        client = open_store(uri)
        if name is None:
            found = sorted(client.search_experiments(), key=lambda each: each.last_update_time or 0, reverse=True)
            view = VIEW_TAG + name_view()
            return [
                Page(each.name, build_page_path(each.experiment_id, name_view())) for each in found if view in each.tags
            ]
        experiment = client.get_experiment_by_name(space or "")
        if experiment is None:
            raise SearchError(
                f"MLflow must have the runs of {name}, but has none; send them: fashion-search resend {name}"
            )
        is_prepared = VIEW_TAG + name_view(name) in experiment.tags
        return [Page(name, build_page_path(experiment.experiment_id, name_view(name)), is_prepared)]


def check_port(port: int) -> None:
    """Raises SearchError where something listens on this port already, or it cannot be had."""
    with closing(socket.socket()) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise SearchError(
                f"the port of MLflow's pages must be free, but {port} is not ({error.strerror}); name another one: "
                f"--port {port + 1}, or make ui PORT={port + 1}"
            ) from None


@contextmanager
def serve_pages(uri: Address | str, port: int = DEFAULT_PORT) -> Iterator[subprocess.Popen[bytes]]:
    """MLflow's server for a while, as soon as it answers. What it prints is kept, and told where it does not start.

    Raises:
        SearchError: the port is used, or the server does not start.
    """
    check_port(port)
    address = Address.of(uri)
    if (file := address.file) is not None:
        address = Address.of_file(file.absolute())
    # not as an argument: `ps` shows those to everyone, with a password
    environment = os.environ | QUIET | {"MLFLOW_BACKEND_STORE_URI": address.reveal()}
    command = [sys.executable, "-m", "mlflow", "server", "--host", HOST, "--port", str(port), "--workers", "1"]
    with tempfile.TemporaryDirectory(prefix="mlflow-pages-") as folder:
        log = Path(folder) / "server.log"
        with log.open("wb") as file_of_log:
            server = subprocess.Popen(
                command,
                cwd=folder,
                env=environment,
                stdout=file_of_log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            wait_for(server, port, log, address)
            yield server
        finally:
            end(server)


def wait_for(server: subprocess.Popen[bytes], port: int, log: Path, uri: Address) -> None:
    """Raises SearchError where the server ends before it answers, or never does."""
    until = time.monotonic() + START_S
    while not is_up(port):
        if server.poll() is not None or time.monotonic() > until:
            last = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-LAST_LINES:]
            told = uri.hide("; ".join(line.strip() for line in last)) or "it says nothing"
            raise SearchError(f"MLflow's server must start on port {port}, but does not: {told}")
        time.sleep(LOOK_S)


def is_up(port: int) -> bool:
    """Whether MLflow answers on this port."""
    with suppress(OSError), urllib.request.urlopen(f"http://{HOST}:{port}/health", timeout=5) as answer:
        return bool(answer.read() == b"OK")
    return False


def end(server: subprocess.Popen[bytes]) -> None:
    """End a server, and the processes that it started."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(server.pid, number)
        with suppress(subprocess.TimeoutExpired):
            server.wait(END_S)
            return
