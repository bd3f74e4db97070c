"""Ray's head, watched while nobody else does: before the trainings begin, and between them.

Once it is dead, Ray ends the process that uses it within a minute, from its own code and whatever that does: no
exception comes of it. So one is raised before.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self

from fashion_core.errors import RayLostError
from search.jobs.cluster import Users, lose_ray
from search.jobs.health import HEAD, Health, end_what_is_left, is_headless

if TYPE_CHECKING:
    from types import FrameType, TracebackType

GoesOn = Callable[[RayLostError], None]
LOOK_S = 1.0
PATIENCE_S = 5.0  # of one who has signalled: the main thread may wait in Ray's code, which no signal ends
SIGNAL = getattr(signal, "SIGUSR2", None)


class HeadDied(BaseException):
    """Ray's head died. No `Exception`, as a Ctrl-C is none: whatever is under way is left."""


class HeadGuard:
    """Raises RayLostError in the main thread once Ray's head is dead, but where a `Health` looks at it. A context
    manager; elsewhere than in the main thread it does nothing.

    Args:
        name: of the search that the command goes on with; "" while it has not begun.
        goes_on: replaces the process, and is called where the main thread does not raise it in time.
    """

    def __init__(self, name: str = "", goes_on: GoesOn | None = None) -> None:
        self.name, self.goes_on, self.closed = name, goes_on, threading.Event()
        self.before: Any = None  # what the signal did

    def __enter__(self) -> Self:
        if SIGNAL is not None and threading.current_thread() is threading.main_thread():
            self.before = signal.signal(SIGNAL, self.take)
            threading.Thread(target=self.watch, name="ray-head", daemon=True).start()
        else:
            self.closed.set()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.close()
        if isinstance(error, HeadDied):
            lose_ray()
            raise self.make_error() from None
        if isinstance(error, RayLostError) and not error.name:
            error.name = self.name

    def close(self) -> None:
        """Watch no more: Ray is not needed."""
        if not self.closed.is_set():
            self.closed.set()
            assert SIGNAL is not None
            signal.signal(SIGNAL, self.before)

    def watch(self) -> None:
        """Signal the main thread, again and again where it goes on."""
        found = None  # when
        while not self.closed.wait(LOOK_S):
            if SIGNAL is None or Health.count or Users.is_lost or not is_headless(Users.servers):
                continue
            found = found or time.monotonic()
            signal.pthread_kill(threading.main_thread().ident or 0, SIGNAL)
            if time.monotonic() - found > PATIENCE_S and self.goes_on is not None:
                end_what_is_left(Users.servers)
                self.goes_on(self.make_error())

    def make_error(self) -> RayLostError:
        """What is raised."""
        way = f"go on with --resume {self.name}" if self.name else "start it again"
        return RayLostError(f"Ray's {HEAD} died", self.name, way)

    def take(self, _: int, __: FrameType | None) -> None:
        """The signal, in the main thread."""
        if not self.closed.is_set():
            raise HeadDied
