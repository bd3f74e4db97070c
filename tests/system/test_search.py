"""Whole searches with real Ray, real MLflow and real images, by the command."""

import json
import os
import shutil
import signal
import sqlite3
import time
from pathlib import Path

import pytest
import torch
from house_rules import by_size
from safetensors.torch import save_file
from same_search import find_differences
from whole_commands import call, start

from fashion_core.metrics import ACCURACY, PROBE
from fashion_core.models.backbones import build_backbone
from fashion_core.models.saved import load_model
from search.commands import app
from search.jobs.reruns import read_epoch
from search.records.events import SearchResumed
from search.records.layout import SearchLayout
from search.records.ledger import read_events, unpack_correct
from search.records.record import replay
from search.reporting.mislabelled import read_mislabelled
from search.reporting.stopped import draw_order, read_finished

pytestmark = pytest.mark.usefixtures("shared_ray")

# Small enough for seconds; its known configurations end in each of the ways a trial can end.
SPACE = """
description: a tiny network on drawn garments
trials: {trials}
fixed: {{image_size: 32, weights: none, batch_size: 16}}
search:
  backbone: {{choice: [test_resnet, test_efficientnet]}}
  optimizer: {{choice: [adamw, sgd]}}
  lr: {{loguniform: [1e-4, 100]}}
  head_lr_factor: {{choice: [1, 1000]}}
  drop_path: {{uniform: [0, 0.5]}}
  category_weights: {{proportions: [0.5, 2]}}
try_first:
  - {{backbone: test_efficientnet, optimizer: adamw, lr: 3e-3, head_lr_factor: 1, drop_path: 0, category_weights: 1}}
  - {{backbone: test_efficientnet, optimizer: sgd, lr: 100, head_lr_factor: 1000, drop_path: 0, category_weights: 1}}
  - {{backbone: test_resnet, optimizer: adamw, lr: 1e-4, head_lr_factor: 1, drop_path: 0, category_weights: 1}}
scheduler: {{type: asha, max_epochs: {epochs}, grace_epochs: 1, reduction_factor: 2}}
"""


KILLED_AFTER = by_size(ci=(14,), whole=(9, 18))  # lines of the ledger


# Two probe epochs, after which the better half goes on to two of fine-tuning.
PROBE_SPACE = """
trials: 4
fixed: {{image_size: 32, backbone: test_resnet, weights: {weights}, batch_size: 16, probe_epochs: 2}}
search: {{probe_lr: {{loguniform: [1e-4, 1e-1]}}, fc_layers: {{choice: [0, 1]}}, drop_path: {{uniform: [0, 0.3]}}}}
try_first:
  - {{probe_lr: 0.02, fc_layers: 0, drop_path: 0}}
  - {{probe_lr: 1e-4, fc_layers: 1, drop_path: 0}}
scheduler: {{type: asha, max_epochs: 4, grace_epochs: 2, reduction_factor: 2}}
"""


def write_space(folder, trials=6, epochs=3):
    path = folder / "tiny.yaml"
    path.write_text(SPACE.format(trials=trials, epochs=epochs))
    return path


def run(folder, *options, check=True):
    """`search/run.py` in this process, working in the folder."""
    done = call(folder, "run.py", *options)
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done


def read(folder, name):
    return replay(read_events(folder / "results" / name / "ledger.jsonl"))


@pytest.fixture(scope="module")
def searched(tmp_path_factory, sample_folder):
    """A folder with one finished search, `first`, and what it printed."""
    folder = tmp_path_factory.mktemp("searched")
    space = write_space(folder)
    options = ("--data", sample_folder, "--space", space, "--name", "first", "--keep-best", 2, "--concurrent", 1)
    process = start(folder, "run.py", *options)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    return folder, output


def test_every_trial_has_an_end_and_a_reason(searched):
    record = read(searched[0], "first")
    assert sorted(record.trials) == list(range(6)) and record.ended.reason == "all trials ended"
    statuses = {trial.status for trial in record.trials.values()}
    assert {"finished", "stopped", "diverged"} <= statuses <= {"finished", "stopped", "diverged", "failed"}
    for trial in record.trials.values():
        assert trial.reason and trial.seconds >= 0
        if trial.status == "finished":
            assert len(trial.epochs) == 3
        if trial.status == "stopped":
            assert trial.rung == len(trial.epochs) and trial.best < trial.cutoff
        if trial.status in ("finished", "stopped"):
            assert trial.best == max(row.metrics[ACCURACY] for row in trial.epochs)
    assert record.trials[1].status == "diverged" and record.trials[1].best == 0.0
    assert "finite" in record.trials[1].end.error


def test_the_best_model_is_the_best(searched):
    folder, record = searched[0] / "results" / "first", read(searched[0], "first")
    best = max(trial.best for trial in record.trials.values())
    assert load_model(folder / "best").metrics[ACCURACY] == best
    config = json.loads((folder / "best_config.json").read_text())
    assert record.trials[config["trial"]].best == best
    assert len(list((folder / "checkpoints").iterdir())) == 2
    found = read_mislabelled(SearchLayout(folder.parent, "first"))
    assert found.images == record.selection["select_count"] and len(found.trials) == 2
    assert "Labels that look wrong" in (folder / "report.html").read_text() and (folder / "audit.json").is_file()


def open_tracking(folder):
    """MLflow's client of a folder's searches, and all runs."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{folder}/results/mlflow.db")
    return client, client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])


def test_mlflow_holds_every_trial(searched):
    client, runs = open_tracking(searched[0])
    children = [run for run in runs if "mlflow.parentRunId" in run.data.tags]
    record = read(searched[0], "first")
    assert len(runs) == 7 and len(children) == 6
    assert sorted(run.data.tags["status"] for run in children) == sorted(t.status for t in record.trials.values())
    finished = [run for run in children if run.data.tags["status"] == "finished"]
    for run in finished:
        assert len(client.get_metric_history(run.info.run_id, ACCURACY)) == 3
        assert {"lr", "backbone", "weight_pattern"} <= run.data.params.keys()
    (parent,) = [run for run in runs if run not in children]
    assert parent.data.tags["mlflow.note.content"].startswith("all trials ended; trials: ")


def test_the_terminal_tells_a_person_what_to_do_next(searched):
    _, output = searched
    assert "-m search ui" in output and "fashion_core.predict" in output
    assert "Traceback" not in output and "ray::" not in output and "\x1b[" not in output


def test_a_second_search_does_not_decode_again(searched, sample_folder):
    folder, _ = searched
    prepared = next((folder / "results" / ".prepared").glob("prepared-*.arrow"))
    before = prepared.stat().st_mtime_ns
    options = ("--data", sample_folder, "--space", folder / "tiny.yaml", "--trials", 1, "--max-epochs", 2)
    done = run(folder, *options, "--name", "second", "--max-params", 2e5)
    assert prepared.stat().st_mtime_ns == before
    assert "preparing 192 images" in searched[1] and "preparing 192" not in done.stdout
    assert "1 of 2 architectures is left out" in done.stdout and "the known configuration backbone test_resnet" in (
        " ".join(done.stdout.split())
    )
    costs = {each.backbone: cost.parameters for each, cost in read(folder, "second").costs.items()}
    assert costs["test_efficientnet"] <= 2e5 < costs["test_resnet"]


def test_one_trial_alone_gives_the_same_numbers(searched):
    done = run(searched[0], "--name", "first", "--trial", 0)
    for row in read(searched[0], "first").trials[0].epochs:
        score = f"{row.metrics[ACCURACY]:.4f}"
        assert f"{score} (in the search: {score})" in done.stdout


@pytest.mark.long
def test_stopped_trials_are_finished_beside_the_search(searched, monkeypatch):
    """On one CPU worker they are what they were, up to where they were stopped."""
    monkeypatch.chdir(searched[0])
    layout, record = SearchLayout(Path("results"), "first"), read(searched[0], "first")
    ledger, order = layout.ledger.read_bytes(), draw_order(record)
    for count in (1, len(order)):  # what is done is not done again
        models = {path: path.stat().st_mtime_ns for path in layout.finished_stopped.glob("*/model.safetensors")}
        with pytest.raises(SystemExit) as stopped:
            app.main(["finish-stopped", "first", "--trials", str(count)])
        assert stopped.value.code == 0 and all(path.stat().st_mtime_ns == then for path, then in models.items())
        assert [each.trial for each in read_finished(layout).trials] == order[:count]
    assert layout.ledger.read_bytes() == ledger
    for each in read_finished(layout).trials:
        assert each.status == "diverged" or each.epochs == 3
        for row in record.trials[each.trial].epochs:
            file = layout.finished_stopped / f"trial-{each.trial:04d}-of-3" / "epochs" / f"{row.epoch:04d}.npz"
            assert read_epoch(file)[0][ACCURACY] == row.metrics[ACCURACY]
    assert f"{len(order)} drawn by chance were trained to their end" in layout.page.read_text()


def test_a_name_is_used_once(searched, sample_folder):
    done = run(searched[0], "--data", sample_folder, "--space", "demo", "--name", "first", check=False)
    assert done.returncode == 2 and "--resume first" in done.stderr and "Traceback" not in done.stderr


def test_a_dry_run_does_nothing(tmp_path, sample_folder):
    done = run(tmp_path, "--data", sample_folder, "--space", write_space(tmp_path), "--max-ms", 1000, "--dry-run")
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.yaml"]
    for topic in ("trials", "rungs", "epochs", "prepared data", "results", "0 of 2 architectures are left out"):
        assert topic in done.stdout


def test_a_dry_run_shows_the_plan_before_it_misses_weights(tmp_path, sample_folder):
    done = run(tmp_path, "--data", sample_folder, "--space", "weighted_focal", "--dry-run", check=False)
    assert done.returncode == 2 and "legacy_seresnext50_32x4d.in1k (27.6 M parameters)" in " ".join(done.stdout.split())
    assert "could not be had from the hub" in done.stderr and "Traceback" not in done.stderr


def test_held_out_images_leave_val_unseen(tmp_path, sample_folder):
    options = ("--data", sample_folder, "--space", write_space(tmp_path), "--name", "held", "--select-on", "heldout")
    run(tmp_path, *options, "--trials", 1, "--max-epochs", 2)
    seen = set(read(tmp_path, "held").selection["select_images"])
    lists = {split: (sample_folder / "split" / f"{split}.txt").read_text().split() for split in ("train", "val")}
    assert seen < set(lists["train"]) and not seen & set(lists["val"])
    assert len(seen) == pytest.approx(0.15 * len(lists["train"]), abs=3)


@pytest.mark.long
def test_only_trials_that_the_probe_favours_are_fine_tuned(tmp_path, sample_folder):
    weights = tmp_path / "weights.safetensors"
    torch.manual_seed(0)
    save_file(build_backbone("test_resnet", weights="none", feature="logits").network.state_dict(), weights)
    space = tmp_path / "probe.yaml"
    space.write_text(PROBE_SPACE.format(weights=weights))
    options = ("--data", sample_folder, "--space", space, "--concurrent", 1)
    first = run(tmp_path, *options, "--name", "probed")
    record = read(tmp_path, "probed")
    assert {trial.status for trial in record.trials.values()} == {"finished", "stopped"}
    for trial in record.trials.values():
        wanted = {"finished": [1, 1, 0, 0], "stopped": [1, 1]}[trial.status]
        assert [row.metrics[PROBE] for row in trial.epochs] == wanted
        correct = unpack_correct(trial.correct, record.selection["select_count"], 6)
        assert correct.mean() == pytest.approx(trial.best)
    assert "preparing 192 features of test_resnet" in first.stdout
    second = run(tmp_path, *options, "--trials", 1, "--max-epochs", 2, check=False)
    assert second.returncode == 2 and "`drop_path` must be 0 where all epochs are probe epochs" in second.stderr
    third = run(tmp_path, *options, "--trials", 1, "--max-epochs", 3)
    assert "features" not in third.stdout


@pytest.fixture(scope="module")
def twins(searched, tmp_path_factory, sample_folder):
    """A search that nothing disturbed, and one like it that was killed on its way."""
    folder = tmp_path_factory.mktemp("killed")
    space = write_space(folder)
    given = ("--data", sample_folder, "--space", space, "--concurrent", 1, "--keep-best", 2)
    for number, lines in enumerate(KILLED_AFTER):
        kill_after(folder, lines, *(("--resume", "first") if number else (*given, "--name", "first")))
    resumed = run(folder, "--resume", "first")
    assert "does not take" not in resumed.stdout + resumed.stderr
    return [SearchLayout(each / "results", "first") for each in (searched[0], folder)]


def kill_after(folder, lines, *options):
    """Run the command in a process of its own, until its ledger has so many lines."""
    process = start(folder, "run.py", *options)
    ledger, deadline = folder / "results" / "first" / "ledger.jsonl", time.monotonic() + 240
    while len(read_events(ledger)) < lines and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert replay(read_events(ledger)).ended is None


def test_a_killed_search_equals_the_undisturbed_one(twins):
    assert find_differences(*twins) == []
    assert not any(twins[1].states.iterdir())  # all is over
    assert sum(isinstance(event, SearchResumed) for event in read_events(twins[1].ledger)) == len(KILLED_AFTER)


def test_one_run_a_trial_is_in_mlflow_and_none_is_left_running(twins):
    for layout in twins:
        _, runs = open_tracking(layout.results.parent)
        record = replay(read_events(layout.ledger))
        own = [run for run in runs if run.data.tags["search_id"] == record.search_id]
        children = {int(run.data.tags["trial"]): run for run in own if "mlflow.parentRunId" in run.data.tags}
        assert len(own) == len(record.trials) + 1 and children.keys() == record.trials.keys()
        assert all(children[number].data.tags["status"] == trial.status for number, trial in record.trials.items())
        assert all(run.info.status != "RUNNING" for run in own)


@pytest.mark.parametrize("what", ["proposals", "scores", "ends", "models", "points", "seconds", "runs", "kept"])
def test_a_planted_difference_is_seen(twins, what, tmp_path):
    """The check of equality, of a copy in which one thing is other."""
    shutil.copytree(twins[0].results, tmp_path / "results")
    copy = SearchLayout(tmp_path / "results", "first")
    lines = copy.ledger.read_text().splitlines()
    kind, name = {"proposals": ("trial_proposed", "enqueued"), "scores": ("epoch", "metrics")}.get(
        what, ("trial_ended", "best")
    )
    place = max(number for number, line in enumerate(lines) if json.loads(line)["event"] == kind)
    event = json.loads(lines[place])
    if what == "models":
        (path,) = copy.best_folder.glob("*.safetensors")
        path.write_bytes(path.read_bytes()[:-1] + b"x")
    elif what == "points":
        with sqlite3.connect(copy.tracking_db) as database:
            database.execute("update metrics set value = value + 1e-9 where key = 'val/accuracy' and step = 1")
    elif what == "seconds":  # a point of a clock that is there twice
        with sqlite3.connect(copy.tracking_db) as database:
            database.execute(
                "insert into metrics (key, value, timestamp, run_uuid, step, is_nan) "
                "select key, value, timestamp + 1, run_uuid, step, is_nan from metrics where key = 'train/seconds'"
            )
    elif what == "kept":
        with sqlite3.connect(copy.tracking_db) as database:
            assert database.execute("update logged_model_tags set tag_value = '99' where tag_key = 'epoch'").rowcount
    elif what == "runs":
        with sqlite3.connect(copy.tracking_db) as database:
            database.execute("update params set value = 'other' where key = 'optimizer'")
    else:
        event[name] = event[name] | {"train/loss": 9.0} if name == "metrics" else (event[name] or 0) / 2 + 0.1
        event[name] = True if name == "enqueued" else event[name]
        lines[place] = json.dumps({key: value for key, value in event.items() if key != "crc32"})
        copy.ledger.write_text("\n".join(lines) + "\n")
    assert find_differences(twins[0], copy) == ["points" if what == "seconds" else what]
