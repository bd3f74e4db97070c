"""What the report and a model's card say of the tries on the images that it was judged on."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from fashion_core.escaping import escape_markdown, write_name
from search.reporting.tables import render_table
from search.statistics.gate import write_p_value
from search.statistics.spending import spend_error

if TYPE_CHECKING:
    from collections.abc import Sequence

    from search.records.attempts import Attempt


def render_attempts(attempts: Sequence[Attempt]) -> list[str]:
    """All tries so far, the last of them this one; nothing where they were not counted."""
    if not attempts:
        return []
    rows = [
        [
            str(number),
            time.strftime("%Y-%m-%d", time.gmtime(each.time)) if each.time else "",
            write_name(each.search),
            write_name(each.model),
            escape_markdown(each.note or each.opponent or "begun, and not judged"),
            "" if each.score is None else f"{each.score:.4f}",
            write_p_value(spend_error(number)),
        ]
        for number, each in enumerate(attempts, 1)
    ]
    return [
        f"Tries on these images: **{len(attempts):,}**, this one too. Each was judged on them, or on a set that shares "
        "half or more of the smaller of the two, under whatever name; those that were refused or cut off count, and so "
        "does a search that selected on them, and a comparison of two models.",
        render_table(["try", "date", "search", "model", "against", "score", "p-value it must reach"], rows),
    ]
