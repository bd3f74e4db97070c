"""A cluster on hosts of their own (see `hosts`): Ray with a token, an object store, MLflow on PostgreSQL.

    store      an S3 server (moto's), which forgets all when it loses its power
    tracking   PostgreSQL, and MLflow's server, which keeps its artifacts in the store
    head       Ray's head, without cores
    driver     the machine that a person works on: a node of Ray without cores, so that nothing trains there
    workers    one core each

Nothing passes between them but over the network. They share this machine's disk where a host has no folder of its own;
what a test gives to one host alone stands in that host's `/tmp`.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from hosts import Host, Network, find_lack, open_hosts
from local_s3 import BUCKET, CREDENTIALS

REPOSITORY = Path(__file__).resolve().parents[2]
SEARCH = REPOSITORY / "search"
RAY = [sys.executable, "-m", "ray.scripts.scripts"]
RAY_PORT, S3_PORT, MLFLOW_PORT, POSTGRES_PORT = 6379, 9000, 5000, 5432
TOKEN = "/tmp/token"  # of each host, its own file
WORK = "/tmp/work"  # of a host that commands run on
RAY_START_S, SERVER_START_S = 120.0, 240.0
OBJECT_STORE_BYTES = 100_000_000
POSTGRES_PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin")) if os.name == "posix" else []
MAKE_BUCKET = f"""
import pyarrow.fs as pafs
there = pafs.S3FileSystem(endpoint_override="127.0.0.1:{S3_PORT}", scheme="http", allow_bucket_creation=True)
there.create_dir("{BUCKET}")
"""
ASK_TRACKING = """
import sys, time, urllib.request
while True:
    try:
        url = f"{sys.argv[1]}/api/2.0/mlflow/experiments/search?max_results=1"
        urllib.request.urlopen(url, timeout=2).read()
        break
    except OSError:
        time.sleep(0.5)
"""
TOKEN_MODE = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": TOKEN}
QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "10", "OMP_NUM_THREADS": "1"}


def find_cluster_lack(*, tracking: bool = False) -> str | None:
    """Why there can be no such cluster here; None where there can. tracking: with PostgreSQL."""
    if (lack := find_lack()) is not None:
        return lack
    if tracking and not POSTGRES_PROGRAMS:
        return "no hosts here with PostgreSQL: apt-get install postgresql"
    return None


class HostsCluster:
    """The hosts and what runs on them. Made by `open_cluster`.

    Attributes:
        logs: a folder of the machine, for what servers print.
        has_token: whether Ray asks for one.
    """

    def __init__(self, network: Network, logs: Path, *, has_token: bool = True) -> None:
        self.network, self.logs, self.has_token = network, logs, has_token
        self.token = secrets.token_hex(32)
        self.workers: list[Host] = []
        self.head, self.driver, self.store = (self.add_host() for _ in range(3))
        self.tracking: Host | None = None

    # --------------------------------------------------------------------------------------------------------- servers

    def add_host(self) -> Host:
        """One more host, which has the token in a file of its own."""
        host = self.network.add_host()
        write = f"import os; os.umask(0o77); open('{TOKEN}', 'w').write('{self.token}')"
        host.run([sys.executable, "-c", write])
        return host

    @property
    def address(self) -> str:
        """Of Ray's head."""
        return f"{self.head.address}:{RAY_PORT}"

    @property
    def storage(self) -> str:
        """URI of the bucket."""
        return f"s3://{BUCKET}?scheme=http&endpoint_override={self.store.address}:{S3_PORT}"

    @property
    def tracking_uri(self) -> str:
        """Address of MLflow's server."""
        assert self.tracking is not None
        return f"http://{self.tracking.address}:{MLFLOW_PORT}"

    @property
    def environment(self) -> dict[str, str]:
        """Of whatever runs on a host."""
        mode = TOKEN_MODE if self.has_token else {"RAY_AUTH_MODE": "disabled"}
        return QUIET | CREDENTIALS | {"PYTHONPATH": ""} | mode

    def start_store(self) -> None:
        """Start the object store, with an empty bucket."""
        command = [sys.executable, "-m", "moto.server", "-H", "0.0.0.0", "-p", S3_PORT]
        self.store.start(command, environment=CREDENTIALS, output=self.logs / "store.log")
        wait_for(lambda: is_listening(self.store, S3_PORT), SERVER_START_S, "the object store must start")
        self.store.run([sys.executable, "-c", MAKE_BUCKET], environment=CREDENTIALS)

    def start_tracking(self) -> None:
        """Start PostgreSQL, and MLflow's server on it."""
        self.tracking = self.add_host()
        self.tracking.run(["install", "-d", "-o", "postgres", "/tmp/pg"])
        self.run_postgres("initdb", "-D", "/tmp/pg/data", "-A", "trust", "--no-sync", "-U", "postgres")
        self.start_postgres()
        self.run_postgres("createdb", "-h", "127.0.0.1", "-U", "postgres", "mlflow")
        database = f"postgresql+psycopg://postgres@127.0.0.1:{POSTGRES_PORT}/mlflow"
        command = [sys.executable, "-m", "mlflow", "server", "--host", "0.0.0.0", "--port", MLFLOW_PORT, "--workers", 1]
        command += ["--backend-store-uri", database, "--allowed-hosts", "*"]
        command += ["--artifacts-destination", f"s3://{BUCKET}/mlflow"]
        store = {"MLFLOW_S3_ENDPOINT_URL": f"http://{self.store.address}:{S3_PORT}"}
        given = CREDENTIALS | store | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}  # ten processes that nobody asks
        self.tracking.start(command, environment=given, output=self.logs / "mlflow.log")

    def wait_for_tracking(self) -> None:
        """Wait until MLflow's server answers, and soon: it loads much at its first question."""
        self.driver.run([sys.executable, "-c", ASK_TRACKING, self.tracking_uri], timeout_s=SERVER_START_S)

    def start_postgres(self) -> None:
        """Start PostgreSQL, or start it again."""
        options = (
            f"-c listen_addresses=127.0.0.1 -c port={POSTGRES_PORT} -c unix_socket_directories=/tmp/pg -c fsync=off"
        )
        self.run_postgres("pg_ctl", "-D", "/tmp/pg/data", "-l", "/tmp/pg/log", "-w", "-o", options, "start")

    def restart_postgres(self) -> None:
        """End PostgreSQL as by an administrator in a hurry, and start it again."""
        self.run_postgres("pg_ctl", "-D", "/tmp/pg/data", "-m", "immediate", "stop")
        self.start_postgres()

    def run_postgres(self, program: str, *options: str) -> None:
        """Run one of its programs, as its own user: it starts for no root."""
        assert self.tracking is not None
        path = POSTGRES_PROGRAMS[-1] / program
        self.tracking.run(
            ["runuser", "-u", "postgres", "--", path, *options], folder="/tmp/pg", output=self.logs / f"{program}.log"
        )

    def start_head(self) -> None:
        """Start Ray's head, again if it was lost."""
        self.start_ray(self.head, "--head", "--port", RAY_PORT, "--include-dashboard", "false", cpus=0)

    def restart_ray(self) -> None:
        """The head ends at once, and with it its nodes; all are started again."""
        self.end_ray(self.head, signal.SIGKILL)
        for host in (self.driver, *self.workers):
            self.end_ray(host, signal.SIGKILL)
        self.start_head()
        self.join(self.driver, cpus=0)
        for host in self.workers:
            self.join(host, cpus=1)

    def end_ray(self, host: Host, number: signal.Signals = signal.SIGTERM) -> None:
        """Signal Ray's node on a host: to end in order, or at once."""
        for name in ("ray", "raylet", "gcs_server") if number == signal.SIGKILL else ("ray",):
            for pid in self.list_processes(host, name):
                os.kill(pid, number)

    def list_processes(self, host: Host, name: str) -> list[int]:
        """Ids, on the machine, of the processes of a host whose program has this name; `ray` is what `ray start` is."""
        return [
            pid
            for pid, line in self.read_commands(host)
            if Path(line[0]).name == name or (name == "ray" and {"ray.scripts.scripts", "start"} <= set(line))
        ]

    def list_commands(self, host: Host, script: str) -> list[int]:
        """Ids, on the machine, of the processes of a host that run a script of `search/`."""
        return [pid for pid, line in self.read_commands(host) if str(SEARCH / script) in line]

    def read_commands(self, host: Host) -> Iterator[tuple[int, list[str]]]:
        """Ids, on the machine, and words of all processes of a host."""
        for path in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if os.readlink(path / "ns/pid") == os.readlink(f"/proc/{host.pid}/ns/pid"):
                    yield int(path.name), (path / "cmdline").read_bytes().decode().split("\0")

    def is_busy(self, host: Host) -> bool:
        """Whether a trial's process runs there."""
        found = host.run(["ps", "ax", "-o", "args"])
        return "ray::TrialTrainable" in found

    def find_busy(self) -> Host:
        """The worker that trains."""
        deadline = time.monotonic() + RAY_START_S
        while time.monotonic() < deadline:
            for host in self.workers:
                if self.is_busy(host):
                    return host
        raise AssertionError("a worker must train, but none does")

    def join(self, host: Host, cpus: int, environment: Mapping[str, str] | None = None) -> None:
        """Make a host a node of Ray."""
        self.start_ray(host, "--address", self.address, cpus=cpus, environment=environment)

    def start_ray(self, host: Host, *options: object, cpus: int, environment: Mapping[str, str] | None = None) -> None:
        """Start a node of Ray. environment: beside that of all."""
        log = self.logs / f"ray-{host.name}.log"
        log.unlink(missing_ok=True)
        command = [*RAY, "start", "--block", "--num-cpus", cpus, "--num-gpus", 0, "--node-ip-address", host.address]
        command += ["--temp-dir", "/tmp/r", "--object-store-memory", OBJECT_STORE_BYTES, *options]
        host.start(command, environment=self.environment | dict(environment or {}), output=log)
        wait_for(lambda: "Ray runtime started" in log.read_text(), RAY_START_S, "Ray must start on a host")

    def add_worker(self, cpus: int = 1) -> Host:
        """One more node that trains, on a host of its own. cpus: cores that it says it has."""
        host = self.add_host()
        self.join(host, cpus=cpus)
        self.workers.append(host)
        return host

    # -------------------------------------------------------------------------------------------------------- commands

    def give(self, host: Host, source: Path, target: str) -> None:
        """Copy a folder of the machine to where a host alone sees it."""
        shutil.copytree(source, self.look(host, target), dirs_exist_ok=True)

    def take(self, host: Host, source: str, target: Path) -> None:
        """Copy a folder of a host to the machine."""
        shutil.copytree(self.look(host, source), target)

    def command(
        self, script: str, *options: object, host: Host | None = None, environment: Mapping[str, str] | None = None
    ) -> subprocess.Popen[str]:
        """Start one of the commands in `WORK` of the driver's host, or of another one."""
        host = host or self.driver
        self.look(host, WORK).mkdir(exist_ok=True)
        given = self.environment | {"PYTHONPATH": str(REPOSITORY)} | dict(environment or {})
        return host.start([sys.executable, SEARCH / script, *options], environment=given, folder=WORK)

    def look(self, host: Host, path: str) -> Path:
        """A path of a host, as the machine sees it."""
        return Path(f"/proc/{host.pid}/root{path}")


@contextmanager
def open_cluster(
    logs: Path, workers: int = 1, *, has_token: bool = True, tracking: bool = False
) -> Iterator[HostsCluster]:
    """A cluster of so many workers, which ends with all that runs there. Skips the test where there can be none.

    Args:
        logs: a folder of the machine, for what servers print.
        has_token: whether Ray asks for one.
        tracking: with PostgreSQL and MLflow's server.
    """
    if (lack := find_cluster_lack(tracking=tracking)) is not None:
        pytest.skip(lack)
    with open_hosts() as network:
        cluster = HostsCluster(network, logs, has_token=has_token)
        cluster.start_store()
        if tracking:
            cluster.start_tracking()
        cluster.start_head()
        cluster.join(cluster.driver, cpus=0)
        for _ in range(workers):
            cluster.add_worker()
        if tracking:
            cluster.wait_for_tracking()
        yield cluster


def is_listening(host: Host | None, port: int) -> bool:
    """Whether somebody listens on a port of a host."""
    assert host is not None
    wanted = f":{port:04X} "
    lines = Path(f"/proc/{host.pid}/net/tcp").read_text().splitlines()[1:]
    return any(wanted in line.split(maxsplit=2)[1] + " " and line.split()[3] == "0A" for line in lines)


def wait_for(is_so: Callable[[], bool], seconds: float, rule: str) -> None:
    """Wait until something is so. Fails where it takes longer."""
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, f"{rule} within {seconds:g} s, but did not"
        time.sleep(0.2)
