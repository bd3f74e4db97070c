"""The allocator's settings are taken where there is a glibc, and refused without harm where there is none."""

import ctypes
import platform
import subprocess
import sys

import pytest

from fashion_core.hardware import allocator

CODE = """
from pathlib import Path
from fashion_core.hardware.allocator import keep_freed_memory
assert keep_freed_memory() and keep_freed_memory()
import numpy as np
def count_faults():
    before = int(Path("/proc/self/stat").read_text().rsplit(")", 1)[1].split()[7])
    for _ in range(20):
        np.ones(4_000_000, np.uint8)
    return int(Path("/proc/self/stat").read_text().rsplit(")", 1)[1].split()[7]) - before
count_faults()
print(count_faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")
def test_freed_memory_stays_with_the_process():
    """20 blocks of 1,000 pages each, one after the other: their pages are touched for the first time once at most."""
    result = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    assert int(result.stdout) < 1000


def test_other_systems_keep_their_own(monkeypatch):
    allocator.keep_freed_memory.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "platform", "darwin")
        assert not allocator.keep_freed_memory()
    allocator.keep_freed_memory.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr(ctypes, "CDLL", lambda _: object())  # musl has no mallopt
        assert not allocator.keep_freed_memory()
    allocator.keep_freed_memory.cache_clear()
