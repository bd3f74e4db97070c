"""What won: how far the best was trained, with what, and which commands can be run with it."""

import json
from dataclasses import replace

import pytest
from answered_search import write_search

from search.experiment.steps import list_next_steps
from search.records.events import SearchEnded
from search.records.record import load_record
from search.reporting.answers import Source
from search.reporting.report import write_report
from search.reporting.won import Confusion, answer_won, read_confusion, write_confusion
from search.reporting.words import describe_search


@pytest.fixture
def layout(tmp_path):
    layout = write_search(tmp_path)
    layout.best_folder.mkdir()
    layout.best_model.touch()
    return layout


def cut_off(record, number, status="interrupted", epochs=2):
    """Let a trial have ended before its end, with the best score of its last epoch."""
    trial = record.trials[number]
    trial.epochs = trial.epochs[:epochs]
    trial.epochs[-1].metrics["val/accuracy"] = trial.best
    trial.end = replace(trial.end, status=status, best_epoch=epochs)
    return record


def show(layout, record):
    answer = answer_won(Source(layout, record, describe_search(record)))
    return answer.short, "".join(answer.parts)


def test_how_far_it_was_trained_is_told_against_what_was_planned(layout):
    record = load_record(layout)
    assert "after epoch 4 of 4." in show(layout, record)[1]
    cut_off(record, 1)
    assert "after epoch 2, interrupted after 2 of 4 epochs." in show(layout, record)[1]
    write_report(layout, record, describe_search(record))
    assert "trial 1 after epoch 2, interrupted after 2 of 4 epochs, found by" in layout.report.read_text()
    cut_off(record, 1, "stopped")
    assert "stopped after 2 of 4 epochs" in show(layout, record)[1]
    record.trials[1].end = None
    assert "after epoch 2, so far with 2 of 4 epochs." in show(layout, record)[1]


def test_a_promotion_is_offered_of_what_it_takes(layout):
    record = load_record(layout)
    name = f"search/promote.py answered --results {layout.results.name}"
    second = record.rank()[1].number
    assert "ship it if it holds" in show(layout, record)[1] and name in show(layout, record)[1]
    assert "promote it, if it holds" in dict(list_next_steps(layout, None, record=record))
    cut_off(record, 1)
    page = show(layout, record)[1]
    assert f"promote trial {second} (" in page and "trial 1 was not" in page and "ship it if it holds" not in page
    assert name in page
    for trial in record.trials.values():
        cut_off(record, trial.number, epochs=1)
    page = show(layout, record)[1]
    assert "promote.py" not in page and "fashion-search extend answered --results" in page and "--trials 50" in page
    record.ended = SearchEnded(reason="interrupted", seconds=1.0)
    assert "search/run.py --resume answered" in show(layout, record)[1]
    assert "promote it, if it holds" not in dict(list_next_steps(layout, None, record=record))


def test_photographs_are_offered_where_answers_are_known(layout):
    record = load_record(layout)
    assert "--photographs" in show(layout, record)[1]
    record.trials[1].end = replace(record.trials[1].end, correct=None)
    assert "--photographs" not in show(layout, record)[1]


def test_a_network_that_the_space_fixes_is_named(layout):
    """Of the searched parameters none tells it."""
    record = load_record(layout)
    short, page = show(layout, record)
    assert "test_resnet at 32 px, batches of 16" in short and "(test_resnet at 32 px, batches of 16)" in page
    whole = page.split("all that it trains with")[1]
    assert "<code>epochs</code></th><td>4<" in whole and "<code>weight_decay</code>" in whole
    record.search = replace(record.search, space="{")  # a space that cannot be read any more
    assert "test_resnet" not in show(layout, record)[1]


def test_a_model_that_is_not_the_bests_is_asked_by_its_name(layout):
    record = load_record(layout)
    layout.best_config.write_text(json.dumps({"trial": 1, "config": {}}))
    assert ">ask it<" in show(layout, record)[1]
    layout.best_config.write_text(json.dumps({"trial": 5, "config": {}}))
    page = show(layout, record)[1]
    assert "ask trial 5, the best whose model is kept" in page and "the configuration of that trial first" in page


@pytest.mark.parametrize(("trial", "epoch", "is_its"), [(1, 4, True), (1, 3, False), (2, 4, False)])
def test_what_is_taken_for_what_is_of_the_trials_best_epoch(layout, trial, epoch, is_its):
    classes, matrices = {"fit": ["a", "b"]}, {"fit": [[3, 1], [0, 4]]}
    write_confusion(layout, Confusion(trial=trial, epoch=epoch, classes=classes, matrices=matrices))
    assert (read_confusion(layout, 1, 4) is not None) == is_its
    assert ("weakest class a, 75%" in show(layout, load_record(layout))[1]) == is_its
