"""What trials can go on from is whole or passed over; and a storage that an earlier search left something in."""

import hashlib
from types import SimpleNamespace

import pyarrow.fs as pafs
import pytest

from fashion_core.errors import SearchError
from search.planning.options import SearchOptions
from search.records.events import EpochEnded, TrialSaved
from search.records.record import TrialRecord
from search.tune.storage import TrialStore, clear_storage, copy_file, list_saves


def make_plan(folder, name="mine", storage="storage", results="results"):
    """A plan, as far as it is looked at."""
    options = SearchOptions(
        data=".",
        space="demo",
        name=name,
        results=folder / results,
        storage=None if storage is None else str(folder / storage),
    )
    layout = options.build_layout()
    return SimpleNamespace(options=options, layout=layout, experiment=options.locate_experiment(layout))


@pytest.fixture
def left(tmp_path):
    """What two searches left."""
    for name in ("mine", "mine-2"):
        (folder := tmp_path / "storage" / name / "trial-0000").mkdir(parents=True)
        (folder / "state").write_text(name)
    return tmp_path


def list_left(folder):
    return sorted(path.name for path in (folder / "storage").iterdir())


def test_what_is_there_is_not_deleted_unasked(left):
    with pytest.raises(
        SearchError, match=r"--storage must hold no search of the name mine, but .*/storage/mine exists"
    ):
        clear_storage(make_plan(left), replace=False)
    assert list_left(left) == ["mine", "mine-2"]
    assert (left / "storage/mine/trial-0000/state").read_text() == "mine"


def test_what_is_replaced_goes_and_no_other(left):
    clear_storage(make_plan(left), replace=True)
    assert list_left(left) == ["mine-2"]


@pytest.mark.parametrize("replace", [False, True])
def test_a_new_name_needs_nothing(replace, left):
    clear_storage(make_plan(left, "yours"), replace=replace)
    clear_storage(make_plan(left, storage="elsewhere"), replace=replace)
    assert list_left(left) == ["mine", "mine-2"] and not (left / "elsewhere").exists()


@pytest.mark.parametrize("replace", [False, True])
def test_state_in_the_searchs_own_folder_goes_with_that(replace, tmp_path):
    plan = make_plan(tmp_path, storage=None)
    (plan.layout.states / "trial-0000").mkdir(parents=True)
    clear_storage(plan, replace=replace)
    assert (plan.layout.states / "trial-0000").is_dir()


# -------------------------------------------------------------------------------------------------------------- states


def save(store, number, epoch, text):
    """A state of two files; gives their digests."""
    digests = {}
    with store.save(number, epoch, digests) as folder:
        (folder / "one").write_text(text)
        (folder / "two").write_bytes(bytes(range(256)) * 100)
    return digests


@pytest.fixture(params=["folder", "uri"])
def store(request, tmp_path):
    path = tmp_path / "a b#%20" / "states" if request.param == "folder" else tmp_path / "states"
    return TrialStore(str(path) if request.param == "folder" else path.as_uri())


def test_the_newest_two_states_stay_and_come_back(store, tmp_path):
    digests = {epoch: save(store, 7, epoch, f"state {epoch}") for epoch in (1, 3, 9, 10)}
    assert [path.rsplit("/", 1)[1] for path in store.list_states(7)] == ["epoch-0009", "epoch-0010"]
    for epoch in (9, 10):
        target = tmp_path / f"target {epoch}"
        target.mkdir()
        assert store.fetch(7, epoch, digests[epoch], target) is None
        assert (target / "one").read_text() == f"state {epoch}" and len((target / "two").read_bytes()) == 25_600
    assert digests[9]["one"] == hashlib.sha256(b"state 9").hexdigest()
    assert "cannot be read" in store.fetch(7, 3, digests[3], tmp_path)
    save(store, 8, 1, "of another")
    store.delete(7)
    store.delete(7)
    assert not store.list_states(7) and len(store.list_states(8)) == 1
    save(store, 12, 1, "of a third")
    store.delete_all_but([12])
    assert not store.list_states(8) and len(store.list_states(12)) == 1


@pytest.mark.parametrize("harm", ["cut", "flip", "empty", "lost"])
def test_a_state_that_is_not_what_the_ledger_says_is_passed_over(tmp_path, harm):
    store = TrialStore(str(tmp_path / "states"))
    digests = save(store, 0, 1, "state")
    path = tmp_path / "states" / "trial-0000" / "epoch-0001" / "two"
    content = bytearray(path.read_bytes())
    if harm == "lost":
        path.unlink()
    else:
        content[500] ^= 1
        path.write_bytes({"cut": content[:-1], "flip": content, "empty": b""}[harm])
    (tmp_path / "target").mkdir()
    told = store.fetch(0, 1, digests, tmp_path / "target")
    assert told == ("two cannot be read (FileNotFoundError)" if harm == "lost" else "two is damaged")


def test_a_state_that_is_cut_off_leaves_the_one_before(tmp_path):
    store = TrialStore(str(tmp_path / "states"))
    digests = save(store, 0, 1, "state")
    with pytest.raises(OSError, match="full"), store.save(0, 2, {}) as folder:
        (folder / "one").write_text("half")
        raise OSError("the disk is full")
    assert [path.name for path in (tmp_path / "states" / "trial-0000").iterdir()] == ["epoch-0001"]
    assert store.fetch(0, 1, digests, tmp_path) is None


def test_states_are_told_newest_first_and_no_later_than_the_ledgers_epochs():
    trial = TrialRecord(0, "0", {}, False, 0.0)
    for epoch in (1, 2, 3):
        trial.epochs.append(EpochEnded(trial=0, epoch=epoch, metrics={}))
    for epoch, digest in ((1, "a"), (3, "b"), (4, "c"), (3, "d")):  # 4: the epoch itself was not written down
        trial.saves.append(TrialSaved(trial=0, epoch=epoch, digests={"one": digest}))
    assert list_saves(trial) == [(3, {"one": "d"}), (1, {"one": "a"})]


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
