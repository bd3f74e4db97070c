"""Stopped trials that are trained to their end: what that takes, and what came of it."""

import io
import json

import numpy as np
import pytest
from answered_search import MAX_EPOCHS
from answered_search import write_search as write_answered
from rich.console import Console
from written_search import write_search

from fashion_core import metrics
from fashion_core.errors import CheckpointError, SearchError
from search.experiment import stopped
from search.experiment.starts import plan_with_starts
from search.experiment.stopped import build_trainings, collect_finished, name_folder, plan_stopped
from search.jobs.reruns import train
from search.planning.options import SearchOptions, load_options
from search.planning.resources import Machine
from search.records.record import load_record
from search.reporting.stopped import draw_order
from search.space.seeds import draw_seeds


def write_run(layout, number, scores, status="finished"):
    """What a training left that has these scores, one an epoch."""
    folder = name_folder(layout, number, MAX_EPOCHS)
    (folder / "epochs").mkdir(parents=True)
    for epoch, score in enumerate(scores, 1):
        row = {metrics.ACCURACY: score, metrics.TRAIN_SECONDS: 2.0, metrics.VAL_SECONDS: 1.0}
        values = np.full((2, 2), 0.5, np.float32)
        np.savez(folder / "epochs" / f"{epoch:04d}.npz", scores=np.array(json.dumps(row)), probabilities_0=values)
    (folder / "run.json").write_text(json.dumps({"status": status, "error": None}))
    return folder


@pytest.fixture
def layout(tmp_path):
    return write_answered(tmp_path)


def test_what_is_done_is_read_from_what_trainings_left(layout):
    record = load_record(layout)
    first, second, third, *_ = draw_order(record)
    write_run(layout, first, [0.2, 0.6, 0.5, 0.6])
    write_run(layout, second, [0.2], "diverged")
    write_run(layout, third, [0.1], "failed")
    found = collect_finished(layout, record)
    assert [(each.trial, each.status, each.score, each.epoch) for each in found.trials] == [
        (first, "finished", 0.6, 2),
        (second, "diverged", None, None),
    ]
    assert found.trials[0].seconds == 12.0 and found.max_epochs == MAX_EPOCHS
    (name_folder(layout, first, MAX_EPOCHS) / "epochs" / "0002.npz").write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"0002\.npz.*delete trial-\d+-of-4, and finish it again"):
        collect_finished(layout, record)


def test_a_dry_run_tells_what_it_takes_and_does_nothing(layout):
    before = sorted(layout.folder.rglob("*"))
    console = Console(file=io.StringIO(), width=200)
    record, drawn = plan_stopped(layout, 2, console)
    text = console.file.getvalue()
    assert drawn == draw_order(record)[:2] and "drawn by chance of 5 stopped trials" in text
    assert f"2 trials, {2 * MAX_EPOCHS} epochs" in text and "takes about" in text
    assert sorted(layout.folder.rglob("*")) == before
    write_run(layout, drawn[0], [0.1] * 4)
    plan_stopped(layout, 2, console)
    assert f"1 trial, {MAX_EPOCHS} epochs" in console.file.getvalue()


def test_a_search_that_stopped_none_is_told(tmp_path):
    with pytest.raises(SearchError, match="answered has stopped none"):
        plan_stopped(write_answered(tmp_path, trials=6), 3, Console(file=io.StringIO()))


class JoinedError(Exception):
    """Ends a test where Ray would be joined."""


@pytest.mark.parametrize(
    ("stored", "given", "wanted"),
    [
        ({}, {}, (None, False)),
        ({"address": "auto", "allow_open_cluster": True}, {}, ("auto", True)),
        ({"address": "auto"}, {"allow_open": True}, ("auto", True)),
        ({"address": "auto"}, {"address": "local"}, (None, False)),
    ],
)
def test_it_joins_what_the_search_did_or_what_is_given(layout, monkeypatch, stored, given, wanted):
    def join(address, *, allow_open):
        raise JoinedError(address, allow_open)

    monkeypatch.setattr(stopped, "open_ray", join)
    options = SearchOptions(data=layout.results, space="demo", **stored)
    monkeypatch.setattr(stopped, "load_options", lambda _: options)
    with pytest.raises(JoinedError) as joined:
        stopped.finish_stopped(layout, 1, Console(file=io.StringIO()), **given)
    assert joined.value.args == wanted


@pytest.mark.slow
def test_a_trial_is_trained_with_its_own_seed_to_the_end(tmp_path, sample_folder):
    layout = write_search(tmp_path / "results", "mine", sample_folder, [3e-3, 1e-4], statuses=("finished", "stopped"))
    record, options = load_record(layout), load_options(layout)
    plan = plan_with_starts(options, layout, Machine(2, 0), begun=True)
    (training,) = build_trainings(plan, record, draw_order(record), Console(file=io.StringIO()))
    seeds = draw_seeds(options.seed, 1, with_start=record.has_start_seeds)
    assert {"seed": training.config.seed, "start_seed": training.config.start_seed} | seeds == seeds
    assert training.config.lr == 1e-4 and training.label == "trial 1"
    *_, last = train(training)
    assert last["status"] == "finished"
    (found,) = collect_finished(layout, record).trials
    assert (found.trial, found.status, found.epochs) == (1, "finished", 6) and 0 < found.score <= 1
