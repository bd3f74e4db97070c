"""The models of the best trials are kept, whatever happens to the others; a death is told in words."""

import json
import shutil
from types import SimpleNamespace

import pyarrow.fs as pafs
import pytest
from ray.exceptions import ActorDiedError, ActorUnavailableError

from fashion_core.files import MODEL_FILE
from search.records.events import SearchStarted, TrialEnded
from search.records.layout import SearchLayout
from search.records.ledger import Ledger
from search.records.record import SearchRecord
from search.records.session import Session
from search.tune.callback import Recorder, describe_death, watch
from search.tune.checkpoints import BestModels
from search.tune.results import METRICS


class Trials:
    """Trials as Ray shows them to a callback, with checkpoints on this disk."""

    def __init__(self, folder, session):
        self.folder, self.session, self.recorder = folder, session, Recorder(session.record.search_id, None)

    def run(self, number, scores):
        """A trial that has trained so far; the newer of its two checkpoints holds its model."""
        folder = self.checkpoint(number)
        folder.with_name("checkpoint_000000").mkdir(parents=True)
        folder.mkdir()
        (folder / MODEL_FILE).write_text(f"model {number}")
        trial = SimpleNamespace(
            trial_id=f"id{number}",
            config={"number": number, "params": {}, "enqueued": False},
            checkpoint=SimpleNamespace(path=str(folder), filesystem=pafs.LocalFileSystem()),
            last_result={"status": "running"},
        )
        self.recorder.on_trial_start(0, [], trial)
        for epoch, score in enumerate(scores, 1):
            result = {"training_iteration": epoch, METRICS: json.dumps({"val/accuracy": score}), "score": score}
            self.recorder.on_trial_result(0, [], trial, result)
        return trial

    def checkpoint(self, number):
        return self.folder / "ray" / f"trial-{number}" / "checkpoint_000001"

    def end(self, trial, status="finished", **result):
        trial.last_result = {"status": status, **result}
        self.recorder.on_trial_complete(0, [], trial)

    def kept(self):
        folders = (self.session.layout.folder / "checkpoints").glob("*")
        return {folder.name: (folder / MODEL_FILE).read_text() for folder in folders}


@pytest.fixture
def trials(tmp_path):
    layout = SearchLayout(tmp_path / "results", "s")
    with Ledger(layout.ledger) as ledger:
        session = Session(layout, ledger, SearchRecord())
        session.append(SearchStarted(name="s"))
        with watch(session, BestModels(layout, 2, session.record), max_epochs=3):
            yield Trials(tmp_path, session)


def test_the_best_models_are_kept(trials):
    for number, score in enumerate([0.5, 0.7, 0.6, 0.4]):
        trials.end(trials.run(number, [score, score - 0.1]))
    assert trials.kept() == {"trial-0001": "model 1", "trial-0002": "model 2"}
    assert not any((trials.folder / "ray").glob("*/*"))  # what is kept is kept once
    record = trials.session.record
    assert [record.trials[number].best for number in range(4)] == [0.5, 0.7, 0.6, 0.4]


def test_a_trial_without_a_model_costs_no_other(trials):
    for number in (0, 1):
        trials.end(trials.run(number, [0.5]))
    lost = trials.run(2, [0.9])
    (trials.checkpoint(2) / MODEL_FILE).unlink()
    trials.end(lost, "failed", error="MemoryError")
    assert trials.kept().keys() == {"trial-0000", "trial-0001"}
    assert "could not be kept" in trials.session.record.trials[2].reason
    trials.end(trials.run(3, [0.6]))  # its place is free
    assert "trial-0003" in trials.kept()


def test_a_failed_trial_keeps_what_it_had_learnt_and_a_diverged_one_nothing(trials):
    trials.end(trials.run(0, [0.9]), "failed", error="RuntimeError: out of memory")
    trials.end(trials.run(1, [0.8]), "diverged", error="not finite", score=0.0)
    assert trials.kept() == {"trial-0000": "model 0"}
    assert [trials.session.record.trials[number].best for number in (0, 1)] == [0.9, 0.0]


def test_a_search_that_ends_early_keeps_the_models_of_running_trials(trials):
    trials.end(trials.run(0, [0.5]))
    running = [trials.run(1, [0.7]), trials.run(2, [])]
    trials.recorder.on_experiment_end(running)
    assert trials.kept() == {"trial-0000": "model 0", "trial-0001": "model 1"}
    assert (trials.checkpoint(1) / MODEL_FILE).is_file()  # it can go on from there


def test_what_had_ended_stays_as_it_ended(trials):
    """Ray runs a trial again whose end is younger than its snapshot; one that was cut off goes on."""
    first = trials.run(0, [0.5, 0.6])
    trials.end(first)
    trials.run(1, [0.3])
    trials.session.append(TrialEnded(trial=1, status="interrupted", reason="the search was interrupted"))
    events = trials.session.ledger.seq
    trials.recorder = Recorder(trials.session.record.search_id, None)
    trials.recorder.setup()
    trials.recorder.on_trial_start(0, [], first)
    result = {"training_iteration": 1, METRICS: json.dumps({"val/accuracy": 0.1}), "score": 0.1}
    trials.recorder.on_trial_result(0, [], first, result)
    trials.recorder.on_trial_recover(0, [], first)
    trials.end(first, "failed", error="RuntimeError: lost")
    trials.recorder.on_trial_error(0, [], first)
    assert trials.session.ledger.seq == events and trials.session.record.trials[0].best == 0.6
    assert trials.kept()["trial-0000"] == "model 0"
    shutil.rmtree(trials.checkpoint(1).parent)
    trials.end(trials.run(1, [0.3, 0.4]))
    assert trials.session.record.trials[1].status == "finished"


def test_a_death_is_told_in_words(tmp_path):
    text = tmp_path / "error.txt"
    trial = SimpleNamespace(error_file=None)
    assert describe_death(trial) == "no reason known"
    text.write_text("Failure # 1 (occurred at noon)\nRuntimeError: no such device\n")
    trial.error_file = str(text)
    assert describe_death(trial) == "RuntimeError: no such device"
    for error in (ActorDiedError(), ActorUnavailableError("gone", b"\0" * 16)):  # the last one counts
        with text.open("a") as file:
            file.write(f"Failure # 2 (occurred at one)\n{error}\n")
        told = describe_death(trial)
        assert "out of memory is the usual cause" in told and told.endswith(str(error)) and "device" not in told
