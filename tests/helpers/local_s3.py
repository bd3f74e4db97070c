"""An object store on this machine: a real S3 server, and a way to it that can be cut off for a while."""

from __future__ import annotations

import importlib.util
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress

import pyarrow.fs as pafs
import pytest

BUCKET = "searches"
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


@contextmanager
def serve_s3() -> Iterator[str]:
    """A server for this process and those it starts. Gives the URI of an empty bucket. Skips the test without moto."""
    if importlib.util.find_spec("moto") is None:
        pytest.skip("needs moto, a local S3 server: the development extra has it")
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in CREDENTIALS.items():
            patch.setenv(name, value)
        try:
            uri = name_bucket(server.get_host_and_port()[1])
            filesystem, bucket = pafs.FileSystem.from_uri(f"{uri}&allow_bucket_creation=true")
            filesystem.create_dir(bucket)
            yield uri
        finally:
            server.stop()


def name_bucket(port: int) -> str:
    """The URI of the bucket, by a server on this port."""
    return f"s3://{BUCKET}?scheme=http&endpoint_override=127.0.0.1:{port}"


def join(bucket: str, name: str) -> str:
    """The URI of what stands under this name in a bucket."""
    place, _, query = bucket.partition("?")
    return f"{place}/{name}?{query}"


class Gate:
    """A way to a bucket that refuses all while it is shut.

    Attributes:
        bucket: its URI by this way.
    """

    def __init__(self, bucket: str) -> None:
        self.target, self.is_open = int(bucket.rpartition(":")[2]), True
        self.server = socket.create_server(("127.0.0.1", 0))
        self.bucket = name_bucket(self.server.getsockname()[1])
        self.sockets: list[socket.socket] = []
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self) -> None:
        """Take whoever comes."""
        with suppress(OSError):
            while True:
                client = self.server.accept()[0]
                if not self.is_open:
                    client.close()
                    continue
                there = socket.create_connection(("127.0.0.1", self.target))
                self.sockets += [client, there]
                for one, other in ((client, there), (there, client)):
                    threading.Thread(target=self.pass_on, args=(one, other), daemon=True).start()

    def pass_on(self, one: socket.socket, other: socket.socket) -> None:
        """Pass on what one says, until it is silent."""
        with suppress(OSError), closing(other):
            while content := one.recv(1 << 16):
                other.sendall(content)

    def shut(self) -> None:
        """Refuse all, and cut off those who talk."""
        self.is_open = False
        for each in self.sockets:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        self.sockets.clear()

    def open(self) -> None:
        """Lead there again."""
        self.is_open = True

    def close(self) -> None:
        """Be gone."""
        self.shut()
        self.server.close()
