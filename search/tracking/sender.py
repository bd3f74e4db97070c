"""Sends a search's events to MLflow from a background thread: a slow or absent server never holds up the search."""

from __future__ import annotations

import queue
import shlex
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from search.address import Address
from search.records.events import Event
from search.records.ledger import read_events
from search.tracking.models import send_models
from search.tracking.resending import send_whole
from search.tracking.store import default_uri, describe_error
from search.tracking.writer import RunsAhead, Writer

if TYPE_CHECKING:
    from search.records.layout import SearchLayout

DAMAGED = ("malformed", "not a database")  # SQLite's words for a file that was damaged
RETRY_SECONDS = (1, 2, 5, 10, 30)
Models = Literal["models"]  # what is sent of them is read from the disk when its turn comes
MODELS: Models = "models"


class Tracker:
    """Sends a search's events from a background thread; a context manager.

    Args:
        uri: MLflow's tracking server or database; None for SQLite under the results.
    """

    def __init__(self, layout: SearchLayout, uri: Address | str | None = None) -> None:
        self.layout, self.uri = layout, Address.of(uri or default_uri(layout))
        self.queue: queue.SimpleQueue[Event | Path | Models | None] = queue.SimpleQueue()
        self.writer = Writer(self.uri, layout.artifacts)
        self.unsent: list[Event | Path | Models] = []
        self.is_ahead = False  # MLflow, of the events until now: the whole ledger is to be sent
        self.error: Exception | None = None
        self.closing = threading.Event()
        self.thread = threading.Thread(target=self.run, name="tracking", daemon=True)

    def __enter__(self) -> Tracker:
        self.thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.close(timeout_s=5)

    def send(self, event: Event) -> None:
        """Send an event soon. Returns at once."""
        self.queue.put(event)

    def send_file(self, path: Path) -> None:
        """Keep a file with the search's run, soon. Returns at once."""
        self.queue.put(path)

    def send_models(self) -> None:
        """Tell MLflow which models the search keeps, soon. Returns at once."""
        self.queue.put(MODELS)

    def close(self, timeout_s: float = 60) -> str | None:
        """Send what is left, for a bounded time.

        Returns:
            None if all was sent, else what is missing and how to send it.
        """
        if self.thread.is_alive():
            self.closing.set()
            self.queue.put(None)
            self.thread.join(timeout_s)
        if not self.unsent and not self.thread.is_alive():
            return None
        why, shown = "no answer yet", str(self.uri)
        if self.error is not None:
            why = describe_error(self.uri, self.error)
        words = [self.layout.name, "--results", str(self.layout.results), "--tracking-uri", shown]
        return (
            f"MLflow at {shown} does not take the search ({why}); "
            f"nothing is lost: {self.describe_cure()}send it there later with "
            f"`python -m search.tracking {shlex.join(words)}`"
        )

    def describe_cure(self) -> str:
        """What is to be done before a search can be sent again."""
        file, told = self.uri.file, str(self.error)
        if file is None or not any(words in told for words in DAMAGED):
            return ""
        return f"restore {file} from a backup, or move it away (each search can be sent anew), then "

    def run(self) -> None:
        """Of the thread: take all that waits, send it, again and again."""
        is_last, attempt = False, 0
        while not is_last or self.unsent:
            if not self.unsent:
                self.unsent.append(item) if (item := self.queue.get()) is not None else None
                is_last = is_last or item is None
            while not self.queue.empty():
                item = self.queue.get()
                is_last = is_last or item is None
                if item is not None:
                    self.unsent.append(item)
            try:
                self.send_waiting()
                attempt = 0
            except Exception as error:  # of a network, a server, a database: nothing here may end a search
                self.error = error
                self.writer.forget_runs()
                wait = RETRY_SECONDS[min(attempt, len(RETRY_SECONDS) - 1)]
                attempt += 1
                if self.closing.is_set() and attempt > 2:
                    return
                self.closing.wait(wait)

    def send_waiting(self) -> None:
        """Send `unsent`, events in batches between all else."""
        while self.unsent:
            count = next((i for i, item in enumerate(self.unsent) if not isinstance(item, Event)), len(self.unsent))
            if self.is_ahead:
                self.send_anew()
            elif count:
                try:
                    self.writer.send([item for item in self.unsent[:count] if isinstance(item, Event)])
                except RunsAhead:
                    self.is_ahead = True
                else:
                    del self.unsent[:count]
            else:
                first = self.unsent[0]
                if isinstance(first, Path):
                    self.writer.send_file(first)
                else:
                    send_models(self.writer, self.layout)
                del self.unsent[0]

    def send_anew(self) -> None:
        """Send the whole ledger."""
        events = read_events(self.layout.ledger)
        self.writer, self.is_ahead = send_whole(self.layout, events, self.uri), False
