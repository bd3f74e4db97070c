"""The space of a search as it ran, from its ledger."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from search.space.reading import parse_space

if TYPE_CHECKING:
    from search.records.record import SearchRecord
    from search.space.space import Space


def load_own_space(record: SearchRecord, max_epochs: int | None = None) -> Space:
    """The space with the epochs that the search trained for, and whole images where its data named no boxes.

    Args:
        max_epochs: None: as the search began.

    Raises:
        SpaceError: the ledger does not tell it, or it is none any more.
    """
    space = parse_space(record.begun.space, record.begun.space_name)
    space = replace(space, has_boxes=record.begun.data.get("has_boxes", True))
    return space.with_scheduler(max_epochs=max_epochs or record.begun.tell("settings", "max_epochs"))
