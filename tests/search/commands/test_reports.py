"""`report`, `effects` and `resend`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from answered_search import write_search
from free_port import find_port
from made_search import make_search

from search.records.locks import RUN, hold_search
from search.tracking.store import default_uri, open_store

if TYPE_CHECKING:
    from search.records.layout import SearchLayout


def list_sent(layout: SearchLayout) -> dict[str, bytes]:
    """The files that MLflow has of a search, by name."""
    client = open_store(default_uri(layout))
    experiment = client.get_experiment_by_name("tiny")
    if experiment is None:
        return {}
    (run,) = client.search_runs([experiment.experiment_id], "tags.kind = 'search'")
    names = [each.path for each in client.list_artifacts(run.info.run_id)]
    return {name: Path(client.download_artifacts(run.info.run_id, name)).read_bytes() for name in names}


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


@pytest.mark.slow
def test_mlflow_gets_what_is_written_again(tmp_path: Path, call, monkeypatch) -> None:
    layout, asked = make_search(tmp_path, "mine", [0.5, 0.75]), ("report", "mine", "--results", tmp_path)
    assert call(*asked)[::2] == (0, "") and not list_sent(layout)  # it was never sent: so it stays
    for path in (layout.page, layout.report):
        path.write_text("# of before")
    call("resend", "mine", "--results", tmp_path)
    with hold_search(layout, RUN):
        assert call(*asked)[::2] == (0, "")
    assert list_sent(layout)[layout.page.name] == b"# of before"  # it runs: its own process sends it
    study = tmp_path / "study.db"
    status, out, err = call(*asked, "--export-study", study)
    assert (status, err) == (0, "") and f"wrote {study}" in out
    sent = list_sent(layout)
    written = {path.name for path in layout.list_artifacts()}
    assert sent.keys() - {"space.yaml", "selection.json"} == written and layout.page.name in written
    assert all(sent[name] == (layout.folder / name).read_bytes() for name in written)
    layout.page.write_text("<p>of before")
    call("resend", "mine", "--results", tmp_path)
    monkeypatch.setattr("search.experiment.stopped.finish_stopped", lambda *_, **__: None)
    monkeypatch.setattr("search.reporting.stopped.estimate_regret", lambda *_: None)
    assert call("finish-stopped", "mine", "--results", tmp_path)[::2] == (0, "")
    assert layout.page.read_text() != "<p>of before" and list_sent(layout)[layout.page.name] == layout.page.read_bytes()


@pytest.mark.slow
def test_where_mlflow_is_away_a_report_is_written_all_the_same(tmp_path: Path, call) -> None:
    layout = make_search(tmp_path, "mine", tracking_uri=f"http://127.0.0.1:{find_port()}")
    status, out, err = call("report", "mine", "--json", "--results", tmp_path)
    assert status == 0 and str(layout.page) in json.loads(out)["files"] and layout.page.is_file()
    assert err.startswith("MLflow must be a server or database that answers, but http://127.0.0.1")
    assert err.count("\n") == 1
    assert err.endswith(f"-m search resend mine --results {tmp_path}\n")
    status, _, err = call("resend", "mine", "--results", tmp_path)  # there, and not under the results
    assert status == 2 and "but http://127.0.0.1" in err and not layout.tracking_db.exists()


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
