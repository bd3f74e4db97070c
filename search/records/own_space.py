"""The space of a search as it ran, from its ledger, and all that a trial of it trains with."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from fashion_core.config import build_config
from fashion_core.data.schema import AttributeSchema
from fashion_core.errors import FashionError
from search.space.reading import parse_space
from search.space.weights import WEIGHTS, flatten_weights

if TYPE_CHECKING:
    from collections.abc import Mapping

    from search.records.record import SearchRecord
    from search.space.space import Space

OF_EACH = ("seed", "start_seed")  # drawn for every trial from the search's seed and the trial's number


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


def read_own_space(record: SearchRecord, max_epochs: int | None = None) -> tuple[Space, AttributeSchema] | None:
    """The space that the trials were drawn from, with the data's categories; None where the ledger does not tell it.

    Args:
        max_epochs: None: as the search began.
    """
    try:
        return load_own_space(record, max_epochs), AttributeSchema.from_dict(record.begun.categories)
    except FashionError:
        return None


def collect_parameters(own: tuple[Space, AttributeSchema] | None, searched: Mapping[str, Any]) -> dict[str, Any]:
    """All that a trial trains with, by flat names: what was searched, what the space fixes, and the defaults."""
    if own is None:
        return dict(searched)
    space, schema = own
    try:
        values = build_config(space.build_values(dict(searched), schema)).model_dump(exclude=set(OF_EACH))
    except FashionError:
        return dict(searched)
    weights = flatten_weights(values.pop(WEIGHTS))
    return {name: value for name, value in (values | weights | dict(searched)).items() if value is not None}
