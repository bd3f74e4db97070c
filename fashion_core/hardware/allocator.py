"""Keeps glibc from giving a training step's memory back to the system after every step; gives it back after the last.

Measured on two Zen 4 cores, EfficientNet-Lite0 at 160 px, batch 64: 34.0 images a second without, 56.5 with it.
"""

from __future__ import annotations

import ctypes
import sys
from functools import cache

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # malloc.h


@cache
def keep_freed_memory() -> bool:
    """Let the heap serve large blocks and never shrink, in this process from now on. True if glibc took it."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:  # musl
        return False
    return bool(mallopt(M_MMAP_MAX, 0)) and bool(mallopt(M_TRIM_THRESHOLD, -1))


def give_back_memory() -> bool:
    """Give what the heap does not use back to the system, now. True if glibc had some."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        malloc_trim = ctypes.CDLL(None).malloc_trim
    except AttributeError:  # musl
        return False
    return bool(malloc_trim(0))
