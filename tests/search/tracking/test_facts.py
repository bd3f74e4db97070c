"""What stands beside the scores of a run: what happened, whose it is, its whole configuration."""

from __future__ import annotations

import json

import pytest

from fashion_core.config import build_config
from search.records.events import EpochEnded, SearchEnded, SearchStarted, TrialEnded, TrialPaused, TrialStarted
from search.records.own_space import collect_parameters, read_own_space
from search.records.record import replay
from search.space.seeds import draw_seeds
from search.tracking.facts import (
    build_source,
    describe_data,
    describe_end,
    describe_trial,
    find_seeds,
    is_failure,
    measure_trial,
)

SPACE = """
trials: 2
fixed: {backbone: test_resnet, image_size: 64, dropout: 0.25}
search: {lr: {loguniform: [1e-5, 1e-1]}, category_weights: {proportions: [0.5, 2]}}
scheduler: {type: none, max_epochs: 6}
"""
DATA = {"folder": "drawn", "fingerprint": "aa11", "categories": {"sleeve": ["short", "long"], "neck": ["v", "round"]}}
SEARCHED = {"lr": 0.00012345678901234567, "weight_sleeve": 1.25, "weight_neck": 0.75}


def build_events(**values):
    begun = {"settings": {"max_epochs": 3, "seed": 4}, "space": SPACE, "space_name": "tiny", "data": DATA, **values}
    metrics = {"val/accuracy": 0.5, "train/seconds": 3.0, "val/seconds": 1.0, "train/images_per_second": 60.0}
    metrics["train/peak_memory_mib"] = 640.0
    return [
        SearchStarted(name="mine", **begun),
        TrialStarted(trial=0, trial_id="0", params=SEARCHED, enqueued=False),
        EpochEnded(trial=0, epoch=1, metrics=metrics),
        EpochEnded(trial=0, epoch=2, metrics=metrics | {"val/accuracy": 0.25, "train/images_per_second": 30.0}),
    ]


def test_a_trial_tells_in_a_line_what_happened():
    events = build_events()
    ended = TrialEnded(trial=0, status="stopped", reason="below 0.6 at rung 2\nmore", best=0.5, rung=2)
    for event, wanted in (
        (None, "running: 3 epochs at most; best val/accuracy 0.5000 in epoch 1"),
        (ended, "stopped: below 0.6 at rung 2; best val/accuracy 0.5000 in epoch 1"),
        (TrialPaused(trial=0, rung=2), "paused after epoch 2; best val/accuracy 0.5000 in epoch 1"),
        (TrialEnded(trial=0, status="diverged", reason="NaN", best=0.0), "diverged: NaN"),
    ):
        record = replay([*events, event] if event else events)
        assert describe_trial(record, record.trials[0]) == wanted


def test_a_search_tells_in_a_line_how_it_ended():
    record = replay([*build_events(), SearchEnded(reason="time budget", seconds=1.0)])
    assert describe_end(record) == "time budget; trials: 1 running; best val/accuracy 0.5000 (trial 0)"
    assert describe_end(replay(build_events()[:1])) == "running; trials: none"
    more = replay(build_events(settings={"trials": 20, "max_epochs": 9})[:1])
    assert describe_end(more) == "running: 20 trials of 9 epochs at most; trials: none"


@pytest.mark.parametrize(("reason", "failed"), [("broken", True), ("incomplete", True), ("time budget", False)])
def test_only_a_search_that_could_not_go_on_has_failed(reason, failed):
    assert is_failure(reason) is failed and not is_failure("a later word")


def test_all_parameters_are_there_in_full_precision():
    found = collect_parameters(read_own_space(replay(build_events())), SEARCHED)
    assert found["lr"] == SEARCHED["lr"] and found["weight_sleeve"] == 1.25
    assert (found["dropout"], found["epochs"]) == (0.25, 3)  # what the space fixes; as long as the search trained
    others = build_config({"backbone": "test_resnet"}).model_dump().keys() - found.keys()
    assert others == {"seed", "start_seed", "category_weights", "grad_clip_norm"}  # drawn for each; flat; not set
    assert collect_parameters(read_own_space(replay(build_events()), 9), SEARCHED)["epochs"] == 9


@pytest.mark.parametrize(
    ("settings", "names"),
    [({"seed": 7, "start_seeds": True}, ["seed", "start_seed"]), ({"seed": 7}, ["seed"]), ({}, [])],
)
def test_a_trial_has_the_seeds_that_it_trained_with(settings, names):
    found = find_seeds(replay(build_events(settings=settings)), 4)
    assert list(found) == names and found.items() <= draw_seeds(7, 4).items()


def test_a_trial_that_saw_whole_images_since_the_data_names_no_boxes_says_so():
    for has_boxes, crop in ((True, "box"), (False, "whole")):
        record = replay(build_events(data=DATA | {"has_boxes": has_boxes}))
        assert collect_parameters(read_own_space(record), SEARCHED)["crop"] == crop


@pytest.mark.parametrize("values", [{"space": "no space"}, {"data": {}}, {"settings": {}}])
def test_a_ledger_that_tells_no_space_gives_what_was_searched(values):
    assert collect_parameters(read_own_space(replay(build_events(**values))), SEARCHED) == SEARCHED
    assert collect_parameters(read_own_space(replay(build_events())), {"strange": 1}) == {"strange": 1}


def test_a_run_has_mlflows_own_tags_of_where_it_comes_from():
    tags = build_source({"command": "python search/run.py --data DIR", "git_commit": "f00"})
    assert tags["mlflow.source.name"] == "search/run.py" and tags["mlflow.source.git.commit"] == "f00"
    assert tags["mlflow.user"] and tags["mlflow.source.type"] == "LOCAL"
    assert build_source({}).keys() == {"mlflow.user", "mlflow.source.name", "mlflow.source.type"}


def test_data_sets_are_named_with_their_fingerprint():
    chosen = {"select_on": "heldout", "seed": 4, "train_count": 10, "select_count": 5}
    train, select = describe_data(replay(build_events(selection=chosen)))
    assert train[:3] == ("train", "drawn: train less heldout of seed 4", "aa11") and json.loads(train[3]) == {
        "images": 10
    }
    assert select[:3] == ("select", "drawn: heldout of seed 4", "aa11") and json.loads(select[3]) == {"images": 5}
    assert describe_data(replay(build_events(data={}))) == []


def test_what_a_trial_took_is_of_all_its_epochs():
    found = measure_trial(replay(build_events()).trials[0])
    assert found == {
        "trial/seconds": 8.0,
        "trial/images_per_second": pytest.approx(40),
        "trial/peak_memory_mib": 640.0,
    }
    assert measure_trial(replay(build_events()[:2]).trials[0]) == {}
