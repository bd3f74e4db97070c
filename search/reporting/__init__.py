"""What people read of a search: words, tables and figures; the live view, the summary, the report, the effects."""

from typing import TYPE_CHECKING

from fashion_core.lazy import attach

if TYPE_CHECKING:
    from search.reporting.effects import write_effects
    from search.reporting.figures import draw_confusion, draw_curves
    from search.reporting.live import LiveView
    from search.reporting.report import write_report
    from search.reporting.summary import render_summary
    from search.reporting.tables import hide_places, render_table
    from search.reporting.trials import tabulate_trials
    from search.reporting.words import SearchWords, describe_search

__all__ = [
    "LiveView",
    "SearchWords",
    "describe_search",
    "draw_confusion",
    "draw_curves",
    "hide_places",
    "render_summary",
    "render_table",
    "tabulate_trials",
    "write_effects",
    "write_report",
]
__getattr__ = attach(
    __name__,
    {
        "effects": ["write_effects"],
        "figures": ["draw_confusion", "draw_curves"],
        "live": ["LiveView"],
        "report": ["write_report"],
        "summary": ["render_summary"],
        "tables": ["hide_places", "render_table"],
        "trials": ["tabulate_trials"],
        "words": ["SearchWords", "describe_search"],
    },
)
