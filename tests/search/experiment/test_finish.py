"""The end of a search: the best model that was kept in its place, pictures and report."""

import json

import numpy as np
import pytest
from drawn_models import SCHEMA, draw_model
from made_search import make_search
from small_disk import mount_disk

from fashion_core.files import hash_file, retry_while_full
from fashion_core.models.saved import Best, load_model, save_model
from search.experiment.finish import write_results
from search.records.events import TrialSaved
from search.records.kept import set_damaged_aside
from search.records.locks import RUN
from search.records.record import load_record
from search.records.storage import open_storage
from search.reporting.words import describe_search


def keep(layout, number):
    """The model of a trial, as `BestModels` keeps it."""
    drawn = draw_model(number)
    confusion = [np.array(matrix) for matrix in drawn.confusion]
    best = Best(number + 1, {"val/accuracy": 0.5}, confusion, drawn.network.state_dict())
    return save_model(layout.checkpoint_folder(number), best, drawn.config, SCHEMA, "data")


def finish(layout, record=None, tell=print):
    record = record or load_record(layout)
    return write_results(layout, record, describe_search(record), tell)


@pytest.fixture
def layout(tmp_path):
    """Three trials, of which the second is the best and the third comes next."""
    return make_search(tmp_path, "mine", [0.25, 0.75, 0.5])


@pytest.mark.slow
def test_the_best_model_is_put_in_its_place(layout):
    keep(layout, 1)
    keep(layout, 2)
    finish(layout)
    assert layout.best_model.read_bytes() == (layout.checkpoint_folder(1) / layout.best_model.name).read_bytes()
    config = json.loads(layout.best_config.read_text())
    assert (config["trial"], config["params"]) == (1, {"lr": 0.2})
    assert config["config"] == load_model(layout.best_model).config.model_dump(mode="json")


@pytest.mark.slow
def test_the_best_of_those_that_were_kept_stands_in(layout):
    keep(layout, 0)
    keep(layout, 2)
    finish(layout)
    assert json.loads(layout.best_config.read_text())["trial"] == 2
    assert load_model(layout.best_model).epoch == 3


@pytest.mark.slow
def test_a_later_end_replaces_an_earlier_one(layout):
    keep(layout, 2)
    finish(layout)
    keep(layout, 1)
    finish(layout)
    assert load_model(layout.best_model).epoch == 2


def test_what_is_kept_in_mlflow_is_what_people_read(layout):
    keep(layout, 1)
    files = finish(layout)
    pictures = {layout.confusion(each.name) for each in SCHEMA.categories}
    assert {layout.report, layout.trials_csv, layout.best_config} | pictures <= set(files)
    assert layout.best_model not in files and all(path.is_file() for path in files)
    for path in pictures:
        assert path.read_bytes().startswith(b"\x89PNG")
    assert "trial 1" in layout.report.read_text()


def test_without_a_model_there_is_a_report(layout):
    files = finish(layout)
    assert not layout.best_folder.exists() and not layout.best_config.exists()
    assert layout.report in files and layout.trials_csv in files


def test_a_search_without_trials_has_a_report(tmp_path):
    layout = make_search(tmp_path, "none", [])
    assert layout.report in finish(layout)


def tell_saved(layout, *numbers):
    """The record of a search whose ledger has the digests of what it kept."""
    record = load_record(layout)
    for number in numbers:
        file = layout.checkpoint_folder(number) / layout.best_model.name
        record.trials[number].saves.append(TrialSaved(trial=number, epoch=1, digests={file.name: hash_file(file)}))
    return record


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["cut", "emptied", "flipped"])
def test_a_kept_model_that_is_damaged_is_told_and_passed_over(damage, layout):
    file = keep(layout, 1)
    keep(layout, 2)
    record, content, told = tell_saved(layout, 1, 2), file.read_bytes(), []
    flipped = content[:-5] + bytes([content[-5] ^ 1]) + content[-4:]  # of a weight: it opens all the same
    file.write_bytes({"cut": content[: len(content) // 2], "emptied": b"", "flipped": flipped}[damage])
    finish(layout, record, told.append)
    assert load_model(layout.best_model).epoch == 3 and json.loads(layout.best_config.read_text())["trial"] == 2
    assert len(told) == 1 and str(file) in told[0] and "restore it" in told[0] and "\n" not in told[0]
    finish(layout, record, told.append)
    assert len(told) == 1 and layout.find_checkpoint(1) is None


@pytest.mark.slow
@pytest.mark.parametrize("damage_there", [False, True])
def test_a_damaged_model_comes_again_from_the_storage_if_that_has_it_whole(damage_there, layout, tmp_path):
    file = keep(layout, 1)
    record, content, told = tell_saved(layout, 1), file.read_bytes(), []
    storage = open_storage(str(tmp_path / "storage" / "mine"))
    with storage.hold(RUN):
        set_damaged_aside(layout, record, told.append, storage)
        assert not told
        storage.write("models/trial-0001/model.safetensors", content[:-1] if damage_there else content)
        file.write_bytes(content[:-2])
        set_damaged_aside(layout, record, told.append, storage)
    assert len(told) == 1 and str(file) in told[0] and ("has taken its place" in told[0]) != damage_there
    assert damage_there or file.read_bytes() == content
    assert file.with_name(file.name + ".damaged").read_bytes() == content[:-2]


@pytest.mark.slow
@pytest.mark.parametrize("room", [0, 64 << 10, 1 << 20])
def test_a_full_disk_leaves_the_results_of_before_and_is_waited_for(room, tmp_path, monkeypatch):
    monkeypatch.setattr("fashion_core.files.RETRY_SECONDS", 0.01)
    with mount_disk(tmp_path / "results", 24) as disk:
        layout = make_search(disk.folder, "mine", [0.25, 0.75, 0.5])
        keep(layout, 2)
        finish(layout)
        keep(layout, 1)
        kept = [layout.best_model, layout.best_config, layout.report, layout.trials_csv]
        before, seen = {path: path.read_bytes() for path in kept}, []
        keeps_whole = {path: {before[path]} for path in kept}

        def tell(text):
            seen.append({path: path.read_bytes() for path in kept})
            disk.tell(text)

        disk.fill(but=room)
        retry_while_full(lambda: finish(layout), layout.folder, tell)
        assert len(disk.told) == 1 and str(layout.folder) in disk.told[0]
        after = {path: path.read_bytes() for path in kept}
        assert load_model(layout.best_model).epoch == 2 and json.loads(after[layout.best_config])["trial"] == 1
        for path in kept:
            assert seen[0][path] in keeps_whole[path] | {after[path]}
        assert not list(layout.folder.rglob("*.tmp"))
