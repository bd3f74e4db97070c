"""The models of the best trials are copied out of what trials saved, and no others are left."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fashion_core.files import MODEL_FILE
from search.records.events import EpochEnded, TrialSaved
from search.records.layout import SearchLayout
from search.records.record import SearchRecord, TrialRecord
from search.tune.checkpoints import BestModels
from search.tune.storage import TrialStore


class Search:
    """A search's kept models, and trials that saved theirs."""

    def __init__(self, folder, keep_best, record=None):
        self.layout, self.store = SearchLayout(folder / "results", "s"), TrialStore(str(folder / "states"))
        self.models = BestModels(self.layout, self.store, keep_best, record or SearchRecord())

    def save(self, number, best, text):
        """A trial of two states, of which the newer has its model."""
        trial = TrialRecord(number, str(number), {}, False, 0.0, best=best)
        for epoch in (1, 2):
            digests = {}
            with self.store.save(number, epoch, digests) as folder:
                (folder / MODEL_FILE).write_text(text if epoch == 2 else "older")
            trial.epochs.append(EpochEnded(trial=number, epoch=epoch, metrics={"val/accuracy": best}))
            trial.saves.append(TrialSaved(trial=number, epoch=epoch, digests=digests))
        return trial

    def read_kept(self):
        """Texts of the kept models by folder."""
        return {folder.name: (folder / MODEL_FILE).read_text() for folder in self.layout.checkpoints.glob("*")}

    def list_states(self):
        return sorted(path.name for path in Path(self.store.uri).glob("*/*"))


@given(st.lists(st.integers(0, 100), max_size=12, unique=True), st.integers(1, 4), st.integers(0, 12))
def test_those_of_the_highest_scores_are_kept_in_whatever_order_they_come(scores, keep_best, restart):
    """Also where the search was restarted in between."""
    with tempfile.TemporaryDirectory() as name:
        record = SearchRecord()
        search = Search(Path(name), keep_best, record)
        for number, score in enumerate(scores):
            if number == restart:
                search = Search(Path(name), keep_best, record)
            trial = search.save(number, score / 100, f"model {number}")
            told = search.models.keep(trial)
            best = sorted(range(number + 1), key=lambda each: -scores[each])[:keep_best]
            assert search.read_kept() == {f"trial-{each:04d}": f"model {each}" for each in best}
            assert told == (f"checkpoints/trial-{number:04d}" if number in best else None)
            assert search.models.kept == {each: scores[each] / 100 for each in best}
            record.trials[number] = trial


@pytest.fixture
def search(tmp_path):
    return Search(tmp_path, 1)


def test_of_equals_the_first_stays(search):
    search.models.keep(search.save(0, 0.5, "first"))
    assert search.models.keep(search.save(1, 0.5, "second")) is None
    assert search.read_kept() == {"trial-0000": "first"}


def test_a_trial_that_goes_on_brings_a_newer_model(search):
    search.models.keep(search.save(0, 0.5, "early"))
    assert search.list_states() == ["epoch-0001", "epoch-0002"]  # it goes on from there
    assert search.models.keep(search.save(0, 0.6, "late")) == "checkpoints/trial-0000"
    assert search.read_kept() == {"trial-0000": "late"} and search.models.kept == {0: 0.6}


def test_a_trial_that_was_never_saved_keeps_nothing(search):
    assert search.models.keep(TrialRecord(0, "0", {}, False, 0.0, best=0.9)) is None and search.models.kept == {}


def test_a_model_that_cannot_be_copied_takes_no_place(search):
    search.models.keep(search.save(0, 0.5, "model 0"))
    lost = search.save(1, 0.9, "")
    (Path(search.store.uri) / "trial-0001" / "epoch-0002" / MODEL_FILE).unlink()
    with pytest.raises(OSError):
        search.models.keep(lost)
    assert search.read_kept() == {"trial-0000": "model 0"} and search.models.kept == {0: 0.5}


def test_after_a_restart_only_models_on_disk_count(search, tmp_path):
    """A trial of the record whose model was not kept does not push another's out."""
    record = SearchRecord()
    for number, best in ((0, 0.5), (1, 0.9), (2, None)):
        record.trials[number] = TrialRecord(number, str(number), {}, False, 0.0, best=best)
    search.models.keep(search.save(0, 0.5, "model 0"))
    again = Search(tmp_path, 1, record)
    assert again.models.kept == {0: 0.5}
    assert again.models.keep(again.save(3, 0.6, "model 3")) == "checkpoints/trial-0003"
    assert again.read_kept() == {"trial-0003": "model 3"}


def test_a_state_that_was_damaged_gives_no_model(search):
    search.models.keep(search.save(0, 0.5, "model 0"))
    trial = search.save(1, 0.9, "model 1")
    (Path(search.store.uri) / "trial-0001" / "epoch-0002" / MODEL_FILE).write_text("model 2")
    with pytest.raises(OSError, match=r"as trial 1 saved it, but .* has changed since; restore it"):
        search.models.keep(trial)
    assert search.read_kept() == {"trial-0000": "model 0"} and search.models.kept == {0: 0.5}


def test_a_model_that_is_kept_already_stays_though_its_state_is_gone(tmp_path):
    """As where a ledger lost the line that said so, behind which the states were deleted."""
    search = Search(tmp_path, 1)
    trial = search.save(0, 0.5, "model 0")
    assert search.models.keep(trial) == "checkpoints/trial-0000"
    search.store.delete(0)
    assert Search(tmp_path, 1).models.keep(trial) == "checkpoints/trial-0000"
    assert search.read_kept() == {"trial-0000": "model 0"}
    (search.layout.checkpoint_folder(0) / MODEL_FILE).write_text("older")  # of a state before
    with pytest.raises(OSError, match="No such file"):
        Search(tmp_path, 1).models.keep(trial)
    assert search.read_kept() == {}
