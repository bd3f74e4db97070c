"""What a model's card and the report say of abstaining: how right the answers are that it is sure of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fashion_core.escaping import write_name
from search.reporting.tables import render_table
from search.statistics.coverage import LEVELS
from search.statistics.intervals import LEVEL, compute_wilson

if TYPE_CHECKING:
    from search.promotion.result import Shipped


def render_coverage(shipped: Shipped, picture: str) -> list[str]:
    """Accuracy against coverage, of each category: text, picture, table. picture: its address, from the text."""
    rows = []
    networks = shipped.reruns or 1
    for name, coverage in zip(shipped.schema.names, shipped.coverage, strict=True):
        total = len(coverage.correct)
        for level in LEVELS:
            count, accuracy = coverage.measure(level)
            shown, interval = "-", "-"
            if accuracy is not None:
                low, high = compute_wilson(accuracy, max(count / networks, 1))
                shown, interval = f"{accuracy:.4f}", f"{low:.4f} to {high:.4f}"
            rows.append(
                [write_name(name), f"{level:g}" if level else "always", f"{count / total:.1%}", shown, interval]
            )
    head = ["category", "smallest confidence", "answered", "accuracy of these", f"{LEVEL:.0%} interval"]
    return [
        "`--min-confidence 0.8` answers `unsure` where no class has a probability of 0.8, and so do the parameter "
        f"`min_confidence` in Python and that of the served model. Answers of {shipped.whose} to the validation "
        "images, each with temperatures fitted without its part of them (cross-fitted); the epoch and the members were "
        "chosen on all.",
        f"![accuracy against coverage]({picture})",
        render_table(head, rows),
    ]
