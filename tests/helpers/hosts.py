"""Hosts of our own on one machine, for tests of a cluster: what a node has and can lose, without a second machine.

Each host is a set of Linux namespaces: its own network with an address on a bridge, its own processes, its own mounts
(`/tmp`, `/dev/shm` and whatever a test asks for are empty and its alone; the rest of the disk, this code and its Python
are the machine's), and a share of the cores. Nothing passes between hosts but over the network, or through what a test
puts elsewhere on purpose.

It needs Linux, root, and the programs `ip`, `unshare` and `nsenter` (Debian: iproute2, util-linux): see `find_lack`.
"""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

PROGRAMS = ("ip", "unshare", "nsenter")
OWN_FOLDERS = ("/tmp", "/dev/shm")  # of each host, empty at first
HOME = "/tmp/home"  # of each host
HELD = "/mnt"  # where what it needs is held meanwhile
ROOT = Path(__file__).resolve().parents[2]
GATEWAY = 254  # last part of the machine's own address on a bridge
CPU_GROUPS = Path("/sys/fs/cgroup/cpu")
PERIOD_US = 100_000
START_S = 10.0
NETWORKS = itertools.count(1)  # of this process


def find_lack() -> str | None:
    """Why there can be no hosts here; None where there can."""
    if sys.platform != "linux" or os.geteuid():
        return "not root, or no Linux: both are needed to make hosts"
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        return f"no hosts here: they need the programs {', '.join(missing)} (Debian: iproute2, util-linux)"
    done = subprocess.run(["unshare", "--net", "--mount", "true"], capture_output=True, check=False)
    return None if done.returncode == 0 else "no hosts here: this machine allows no namespaces"


@dataclass
class Host:
    """One host. Made by `open_hosts`.

    Attributes:
        name: its network's and its own number.
        address: IPv4.
        init: process id, on the machine, of its first process, with which all others end.
        link: the machine's end of its cable.
        cores: its share of the machine's cores, where it has one.
        group: its folder among the control groups of the CPU.
    """

    name: str
    address: str
    init: subprocess.Popen[bytes]
    pid: int
    link: str
    group: Path | None = None
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    def start(
        self,
        command: Sequence[object],
        *,
        environment: Mapping[str, str] | None = None,
        folder: Path | str = "/tmp",
        output: Path | None = None,
    ) -> subprocess.Popen[str]:
        """Start a program there.

        Args:
            environment: beside the machine's; HOME is its own.
            folder: to work in; of the host's own view of the disk.
            output: file, on the machine, of what it prints; None: it is kept for `communicate`.
        """
        words = ["nsenter", "--target", str(self.pid), "--net", "--mount", "--pid", f"--wdns={folder}", "--"]
        given = {**os.environ, "HOME": HOME, **(environment or {})}
        with ExitStack() as stack:
            stream = subprocess.PIPE if output is None else stack.enter_context(output.open("w"))
            process = subprocess.Popen(
                [*words, *map(str, command)],
                env=given,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                text=True,
                preexec_fn=self.take_share,
                start_new_session=True,
            )
        self.started.append(process)
        return process

    def run(self, command: Sequence[object], *, timeout_s: float = 60.0, **options: object) -> str:
        """Run a program there to its end. Returns what it printed.

        Raises:
            AssertionError: it ended with another status than 0; with what it printed.
        """
        process = self.start(command, **options)  # type: ignore[arg-type]
        printed, _ = process.communicate(timeout=timeout_s)
        assert process.returncode == 0, f"{' '.join(map(str, command))}: {process.returncode}\n{printed}"
        return printed

    def take_share(self) -> None:
        """Of a process that starts there: be one of those that share its part of the cores."""
        if self.group is not None:
            (self.group / "cgroup.procs").write_text(str(os.getpid()))

    @property
    def is_on(self) -> bool:
        """Whether it runs."""
        return self.init.poll() is None

    def power_off(self) -> None:
        """Take its power: all its processes end at once, and what was in its own folders is gone."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        self.init.wait()
        for process in self.started:
            process.wait()

    def cut(self) -> None:
        """Pull its network cable. What runs there runs on."""
        run_on_machine("ip", "link", "set", self.link, "down")

    def plug_in(self) -> None:
        """Put the cable back."""
        run_on_machine("ip", "link", "set", self.link, "up")


@dataclass
class Network:
    """A bridge, on which hosts are. The machine itself has an address on it.

    Attributes:
        address: of the machine.
        hosts: by their order.
    """

    number: int
    hosts: list[Host] = field(default_factory=list)

    @property
    def bridge(self) -> str:
        """Its device."""
        return f"b{os.getpid()}n{self.number}"

    def build_address(self, last: int) -> str:
        """An address on it. The second and third parts keep apart networks of several processes."""
        return f"10.{128 + os.getpid() % 100}.{self.number % 250}.{last}"

    @property
    def address(self) -> str:
        """Of the machine."""
        return self.build_address(GATEWAY)

    def add_host(self, *, cores: float | None = None, folders: Sequence[str] = ()) -> Host:
        """Switch one more host on.

        Args:
            cores: at most so many; None: as many as the machine has.
            folders: beside `OWN_FOLDERS`, that are empty and its alone. They must exist on the machine.
        """
        number = len(self.hosts) + 1
        name, link = f"{self.number}-{number}", f"h{os.getpid()}n{self.number}x{number}"
        script = write_mounts((*OWN_FOLDERS, *folders)) + f" && mkdir -p {HOME} && exec sleep infinity"
        init = subprocess.Popen(
            ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", script],
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        pid = find_first_process(init)
        run_on_machine("ip", "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", pid)
        run_on_machine("ip", "link", "set", link, "master", self.bridge, "up")
        address = self.build_address(number)
        inside = ("nsenter", "--target", pid, "--net", "ip")
        run_on_machine(*inside, "addr", "add", f"{address}/24", "dev", "eth0")
        run_on_machine(*inside, "link", "set", "eth0", "up")
        run_on_machine(*inside, "link", "set", "lo", "up")
        host = Host(name, address, init, pid, link, make_group(link, cores))
        self.hosts.append(host)
        return host


@contextmanager
def open_hosts(count: int = 0, *, cores: float | None = None) -> Iterator[Network]:
    """A network with so many hosts, which ends with all that runs on them.

    Args:
        cores: of each host, see `Network.add_host`.
    """
    network = Network(next(NETWORKS))
    run_on_machine("ip", "link", "add", network.bridge, "type", "bridge")
    try:
        run_on_machine("ip", "addr", "add", f"{network.address}/24", "dev", network.bridge)
        run_on_machine("ip", "link", "set", network.bridge, "up")
        for _ in range(count):
            network.add_host(cores=cores)
        yield network
    finally:
        for host in network.hosts:
            host.power_off()
            if host.group is not None:
                remove_group(host.group)
        run_on_machine("ip", "link", "delete", network.bridge)


def write_mounts(folders: Sequence[str]) -> str:
    """A shell's line that makes folders a host's own, and keeps what it needs of the machine that stands below them."""
    needed = sorted({str(Path(place).resolve()) for place in (ROOT, sys.prefix, sys.base_prefix)})
    hidden = [place for place in needed if any(Path(folder) in Path(place).parents for folder in folders)]
    lines = [f"mount -t tmpfs tmpfs {HELD}"] if hidden else []
    for number, place in enumerate(hidden):
        lines += [f"mkdir {HELD}/{number}", f"mount --rbind '{place}' {HELD}/{number}"]
    lines += [f"mount -t tmpfs tmpfs {folder}" for folder in folders]
    for number, place in enumerate(hidden):
        lines += [f"mkdir -p '{place}'", f"mount --move {HELD}/{number} '{place}'"]
    return " && ".join(lines)


def find_first_process(unshare: subprocess.Popen[bytes]) -> int:
    """The process that `unshare` forked, once it has its mounts."""
    deadline = time.monotonic() + START_S
    children = Path(f"/proc/{unshare.pid}/task/{unshare.pid}/children")
    while time.monotonic() < deadline and unshare.poll() is None:
        with suppress(OSError, ValueError, IndexError):
            pid = int(children.read_text().split()[0])
            if Path(f"/proc/{pid}/root{HOME}").is_dir() and b"sleep" in Path(f"/proc/{pid}/cmdline").read_bytes():
                return pid
        time.sleep(0.02)
    raise AssertionError("a host must start, but does not")


def make_group(name: str, cores: float | None) -> Path | None:
    """A control group that has so many cores; None where all are to be had, or groups cannot be made."""
    if cores is None or not os.access(CPU_GROUPS, os.W_OK):
        return None
    group = CPU_GROUPS / f"test-{name}"
    group.mkdir()
    (group / "cpu.cfs_period_us").write_text(str(PERIOD_US))
    (group / "cpu.cfs_quota_us").write_text(str(int(cores * PERIOD_US)))
    return group


def remove_group(group: Path) -> None:
    """Remove a control group, once its last process is gone."""
    deadline = time.monotonic() + START_S
    while group.exists() and time.monotonic() < deadline:
        try:
            group.rmdir()
        except OSError:
            time.sleep(0.05)


def run_on_machine(*command: object) -> None:
    """Run a program, which must end well."""
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(map(str, command))}: {done.stderr}"
