"""A Slurm of two nodes on this machine: its real daemons, on free ports, all they keep in one folder."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import psutil
import pytest
from free_port import find_port

DAEMONS = ("munged", "slurmctld", "slurmd")
NODES = ("n1", "n2")
CONFIGURATION = """
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=10
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
SlurmdTimeout=10
SlurmdParameters=config_overrides
ReturnToService=2
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=1
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=1
PartitionName=all Nodes=ALL Default=YES State=UP
"""


class Slurm:
    """Its daemons, and what is asked of it. folder: of all that it keeps; sockets need its path to be short."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.daemons: dict[str, subprocess.Popen[bytes]] = {}
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        self.environment = os.environ | {"SLURM_CONF": str(folder / "slurm.conf"), "PATH": path}

    def start(self) -> None:
        """Start all daemons, and wait until both nodes are there."""
        (self.folder / "state").mkdir()
        key = self.folder / "munge.key"
        key.touch(mode=0o600)
        key.write_bytes(secrets.token_bytes(1024))
        names = {"socket": "socket", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
        files = [f"--{option}={self.folder}/munge.{name}" for option, name in names.items()]
        self.run_daemon("munged", "munged", "--foreground", "--force", f"--key-file={key}", *files)
        host, ports = socket.gethostname().split(".")[0], [find_port() for _ in range(3)]
        text = CONFIGURATION.format(folder=self.folder, host=host, ports=ports)
        (self.folder / "slurm.conf").write_text(text)
        wait_until(lambda: (self.folder / "munge.socket").exists(), 30)
        self.run_daemon("slurmctld", "slurmctld", "-D", "-c")
        for node in NODES:
            self.start_node(node)
        wait_until(lambda: self.ask("sinfo", "-h", "-o", "%t %D") == "idle 2", 60)

    def run_daemon(self, name: str, *command: str) -> None:
        """Start one, in the foreground: its output says why where it does not."""
        with (self.folder / f"{name}.output").open("ab") as output:
            self.daemons[name] = subprocess.Popen(command, env=self.environment, stdout=output, stderr=output)

    def start_node(self, node: str) -> None:
        """Start a node, again if it was lost."""
        self.run_daemon(node, "slurmd", "-D", "-N", node)

    def lose_node(self, node: str) -> None:
        """End all of a node at once, as a power cut does."""
        found = [self.daemons[node].pid]
        for process in psutil.process_iter(["environ"]):
            environment = process.info["environ"] or {}
            is_ours = environment.get("SLURM_CONF") == self.environment["SLURM_CONF"]
            if is_ours and environment.get("SLURMD_NODENAME") == node:
                parent = process.parent()
                if parent is not None and parent.name() == "slurmstepd":
                    found.append(parent.pid)
                found.append(process.pid)
        for pid in found:
            with suppress(ProcessLookupError):
                os.kill(pid, 9)
        self.daemons[node].wait()

    def ask(self, *command: str | Path, cwd: Path | None = None) -> str:
        """What one of Slurm's commands prints."""
        done = subprocess.run(command, env=self.environment, cwd=cwd, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def tell(self, job: str) -> dict[str, str]:
        """What Slurm knows of a job."""
        words = self.ask("scontrol", "show", "job", job).split()
        return dict(word.split("=", 1) for word in words if "=" in word)

    def end(self) -> None:
        """End all jobs, and then the daemons."""
        with suppress(AssertionError, subprocess.TimeoutExpired, OSError):
            self.ask("scancel", "--user", "root")
            wait_until(lambda: not self.ask("squeue", "-h"), 90)
        for daemon in reversed(self.daemons.values()):
            daemon.terminate()
        for daemon in self.daemons.values():
            try:
                daemon.wait(20)
            except subprocess.TimeoutExpired:
                daemon.kill()


@contextmanager
def serve_slurm() -> Iterator[Slurm]:
    """A Slurm for this test. Skips it where there is none, or no right to start it."""
    missing = [name for name in DAEMONS if shutil.which(name) is None]
    if missing:
        pytest.skip(f"needs Slurm, but {', '.join(missing)} is not here: apt-get install slurm-wlm munge")
    if os.geteuid() != 0:
        pytest.skip("not root: Slurm's daemons start as it")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="slurm-", ignore_cleanup_errors=True)))
        slurm = Slurm(folder)
        stack.callback(slurm.end)
        slurm.start()
        yield slurm


def wait_until(is_so: Callable[[], bool], seconds: float) -> None:
    """Wait until something is so, and fail where it takes longer."""
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, f"it must be so within {seconds:g} s, but is not"
        time.sleep(0.5)
