"""The best trial of a search, as the file beside its report tells it."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from fashion_core.data.pixels import WHOLE
from fashion_core.errors import SearchError
from fashion_core.files import read_json

if TYPE_CHECKING:
    from search.records.layout import SearchLayout


class BestConfig(BaseModel):
    """What `best_config.json` tells of the best trial, checked by types.

    Attributes:
        config: fields of its training.
    """

    trial: int
    config: dict[str, Any] = {}


def read_best_config(layout: SearchLayout) -> BestConfig:
    """Raises SearchError where the file is not there, or damaged."""
    return read_json(layout.best_config, BestConfig, "name the best trial", "write the report again", SearchError)


def looks_at_box(layout: SearchLayout) -> bool:
    """Whether the best model looks at a part of the image that somebody must name."""
    with suppress(SearchError):
        return read_best_config(layout).config.get("crop") != WHOLE
    return True
