"""A whole search sent to MLflow again, from its ledger."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fashion_core.errors import SearchError
from search.records.events import SearchStarted
from search.records.ledger import read_events
from search.records.record import replay
from search.tracking.models import send_models
from search.tracking.removal import delete_runs
from search.tracking.store import default_uri, tell_errors
from search.tracking.writer import RunsAhead, Writer

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from search.address import Address
    from search.records.events import Event
    from search.records.layout import SearchLayout
    from search.records.record import SearchRecord


@dataclass(frozen=True)
class Sent:
    """How much is in MLflow now."""

    events: int
    trials: int
    files: int
    models: int = 0


def resend(layout: SearchLayout, tracking_uri: Address | str | None = None) -> Sent:
    """Send a whole search to MLflow again. What is there already stays as it is, unless its ledger does not tell it.

    Args:
        tracking_uri: MLflow's server or database; None: SQLite under the results.

    Raises:
        SearchError: there is no such search, or MLflow does not take it.
    """
    events = read_events(layout.ledger)
    if not events or not isinstance(events[0], SearchStarted):
        raise SearchError(f"no search of the name {layout.name!r} has a ledger in {layout.results}")
    uri = tracking_uri or default_uri(layout)
    files = layout.list_artifacts()
    with tell_errors(uri):
        writer = send_whole(layout, events, uri)
        for path in files:
            writer.send_file(path)
        models = send_models(writer, layout) if writer.record.ended is not None else 0
    return Sent(len(events), len(writer.record.trials), len(files), models)


def send_again(layout: SearchLayout, record: SearchRecord, files: Iterable[Path], uri: Address | str) -> bool:
    """Send files that were written again, after their search's end, to its run in MLflow, which stays as it is.

    Args:
        files: of those that are kept with the run; what does not exist is left out.

    Returns:
        Whether it has a run: one that was never sent there gets none.

    Raises:
        SearchError: MLflow does not take them.
    """
    with tell_errors(uri):
        writer = Writer(uri, layout.artifacts)
        writer.record = record
        if not writer.is_known():
            return False
        for path in files:
            if path.is_file():
                writer.send_file(path)
        return True


def send_whole(layout: SearchLayout, events: Sequence[Event], uri: Address | str) -> Writer:
    """Send all events of a ledger. Where MLflow holds what they do not tell, the search's runs are made anew."""
    writer = Writer(uri, layout.artifacts)
    try:
        writer.send(events)
    except RunsAhead:
        delete_runs(replay(events), uri)
        writer = Writer(uri, layout.artifacts)
        writer.send(events)
    return writer
