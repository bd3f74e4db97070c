"""What a person asks of a search, as typed; kept beside the search so that it can go on."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from fashion_core.errors import SearchError
from search.records.layout import SearchLayout

SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class SearchOptions(BaseModel):
    """The options of `search/run.py`; None means chosen from the space, the data or the machine."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: Path
    space: str
    name: str | None = None
    trials: int | None = Field(None, ge=1)
    max_epochs: int | None = Field(None, ge=1)
    time_budget_s: float | None = Field(None, gt=0)
    cpus_per_trial: int | None = Field(None, ge=1)
    gpus_per_trial: float | None = Field(None, ge=0)
    concurrent: int | None = Field(None, ge=1)
    seed: int = Field(0, ge=0, lt=2**32)
    select_on: Literal["val", "heldout"] = "val"
    keep_best: int = Field(3, ge=1)
    skip_bad: bool = False
    results: Path = Path("results")
    cache_dir: Path | None = None
    storage: str | None = None
    tracking_uri: str | None = None
    address: str | None = None

    def save(self, path: Path) -> None:
        """Write them as JSON."""
        path.write_text(self.model_dump_json(indent=2) + "\n")

    @classmethod
    def load(cls, path: Path) -> SearchOptions:
        """Read what `save` wrote."""
        return cls(**json.loads(path.read_text()))


def parse_duration(text: str) -> float:
    """Seconds of `90s`, `45m`, `8h` or `2d`.

    Raises:
        SearchError: it is none of these.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", text.strip())
    if match is None or float(match[1]) == 0:
        raise SearchError(f"--time-budget must be a number with a unit, like 90s, 45m, 8h or 2d, but got {text!r}")
    return float(match[1]) * SECONDS[match[2]]


def load_options(layout: SearchLayout) -> SearchOptions:
    """The options an earlier search was started with.

    Raises:
        SearchError: there is no such search.
    """
    if not layout.options.is_file():
        known = sorted(path.parent.name for path in layout.results.glob("*/options.json"))
        raise SearchError(
            f"no search of the name {layout.name!r} stands in {layout.results}; known are {', '.join(known) or 'none'}"
        )
    return SearchOptions.load(layout.options)
