"""A whole search sent to MLflow again, from its ledger."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fashion_core.errors import SearchError
from search.records.events import SearchStarted
from search.records.ledger import read_events
from search.tracking.models import send_models
from search.tracking.store import default_uri, tell_errors
from search.tracking.writer import Writer

if TYPE_CHECKING:
    from search.address import Address
    from search.records.layout import SearchLayout


@dataclass(frozen=True)
class Sent:
    """How much is in MLflow now."""

    events: int
    trials: int
    files: int
    models: int = 0


def resend(layout: SearchLayout, tracking_uri: Address | str | None = None) -> Sent:
    """Send a whole search to MLflow again. What is there already stays as it is.

    Args:
        tracking_uri: MLflow's server or database; None: SQLite under the results.

    Raises:
        SearchError: there is no such search, or MLflow does not take it.
    """
    events = read_events(layout.ledger)
    if not events or not isinstance(events[0], SearchStarted):
        raise SearchError(f"no search of the name {layout.name!r} has a ledger in {layout.results}")
    uri = tracking_uri or default_uri(layout)
    writer, files = Writer(uri, layout.artifacts), layout.list_artifacts()
    with tell_errors(uri):
        writer.send(events)
        for path in files:
            writer.send_file(path)
        models = send_models(writer, layout) if writer.record.ended is not None else 0
    return Sent(len(events), len(writer.record.trials), len(files), models)
