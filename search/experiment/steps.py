"""What to do after a search, as commands that can be copied."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from search.records.best_config import looks_at_box
from search.records.provenance import python_command, write_command
from search.reporting import words
from search.tracking.store import ui_command

if TYPE_CHECKING:
    from search.address import Address
    from search.records.layout import SearchLayout
    from search.records.record import SearchRecord

DEMO = "demo"  # the space of the drawn data set


def list_next_steps(
    layout: SearchLayout,
    tracking_uri: Address | str | None,
    experiment: str = "",
    record: SearchRecord | None = None,
) -> list[tuple[str, str]]:
    """What to do next: (purpose, command). How the search goes on is told by `find_way`.

    Args:
        experiment: MLflow's id of the search's space, where that is known.
        record: of the search; None: it is not known, and there may be a trial that can be promoted.
    """
    steps = []
    if record is None or record.trials:
        steps.append(("compare trials", ui_command(layout, tracking_uri, experiment)))
    if layout.best_model.is_file():
        box = ["--box", "x1,y1,x2,y2"] if looks_at_box(layout) else []
        line = [python_command(), "-m", "fashion_core.predict", str(layout.best_model), "IMAGE", *box]
        steps.append(("use the best model", shlex.join(line)))
    if layout.promotion_report.is_file():
        steps.append(("read what its promotion found", str(layout.promotion_report)))
    elif layout.best_model.is_file() and (record is None or record.find_candidate() is not None):
        steps.append(("promote it, if it holds", write_command("promote", layout)))
    if layout.page.is_file():
        steps.append(("read the report, in a browser", layout.page.absolute().as_uri()))
    else:
        steps.append(("write its report", write_command("report", layout)))
    if record is None or record.search is None or record.begun.space_name == DEMO:
        line = [python_command(), "-m", "search", "run", "--data", "DIR", "--space", "lite_cpu", "--dry-run"]
        steps.append(("search your data", shlex.join(line)))
    return steps


def find_way(layout: SearchLayout, record: SearchRecord) -> tuple[str, str] | None:
    """How a search that has ended goes on, or is given more: (purpose, command); None where neither can be."""
    if record.ended is None:
        return None
    way = words.find_way(record)
    if way.resumes:
        return "go on with it", write_command("run", layout, "--resume")
    if way.again is not None:
        why = f"see why none has a score: train trial {way.again} again, alone"
        return why, write_command("run", layout, "--trial", str(way.again), "--name")
    return None if way.more is None else ("give it more", f"{write_command('extend', layout)} {way.more}")
