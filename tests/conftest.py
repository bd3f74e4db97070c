"""What every test stands on: a small drawn data set, the real one where it is, and no way out to the network."""

from __future__ import annotations

import ipaddress
import os
import random
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

# Read by libraries when they are imported, so set before any of them is.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
os.environ["DO_NOT_TRACK"] = "true"
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"

import pytest

if TYPE_CHECKING:
    from fashion_core.data.prepared import PreparedData

pytest_plugins = ["house_rules"]
REPOSITORY = Path(__file__).resolve().parent.parent
SAMPLE_SIZE = 64  # pixels

# What is heavy is imported where it is used: the process that hands tests out to others (-n 2) needs none of it.


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Tests are small: a second thread costs more than it gives, and numbers would depend on their count."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def seeded() -> None:
    """What a test draws without a seed of its own does not depend on the tests before it."""
    import numpy as np
    import torch

    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def sample_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A drawn data set of 120 training, 48 validation and 24 test images. Read-only: copy it to change it."""
    from fashion_core.samples.dataset import draw_sample_data

    return draw_sample_data(tmp_path_factory.mktemp("data") / "sample", train=120, val=48, test=24)


@pytest.fixture(scope="session")
def sample_prepared(sample_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> PreparedData:
    """The drawn data set, prepared at 64 px from the garments' boxes."""
    from fashion_core.data.annotations import load_annotations
    from fashion_core.data.pixels import PrepareSettings
    from fashion_core.data.prepared import prepare

    settings = PrepareSettings(image_size=SAMPLE_SIZE, crop="box", crop_margin=0.0)
    return prepare(load_annotations(sample_folder), settings, tmp_path_factory.mktemp("prepared"))


@pytest.fixture(scope="session")
def fashion_data() -> Path:
    """The folder of the real data set; its tests are skipped where there is none."""
    folder = Path(os.environ.get("FASHION_DATA", REPOSITORY / "../shared/data/FashionDataset")).resolve()
    if not (folder / "split").is_dir():
        pytest.skip("no real data set: FASHION_DATA names no folder with split/")
    return folder


# ------------------------------------------------------------------------------------------------ no way to the network


class OutsideConnection(ConnectionRefusedError):
    """This process tried to reach another machine."""


def is_own_address(host: str) -> bool:
    """Whether a host is this machine: by a name that needs no look-up, or by an address that a socket here can have."""
    try:
        address = ipaddress.ip_address(host.split("%")[0])
    except ValueError:
        return host in ("", "localhost", socket.gethostname())
    if address.is_loopback:
        return True
    try:
        with socket.socket(socket.AF_INET if address.version == 4 else socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.bind((host, 0))
    except OSError:
        return False
    return True


def is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.split("%")[0])
    except ValueError:
        return False
    return True


@pytest.fixture(scope="session", autouse=True)
def outside_connections() -> Iterator[list[str]]:
    """Connections to other machines, and look-ups of their names, fail in this process; the list holds the tries."""
    tried: list[str] = []
    patch = pytest.MonkeyPatch()
    look_up = socket.getaddrinfo

    def refuse(host: str, port: Any) -> None:
        tried.append(f"{host}:{port}")
        raise OutsideConnection(f"a test must not reach another machine, but tries {host}:{port}")

    def guard(method: Any) -> Any:
        def connect(self: socket.socket, address: Any) -> Any:
            if self.family in (socket.AF_INET, socket.AF_INET6) and not is_own_address(address[0]):
                refuse(address[0], address[1])
            return method(self, address)

        return connect

    def getaddrinfo(host: Any, port: Any, *arguments: Any, **options: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        if name is not None and not is_address(name) and not is_own_address(name):
            refuse(name, port)
        return look_up(host, port, *arguments, **options)

    patch.setattr(socket, "getaddrinfo", getaddrinfo)
    patch.setattr(socket.socket, "connect", guard(socket.socket.connect))
    patch.setattr(socket.socket, "connect_ex", guard(socket.socket.connect_ex))
    yield tried
    patch.undo()


@pytest.fixture(autouse=True)
def no_outside_connection(outside_connections: list[str]) -> Iterator[None]:
    """Fail a test that tried to reach another machine, even where a library swallowed the error."""
    outside_connections.clear()
    yield
    assert not outside_connections, f"a test must not reach another machine, but tried {outside_connections}"
