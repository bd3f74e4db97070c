"""`list`, `show` and `delete`."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING

import pytest
from made_search import make_search

from fashion_core.errors import SearchError
from search.commands import searches
from search.records.events import EndReason, StopMode
from search.records.layout import SearchLayout
from search.records.locks import RUN, hold_search
from search.records.requests import read_request
from search.registry import sources
from search.tracking import removal

if TYPE_CHECKING:
    from pathlib import Path

    from search.address import Address
    from search.records.record import SearchRecord


@pytest.fixture
def champions(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What registries say, as the test puts it: `away` for one that does not answer."""
    found: dict[str, str] = {}

    def find(uri: str) -> dict[str, str]:
        if "away" in found:
            raise SearchError(f"MLflow must be a server or database that answers, but {uri} does not")
        return found

    monkeypatch.setattr(sources, "find_sources", find)
    return found


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Two searches, the first of them promoted."""
    make_search(tmp_path, "demo-20261126-153300", [0.25, 0.75]).promotion_folder.mkdir()
    make_search(tmp_path, "other", [0.5], fingerprint="bb", ended=EndReason.TIME_BUDGET)
    return tmp_path


@pytest.mark.parametrize(("columns", "form"), [(60, "%m-%d"), (80, "%Y-%m-%d %H:%M")])
def test_the_list_fits_the_terminal(columns: int, form: str, results: Path, champions, call, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    champions["demo-20261126-153300"] = "champion"
    status, out, err = call("list", "--results", results)
    lines = [line.rstrip() for line in out.splitlines()]
    head, first, second = lines[0], lines[1], lines[-1]
    day = time.strftime(form)[: len("2026-11-26")]
    assert (status, err) == (0, "") and max(map(len, lines)) <= columns and len(lines) <= 4
    assert first.startswith("demo-2026") and " done " in first and "2  0.7500" in first and first.endswith("champion")
    assert second.startswith("other ") and "time budget" in second and "1  0.5000" in second and day in second
    assert head.split() == ["name", "state", "trials", "best", "started"]


def test_long_names_are_folded(results: Path, champions, call, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    make_search(results, "n" * 80)
    _, out, _ = call("list", "--results", results)
    assert out.count("n" * 10) and sum(line.count("n") for line in out.splitlines()[1:]) >= 80
    assert max(map(len, out.splitlines())) <= 60


def test_a_registry_that_is_away_fails_no_list(results: Path, champions, call) -> None:
    champions["away"] = ""
    status, out, _ = call("list", "--results", results)
    assert status == 0 and out.splitlines()[1].rstrip().endswith("?") and "?" not in out.splitlines()[2]
    found = json.loads(call("list", "--json", "--results", results)[1])
    assert [each["champion"] for each in found] == [None, False]


def test_the_list_for_programs(results: Path, champions, call) -> None:
    champions["demo-20261126-153300"] = "champion"
    first, second = json.loads(call("list", "--json", "--results", results)[1])
    assert first["name"] == "demo-20261126-153300" and first["champion"] and first["best"] == 0.75
    assert second["state"] == "time budget" and second["champion"] is False and second["trials"] == 1


def test_a_list_of_none(tmp_path: Path, call) -> None:
    assert call("list", "--results", tmp_path) == (0, f"no search stands in {tmp_path}\n", "")
    assert call("list", "--json", "--results", tmp_path) == (0, "[]\n", "")


def test_show(results: Path, call) -> None:
    status, out, _ = call("show", "other", "--results", results)
    plain = " ".join(out.split())
    assert status == 0 and "other: 1 trial, 1 finished" in plain and "state time budget" in plain
    assert "space tiny" in plain and "ledger" in plain and "what to do next" in plain
    found = json.loads(call("show", "other", "--json", "--results", results)[1])
    assert found["name"] == "other" and found["best"]["score"] == 0.5 and found["state"] == "time budget"
    status, _, err = call("show", "none", "--results", results)
    assert status == 2 and err.startswith("error: no search of the name 'none'")


def test_delete_shows_what_goes_and_asks(results: Path, champions, call, monkeypatch) -> None:
    monkeypatch.setattr(sys, "stdin", terminal := Terminal("n\n"))
    (results / ".prepared").mkdir()
    (results / ".prepared" / "prepared-bb.arrow").write_bytes(b"0" * 3 * 2**20)
    status, out, err = call("delete", "other", "--results", results)
    assert status == 2 and "1 file of prepared data" in out and "3.0 MiB" in out and "delete other?" in out
    assert err == "error: nothing was deleted\n" and (results / "other").is_dir()
    terminal.answer = "y\n"
    status, out, _ = call("delete", "other", "--results", results)
    assert status == 0 and "deleted other" in out and not (results / "other").exists()
    assert not (results / ".prepared" / "prepared-bb.arrow").exists()


class Terminal:
    """A person who answers."""

    def __init__(self, answer: str) -> None:
        self.answer = answer

    def isatty(self) -> bool:
        return True

    def readline(self, *_: object) -> str:
        return self.answer


def test_without_a_terminal_it_must_be_told(results: Path, champions, call) -> None:
    status, out, err = call("delete", "other", "--results", results)
    assert status == 2 and "KiB" in out and "give --yes" in err and (results / "other").is_dir()
    assert call("delete", "other", "--yes", "--results", results)[0] == 0
    assert not (results / "other").exists()


@pytest.mark.parametrize("standing", ["champion", "previous", "away"])
def test_the_source_of_a_model_in_use_stays(standing: str, results: Path, champions, call) -> None:
    champions["away" if standing == "away" else "other"] = standing
    status, _, err = call("delete", "other", "--yes", "--results", results)
    assert status == 2 and ("comes from other" in err or "does not" in err) and (results / "other").is_dir()


@pytest.mark.parametrize("is_damaged", [False, True])
def test_delete_takes_its_models_out_of_mlflow(is_damaged: bool, results: Path, champions, call, monkeypatch) -> None:
    """Their files go with the search, and its runs stay."""
    asked, layout = [], SearchLayout(results, "other")
    if is_damaged:
        layout.ledger.write_text("no ledger\n" * 3)

    def note(layout: SearchLayout, record: SearchRecord | None, uri: Address) -> None:
        assert layout.folder.is_dir()
        asked.append((layout, None if record is None else record.name, str(uri)))

    monkeypatch.setattr(removal, "delete_models", note)
    assert call("delete", "other", "--yes", "--results", results)[0] == 0 and not layout.folder.exists()
    assert asked == [(layout, None if is_damaged else "other", f"sqlite:///{results / 'mlflow.db'}")]


def test_delete_makes_room_first_where_the_disk_is_full(results: Path, champions, call, monkeypatch) -> None:
    layout, found = SearchLayout(results, "other"), []

    def delete_models(*_: object) -> None:
        found.append(layout.folder.exists())
        if found[-1]:
            raise SearchError("MLflow does not answer ((sqlite3.OperationalError) database or disk is full)")

    monkeypatch.setattr(removal, "delete_models", delete_models)
    assert call("delete", "other", "--yes", "--results", results)[0] == 0 and found == [True, False]


def test_delete_with_its_runs(results: Path, champions, call, monkeypatch) -> None:
    asked = []
    monkeypatch.setattr(removal, "delete_runs", lambda record, uri: asked.append((record.name, str(uri))) or 3)
    status, out, _ = call("delete", "other", "--yes", "--mlflow", "--results", results)
    assert status == 0 and "deleted 3 runs" in out and asked == [("other", f"sqlite:///{results / 'mlflow.db'}")]


def test_every_registry_that_may_know_is_asked(tmp_path: Path) -> None:
    layout = make_search(tmp_path, "mine", tracking_uri="http://own")
    here = f"sqlite:///{tmp_path / 'mlflow.db'}"
    assert list(map(str, searches.list_registries(layout, None))) == ["http://own", here]
    assert list(map(str, searches.list_registries(layout, "http://said"))) == ["http://said", "http://own", here]
    assert list(map(str, searches.list_registries(make_search(tmp_path, "plain"), None))) == [here]


@pytest.mark.parametrize(("size", "text"), [(0, "0.0 KiB"), (1536, "1.5 KiB"), (3 * 2**30, "3,072.0 MiB")])
def test_sizes_in_words(size: int, text: str) -> None:
    assert searches.format_bytes(size) == text


# --------------------------------------------------------------------------------------------------------------- stop


@pytest.mark.parametrize(
    ("option", "mode"), [(None, StopMode.AT_EPOCH), ("--finish", StopMode.AFTER_TRIALS), ("--now", StopMode.NOW)]
)
def test_a_search_that_runs_is_asked_to_stop(call, tmp_path, option, mode):
    layout = make_search(tmp_path, "runs", ended=None)
    with hold_search(layout, RUN):
        status, out, _ = call("stop", "runs", "--results", tmp_path, *filter(None, [option]))
    assert status == 0 and "--resume runs" in " ".join(out.split())
    assert read_request(layout) == mode


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("still", (), "must run to be stopped"),
        ("lost", (), "known are still"),
        ("still", ("--now", "--finish"), "both"),
    ],
)
def test_what_cannot_be_stopped_is_one_line_and_leaves_no_request(call, tmp_path, name, options, says):
    make_search(tmp_path, "still")
    status, _, errors = call("stop", name, "--results", tmp_path, *options)
    assert status == 2 and says in errors and len(errors.splitlines()) == 1
    assert not list(tmp_path.rglob("*.stop"))
