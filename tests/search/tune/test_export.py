"""A search as a study of Optuna's: read again by Optuna, against the ledger."""

import json
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from answered_search import write_search
from free_port import find_port
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

from fashion_core.errors import SearchError
from search.records.events import ENDS, TrialEnded
from search.records.record import load_record
from search.tune.export import export_study, guess_distribution


def load(path):
    return optuna.load_study(study_name=None, storage=f"sqlite:///{path}")


def test_optuna_reads_the_trials_that_the_ledger_tells(tmp_path):
    record, path = load_record(write_search(tmp_path)), tmp_path / "new" / "study.db"
    assert export_study(record, path) == 12 and [each.name for each in path.parent.iterdir()] == ["study.db"]
    study = load(path)
    assert study.study_name == "answered" and study.direction.name == "MAXIMIZE"
    best = record.rank()[0]
    assert study.best_trial.user_attrs["trial"] == best.number and study.best_value == best.best
    for told, (_, trial) in zip(study.trials, sorted(record.trials.items()), strict=True):
        assert told.params == trial.params
        assert told.intermediate_values == {row.epoch: trial.read_score(row) for row in trial.epochs}
        assert told.user_attrs.get("val/accuracy/fit") == trial.best_metrics.get("val/accuracy/fit")
    states = [trial.state for trial in study.trials]
    assert states == [TrialState.COMPLETE] * 6 + [TrialState.PRUNED] * 5 + [TrialState.FAIL]
    assert study.trials[0].distributions == {
        "lr": FloatDistribution(1e-4, 1e-1, log=True),
        "dropout": FloatDistribution(0, 0.5),
        "fc_layers": CategoricalDistribution([0, 2]),
    }  # those of the space


def test_only_failures_have_failed(tmp_path):
    """A trial that its search ended, by a limit, a target or a person, keeps its epochs: Optuna's samplers use them."""
    record = load_record(write_search(tmp_path, ended=False))
    for trial, status in zip(record.trials.values(), ENDS, strict=False):
        trial.end = TrialEnded(trial=trial.number, status=status, best=trial.best, best_epoch=trial.best_epoch)
    record.trials[len(ENDS)].end = None
    export_study(record, tmp_path / "study.db")
    told = {each.user_attrs["status"]: each for each in load(tmp_path / "study.db").trials[: len(ENDS) + 1]}
    states = {status: each.state.name for status, each in told.items()}
    failed = dict.fromkeys(("failed", "diverged"), "FAIL")
    ended_early = dict.fromkeys(("stopped", "interrupted", "paused"), "PRUNED")
    assert states == {"finished": "COMPLETE", "running": "RUNNING", **failed, **ended_early}
    own = record.trials[told["interrupted"].user_attrs["trial"]]
    assert told["interrupted"].intermediate_values == {row.epoch: own.read_score(row) for row in own.epochs} != {}


@contextmanager
def serve_dashboard(path):
    """optuna-dashboard on a study, as a person starts it; gives what reads its API."""
    port = find_port()
    program = Path(sys.executable).with_name("optuna-dashboard")
    server = subprocess.Popen([program, f"sqlite:///{path}", "--port", str(port), "--quiet"])

    def ask(what):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/{what}", timeout=30) as answer:
            return json.load(answer)

    try:
        until = time.monotonic() + 120
        while True:
            try:
                ask("studies")
                break
            except OSError:  # it has not started yet
                assert server.poll() is None and time.monotonic() < until
                time.sleep(0.2)
        yield ask
    finally:
        server.terminate()
        server.wait(30)


@pytest.mark.slow
def test_the_dashboard_shows_what_the_ledger_tells(tmp_path):
    record = load_record(write_search(tmp_path))
    export_study(record, tmp_path / "study.db")
    with serve_dashboard(tmp_path / "study.db") as ask:
        (study,) = ask("studies")["study_summaries"]
        told = ask(f"studies/{study['study_id']}")
    assert (study["study_name"], study["directions"]) == ("answered", ["maximize"])
    assert [trial["state"] for trial in told["trials"]] == ["Complete"] * 6 + ["Pruned"] * 5 + ["Fail"]
    (best,) = told["best_trials"]
    winner = record.rank()[0]
    assert (best["number"], best["values"]) == (winner.number, [winner.best])
    for trial, (_, own) in zip(told["trials"], sorted(record.trials.items()), strict=True):
        rows = [(row["step"], row["value"]) for row in trial["intermediate_values"]]
        assert rows == [(row.epoch, own.read_score(row)) for row in own.epochs]
        assert {each["name"] for each in trial["params"]} == own.params.keys()


def test_without_the_space_the_values_tell_how_they_were_drawn(tmp_path):
    record = load_record(write_search(tmp_path, ended=False))
    record.search = replace(record.begun, space="")
    export_study(record, tmp_path / "study.db")
    assert load(tmp_path / "study.db").trials[3].params == record.trials[3].params


def test_what_can_have_drawn_values():
    assert guess_distribution([3, 1, 2]) == IntDistribution(1, 3)
    assert guess_distribution([0.5, 1]) == FloatDistribution(0.5, 1)
    assert guess_distribution([0.001, 0.1]) == FloatDistribution(0.001, 0.1, log=True)
    assert guess_distribution(["a", None, "a", True]) == CategoricalDistribution(["a", None, True])


def test_a_file_that_is_there_stays(tmp_path):
    path = tmp_path / "study.db"
    path.write_text("mine")
    with pytest.raises(SearchError, match="is there; name another"):
        export_study(load_record(write_search(tmp_path)), path)
    assert path.read_text() == "mine"
