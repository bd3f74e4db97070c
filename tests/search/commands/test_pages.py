"""`ui`: where the leaderboard is."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest
from made_search import make_search

if TYPE_CHECKING:
    from pathlib import Path


def test_a_used_port_is_told_and_fails(tmp_path: Path, call) -> None:
    layout = make_search(tmp_path, "mine")
    layout.tracking_db.touch()
    with socket.socket() as used:
        used.bind(("127.0.0.1", 0))
        used.listen()
        port = used.getsockname()[1]
        status, out, err = call("ui", "--results", tmp_path, "--port", port)
    assert status == 2 and not out and err.count("\n") == 1
    assert err.startswith("error: the port of MLflow's pages must be free") and f"make ui PORT={port + 1}" in err


@pytest.mark.parametrize("names", [[], ["none"]])
def test_where_there_is_nothing_to_see_it_is_told(names: list[str], tmp_path: Path, call) -> None:
    status, out, err = call("ui", *names, "--results", tmp_path)
    assert status == 2 and not out and err.startswith("error: ") and err.count("\n") == 1


def test_resend_tells_the_command(tmp_path: Path, call) -> None:
    layout = make_search(tmp_path, "mine")
    assert call("resend", "mine", "--results", tmp_path)[1].rstrip().endswith(f"-m search ui mine --results {tmp_path}")
    assert layout.tracking_db.is_file()
