"""What happened in a search: its ledger, what that adds up to, how its trials rank, and where its files stand."""

from typing import TYPE_CHECKING

from fashion_core.lazy import attach

if TYPE_CHECKING:
    from search.records.layout import FinalLayout, SearchLayout
    from search.records.ledger import Ledger, read_events
    from search.records.provenance import collect_provenance
    from search.records.ranking import compute_best, rank_trials
    from search.records.record import SearchRecord, TrialRecord, load_record, replay

__all__ = [
    "FinalLayout",
    "Ledger",
    "SearchLayout",
    "SearchRecord",
    "TrialRecord",
    "collect_provenance",
    "compute_best",
    "load_record",
    "rank_trials",
    "read_events",
    "replay",
]
__getattr__ = attach(
    __name__,
    {
        "layout": ["FinalLayout", "SearchLayout"],
        "ledger": ["Ledger", "read_events"],
        "provenance": ["collect_provenance"],
        "ranking": ["compute_best", "rank_trials"],
        "record": ["SearchRecord", "TrialRecord", "load_record", "replay"],
    },
)
