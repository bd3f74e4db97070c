"""All searches at a glance, and one deleted."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING

import pytest
from made_search import make_search

from fashion_core.errors import SearchError
from search.commands.searches import delete
from search.experiment.housekeeping import delete_search, glance_at, plan_removal
from search.records.events import EndReason
from search.records.layout import SearchLayout
from search.records.locks import DELETE, RUN, bar_starts, hold_search
from search.records.storage import open_storage

if TYPE_CHECKING:
    from pathlib import Path


def fill_cache(cache: Path, fingerprint: str) -> list[Path]:
    """Files as a search leaves them: 10 bytes each, but for the note."""
    cache.mkdir(parents=True, exist_ok=True)
    prepared = f"prepared-{fingerprint}"
    names = [
        f"{prepared}.arrow",
        f"{prepared}.lock",
        f"{prepared}.sums",
        f"selection-{fingerprint}-val-0.npz",
        f"known-{fingerprint}9.lock",
    ]
    for name in names:
        (cache / name).write_bytes(b"0123456789")
    note = cache / f"known-{fingerprint}9.json"
    note.write_text(json.dumps({"file": f"{prepared}.arrow"}))
    return [*(cache / name for name in names), note]


def test_every_search_is_listed_by_time(tmp_path: Path) -> None:
    make_search(tmp_path, "z-first", [0.25, 0.75])
    make_search(tmp_path, "killed", [0.5], ended=None)
    make_search(tmp_path, "budget", [], ended=EndReason.TIME_BUDGET)
    broken = make_search(tmp_path, "broken")
    broken.ledger.write_text("no JSON\n")
    (tmp_path / "elsewhere").mkdir()
    found = {each.name: each for each in glance_at(tmp_path)}
    assert [name for name in found if name != "broken"] == ["z-first", "killed", "budget"]
    assert found["z-first"].best == 0.75 and found["z-first"].trials == 2
    states = {name: each.state for name, each in found.items()}
    assert states == {
        "z-first": "all trials ended", "killed": "killed", "budget": "time budget", "broken": "damaged"
    }  # fmt: skip
    assert found["budget"].best is None and found["broken"].started is None
    json.dumps([each.to_dict() for each in found.values()])


def test_one_that_runs_is_running_and_stays(tmp_path: Path) -> None:
    layout = make_search(tmp_path, "mine", ended=None)
    with hold_search(layout, RUN):
        assert [each.state for each in glance_at(tmp_path)] == ["running"]
        with pytest.raises(SearchError, match="runs it since"):
            delete("mine", tmp_path, yes=True)
    assert layout.ledger.is_file()


def test_no_folders_but_searches_are_deleted(tmp_path: Path) -> None:
    make_search(tmp_path, "mine")
    (layout := make_search(tmp_path, "other")).ledger.unlink()
    layout.options.unlink()
    (layout.folder / "thesis.pdf").touch()
    with pytest.raises(SearchError, match="known are mine"):
        plan_removal(layout)


def test_one_that_never_began_can_be_deleted(tmp_path: Path) -> None:
    layout = make_search(tmp_path, "mine")
    layout.ledger.unlink()
    delete_search(plan_removal(layout))
    assert not layout.folder.exists()


def test_the_last_search_takes_the_cache_along(tmp_path: Path) -> None:
    layout = make_search(tmp_path, "mine")
    fill_cache(layout.prepared_folder, "aa")
    (layout.prepared_folder / "features-1.safetensors").write_bytes(b"x" * 100)
    size = sum(path.stat().st_size for path in layout.folder.rglob("*"))
    removal = plan_removal(layout)
    assert removal.folder == (layout.folder, size) and not removal.kept
    assert removal.total_bytes == size + removal.cache_bytes and removal.cache_bytes > 140
    delete_search(removal)
    assert not layout.folder.exists() and not list(layout.prepared_folder.iterdir())


def test_only_images_that_no_other_search_names_go(tmp_path: Path) -> None:
    layout, other = make_search(tmp_path, "mine", fingerprint="aa"), make_search(tmp_path, "other", fingerprint="bb")
    own, others = fill_cache(layout.prepared_folder, "aa"), fill_cache(layout.prepared_folder, "bb")
    features = layout.prepared_folder / "features-1.safetensors"
    features.touch()
    removal = plan_removal(layout)
    assert {path for path, _ in removal.cache} == set(own) and "other searches may use" in removal.kept[0]
    delete_search(removal)
    assert all(path.is_file() for path in (*others, features, other.ledger)) and not any(path.exists() for path in own)


def test_images_that_another_search_names_stay(tmp_path: Path) -> None:
    layout = make_search(tmp_path, "mine")
    make_search(tmp_path, "other")
    fill_cache(layout.prepared_folder, "aa")
    assert not plan_removal(layout).cache


def test_a_search_that_runs_keeps_the_cache(tmp_path: Path) -> None:
    layout, other = make_search(tmp_path, "mine"), make_search(tmp_path, "other", fingerprint="bb", ended=None)
    fill_cache(layout.prepared_folder, "aa")
    with hold_search(other, RUN):
        removal = plan_removal(layout)
    assert not removal.cache and "another search that runs" in removal.kept[0]


@pytest.mark.parametrize("is_begun", [True, False])
def test_a_search_that_begins_while_a_person_thinks_keeps_the_cache(tmp_path: Path, is_begun: bool) -> None:
    layout = make_search(tmp_path, "mine")
    files = fill_cache(layout.prepared_folder, "aa")
    removal = plan_removal(layout)
    assert {path for path, _ in removal.cache} == set(files)
    other = make_search(tmp_path, "other") if is_begun else SearchLayout(tmp_path, "other")
    with hold_search(other, RUN):
        gone = delete_search(removal)
    assert all(path.is_file() for path in files) and not layout.folder.exists()
    assert not gone.cache and "another search that runs" in gone.kept[0] and gone.total_bytes == removal.folder[1]


def test_no_search_begins_while_prepared_images_go(tmp_path: Path) -> None:
    begun = threading.Event()

    def begin() -> None:
        with hold_search(SearchLayout(tmp_path, "other"), RUN):
            begun.set()

    with bar_starts(tmp_path):
        (thread := threading.Thread(target=begin)).start()
        assert not begun.wait(0.3)
    thread.join(30)
    assert begun.is_set()
    with bar_starts(tmp_path, shared=True), hold_search(SearchLayout(tmp_path, "other"), RUN):
        pass  # those that begin wait for none that begins


def test_a_damaged_search_keeps_the_cache(tmp_path: Path) -> None:
    layout, other = make_search(tmp_path, "mine"), make_search(tmp_path, "other", fingerprint="bb")
    fill_cache(layout.prepared_folder, "aa")
    other.ledger.write_text("no JSON\n")
    removal = plan_removal(layout)
    assert not removal.cache and "cannot be told" in removal.kept[0]


def test_a_cache_that_was_named_stays(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    layout = make_search(tmp_path / "results", "mine", cache_dir=cache)
    fill_cache(cache, "aa")
    removal = plan_removal(layout)
    assert not removal.cache and "--cache-dir" in removal.kept[0]


def test_a_storage_goes_along_and_not_that_of_another_search(tmp_path: Path) -> None:
    place = str(tmp_path / "storage")
    layout = make_search(tmp_path / "results", "mine", storage=place)
    mine, other = open_storage(f"{place}/mine"), open_storage(f"{place}/other")
    for storage in (mine, other):
        storage.write("models/trial-0000/model.safetensors", b"x" * 1000)
    with mine.hold(RUN), pytest.raises(SearchError, match="runs it since"):
        delete("mine", tmp_path / "results", yes=True)
    with mine.hold(DELETE):
        removal = plan_removal(layout, mine)
    assert removal.storage == (mine, 1000) and removal.total_bytes == removal.folder[1] + removal.cache_bytes + 1000
    delete("mine", tmp_path / "results", yes=True)
    assert not mine.list() and other.list() == ["models"] and not layout.folder.exists()
