"""The leaderboard's view, as it is written in MLflow's tag."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from search.records.events import SearchStarted
from search.records.record import replay
from search.tracking.view import (
    COMPRESSED,
    build_page_path,
    build_view,
    is_of_search,
    name_view,
    write_view,
)

SEARCHED = ["lr", "backbone", "weight_neck line"]


def build_record(categories=("sleeve", "neck line"), objective="val/accuracy"):
    data = {"categories": {name: ["a", "b"] for name in categories}}
    return replay([SearchStarted(name="mine", settings={"objective": objective}, space_name="tiny", data=data)])


def test_rows_are_trials_best_first_and_columns_what_was_searched():
    view = build_view(build_record(), SEARCHED)
    assert view["searchFilter"] == "tags.kind = 'trial'" and view["orderByAsc"] is False
    assert view["selectedColumns"] == [
        "metrics.`best/val_accuracy`",
        "tags.`status`",
        "tags.`reason`",
        "params.`backbone`",
        "params.`lr`",
        "params.`weight_neck line`",
    ]
    assert view["orderByKey"] == view["selectedColumns"][0]
    one = build_view(build_record(), SEARCHED, "mine@7")
    assert one["searchFilter"] == "tags.kind = 'trial' and tags.search_id = 'mine@7'"


def test_charts_are_those_of_the_score_and_one_a_category():
    charts = build_view(build_record(), SEARCHED)["compareRunCharts"]
    assert [chart["type"] for chart in charts] == ["PARALLEL", "LINE", "SCATTER", "LINE", "LINE"]
    assert charts[0]["selectedParams"] == SEARCHED and charts[0]["selectedMetrics"] == ["best/val_accuracy"]
    assert [chart["metricKey"] for chart in charts if chart["type"] == "LINE"] == [
        "val/accuracy",
        "val/accuracy/sleeve",
        "val/accuracy/neck line",
    ]
    assert len({chart["uuid"] for chart in charts}) == len(charts)
    of_one = build_view(build_record(objective="val/accuracy/sleeve"), SEARCHED)["compareRunCharts"]
    assert [chart["metricKey"] for chart in of_one if chart["type"] == "LINE"] == [
        "val/accuracy/sleeve",
        "val/accuracy/neck line",
    ]
    assert build_view(build_record(), [])["compareRunCharts"][0]["type"] == "LINE"  # nothing to draw between


def test_a_large_view_fits_into_a_tag():
    small = write_view(build_view(build_record(), SEARCHED, "mine@7"))
    assert json.loads(small)["orderByAsc"] is False and is_of_search(small, "mine@7")
    large = write_view(build_view(build_record([f"category {number}" for number in range(300)]), SEARCHED, "mine@7"))
    assert large.startswith(COMPRESSED) and len(large) < 20_000
    assert is_of_search(large, "mine@7") and not is_of_search(large, "mine@8") and not is_of_search("", "mine@7")


@given(st.text("abc-_. %&/#?", min_size=1, max_size=40))
def test_a_view_has_a_name_of_its_own_that_an_address_can_hold(name):
    assert name_view(name) != name_view()
    tail = build_page_path("7", name_view(name)).partition("viewStateShareKey=")[2]
    assert tail.endswith("&workflowType=machine_learning") and tail.count("&") == 1 and "#" not in tail
