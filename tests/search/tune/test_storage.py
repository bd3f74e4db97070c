"""What trials can go on from is whole or passed over."""

import hashlib

import pytest

from search.records.events import EpochEnded, TrialSaved
from search.records.record import TrialRecord
from search.tune.storage import TrialStore, list_saves


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
    save(store := TrialStore(str(tmp_path / "states")), 0, 1, "state")
    (tmp_path / "target").mkdir()
    target = tmp_path / "target" / "two"
    store.fetch_file(0, 1, target)
    assert target.read_bytes() == bytes(range(256)) * 100
    with pytest.raises(OSError):
        store.fetch_file(0, 2, target)
    assert target.read_bytes() == bytes(range(256)) * 100
    assert list(target.parent.iterdir()) == [target]
