"""The models of the best trials are copied out of Ray's checkpoints, and no others are left."""

import tempfile
from pathlib import Path
from types import SimpleNamespace

import pyarrow.fs as pafs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fashion_core.files import MODEL_FILE
from search.records.layout import SearchLayout
from search.records.record import SearchRecord, TrialRecord
from search.tune.checkpoints import BestModels, copy_file, delete_checkpoints


def save(folder, number, text):
    """A trial with two checkpoints, of which the newer has its model, beside Ray's own files."""
    ray = folder / "ray" / f"trial-{number}"
    for name in ("checkpoint_000000", "checkpoint_000001"):
        (ray / name).mkdir(parents=True, exist_ok=True)
    (ray / "checkpoint_000001" / MODEL_FILE).write_text(text)
    (ray / "result.json").touch()
    checkpoint = SimpleNamespace(path=str(ray / "checkpoint_000001"), filesystem=pafs.LocalFileSystem())
    return SimpleNamespace(checkpoint=checkpoint)


def read_kept(layout):
    """Texts of the kept models by folder."""
    folders = (layout.folder / "checkpoints").glob("*")
    return {folder.name: (folder / MODEL_FILE).read_text() for folder in folders}


def list_rays(folder):
    return sorted(path.name for path in (folder / "ray").glob("*/*"))


@given(st.lists(st.integers(0, 100), max_size=12, unique=True), st.integers(1, 4), st.integers(0, 12))
def test_those_of_the_highest_scores_are_kept_in_whatever_order_they_come(scores, keep_best, restart):
    """Also where the search was restarted in between."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        layout, record = SearchLayout(folder / "results", "s"), SearchRecord()
        models = BestModels(layout, keep_best, record)
        for number, score in enumerate(scores):
            if number == restart:
                models = BestModels(layout, keep_best, record)
            told = models.keep(save(folder, number, f"model {number}"), number, score / 100)
            best = sorted(range(number + 1), key=lambda each: -scores[each])[:keep_best]
            assert read_kept(layout) == {f"trial-{each:04d}": f"model {each}" for each in best}
            assert told == (f"checkpoints/trial-{number:04d}" if number in best else None)
            assert models.kept == {each: scores[each] / 100 for each in best}
            record.trials[number] = TrialRecord(number, str(number), {}, False, 0.0, best=score / 100)
        assert set(list_rays(folder)) <= {"result.json"}


@pytest.fixture
def layout(tmp_path):
    return SearchLayout(tmp_path / "results", "s")


def test_of_equals_the_first_stays(layout, tmp_path):
    models = BestModels(layout, 1, SearchRecord())
    models.keep(save(tmp_path, 0, "first"), 0, 0.5)
    assert models.keep(save(tmp_path, 1, "second"), 1, 0.5) is None
    assert read_kept(layout) == {"trial-0000": "first"}


def test_a_trial_that_goes_on_brings_a_newer_model(layout, tmp_path):
    models = BestModels(layout, 1, SearchRecord())
    models.keep(save(tmp_path, 0, "early"), 0, 0.5, can_resume=True)
    assert list_rays(tmp_path) == ["checkpoint_000000", "checkpoint_000001", "result.json"]
    assert models.keep(save(tmp_path, 0, "late"), 0, 0.6) == "checkpoints/trial-0000"
    assert read_kept(layout) == {"trial-0000": "late"} and models.kept == {0: 0.6}
    assert list_rays(tmp_path) == ["result.json"]


def test_a_trial_that_was_never_saved_keeps_nothing(layout):
    models = BestModels(layout, 1, SearchRecord())
    assert models.keep(SimpleNamespace(checkpoint=None), 0, 0.9) is None and models.kept == {}


def test_a_model_that_cannot_be_copied_takes_no_place(layout, tmp_path):
    models = BestModels(layout, 1, SearchRecord())
    models.keep(save(tmp_path, 0, "model 0"), 0, 0.5)
    lost = save(tmp_path, 1, "")
    (Path(lost.checkpoint.path) / MODEL_FILE).unlink()
    with pytest.raises(OSError):
        models.keep(lost, 1, 0.9)
    assert read_kept(layout) == {"trial-0000": "model 0"} and models.kept == {0: 0.5}


def test_after_a_restart_only_models_on_disk_count(layout, tmp_path):
    """A trial of the record whose model was not kept does not push another's out."""
    record = SearchRecord()
    for number, best in ((0, 0.5), (1, 0.9), (2, None)):
        record.trials[number] = TrialRecord(number, str(number), {}, False, 0.0, best=best)
    BestModels(layout, 1, SearchRecord()).keep(save(tmp_path, 0, "model 0"), 0, 0.5)
    models = BestModels(layout, 1, record)
    assert models.kept == {0: 0.5}
    assert models.keep(save(tmp_path, 3, "model 3"), 3, 0.6) == "checkpoints/trial-0003"
    assert read_kept(layout) == {"trial-0003": "model 3"}


def test_a_copy_is_whole_or_absent(tmp_path):
    (tmp_path / "source").write_bytes(bytes(range(256)) * 1000)
    (tmp_path / "target").mkdir()
    target = tmp_path / "target" / "file"
    copy_file(pafs.LocalFileSystem(), str(tmp_path / "source"), target)
    assert target.read_bytes() == (tmp_path / "source").read_bytes()
    with pytest.raises(OSError):
        copy_file(pafs.LocalFileSystem(), str(tmp_path / "gone"), target)
    assert target.read_bytes() == (tmp_path / "source").read_bytes()
    assert list(target.parent.iterdir()) == [target]


def test_only_checkpoints_of_that_trial_are_deleted(tmp_path):
    first, _ = save(tmp_path, 0, "one"), save(tmp_path, 1, "other")
    delete_checkpoints(first)
    assert [path.name for path in (tmp_path / "ray/trial-0").iterdir()] == ["result.json"]
    assert (tmp_path / "ray/trial-1/checkpoint_000001" / MODEL_FILE).read_text() == "other"
