"""What a search makes before its first trial: the images its trials open, and the words it begins with."""

import io
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from missing_labels import blank_folder
from rich.console import Console
from small_disk import mount_disk

import fashion_core
from fashion_core.config import TrainConfig
from fashion_core.data.pixels import PrepareSettings
from fashion_core.files import retry_while_full
from search.experiment.beginning import describe_start, prepare, write_beginning
from search.jobs.training import load_selection
from search.planning.options import SearchOptions, load_options
from search.planning.plan import build_plan
from search.planning.resources import Machine
from search.records.record import replay
from search.reporting.words import describe_search

SPACE = """
trials: 12
fixed: {backbone: test_resnet, image_size: 32, weights: none}
search: {crop: {choice: [box, whole]}, lr: {loguniform: [1e-4, 1e-2]}}
scheduler: {max_epochs: 9, grace_epochs: 1, reduction_factor: 3}
"""


def begin(folder, data, **options):
    """A plan, and what a search of it makes first."""
    (folder / "small.yaml").write_text(SPACE)
    options = SearchOptions(data=data, space=str(folder / "small.yaml"), name="one", results=folder, **options)
    plan = build_plan(options, options.build_layout(), Machine(4, 0))
    return plan, prepare(plan, Console(file=io.StringIO()))


@pytest.fixture(scope="module")
def begun(sample_folder, tmp_path_factory):
    return begin(tmp_path_factory.mktemp("begun"), sample_folder, concurrent=2, cpus_per_trial=2)


def list_lines(folder, split):
    return (folder / "split" / f"{split}.txt").read_text().split()


def test_trials_find_their_images_whatever_they_draw(begun):
    plan, prepared = begun
    assert prepared.images.prepared.keys() == {PrepareSettings(32), PrepareSettings(32, "whole")}
    for crop in ("box", "whole"):
        job = prepared.site.build_job(TrainConfig(image_size=32, crop=crop))
        assert job.prepared.is_absolute() and job.prepared.parent == plan.cache_dir.resolve()
        assert (job.threads, job.gpus) == (2, 0.0)
    train, select = load_selection(prepared.site.selection)
    assert np.array_equal(train, prepared.selection.train) and np.array_equal(select, prepared.selection.select)


def test_val_is_selected_on_unless_it_is_to_stay_unseen(begun, sample_folder, tmp_path):
    _, prepared = begun
    names = np.array(prepared.data.names)
    assert names[prepared.selection.train].tolist() == list_lines(sample_folder, "train")
    assert names[prepared.selection.select].tolist() == list_lines(sample_folder, "val")
    _, held = begin(tmp_path, sample_folder, select_on="heldout", seed=5)
    chosen = [held.selection.train, held.selection.select]
    assert sorted(names[np.concatenate(chosen)]) == sorted(list_lines(sample_folder, "train"))
    assert held.site.selection != prepared.site.selection


@pytest.mark.slow
def test_each_choice_of_images_has_a_file_of_its_own(sample_folder, tmp_path):
    choices = ({"seed": 1}, {"seed": 2}, {"select_on": "heldout", "seed": 1}, {"select_on": "heldout", "seed": 2})
    begun = [begin(tmp_path, sample_folder, **options)[1] for options in choices]
    assert len({each.site.selection for each in begun}) == 4
    for each in begun:  # the later ones have not overwritten the earlier ones
        assert np.array_equal(load_selection(each.site.selection)[1], each.selection.select)


def test_a_search_says_how_it_begins(begun, sample_folder):
    plan, prepared = begun
    start = describe_start(plan, prepared.data, prepared.selection, ["python", "search/run.py"])
    assert start.settings == {
        "trials": 12,
        "objective": "val/accuracy",
        "sampler": "tpe",
        "scheduler": "asha",
        "scheduler_form": "stopping",
        "max_epochs": 9,
        "grace_epochs": 1,
        "reduction_factor": 3,
        "seed": 0,
        "start_seeds": True,
        "select_on": "val",
        "concurrent": 2,
        "cpus_per_trial": 2,
        "gpus_per_trial": 0.0,
    }
    assert (start.name, start.space, start.space_name, start.space_hash) == ("one", SPACE, "small", plan.space.hash)
    assert start.provenance["command"] == "python search/run.py"
    assert start.provenance["version"] == fashion_core.__version__
    assert start.data["folder"] == sample_folder.name and start.data["skipped"] == 0
    assert start.data["counts"] == {"train": 120, "val": 48, "test": 24}
    assert start.data["fingerprint"] == prepared.data.fingerprint
    assert start.categories == {each.name: list(each.classes) for each in prepared.data.schema.categories}
    assert start.selection["select_images"] == list_lines(sample_folder, "val")
    assert (start.selection["train_count"], start.selection["select_count"]) == (120, 48)


def test_the_majority_is_that_of_the_images_trained_on(begun):
    """The share of right answers that the commonest class of train, in each category, has on val."""
    plan, prepared = begun
    labels = prepared.data.labels
    shares = []
    for column in labels.T:
        train, select = column[prepared.selection.train].tolist(), column[prepared.selection.select].tolist()
        commonest = Counter(sorted(train)).most_common(1)[0][0]  # the first of equals
        shares.append(select.count(commonest) / len(select))
    start = describe_start(plan, prepared.data, prepared.selection, ["python"])
    assert start.data["majority"] == pytest.approx(np.mean(shares))
    assert list(start.data["majority_by_category"].values()) == pytest.approx(shares)
    assert list(start.data["majority_by_category"]) == list(prepared.data.schema.names)
    words = describe_search(replay([start]))
    assert [row[2] for row in words.accuracies] == [f"{share:.4f}" for share in (*shares, np.mean(shares))]


def test_what_another_objective_needs_is_told(begun):
    """The score of the commonest class is that of the objective; labels stand there where classes are counted."""
    plan, prepared = begun
    labels, images = prepared.data.labels, prepared.selection.select
    told = {}
    for objective in ("val/accuracy", "val/class_accuracy", "val/accuracy/fit"):
        changed = replace(plan, space=replace(plan.space, objective=objective))
        told[objective] = describe_start(changed, prepared.data, prepared.selection, ["python"])
        assert told[objective].settings["objective"] == objective
    present = [len(np.unique(column[images])) for column in labels.T]
    assert told["val/class_accuracy"].data["majority"] == pytest.approx(len(present) / sum(present))
    commonest = np.bincount(labels[prepared.selection.train][:, -1]).argmax()
    assert prepared.data.schema.names[-1] == "fit"
    assert told["val/accuracy/fit"].data["majority"] == pytest.approx((labels[images][:, -1] == commonest).mean())
    assert told["val/class_accuracy"].selection["select_labels"] == labels[images].tolist()
    assert not any("select_labels" in told[name].selection for name in ("val/accuracy", "val/accuracy/fit"))
    record = replay([told["val/class_accuracy"]])
    assert record.measure.names == prepared.data.schema.names and (record.measure.labels == labels[images]).all()


def test_missing_labels_are_counted_where_there_are_any(begun, sample_folder, tmp_path):
    plan, prepared = begun
    assert "labelled" not in describe_start(plan, prepared.data, prepared.selection, ["python"]).selection
    plan, prepared = begin(tmp_path, blank_folder(sample_folder, tmp_path / "data"))
    start = describe_start(plan, prepared.data, prepared.selection, ["python"])
    labels = prepared.data.labels
    known = labels[prepared.selection.select] >= 0
    assert start.selection["labelled"] == dict(zip(prepared.data.schema.names, known.sum(0).tolist(), strict=True))
    assert start.selection["select_count"] == 48 > min(start.selection["labelled"].values())
    shares = []
    for column in labels.T:
        train, select = (
            [c for c in column[i].tolist() if c >= 0] for i in (prepared.selection.train, prepared.selection.select)
        )
        commonest = Counter(sorted(train)).most_common(1)[0][0]
        shares.append(select.count(commonest) / len(select))
    assert start.data["majority"] == pytest.approx(np.mean(shares))


@pytest.mark.slow
@pytest.mark.parametrize("room_kib", [0, 8, 700, 1260])
def test_on_a_full_disk_all_that_a_search_begins_with_is_waited_for(
    room_kib, begun, sample_folder, tmp_path, monkeypatch
):
    """Images in two forms, selection, notes, options, space: the same as on a roomy one, and nothing beside."""
    monkeypatch.setattr("fashion_core.files.RETRY_SECONDS", 0.01)
    _, wanted = begun
    (tmp_path / "small.yaml").write_text(SPACE)
    with mount_disk(tmp_path / "results", 16) as disk:
        options = {"data": sample_folder, "space": str(tmp_path / "small.yaml"), "name": "one", "results": disk.folder}
        options = SearchOptions(**options, concurrent=2, cpus_per_trial=2)
        plan = build_plan(options, options.build_layout(), Machine(4, 0))
        disk.fill(but=room_kib << 10)
        retry_while_full(lambda: write_beginning(plan, begun=False), plan.layout.folder, disk.tell)
        disk.fill(but=room_kib << 10)
        console = Console(file=io.StringIO())
        found = retry_while_full(lambda: prepare(plan, console), plan.cache_dir, disk.tell)
        assert len(disk.told) in (1, 2) and str(disk.folder) in disk.told[-1] and "\n" not in disk.told[-1]
        assert load_options(plan.layout) == options and plan.layout.space_yaml.read_text() == SPACE
        assert not [path for path in disk.folder.rglob("*") if ".tmp" in path.name]
        for settings, data in wanted.images.prepared.items():
            assert found.images.prepared[settings].path.read_bytes() == data.path.read_bytes()
        assert np.array_equal(load_selection(found.site.selection)[1], load_selection(wanted.site.selection)[1])
