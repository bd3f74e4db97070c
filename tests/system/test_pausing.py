"""Whole searches whose trials pause at rungs and go on: with one worker, killed amid pauses, and with two."""

import os
import signal
import time
from collections import Counter

import pytest
from mlflow.tracking import MlflowClient
from same_search import find_differences
from whole_commands import call, start

from search.records.events import EpochAgain, TrialPaused, TrialStarted
from search.records.layout import SearchLayout
from search.records.ledger import read_events
from search.records.record import replay

pytestmark = [pytest.mark.usefixtures("shared_ray"), pytest.mark.slow]

SPACE = """
trials: 5
fixed: {image_size: 32, backbone: test_resnet, weights: none, batch_size: 16, warmup_fraction: 0}
search: {lr: {loguniform: [1e-4, 1e-1]}, drop_path: {uniform: [0, 0.5]}}
scheduler: {type: asha, form: promotion, max_epochs: 4, reduction_factor: 2}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("pausing")
    (made / "pausing.yaml").write_text(SPACE)
    return made


def run(folder, *options):
    done = call(folder, "run.py", *options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def begin(folder, sample_folder, name, concurrent):
    space = folder / "pausing.yaml"
    return ("--data", sample_folder, "--space", space, "--name", name, "--concurrent", concurrent)


def kill_amid_pauses(folder, *options):
    """Run the command in a process of its own, and kill it once a paused trial has gone on."""
    process = start(folder, "run.py", *options)
    ledger, deadline = folder / "results" / "killed" / "ledger.jsonl", time.monotonic() + 240
    while not has_gone_on(ledger) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    record = replay(read_events(ledger))
    assert record.ended is None and record.count_statuses()["paused"]


def has_gone_on(ledger):
    counts = Counter(event.trial for event in read_events(ledger) if isinstance(event, TrialStarted))
    return any(count > 1 for count in counts.values())


@pytest.mark.long  # `tests/search/tune/test_watch.py` kills a simulated one after every line
def test_a_search_killed_amid_pauses_equals_the_undisturbed_one(folder, sample_folder):
    run(folder, *begin(folder, sample_folder, "twin", 1))
    kill_amid_pauses(folder, *begin(folder, sample_folder, "killed", 1))
    run(folder, "--resume", "killed")
    twin, killed = (SearchLayout(folder / "results", name) for name in ("twin", "killed"))
    assert find_differences(twin, killed) == []
    assert not any(killed.states.iterdir())  # all is over
    check(twin)


def test_with_two_workers_every_trial_climbs_in_order(folder, sample_folder):
    told = run(folder, *begin(folder, sample_folder, "two", 2))
    assert "1, 2 (of 4 epochs); each trial pauses there, and the best 1/2 go on" in " ".join(told.stdout.split())
    check(SearchLayout(folder / "results", "two"))


def check(layout):
    """What holds of every search that pauses: no epoch is trained twice, and each trial is one run of MLflow."""
    events = read_events(layout.ledger)
    record = replay(events)
    assert len(record.trials) == 5 and record.ended.reason == "all trials ended"
    assert {trial.status for trial in record.trials.values()} == {"finished", "stopped"}
    assert not any(isinstance(event, EpochAgain) for event in events)
    for number, trial in record.trials.items():
        rungs = [event.rung for event in events if isinstance(event, TrialPaused) and event.trial == number]
        assert [row.epoch for row in trial.epochs] == list(range(1, trial.last_epoch + 1))
        assert rungs == [rung for rung in (1, 2) if rung <= trial.last_epoch]
        assert trial.last_epoch == (4 if trial.status == "finished" else trial.rung)
        assert trial.correct and trial.seconds > 0
    client = MlflowClient(f"sqlite:///{layout.tracking_db}")
    (experiment,) = [each for each in client.search_experiments() if each.name == "pausing"]
    runs = client.search_runs([experiment.experiment_id], f"tags.search_id = '{record.search_id}'")
    trials = [run for run in runs if run.data.tags["kind"] == "trial"]
    assert len(trials) == 5 and {run.info.status for run in trials} == {"FINISHED"}
    for run in trials:
        trial = record.trials[int(run.data.tags["trial"])]
        assert run.data.tags["status"] == trial.status
        assert len(client.get_metric_history(run.info.run_id, "val/accuracy")) == trial.last_epoch
