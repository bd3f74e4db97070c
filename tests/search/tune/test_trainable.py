"""One trial as Ray drives it, without Ray: what it reports, what it saves, that it goes on from there."""

import errno
import json
import os
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import ray
from small_disk import mount_disk

from fashion_core.data.pixels import PrepareSettings
from fashion_core.files import MODEL_FILE, TRAINING_FILE, hash_file
from fashion_core.metrics import ACCURACY, PEAK_MEMORY
from fashion_core.models.saved import load_model
from search.jobs.nodes import tell_libraries
from search.jobs.training import JobSite, save_selection
from search.records.ledger import unpack_correct
from search.space.seeds import draw_seeds
from search.tune import storage
from search.tune import trainable as trial_module
from search.tune.results import CORRECT, EPOCH, ERROR, FULL, LOST, METRICS, MISFIT, NODE, SAVED, SCORE
from search.tune.storage import CORRECT_FILE, TrialStore, name_state
from search.tune.trainable import TrialTrainable, bind

VALUES = {"image_size": 64, "backbone": "test_resnet", "weights": "none", "batch_size": 8, "epochs": 6, "lr": 0.01}


@pytest.fixture
def config(sample_prepared, tmp_path):
    save_selection(tmp_path / "selection.npz", np.arange(16), np.arange(120, 128))
    values = VALUES | draw_seeds(0, 4)
    known = {"number": 4, "params": {}, "values": values, "enqueued": False}
    return known | {"saves": [], "until": values["epochs"], "begun": True}


@pytest.fixture
def store(tmp_path):
    return TrialStore(str(tmp_path / "states"))


@pytest.fixture
def trainable(sample_prepared, tmp_path, store):
    site = JobSite({PrepareSettings(64): sample_prepared.path}, tmp_path / "selection.npz", 1)
    return bind(TrialTrainable, site, store, [3])


@pytest.fixture
def build(config, trainable):
    """A trial; all are stopped at the end."""
    built = []

    def build(**changes):
        built.append(trainable(config=config | changes))
        return built[-1]

    yield build
    for trial in built:
        trial.stop()


def test_what_a_trial_reports(build):
    trial = build()
    results = [trial.train() for _ in range(6)]
    assert [result["status"] for result in results] == ["running"] * 5 + ["finished"]
    assert [result["done"] for result in results] == [False] * 5 + [True]
    scores = [json.loads(result[METRICS])[ACCURACY] for result in results]
    assert [result[SCORE] for result in results] == [max(scores[: epoch + 1]) for epoch in range(6)]
    assert sorted(set(scores)) != scores  # not every epoch is a new best
    for index, result in enumerate(results):  # right answers come with each new best epoch
        assert (CORRECT in result) == (scores[index] > max(scores[:index], default=-1))
        if CORRECT in result:
            assert unpack_correct(result[CORRECT], 8, 6).mean() == pytest.approx(scores[index])
    peaks = [json.loads(result[METRICS]).get(PEAK_MEMORY) for result in results]
    assert peaks == [None] * 6 or min(peaks) > 100  # in MiB: what PyTorch alone takes


def test_a_node_with_other_libraries_sends_its_trials_back_in_words(build, trainable, monkeypatch):
    here = SimpleNamespace(get_node_id=lambda: "a1")  # asked outside a worker, Ray would start
    monkeypatch.setattr(ray, "get_runtime_context", lambda: here)
    trainable.libraries = tell_libraries()
    assert build().train()["status"] == "running"
    trainable.libraries = tell_libraries() | {"timm": "0.1"}
    trial = build()
    for _ in range(2):  # also the next one of the same process
        result = trial.train()
        assert result["status"] == "running" and result["done"] and ERROR not in result and result[NODE] == "a1"
        words = r"\S+ is not used: it has timm \S+ \(here: 0\.1\); install the same versions there, .*"
        assert re.fullmatch(words, result[MISFIT])
        trial.reset_config(trial.config)


def test_a_trial_reports_the_score_of_its_objective(build, config):
    trial = build(values=config["values"] | {"objective": "val/accuracy/sleeve"})
    results = [trial.train() for _ in range(6)]
    scores = [json.loads(result[METRICS])["val/accuracy/sleeve"] for result in results]
    assert [result[SCORE] for result in results] == [max(scores[: epoch + 1]) for epoch in range(6)]
    for index, result in enumerate(results):
        assert (CORRECT in result) == (scores[index] > max(scores[:index], default=-1))


def test_what_a_trial_may_be_stopped_after_and_its_end_are_saved(build, store, monkeypatch):
    trial = build()
    saved = {
        result[EPOCH]: json.loads(result[SAVED]) for result in (trial.train() for _ in range(6)) if SAVED in result
    }
    assert saved.keys() == {3, 6}  # a second or two of training are soon done again
    assert saved[3].keys() == {MODEL_FILE, TRAINING_FILE, CORRECT_FILE} and TRAINING_FILE not in saved[6]
    monkeypatch.setattr(trial_module, "SAVE_INTERVAL_S", 0.0)
    assert SAVED in build().train()


def test_every_epoch_is_saved_once_the_node_is_about_to_go(build):
    trial = build()
    assert SAVED not in trial.train()
    trial.pulse.is_leaving = True
    assert SAVED in trial.train()


def read_scores(results):
    return [json.loads(result[METRICS])[ACCURACY] for result in results]


@pytest.fixture
def wanted(build, monkeypatch):
    """A trial in one go, all its states saved: its results, and what another could go on from, the newest first."""
    monkeypatch.setattr(trial_module, "SAVE_INTERVAL_S", 0.0)
    monkeypatch.setattr(storage, "KEPT", 10)
    straight = build()
    results = [straight.train() for _ in range(6)]
    return results, [(result[EPOCH], json.loads(result[SAVED])) for result in results[2::-1]]


def test_a_saved_trial_goes_on_with_the_same_numbers(build, wanted):
    results, saves = wanted
    second = build(saves=saves)
    assert second.config["saves"][0][0] == 3
    again = [second.train() for _ in range(3)]
    assert read_scores(again) == read_scores(results[3:]) and [result[EPOCH] for result in again] == [4, 5, 6]
    assert again[-1]["status"] == "finished"
    best = [result[CORRECT] for result in results if CORRECT in result]
    assert [result[CORRECT] for result in again if CORRECT in result][-1] == best[-1]  # told again, where it was before
    assert all(LOST not in result for result in again)


@pytest.mark.slow
def test_a_trial_that_pauses_ends_at_its_rung_and_goes_on_with_the_same_numbers(build, wanted):
    """In segments to epochs 1, 4 and 6; each ends with a state of which the next begins, and the last is the end."""
    results, _ = wanted
    found, saves = [], []
    for until in (1, 4, 6):
        trial = build(until=until, saves=saves)
        while not found or not found[-1]["done"] or found[-1][EPOCH] < until:
            found.append(trial.train())
        saves = [(until, json.loads(found[-1][SAVED]))]
    assert read_scores(found) == read_scores(results)
    assert [result[EPOCH] for result in found if result["done"]] == [1, 4, 6]
    assert [result["status"] for result in found] == ["running"] * 5 + ["finished"]


@pytest.mark.slow
@pytest.mark.parametrize("harm", ["flip", "cut", "lost", "other"])
def test_from_a_damaged_state_it_goes_back_to_the_one_before_and_says_so(build, wanted, store, harm):
    results, saves = wanted
    folder = Path(store.uri) / "trial-0004" / "epoch-0003"
    content = bytearray((folder / TRAINING_FILE).read_bytes())
    if harm == "lost":
        shutil.rmtree(folder)
    elif harm == "other":  # whole, but of another training
        saves = [(3, saves[0][1] | {TRAINING_FILE: hash_file(folder / MODEL_FILE)}), *saves[1:]]
        shutil.copy(folder / MODEL_FILE, folder / TRAINING_FILE)
    else:
        content[len(content) // 2] ^= 1
        (folder / TRAINING_FILE).write_bytes(content if harm == "flip" else content[:-10])
    result = build(saves=saves).train()
    assert result[EPOCH] == 3 and read_scores([result]) == read_scores(results[2:3])
    assert result[LOST].startswith("the state after epoch 3 could not be used: ") and "\n" not in result[LOST]


@pytest.mark.parametrize("is_named", [False, True])
def test_states_of_no_use_do_not_outlive_new_ones(is_named, build, store, monkeypatch):
    """Of epochs that a ledger has lost the lines of, or damaged: as the newest, they would be what stays."""
    saves = [(6, {MODEL_FILE: "0"}), (5, {MODEL_FILE: "0"})] if is_named else []
    for epoch in (5, 6):
        with store.save(4, epoch, {}) as folder:
            (folder / MODEL_FILE).write_text("nobody knows it")
    monkeypatch.setattr(trial_module, "SAVE_INTERVAL_S", 0.0)
    trial = build(saves=saves)
    for _ in range(3):
        assert SAVED in trial.train()
    assert store.list_states(4) == [name_state(4, 2), name_state(4, 3)]


@pytest.mark.slow
def test_without_any_state_it_begins_again(build, wanted, store):
    results, saves = wanted
    store.delete(4)
    result = build(saves=saves).train()
    assert result[EPOCH] == 1 and read_scores([result]) == read_scores(results[:1])
    assert result[LOST].count("could not be used") == 3


def test_a_storage_that_is_away_costs_the_state_and_not_the_trial(build, wanted, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(trial_module, "save_training", refuse)
    result = build().train()
    assert SAVED not in result and "could not be saved" in result[LOST] and result["status"] == "running"


def check_waiting(trial, place):
    """It says so at every step, and never that it has trained."""
    for _ in range(2):
        result = trial.train()
        assert str(place) in result[FULL] and "free 100 MB" in result[FULL] and "\n" not in result[FULL]
        assert json.loads(result[METRICS]) == {} and not result["done"] and result["status"] == "running"
        assert SAVED not in result


@pytest.mark.slow
@pytest.mark.parametrize("room_kib", [0, 4, 3000])
def test_on_a_full_disk_a_trial_waits_and_then_tells_the_same(build, wanted, store, monkeypatch, tmp_path, room_kib):
    monkeypatch.setattr(trial_module, "RETRY_SECONDS", 0.01)
    results, _ = wanted
    trial, told = build(), []
    with mount_disk(tmp_path / "states", 64) as disk:
        for epoch in range(1, 7):
            disk.fill(but=room_kib << 10 if epoch % 2 else 0)
            check_waiting(trial, disk.folder)
            states = [name for name in disk.folder.glob("*/epoch-*")]
            assert len(states) == min(epoch - 1, 10) and not list(disk.folder.glob("*/.part-*"))
            disk.free()
            told.append(trial.train())
            assert json.loads(told[-1][SAVED]).keys() == json.loads(results[epoch - 1][SAVED]).keys()
    assert read_scores(told) == read_scores(results) and [result[EPOCH] for result in told] == [1, 2, 3, 4, 5, 6]
    assert all(LOST not in result and FULL not in result for result in told)


@pytest.mark.slow
def test_with_full_temporary_files_a_trial_waits_to_go_on_from_its_state(build, wanted, monkeypatch, tmp_path):
    monkeypatch.setattr(trial_module, "RETRY_SECONDS", 0.01)
    results, saves = wanted
    trial = build(saves=saves)
    with mount_disk(tmp_path / "temporary", 24) as disk:
        monkeypatch.setattr("tempfile.tempdir", str(disk.folder))
        disk.fill()
        check_waiting(trial, disk.folder)
        disk.free()
        again = [trial.train() for _ in range(3)]
    assert read_scores(again) == read_scores(results[3:]) and all(LOST not in result for result in again)


@pytest.mark.slow
def test_one_that_fails_on_a_full_disk_still_saves_its_best_model(build, store, monkeypatch, tmp_path):
    monkeypatch.setattr(trial_module, "RETRY_SECONDS", 0.01)
    trial = build()
    first = trial.train()
    trial.results = iter(())  # the next epoch fails
    with mount_disk(tmp_path / "states", 64) as disk:
        disk.fill()
        check_waiting(trial, disk.folder)
        disk.free()
        result = trial.train()
        assert result["status"] == "failed" and result["done"]
        assert load_model(Path(store.uri) / "trial-0004" / "epoch-0001").metrics[ACCURACY] == first[SCORE]


def test_one_that_fails_saves_its_best_model(build, store, monkeypatch):
    trial = build()
    first = trial.train()

    def fail():
        yield from ()
        raise RuntimeError("no such\ndevice")

    trial.results = fail()
    result = trial.train()
    assert (result["status"], result[EPOCH], result["done"]) == ("failed", 1, True) and "no such" in result["error"]
    assert json.loads(result[SAVED]).keys() == {MODEL_FILE, CORRECT_FILE}
    assert load_model(Path(store.uri) / "trial-0004" / "epoch-0001").metrics[ACCURACY] == first[SCORE]
