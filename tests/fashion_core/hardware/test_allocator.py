"""The allocator's settings are taken where there is a glibc, and refused without harm where there is none."""

import ctypes
import platform
import subprocess
import sys

import pytest

from fashion_core.hardware import allocator

# Page faults of 20 large blocks, one after the other.
CODE = """
import sys
from pathlib import Path
from fashion_core.hardware.allocator import keep_freed_memory
if sys.argv[1] == "kept":
    assert keep_freed_memory() and keep_freed_memory()
def count_faults():
    return int(Path("/proc/self/stat").read_text().rsplit(")", 1)[1].split()[7])
bytes([120]) * 48_000_000
before = count_faults()
for _ in range(20):
    bytes([120]) * 48_000_000
print(count_faults() - before)
"""


def count_faults(kind: str) -> int:
    command = [sys.executable, "-c", CODE, kind]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")
def test_freed_memory_stays_with_the_process():
    """Pages are asked of the system once, and again for every block where it is not kept."""
    assert 10 * count_faults("kept") < count_faults("plain")


GIVEN_BACK = """
from pathlib import Path
from fashion_core.hardware.allocator import give_back_memory, keep_freed_memory
def count_mib():
    return int(Path("/proc/self/statm").read_text().split()[1]) >> 8  # of pages of 4 KiB
assert keep_freed_memory()
before = count_mib()
bytes([120]) * 200_000_000
kept = count_mib()
assert give_back_memory()
print(kept - before, count_mib() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")
def test_what_was_kept_is_given_back_when_that_is_asked():
    command = [sys.executable, "-c", GIVEN_BACK]
    kept, after = map(int, subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())
    assert kept > 150 and after < 50


def test_other_systems_keep_their_own(monkeypatch):
    allocator.keep_freed_memory.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "platform", "darwin")
        assert not allocator.keep_freed_memory() and not allocator.give_back_memory()
    allocator.keep_freed_memory.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr(ctypes, "CDLL", lambda _: object())  # musl has no mallopt
        assert not allocator.keep_freed_memory() and not allocator.give_back_memory()
    allocator.keep_freed_memory.cache_clear()
