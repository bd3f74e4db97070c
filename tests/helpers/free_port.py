"""A port for a server of a test."""

import socket
from contextlib import closing


def find_port() -> int:
    """A port of this machine where nobody listens."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
