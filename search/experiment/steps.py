"""What to do after a search, as commands that can be copied."""

from __future__ import annotations

import shlex
from contextlib import suppress
from typing import TYPE_CHECKING

from fashion_core.data.pixels import WHOLE
from fashion_core.errors import SearchError
from search.cli import DEFAULT_RESULTS
from search.records.best_config import read_best_config
from search.records.provenance import python_command
from search.tracking.store import ui_command

if TYPE_CHECKING:
    from search.address import Address
    from search.records.layout import SearchLayout
    from search.records.record import SearchRecord


def list_next_steps(
    layout: SearchLayout,
    tracking_uri: Address | str | None,
    experiment: str = "",
    record: SearchRecord | None = None,
) -> list[tuple[str, str]]:
    """What to do next: (purpose, command).

    Args:
        experiment: MLflow's id of the search's space, where that is known.
        record: tells whether there is a trial that can be promoted; None: there may be.
    """
    python = python_command()
    where = "" if layout.results == DEFAULT_RESULTS else f" --results {shlex.quote(str(layout.results))}"
    steps = [("compare trials", ui_command(layout, tracking_uri, experiment))]
    if layout.best_model.is_file():
        best = shlex.quote(str(layout.best_model))
        box = " --box x1,y1,x2,y2" if looks_at_box(layout) else ""
        steps.append(("use the best model", f"{python} -m fashion_core.predict {best} IMAGE{box}"))
    if layout.best_model.is_file() and (record is None or record.find_candidate() is not None):
        steps.append(("promote it, if it holds", f"{python} search/promote.py {layout.name}{where}"))
    steps.append(("read the report", f"open {shlex.quote(str(layout.page))} in a browser"))
    steps.append(("search your data", f"{python} search/run.py --data DIR --space spaces/lite_cpu.yaml --dry-run"))
    return steps


def looks_at_box(layout: SearchLayout) -> bool:
    """Whether the best model looks at a part of the image that somebody must name."""
    with suppress(SearchError):
        return read_best_config(layout).config.get("crop") != WHOLE
    return True
