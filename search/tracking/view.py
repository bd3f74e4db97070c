"""The page of MLflow that people open first: trials alone, best first, with what was searched, and charts of it.

MLflow's pages keep such a view in a tag of the experiment, where somebody shares one, and open it by the tag's name.
The form of what is in the tag is that of their own code: `tests/search/tracking/test_pages.py` looks at the pages.
"""

from __future__ import annotations

import base64
import json
import zlib
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from fashion_core.metrics import ACCURACY
from search.tracking.names import name_best, name_key

if TYPE_CHECKING:
    from collections.abc import Sequence

    from search.records.record import SearchRecord

VIEW_TAG = "mlflow.sharedViewState."
LEADERBOARD = "leaderboard"  # the view of all searches of an experiment; that of one has its name too
PARAMETERS, SCORES, CATEGORIES = "Score over parameters", "Score", "Categories"
COLUMNS = {PARAMETERS: 1, SCORES: 2, CATEGORIES: 3}  # sections of charts, and how many stand beside each other
# MLflow adds a chart for every other metric, in sections of these names: they stay folded.
FOLDED = ("best", "train", "trial", ACCURACY, "val", "Model metrics", "System metrics")
MAX_PLAIN = 18_000  # characters; MLflow takes 20,000 in a tag of an experiment
COMPRESSED = "deflate;"


def name_view(search: str | None = None) -> str:
    """The name of a search's view, or of that of all searches of its experiment."""
    return LEADERBOARD if search is None else name_key(f"{LEADERBOARD}.{search}")


def build_page_path(experiment: str, view: str) -> str:
    """Where a server of MLflow shows a view: what comes after its address."""
    return f"/#/experiments/{experiment}/runs?viewStateShareKey={quote(view, safe='')}&workflowType=machine_learning"


def build_view(record: SearchRecord, searched: Sequence[str], search_id: str | None = None) -> dict[str, Any]:
    """What the pages show: which runs, in which order, with which columns and charts.

    Args:
        searched: names of the searched parameters.
        search_id: of the search whose trials it shows; None: of all that MLflow has in the experiment.
    """
    best = name_best(record)
    others = [name for name in searched if name != "backbone"]
    columns = [f"metrics.`{best}`", "tags.`status`", "tags.`reason`", "params.`backbone`"]
    columns += [f"params.`{name_key(name)}`" for name in others]
    only = "" if search_id is None else f" and tags.search_id = '{search_id}'"
    return {
        "searchFilter": f"tags.kind = 'trial'{only}",
        "orderByKey": columns[0],
        "orderByAsc": False,
        "selectedColumns": columns,
        "columnOrder": columns,
        "columnWidths": {columns[0]: 130, columns[2]: 240},
        "runsHiddenMode": "SHOW_ALL",
        "hideEmptyCharts": True,
        "isAccordionReordered": True,
        "compareRunCharts": build_charts(record, searched),
        "compareRunSections": [build_section(name) for name in (*COLUMNS, *FOLDED)],
    }


def is_of_search(written: str, search_id: str) -> bool:
    """Whether a tag holds the view of this search."""
    if written.startswith(COMPRESSED):
        written = zlib.decompress(base64.b64decode(written.removeprefix(COMPRESSED))).decode()
    return f"'{search_id}'" in written


def build_section(name: str) -> dict[str, Any]:
    """A section of charts."""
    return {
        "uuid": name,
        "name": name,
        "display": name not in FOLDED,
        "isReordered": True,
        "deleted": False,
        "isGenerated": name in FOLDED,
        "columns": COLUMNS.get(name, 3),
    }


def build_charts(record: SearchRecord, searched: Sequence[str]) -> list[dict[str, Any]]:
    """Score over the searched parameters, by epoch, against the learning rate; and by epoch for each category."""
    best, objective = name_best(record), name_key(record.objective.name)
    charts = [
        {
            "type": "PARALLEL",
            "displayName": f"{best} over the searched parameters",
            "selectedParams": [name_key(name) for name in searched],
            "selectedMetrics": [best],
            "showAllRuns": True,
        },
        build_lines(objective, f"{objective} by epoch"),
        {
            "type": "SCATTER",
            "displayName": f"{best} against lr",
            "xaxis": {"key": "lr", "type": "PARAM"},
            "yaxis": {"key": best, "type": "METRIC"},
            "runsCountToCompare": 100,
        },
    ]
    for chart in charts:
        chart["metricSectionId"] = PARAMETERS if chart["type"] == "PARALLEL" else SCORES
    if not searched:
        del charts[0]
    for name in record.begun.categories:
        if (key := name_key(f"{ACCURACY}/{name}")) != objective:
            charts.append({**build_lines(key, f"{key} by epoch"), "metricSectionId": CATEGORIES})
    made = {"isGenerated": False, "deleted": False}
    return [{"uuid": f"chart-{number}", **made, **chart} for number, chart in enumerate(charts)]


def build_lines(metric: str, title: str) -> dict[str, Any]:
    """A metric by epoch, a line a trial."""
    return {
        "type": "LINE",
        "displayName": title,
        "metricKey": metric,
        "selectedMetricKeys": [metric],
        "lineSmoothness": 0,
        "scaleType": "linear",
        "xAxisKey": "step",
        "xAxisScaleType": "linear",
        "selectedXAxisMetricKey": "",
        "range": {},
        "yAxisKey": "metric",
        "yAxisExpressions": [],
        "useGlobalXaxisKey": True,
        "useGlobalLineSmoothing": True,
        "ignoreOutliers": False,
        "runsCountToCompare": 100,
    }


def write_view(view: dict[str, Any]) -> str:
    """A view as the tag holds it; a long one is compressed, as MLflow's pages do."""
    text = json.dumps(view)
    if len(text) <= MAX_PLAIN:
        return text
    return COMPRESSED + base64.b64encode(zlib.compress(text.encode(), 9)).decode()
