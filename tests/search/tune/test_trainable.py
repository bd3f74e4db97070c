"""One trial as Ray drives it, without Ray: what it reports, when it asks to be saved, that it goes on from there."""

import json

import numpy as np
import pytest
from ray.tune.result import SHOULD_CHECKPOINT

from fashion_core.data.pixels import PrepareSettings
from fashion_core.files import MODEL_FILE, TRAINING_FILE
from fashion_core.metrics import ACCURACY
from fashion_core.models.saved import load_model
from search.jobs.training import JobSite, compute_seed, save_selection
from search.records.ledger import unpack_correct
from search.tune import trainable as trial_module
from search.tune.results import CORRECT, METRICS, SCORE
from search.tune.trainable import TrialTrainable, bind

VALUES = {"image_size": 64, "backbone": "test_resnet", "weights": "none", "batch_size": 8, "epochs": 6, "lr": 0.01}


@pytest.fixture
def config(sample_prepared, tmp_path):
    save_selection(tmp_path / "selection.npz", np.arange(16), np.arange(120, 128))
    return {"number": 4, "params": {}, "values": VALUES | {"seed": compute_seed(0, 4)}, "enqueued": False}


@pytest.fixture
def trainable(sample_prepared, tmp_path):
    return bind(TrialTrainable, JobSite({PrepareSettings(64): sample_prepared.path}, tmp_path / "selection.npz", 1))


@pytest.fixture
def build(config, trainable):
    """A trial; all are stopped at the end."""
    built = []

    def build():
        built.append(trainable(config=config))
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


def test_a_trial_is_saved_when_it_has_trained_for_a_while(build, monkeypatch):
    assert not build().train()[SHOULD_CHECKPOINT]  # a second or two is soon trained again
    monkeypatch.setattr(trial_module, "SAVE_INTERVAL_S", 0.0)
    assert build().train()[SHOULD_CHECKPOINT]


def test_a_saved_trial_goes_on_with_the_same_numbers(build, tmp_path):
    straight = build()
    wanted = [json.loads(straight.train()[METRICS])[ACCURACY] for _ in range(6)]
    first, folder = build(), tmp_path / "saved"
    folder.mkdir()
    first.train()
    first.save_checkpoint(str(folder))
    assert (folder / TRAINING_FILE).is_file() and load_model(folder).epoch == 1
    second = build()
    second.load_checkpoint(str(folder))
    for path in folder.iterdir():
        path.unlink()  # Ray may delete it before the next step
    assert [json.loads(second.train()[METRICS])[ACCURACY] for _ in range(5)] == wanted[1:]
    second.save_checkpoint(str(folder))
    assert [path.name for path in folder.iterdir()] == [MODEL_FILE]  # nothing to go on with
    assert load_model(folder).metrics[ACCURACY] == max(wanted)
