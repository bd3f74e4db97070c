"""The guard that keeps tests off the network bites, and lets this machine talk to itself."""

import socket
import urllib.request

import pytest

OUTSIDE = "192.0.2.1"  # RFC 5737: belongs to nobody


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
@pytest.mark.parametrize(("family", "host"), [(socket.AF_INET, OUTSIDE), (socket.AF_INET6, "2001:db8::1")])
def test_other_machines_cannot_be_reached(
    kind: int, family: int, host: str, outside_connections: list[str]
) -> None:
    with socket.socket(family, kind) as client:
        client.settimeout(1)
        for connect in (client.connect, client.connect_ex):
            with pytest.raises(ConnectionRefusedError, match=host):
                connect((host, 80))
    assert outside_connections == [f"{host}:80"] * 2
    outside_connections.clear()


def test_names_are_not_looked_up(outside_connections: list[str]) -> None:
    with pytest.raises(OSError, match="must not reach another machine"):
        urllib.request.urlopen("http://example.com", timeout=1)
    assert outside_connections == ["example.com:80"]
    outside_connections.clear()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_swallowed_try_fails_the_test(pytester: pytest.Pytester) -> None:
    pytester.makeconftest((pytester.path.parent / "conftest.py").read_text() if False else "")


def test_this_machine_can_be_reached() -> None:
    for host in ("127.0.0.1", "localhost", find_own_address()):
        with socket.create_server((host if host != "localhost" else "127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
            with socket.create_connection((host, port), timeout=5) as client:
                assert client.getpeername()[1] == port


def find_own_address() -> str:
    """An address of this machine that is not loopback, as Ray's nodes have; loopback where there is none."""
    try:
        return socket.gethostbyname(socket.gethostname())
    except OSError:
        return "127.0.0.1"
