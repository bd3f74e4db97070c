"""Whose code a process spends its time in, and whose objects fill its memory."""

from __future__ import annotations

import gc
import sys
import threading
import time
import types
from collections import Counter
from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any

# of a module's own: shared by all who hold them
NOT_COUNTED = (type, types.ModuleType, types.FunctionType, types.MethodType, types.BuiltinFunctionType)


class Stopwatch:
    """CPU and wall time of one thread, each moment given to the innermost wrapped call.

    Args:
        outside: the name of what no wrapped call takes.
    """

    def __init__(self, outside: str) -> None:
        self.thread: int | None = None
        self.names = [outside]
        self.cpu: Counter[str] = Counter()
        self.wall: Counter[str] = Counter()
        self.last = (0.0, 0.0)

    def start(self) -> None:
        """Measure the thread that calls this, from now."""
        self.thread = threading.get_ident()
        self.last = time.thread_time(), time.perf_counter()

    def switch(self) -> None:
        """Give the time since the last switch to the innermost name."""
        now = time.thread_time(), time.perf_counter()
        self.cpu[self.names[-1]] += now[0] - self.last[0]
        self.wall[self.names[-1]] += now[1] - self.last[1]
        self.last = now

    def wrap(self, owner: Any, name: str, part: str) -> None:
        """Count every call of a method, in this thread, as a part's."""
        call: Callable[..., Any] = getattr(owner, name)

        @wraps(call)
        def timed(*args: Any, **kwargs: Any) -> Any:
            if threading.get_ident() != self.thread:
                return call(*args, **kwargs)
            self.switch()
            self.names.append(part)
            try:
                return call(*args, **kwargs)
            finally:
                self.switch()
                self.names.pop()

        setattr(owner, name, timed)


def measure_bytes(roots: Iterable[Any], seen: set[int], packages: frozenset[str] | None = None) -> int:
    """Bytes of all objects that can be reached from the roots, without those `seen` before, which are added to it.

    Classes, functions and modules are not counted; nor is what malloc itself needs.

    Args:
        packages: whose types are followed; None: all.
    """
    total, waiting = 0, list(roots)
    while waiting:
        item = waiting.pop()
        if id(item) in seen or isinstance(item, NOT_COUNTED):
            continue
        if packages is not None and type(item).__module__.partition(".")[0] not in packages:
            continue
        seen.add(id(item))
        total += sys.getsizeof(item)
        waiting += gc.get_referents(item)
        if isinstance(item, dict):
            waiting += item.keys()  # the collector does not visit those that are text
    return total
