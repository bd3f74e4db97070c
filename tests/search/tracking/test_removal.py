"""Runs of a search deleted in MLflow."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
from made_search import make_search

from fashion_core.errors import SearchError
from search.records.record import load_record
from search.tracking.removal import delete_runs
from search.tracking.resending import resend
from search.tracking.store import default_uri, open_store

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.slow
def test_its_runs_go_and_no_others(tmp_path: Path, empty_database: Path) -> None:
    mine, other = make_search(tmp_path, "mine", [0.5, 0.25]), make_search(tmp_path, "other", [0.5])
    shutil.copy(empty_database, mine.tracking_db)
    uri = default_uri(mine)
    client = open_store(uri)
    assert delete_runs(load_record(mine), uri) == 0  # no experiment yet
    for layout in (mine, other):
        resend(layout)
    (experiment,) = [each for each in client.search_experiments() if each.name == "tiny"]
    assert len(client.search_runs([experiment.experiment_id])) == 5
    assert delete_runs(load_record(mine), uri) == 3
    left = client.search_runs([experiment.experiment_id])
    assert {run.data.tags["search_id"] for run in left} == {load_record(other).search_id} and len(left) == 2
    assert delete_runs(load_record(mine), uri) == 0


@pytest.mark.slow
def test_a_server_that_is_away_is_told(tmp_path: Path) -> None:
    with pytest.raises(SearchError, match="MLflow must be"):
        delete_runs(load_record(make_search(tmp_path, "mine")), "postgresql+none://x/y")
