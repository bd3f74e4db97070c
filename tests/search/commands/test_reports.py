"""`report`, `effects` and `resend`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from answered_search import write_search
from made_search import make_search

if TYPE_CHECKING:
    from pathlib import Path


def test_report(tmp_path: Path, call) -> None:
    layout = make_search(tmp_path, "mine", [0.5, 0.75])
    status, out, _ = call("report", "mine", "--results", tmp_path)
    written = [line.removeprefix("wrote ") for line in out.splitlines()]
    assert (status == 0 and str(layout.report) in written) or str(layout.trials_csv) in written
    assert layout.report.is_file() and layout.trials_csv.is_file()
    found = json.loads(call("report", "mine", "--json", "--results", tmp_path)[1])
    assert found == {"name": "mine", "files": written}


def test_what_cannot_be_made_is_told(tmp_path: Path, call) -> None:
    make_search(tmp_path, "mine")
    for arguments in (["report", "none"], ["effects", "none"], ["resend", "none"], ["effects", "mine"]):
        status, out, err = call(*arguments, "--results", tmp_path)
        assert status == 2 and not out and err.startswith("error: ") and err.count("\n") == 1


@pytest.mark.slow
def test_trouble_with_mlflow_is_one_line(tmp_path: Path, call) -> None:
    make_search(tmp_path, "mine")
    status, out, err = call("resend", "mine", "--results", tmp_path, "--tracking-uri", "postgresql+none://x:secret@y/z")
    assert status == 2 and not out and err.startswith("error: MLflow must be") and "secret" not in err


def test_what_finishing_stopped_trials_takes(tmp_path: Path, call) -> None:
    layout = write_search(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    status, out, err = call("finish-stopped", "answered", "--trials", "2", "--dry-run", "--results", tmp_path)
    assert status == 0 and not err and "drawn by chance of 5 stopped trials" in out and "takes about" in out
    assert sorted(tmp_path.rglob("*")) == before and not layout.finished_stopped.exists()
    make_search(tmp_path, "mine")
    status, out, err = call("finish-stopped", "mine", "--results", tmp_path)
    assert (status, out) == (2, "") and "mine has stopped none" in err and err.count("\n") == 1


def test_data_is_checked_by_models_that_are_kept(tmp_path: Path, call) -> None:
    make_search(tmp_path, "mine")
    status, out, err = call("report", "mine", "--check-data", "--results", tmp_path)
    assert (status, out) == (2, "") and "of mine it has kept no model" in err and err.count("\n") == 1
