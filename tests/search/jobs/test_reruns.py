"""A network trained again: the numbers of `fit`, in files it can go on from, whatever ends it."""

import json
from dataclasses import replace

import numpy as np
import pytest
from small_disk import mount_disk

from fashion_core import metrics
from fashion_core.config import TrainConfig
from fashion_core.errors import CheckpointError
from fashion_core.files import MODEL_FILE, TRAINING_FILE
from fashion_core.models.saved import load_model
from fashion_core.training.loop import fit
from search.jobs import reruns
from search.jobs.reruns import EPOCHS_FOLDER, RUN_FILE, Training, load_run, train
from search.jobs.saved_state import DIGESTS_FILE, STATE_FOLDER, find_state
from search.jobs.training import TrainingJob, save_selection

TRAIN, VAL = np.arange(16), np.arange(120, 128)
CONFIG = TrainConfig(
    image_size=64, backbone="test_resnet", weights="none", batch_size=8, epochs=4, lr=0.01, precision="fp32", seed=3
)  # its second epoch is the best one
ENDED = {"status": "finished", "error": None}


@pytest.fixture
def training(sample_prepared, tmp_path):
    save_selection(tmp_path / "selection.npz", TRAIN, VAL)
    job = TrainingJob(CONFIG, sample_prepared.path, tmp_path / "selection.npz", None, threads=1)
    return Training("trial-0003", 1, job, tmp_path / "run")


@pytest.fixture(scope="module")
def wanted(sample_prepared):
    """(train/loss, val/accuracy, probabilities) of each epoch, straight from `fit`."""
    return [describe(each) for each in fit(CONFIG, sample_prepared, train=TRAIN, val=VAL)]


def describe(result):
    return result.metrics[metrics.TRAIN_LOSS], result.metrics[metrics.ACCURACY], result.probabilities


def list_files(training):
    return sorted(str(path.relative_to(training.folder)) for path in training.folder.rglob("*") if path.is_file())


def assert_is(run, wanted):
    assert [(row[metrics.TRAIN_LOSS], row[metrics.ACCURACY]) for row in run.scores] == [each[:2] for each in wanted]
    for column, values in enumerate(run.probabilities):
        assert values.dtype == np.float32
        assert np.array_equal(values, np.stack([each[2][column] for each in wanted]))


def test_a_run_is_what_fit_gives_and_keeps_the_best_epoch(training, wanted):
    assert training.status is None
    events = list(train(training))
    assert [event.get("epoch") for event in events] == [1, 2, 3, 4, None] and events[-1] == ENDED
    assert training.status == "finished"
    run = load_run(training)
    assert (run.label, run.seed_number, run.folder) == ("trial-0003", 1, training.folder)
    assert_is(run, wanted)
    assert run.seconds == pytest.approx(sum(row["train/seconds"] + row["val/seconds"] for row in run.scores))
    assert [event["metrics"] for event in events[:-1]] == list(run.scores)
    scores = [score for _, score, _ in wanted]
    assert load_model(training.folder).epoch == scores.index(max(scores)) + 1
    epochs = [f"{EPOCHS_FOLDER}/{epoch:04d}.npz" for epoch in (1, 2, 3, 4)]
    assert list_files(training) == sorted([*epochs, MODEL_FILE, RUN_FILE])  # nothing to go on with


def damage(path, harm):
    """Cut a file, empty it, flip a bit of it, or take it away."""
    content = path.read_bytes()
    flipped = content[:-5] + bytes([content[-5] ^ 1]) + content[-4:]
    path.write_bytes({"cut": content[: len(content) // 2], "emptied": b"", "flipped": flipped, "gone": b""}[harm])
    if harm == "gone":
        path.unlink()


def test_one_that_is_to_stop_keeps_that_very_epoch(training, wanted):
    for stop in (1, 3):
        stopped = replace(training, stop_epoch=stop, folder=training.folder.with_name(f"stop{stop}"))
        assert len(list(train(stopped))) == stop + 1
        assert_is(load_run(stopped), wanted[:stop])
        model = load_model(stopped.folder)
        assert model.epoch == stop and model.metrics[metrics.ACCURACY] == wanted[stop - 1][1]


@pytest.mark.slow
def test_one_that_was_cut_off_goes_on_with_the_same_numbers(training, wanted, monkeypatch):
    monkeypatch.setattr(reruns, "SAVE_INTERVAL_S", 0.0)
    first = train(training)
    for _ in range(3):  # the third epoch is written, but its state is not saved yet
        next(first)
    first.close()
    assert training.status is None and find_state(training.folder) == training.folder / STATE_FOLDER
    events = list(train(training))
    assert [event.get("epoch") for event in events] == [3, 4, None]
    assert_is(load_run(training), wanted)
    assert find_state(training.folder) is None


def test_a_state_is_not_saved_after_every_epoch(training):
    events = train(training)
    next(events)
    next(events)
    assert find_state(training.folder) is None  # a second or two is soon trained again
    events.close()


def test_one_that_diverged_is_not_trained_again(training):
    config = CONFIG.model_copy(update={"optimizer": "sgd", "lr": 100.0, "head_lr_factor": 1000.0})
    diverged = replace(training, job=replace(training.job, config=config))
    *_, event = train(diverged)
    assert event["status"] == "diverged" and "finite" in event["error"]
    assert diverged.status == "diverged" and json.loads((diverged.folder / RUN_FILE).read_text()) == event
    assert not [name for name in list_files(diverged) if name.endswith(MODEL_FILE)]


def test_one_that_failed_may_be_tried_again(training, wanted):
    broken = replace(training, job=replace(training.job, selection=training.folder.with_name("gone.npz")))
    (event,) = train(broken)
    assert event["status"] == "failed" and event["error"].startswith("DataError")
    assert json.loads((training.folder / RUN_FILE).read_text()) == event and training.status is None
    assert list(train(training))[-1] == ENDED
    assert_is(load_run(training), wanted)


@pytest.mark.slow
def test_one_that_fails_later_keeps_what_it_can_go_on_from(training, wanted, monkeypatch):
    monkeypatch.setattr(reruns, "SAVE_INTERVAL_S", 0.0)
    events = train(training)
    next(events)
    next(events)
    event = events.throw(MemoryError("no room"))
    assert event["status"] == "failed" and "smaller batch_size" in event["error"]
    assert find_state(training.folder) is not None
    assert [event.get("epoch") for event in train(training)] == [2, 3, 4, None]
    assert_is(load_run(training), wanted)


@pytest.mark.parametrize("name, count", [(f"{EPOCHS_FOLDER}/0002.npz", 3), (MODEL_FILE, 4)])
def test_a_run_that_lacks_a_file_is_told(training, name, count):
    list(train(training))
    (training.folder / name).unlink()
    with pytest.raises(
        CheckpointError, match=f"has 4 epochs and a model, but run has {count} epochs; delete its folder"
    ):
        load_run(training)


@pytest.mark.slow
@pytest.mark.parametrize("harm", ["cut", "emptied", "flipped", "gone"])
@pytest.mark.parametrize("name", [MODEL_FILE, TRAINING_FILE, DIGESTS_FILE])
def test_from_a_damaged_state_it_begins_again_and_says_so(harm, name, training, wanted, monkeypatch):
    monkeypatch.setattr(reruns, "SAVE_INTERVAL_S", 0.0)
    first = train(training)
    for _ in range(3):
        next(first)
    first.close()
    damage(training.folder / STATE_FOLDER / name, harm)
    note, *events = train(training)
    assert str(training.folder / STATE_FOLDER) in note["note"] and "begin again" in note["note"]
    assert [event.get("epoch") for event in events] == [1, 2, 3, 4, None]
    assert_is(load_run(training), wanted)


@pytest.mark.parametrize("harm", ["cut", "emptied", "flipped"])
def test_a_finished_run_whose_model_was_damaged_is_told(harm, training):
    list(train(training))
    damage(training.folder / MODEL_FILE, harm)
    with pytest.raises(CheckpointError, match="has changed since it was saved; delete run, and promote again"):
        load_run(training)


@pytest.mark.slow
def test_on_a_full_disk_it_waits_says_so_and_is_what_it_would_have_been(training, wanted, monkeypatch, tmp_path):
    monkeypatch.setattr(reruns, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(reruns, "SAVE_INTERVAL_S", 0.0)
    with mount_disk(tmp_path / "run", 64) as disk:
        events = []
        disk.fill()
        for event in train(training):
            events.append(event)
            if "note" in event:
                disk.tell(event["note"])
            else:
                disk.fill()
        assert [event.get("epoch") for event in events if "note" not in event] == [1, 2, 3, 4, None]
        assert events[-1] == ENDED and len(disk.told) >= 4
        assert all(str(training.folder) in told and "\n" not in told for told in disk.told)
        assert_is(load_run(training), wanted)
        assert not list(training.folder.rglob("*.tmp"))
