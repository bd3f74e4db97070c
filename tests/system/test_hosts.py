"""The hosts that tests of a cluster stand on: apart from each other but for the network, and what they can lose."""

import sys
import time
from pathlib import Path

import pytest
from hosts import find_lack, open_hosts

lack = find_lack()
pytestmark = pytest.mark.skipif(lack is not None, reason=lack or "")

SERVE = "import socket; s = socket.create_server(('', 7777)); [s.accept()[0].sendall(b'here') for _ in iter(int, 1)]"
ASK = "import socket, sys; print(socket.create_connection((sys.argv[1], 7777), 2).recv(9).decode())"
SPIN = "import time; began, cpu = time.time(), time.process_time()\nwhile time.time() < began + 2: pass\n"
SPIN += "print(time.process_time() - cpu)"


@pytest.fixture(scope="module")
def network():
    with open_hosts(2) as found:
        yield found


def ask(asker, answerer):
    return asker.run([sys.executable, "-c", ASK, answerer.address]).strip()


def test_hosts_reach_each_other_and_nothing_else_passes(network, tmp_path):
    first, second = network.hosts
    server = first.start([sys.executable, "-c", SERVE])
    until(lambda: ask(second, first) == "here")
    first.run(["touch", "/tmp/mine"])
    assert first.run(["cat", "/tmp/mine"]) == "" and "mine" not in second.run(["ls", "/tmp"]).split()
    assert not Path("/tmp/mine").exists()
    assert "python" in first.run(["ps", "ax"]) and "python" not in second.run(["ps", "ax"])
    first.cut()
    with pytest.raises(AssertionError, match=r"timed out|No route"):
        ask(second, first)
    assert server.poll() is None  # it runs on, behind its cut cable
    first.plug_in()
    until(lambda: ask(second, first) == "here")


def test_without_power_all_ends_and_the_others_run_on(network):
    third = network.add_host()
    running = third.start(["sleep", "1000"])
    assert third.is_on
    third.power_off()
    assert not third.is_on and running.returncode is not None
    assert all(host.is_on for host in network.hosts[:2])


def test_a_host_has_its_share_of_the_cores(network):
    slow = network.add_host(cores=0.25)
    if slow.group is None:
        pytest.skip("control groups of the CPU cannot be made here")
    assert float(slow.run([sys.executable, "-c", SPIN])) < 1.0  # of two seconds; a quarter and a period at either end


def until(is_so):
    """Wait until something is so; what raises is not."""
    deadline = time.monotonic() + 20
    while True:
        try:
            if is_so():
                return
        except AssertionError:
            if time.monotonic() > deadline:
                raise
        assert time.monotonic() < deadline
        time.sleep(0.2)
