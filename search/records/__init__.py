"""What happened in a search: its ledger, what that adds up to, and where its files stand.
What is worked out of the record, such as the best trial, is worked out here alone.
"""

from typing import TYPE_CHECKING

from fashion_core.lazy import attach

if TYPE_CHECKING:
    from search.records.events import EndReason, Event, TrialStatus
    from search.records.layout import FinalLayout, SearchLayout
    from search.records.ledger import Ledger, read_events
    from search.records.locks import hold_search, is_running
    from search.records.provenance import collect_provenance
    from search.records.record import SearchRecord, TrialRecord, list_searches, load_record, replay
    from search.records.session import Session

__all__ = [
    "EndReason",
    "Event",
    "FinalLayout",
    "Ledger",
    "SearchLayout",
    "SearchRecord",
    "Session",
    "TrialRecord",
    "TrialStatus",
    "collect_provenance",
    "hold_search",
    "is_running",
    "list_searches",
    "load_record",
    "read_events",
    "replay",
]
__getattr__ = attach(
    __name__,
    {
        "events": ["EndReason", "Event", "TrialStatus"],
        "layout": ["FinalLayout", "SearchLayout"],
        "ledger": ["Ledger", "read_events"],
        "provenance": ["collect_provenance"],
        "locks": ["hold_search", "is_running"],
        "record": ["SearchRecord", "TrialRecord", "list_searches", "load_record", "replay"],
        "session": ["Session"],
    },
)
