"""A storage holds a whole search: it is not deleted unasked, and a new view of it is what the old one was."""

import hashlib

import pytest

from fashion_core.errors import SearchError
from search.experiment.resuming import check_nothing_lost
from search.experiment.stored import (
    bring_back,
    check_nothing_stored,
    check_vacant,
    find_record,
    find_storage,
    load_stored_options,
    store_beginning,
)
from search.planning.options import SearchOptions
from search.records.events import EpochEnded, SearchStarted, TrialSaved, TrialStarted
from search.records.layout import SearchLayout
from search.records.ledger import Ledger, read_events
from search.records.locks import RUN
from search.records.storage import open_storage

SPACE = "search: {lr: {loguniform: [1e-4, 1]}}"


def ask(folder, results="results", storage="storage", name="mine"):
    """Options of a search, whose storage is a folder, and its paths."""
    options = SearchOptions(
        data=".",
        space=str(folder / "tiny.yaml"),
        name=name,
        results=folder / results,
        storage=None if storage is None else str(folder / storage),
    )
    return options, options.build_layout()


def begin(folder, **given):
    """A search that has begun, with a model that it starts from, a kept one, and two events."""
    options, layout = ask(folder, **given)
    layout.folder.mkdir(parents=True)
    options.save(layout.options)
    layout.space_yaml.write_text(SPACE)
    (layout.start_folder("models:/one/3")).mkdir(parents=True)
    (layout.start_folder("models:/one/3") / "model.safetensors").write_bytes(b"start")
    storage = find_storage(options, layout)
    with storage.hold(RUN):
        store_beginning(storage, layout)
        with Ledger(layout.ledger, storage=storage) as ledger:
            ledger.append(SearchStarted(name="mine", space=SPACE))
            ledger.append(TrialStarted(trial=0, trial_id="a", params={}, enqueued=False))
        storage.write("models/trial-0000/model.safetensors", b"weights")
        storage.write("trial-0000/epoch-0001/training.safetensors", b"state")
    return storage


def list_files(layout):
    return {
        path.relative_to(layout.folder).as_posix(): path.read_bytes()
        for path in layout.folder.rglob("*")
        if path.is_file()
    }


def test_a_view_is_made_anew_from_the_storage_alone(tmp_path):
    begin(tmp_path)
    elsewhere = SearchLayout(tmp_path / "elsewhere", "mine")
    options = load_stored_options(str(tmp_path / "storage"), elsewhere)
    assert options.results == elsewhere.results and options.space == str(elsewhere.space_yaml)
    assert not elsewhere.results.exists()  # nothing is written before it is held
    storage = find_storage(options, elsewhere)
    with storage.hold(RUN):
        bring_back(storage, elsewhere)
    there, here = list_files(SearchLayout(tmp_path / "results", "mine")), list_files(elsewhere)
    assert here.pop("checkpoints/trial-0000/model.safetensors") == b"weights" and here == there
    assert elsewhere.list_starts().keys() == {"models:/one/3"}
    assert find_record(options, elsewhere).trials.keys() == {0}


def test_a_view_that_lags_behind_gets_what_it_lacks_and_one_that_differs_is_refused(tmp_path):
    storage = begin(tmp_path)
    layout = ask(tmp_path)[1]
    with storage.hold(RUN), Ledger(tmp_path / "other" / "ledger.jsonl", storage=storage):
        storage.append_log(b"{}\n")
        bring_back(storage, layout)
    assert layout.ledger.read_bytes() == storage.read_log()
    with layout.ledger.open("ab") as file:
        file.write(b"more\n")
    with storage.hold(RUN), pytest.raises(SearchError, match=r"move .*results/mine away, and go on from the storage"):
        bring_back(storage, layout)


def test_a_kept_model_that_another_machine_has_trained_further_is_renewed(tmp_path):
    storage = begin(tmp_path)
    layout = ask(tmp_path)[1]
    contents = {1: b"after 1", 2: b"after 2"}
    file = layout.checkpoint_folder(0) / "model.safetensors"
    file.parent.mkdir(parents=True)
    with storage.hold(RUN):
        with Ledger(layout.ledger, storage=storage) as ledger:
            for epoch, content in contents.items():
                digests = {file.name: hashlib.sha256(content).hexdigest()}
                ledger.append(TrialSaved(trial=0, epoch=epoch, digests=digests))
                ledger.append(EpochEnded(trial=0, epoch=epoch, metrics={}))
        for here, there, found in ((1, 2, 2), (2, 1, 2), (1, 1, 1)):
            file.write_bytes(contents[here])
            storage.write("models/trial-0000/model.safetensors", contents[there])
            bring_back(storage, layout)
            assert file.read_bytes() == contents[found], (here, there)


def test_the_ledger_of_an_earlier_version_gets_to_its_storage(tmp_path):
    options, layout = ask(tmp_path)
    with Ledger(layout.ledger) as ledger:
        ledger.append(SearchStarted(name="mine", space=SPACE))
        ledger.append(EpochEnded(trial=0, epoch=1, metrics={}))
    storage = find_storage(options, layout)
    storage.write("trial-0000/epoch-0001/training.safetensors", b"state")
    with storage.hold(RUN):
        bring_back(storage, layout)
    assert storage.read_log() == layout.ledger.read_bytes() and len(read_events(layout.ledger)) == 2


def test_what_stands_there_is_not_deleted_unasked(tmp_path):
    storage = begin(tmp_path)
    with pytest.raises(SearchError, match=r"must hold no search of the name mine, but .*/storage/mine exists"):
        check_vacant(storage, replace=False)
    check_vacant(storage, replace=True)
    for replace in (False, True):
        check_vacant(open_storage(str(tmp_path / "storage" / "yours")), replace=replace)


@pytest.mark.parametrize(("name", "words"), [("photos/one.jpg", "holds none"), ("ledger.jsonl", "can be read")])
def test_what_is_no_search_or_a_damaged_one_is_not_replaced(name, words, tmp_path):
    storage = open_storage(str(tmp_path / "mine"))
    storage.write(name, b"anything\n")
    with pytest.raises(SearchError, match=f"what is replaced must be a search.* {words}") as told:
        check_vacant(storage, replace=True)
    assert "\n" not in str(told.value)


def test_a_search_killed_at_its_beginning_starts_and_one_without_its_ledger_does_not(tmp_path):
    storage = begin(tmp_path)
    (tmp_path / "storage" / "mine" / "ledger.jsonl").write_bytes(b"")
    with pytest.raises(SearchError, match=r"tells nothing, and models stands beside it; restore the ledger"):
        check_nothing_stored(storage)
    storage.delete("models")
    storage.delete("trial-0000")
    check_nothing_stored(storage)
    check_nothing_lost(ask(tmp_path)[1])


def test_a_search_in_its_own_folder_has_no_storage(tmp_path):
    for storage in (None, "results"):
        assert find_storage(*ask(tmp_path, storage=storage)) is None


@pytest.mark.slow
def test_a_storage_without_the_search_or_that_does_not_answer_is_told(tmp_path, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    layout, away = ask(tmp_path)[1], "?scheme=http&endpoint_override=127.0.0.1:9&region=us-east-1"
    for uri, words in (
        (str(tmp_path / "storage"), "must hold the search that goes on, but .* holds none"),
        (f"s3://searches{away}", "must be one that answers, but"),
        (f"s3://name:key@searches{away}", "must hold no password or key"),
    ):
        with pytest.raises(SearchError, match=f"--storage {words}") as told:
            load_stored_options(uri, layout)
        assert "\n" not in str(told.value) and ":key@" not in str(told.value)
