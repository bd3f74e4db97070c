"""The guard that keeps tests off the network bites, and lets this machine talk to itself."""

import os
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
OUTSIDE = "203.0.113.9"  # RFC 5737: an address of nobody's


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
@pytest.mark.parametrize(("family", "host"), [(socket.AF_INET, OUTSIDE), (socket.AF_INET6, "2001:db8::9")])
def test_other_machines_cannot_be_reached(kind: int, family: int, host: str, outside_connections: list[str]) -> None:
    with socket.socket(family, kind) as client:
        client.settimeout(1)
        for connect in (client.connect, client.connect_ex):
            with pytest.raises(ConnectionRefusedError, match=host):
                connect((host, 80))
    assert outside_connections == [f"{host}:80"] * 2
    outside_connections.clear()


def test_names_are_not_looked_up(outside_connections: list[str]) -> None:
    with pytest.raises(OSError, match="must not reach another machine"):
        urllib.request.urlopen("http://a-name.example", timeout=1)
    assert outside_connections == ["a-name.example:80"]
    outside_connections.clear()


def test_this_machine_can_be_reached() -> None:
    for host in ("127.0.0.1", "localhost", find_own_address()):
        with socket.create_server((host, 0)) as server:
            port = server.getsockname()[1]
            with socket.create_connection((host, port), timeout=5) as client:
                assert client.getpeername()[1] == port


def find_own_address() -> str:
    """An address of this machine as other machines see it, as Ray's nodes have one; loopback where there is none."""
    code = f"from socket import *; s = socket(type=SOCK_DGRAM); s.connect(('{OUTSIDE}', 9)); print(s.getsockname()[0])"
    asked = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True
    )  # a datagram socket sends nothing
    return asked.stdout.strip() or "127.0.0.1"


@pytest.mark.slow
def test_a_try_that_a_library_swallows_fails_the_test(tmp_path: Path) -> None:
    (tmp_path / "test_library.py").write_text(
        "import contextlib, socket\n"
        "def test_telemetry():\n"
        "    with contextlib.suppress(Exception):\n"
        f"        socket.create_connection(('{OUTSIDE}', 443), timeout=1)\n"
        "def test_other():\n    pass\n"
    )
    command = [sys.executable, "-m", "pytest", "-p", "conftest", "-p", "no:cacheprovider", "test_library.py"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (TESTS, TESTS / "helpers", TESTS.parent)))}
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert "2 passed, 1 error" in result.stdout and f"{OUTSIDE}:443" in result.stdout, result.stdout + result.stderr
