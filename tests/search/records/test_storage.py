"""Both storages keep every line that was taken, in order, for one process at a time; what is not whole is told."""

import multiprocessing
import os
import signal
import threading
import time
from pathlib import Path
from uuid import uuid4

import pyarrow.fs as pafs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from local_s3 import Gate, join, serve_s3

from fashion_core.errors import SearchError
from search.records.events import EpochEnded, SearchResumed, TrialSaved
from search.records.lease import Lease, write_file
from search.records.ledger import Ledger, read_events
from search.records.locks import RUN
from search.records.outage import Outage
from search.records.storage import FolderStorage, ObjectStorage, Part, open_storage, shorten
from search.tune.storage import TrialStore

LEASE_SECONDS = 3.0  # the store's clock counts whole seconds


@pytest.fixture(scope="module")
def bucket():
    with serve_s3() as uri:
        yield uri


@pytest.fixture(params=["folder", "s3"])
def place(request, tmp_path):
    """Gives the URI of a search, by its name, under a URI where none stands."""
    if request.param == "folder":
        return lambda name: str(tmp_path / "a b#%20" / name)
    bucket, folder = request.getfixturevalue("bucket"), uuid4().hex
    return lambda name: join(bucket, f"{folder}/{name}")


@pytest.fixture
def objects(bucket):
    """Makes storages of one search on an object store, each as another process would have it."""
    filesystem, home = pafs.FileSystem.from_uri(join(bucket, f"{uuid4().hex}/mine"))
    return lambda: ObjectStorage("s3://of-a-test", filesystem, home, LEASE_SECONDS)


def test_the_kind_is_told_by_the_uri(tmp_path, bucket):
    assert isinstance(open_storage(str(tmp_path)), FolderStorage)
    assert isinstance(open_storage(tmp_path.as_uri()), FolderStorage)
    assert isinstance(open_storage(join(bucket, "mine")), ObjectStorage)
    with pytest.raises(SearchError, match=r"--storage must be a folder, .* but got 'nothing://x'"):
        open_storage("nothing://x")


def test_a_bucket_that_nobody_knows_is_told_with_what_to_do():
    """Pyarrow asks for its region, by a name that no server has."""
    with pytest.raises(SearchError, match=r"a bucket that answers, but s3://a_b\.\.invalid/x does not .*region=REGION"):
        open_storage("s3://a_b..invalid/x")


def test_a_worker_that_opens_its_storage_while_that_is_away_waits_for_it(bucket, monkeypatch):
    """AWS itself, which is asked for the region of a bucket, is not to be had here: in its place, an error, twice."""
    uri, real, errors = join(bucket, f"{uuid4().hex}/mine"), pafs.FileSystem.from_uri, [OSError("away")] * 2
    filesystem = type("LateFileSystem", (), {"from_uri": lambda uri: raise_next(errors) or real(uri)})
    monkeypatch.setattr("search.records.storage.pafs.FileSystem", filesystem)
    monkeypatch.setattr("search.records.outage.RETRY_SECONDS", 0.01)
    told = []
    assert isinstance(open_storage(uri, 60, told.append), ObjectStorage) and not errors
    assert [line.startswith("waiting: ") for line in told] == [True, False]
    errors += [OSError("away")]
    monkeypatch.setattr("search.tune.storage.PATIENCE_S", 0)
    with pytest.raises(OSError, match="a bucket that answers"), TrialStore(uri).save(0, 1, {}):
        pass


def raise_next(errors):
    if errors:
        raise errors.pop()


def test_the_uri_that_travels_has_the_region():
    filesystem, home = pafs.FileSystem.from_uri("s3://searches/mine?region=eu-west-3")
    assert ObjectStorage("s3://searches/mine", filesystem, home).settled_uri == "s3://searches/mine?region=eu-west-3"
    for query in ("region=eu-west-3", "scheme=http&endpoint_override=store:9000"):
        assert ObjectStorage(f"s3://b/mine?{query}", filesystem, home).settled_uri == f"s3://b/mine?{query}"
    given = ObjectStorage("s3://b/mine?scheme=http", filesystem, home)
    assert given.settled_uri == "s3://b/mine?scheme=http&region=eu-west-3"


LINES = st.binary(min_size=1, max_size=20).filter(lambda line: b"\n" not in line)


@pytest.mark.slow
@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(holdings=st.lists(st.lists(LINES, max_size=3), max_size=3))
def test_what_was_taken_is_there_in_order_whoever_held_it(place, holdings):
    uri, written = place(uuid4().hex), b""
    for lines in holdings:
        storage = open_storage(uri)
        with storage.hold(RUN):
            for line in lines:
                storage.append_log(line + b"\n")
                written += line + b"\n"
        assert open_storage(uri).read_log() == written
    assert open_storage(uri).read_log() == written


def test_one_of_two_holds_it_and_the_other_says_who(place):
    with open_storage(place("mine")).hold(RUN):
        with pytest.raises(
            SearchError, match=rf"one process works on .* but process {os.getpid()} on .* runs it since"
        ):
            open_storage(place("mine")).hold(RUN).__enter__()
        with open_storage(place("yours")).hold(RUN):
            pass
    with open_storage(place("mine")).hold(RUN):
        pass


@pytest.mark.slow
def test_of_many_at_once_one_wins(place):
    start, won, lost = threading.Barrier(5), [], []

    def try_it():
        start.wait()
        try:
            with open_storage(place("mine")).hold(RUN):
                won.append(time.monotonic())
                release.wait(20)
        except SearchError as error:
            lost.append(str(error))

    release = threading.Event()
    threads = [threading.Thread(target=try_it) for _ in range(5)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 20
    while len(won) + len(lost) < 5 and time.monotonic() < deadline:
        time.sleep(0.05)
    release.set()
    for thread in threads:
        thread.join()
    assert len(won) <= 1 and len(won) + len(lost) == 5
    assert all(message.startswith("one process works on a search at a time") for message in lost)


def hold_and_die(uri, count, told):
    """Take it, write so many lines, and be killed."""
    storage = open_storage(uri)
    with storage.hold(RUN):
        for number in range(count):
            storage.append_log(b"%d\n" % number)
        told.send(None)
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.slow
def test_what_a_killed_process_wrote_stands_and_a_folder_is_free_at_once(tmp_path):
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=hold_and_die, args=(str(tmp_path / "mine"), 3, there))
    process.start()
    here.recv()
    process.join()
    storage = open_storage(str(tmp_path / "mine"))
    with storage.hold(RUN):
        storage.append_log(b"3\n")
    assert storage.read_log() == b"0\n1\n2\n3\n"


def test_a_cut_line_of_a_folder_is_taken_away(tmp_path):
    storage = open_storage(str(tmp_path / "mine"))
    with storage.hold(RUN):
        storage.append_log(b"one\n")
    with storage.log_path.open("ab") as file:
        file.write(b"half")
    assert storage.read_log() == b"one\n"
    with storage.hold(RUN):
        storage.append_log(b"two\n")
    assert storage.read_log() == b"one\ntwo\n"


def test_what_is_not_there_is_not_waited_for(place, tmp_path):
    storage = open_storage(place("mine"))
    with storage.hold(RUN):
        for ask in (storage.fetch, storage.copy):
            with pytest.raises(FileNotFoundError):
                ask("models/trial-0000/model", "other" if ask == storage.copy else tmp_path / "model")


def test_files_and_folders_come_back_and_go(place, tmp_path):
    storage, digests = open_storage(place("mine")), {}
    assert storage.read("options.json") is None and storage.list() == []
    storage.write("options.json", b"{}")
    storage.write("options.json", b"[]")
    with storage.save_folder("trial-0000/epoch-0001", digests) as folder:
        (folder / "model").write_bytes(b"weights")
    storage.copy("trial-0000/epoch-0001/model", "models/trial-0000/model")
    storage.fetch("models/trial-0000/model", tmp_path / "model")
    assert (tmp_path / "model").read_bytes() == b"weights" and list(digests) == ["model"]
    assert storage.read("options.json") == b"[]" and storage.list() == ["models", "options.json", "trial-0000"]
    with pytest.raises(OSError, match="full"), storage.save_folder("trial-0001/epoch-0001", {}) as folder:
        (folder / "model").write_bytes(b"half")
        raise OSError("the disk is full")
    assert storage.list("trial-0001") == []
    storage.delete("trial-0000")
    storage.delete("trial-0000")
    assert storage.list("trial-0000") == []
    storage.delete()
    storage.delete()
    assert storage.list() == []


# ------------------------------------------------------------------------------------------------------- object store


def write_lines(storage, *lines):
    with storage.hold(RUN):
        for line in lines:
            storage.append_log(line)
    return sorted(f"ledger/{name}" for name in storage.list("ledger"))


@pytest.mark.parametrize("harm", ["flip", "cut", "empty", "gap", "twice"])
def test_a_gap_or_a_damaged_part_is_told_by_name(objects, harm):
    storage = objects()
    names = write_lines(storage, b"one\n", b"two\n", b"three\n")
    path, wanted = storage.locate(names[1]), names[1] + " is damaged"
    if harm == "gap":
        storage.filesystem.delete_file(path)
        wanted = "number 1 is missing"
    elif harm == "twice":
        other = Part(1, 1, shorten(b"other\n")).file
        write_file(storage.filesystem, storage.locate(other), b"other\n")
        wanted = "have one place"
    else:
        write_file(storage.filesystem, path, {"flip": b"twp\n", "cut": b"tw", "empty": b""}[harm])
    for read in (storage.read_log, lambda: write_lines(objects(), b"more\n") and storage.read_log()):
        with pytest.raises(SearchError, match=wanted) as told:
            read()
        assert "\n" not in str(told.value)


def test_what_a_process_writes_that_lost_its_lease_unaware_does_not_count(objects):
    first = objects()
    write_lines(first, b"0\n")
    stale = [Part(number, 1, shorten(b"stale\n")) for number in (1, 2, 3)]
    second = objects()
    with second.hold(RUN):
        second.append_log(b"1\n")
        for part in stale:
            write_file(first.filesystem, first.locate(part.file), b"stale\n")
        assert objects().read_log() == b"0\n1\n"
        second.append_log(b"2\n")
    write_lines(objects(), b"3\n")
    assert objects().read_log() == b"0\n1\n2\n3\n"


@pytest.mark.slow
def test_a_lease_that_ran_out_is_taken_over_and_its_holder_writes_no_more(objects):
    first, second = objects(), objects()
    with first.hold(RUN):
        first.append_log(b"0\n")
        first.lease.ended.set()  # no more renewals, as of a process that is stopped
        first.lease.thread.join()
        with pytest.raises(SearchError, match="is free in"):
            second.hold(RUN).__enter__()
        time.sleep(LEASE_SECONDS + 2)
        with second.hold(RUN):
            first.lease.ended.clear()  # and wakes up
            for _ in range(2):
                with pytest.raises(SearchError, match="another process has taken") as told:
                    first.append_log(b"late\n")
                assert "\n" not in str(told.value)
            second.append_log(b"1\n")
    assert objects().read_log() == b"0\n1\n"
    with objects().hold(RUN):  # what was released is free at once
        pass


@pytest.mark.slow
def test_a_lease_is_renewed_while_it_is_held(objects):
    storage = objects()
    with storage.hold(RUN):
        time.sleep(LEASE_SECONDS + 1)
        with pytest.raises(SearchError, match="one process works on"):
            objects().hold(RUN).__enter__()
        storage.append_log(b"0\n")


@pytest.mark.slow
def test_generations_grow_though_all_claims_are_lost(objects):
    write_lines(objects(), b"0\n")
    write_lines(objects(), b"1\n")
    storage = objects()
    storage.filesystem.delete_dir(storage.locks)
    write_lines(storage, b"2\n")
    assert objects().read_log() == b"0\n1\n2\n"


def test_nothing_is_written_by_one_that_does_not_hold_it(objects):
    with pytest.raises(SearchError, match="whoever writes a search holds its storage"):
        objects().append_log(b"0\n")


def test_two_who_ask_at_once_step_back(objects):
    storage = objects()
    leases = [Lease(storage.filesystem, storage.locks + "/x", RUN, Outage("x"), LEASE_SECONDS) for _ in range(2)]
    claims = leases[0].list_claims()
    for lease in leases:  # both saw nobody
        lease.list_claims = lambda: claims
        lease.generation = 1
    leases[1].write(leases[1].path, asks=True)
    assert not leases[0].try_once(0)
    del leases[0].list_claims
    assert [claim.generation for claim in leases[0].list_claims()] == [1]  # the other's


# ------------------------------------------------------------------------------------------------- ledger and its view


def test_the_view_has_what_the_storage_has(place, tmp_path):
    storage, path = open_storage(place("mine")), tmp_path / "view" / "ledger.jsonl"
    with storage.hold(RUN), Ledger(path, storage=storage) as ledger:
        ledger.append(SearchResumed(trials=1))
        saved = ledger.append(TrialSaved(trial=0, epoch=1, digests={"one": "a"}))
        assert storage.read_log() == path.read_bytes() and len(read_events(path)) == 1
        epoch = ledger.append(EpochEnded(trial=0, epoch=1, metrics={"val/accuracy": 0.5}))
        assert storage.read_log() == path.read_bytes()
    assert read_events(path)[1:] == [saved, epoch]


def test_the_view_is_never_ahead_of_the_storage(objects, tmp_path):
    storage, path = objects(), Path(tmp_path / "ledger.jsonl")
    with storage.hold(RUN), Ledger(path, storage=storage) as ledger:
        ledger.append(SearchResumed(trials=1))
        storage.lease.is_lost = True
        with pytest.raises(SearchError, match="another process has taken"):
            ledger.append(SearchResumed(trials=1))
    assert len(read_events(path)) == 1 and storage.read_log() == path.read_bytes()


# ------------------------------------------------------------------------------------------------------------ outages


@pytest.fixture
def gate(bucket):
    """A way to the object store that can be shut."""
    way = Gate(bucket)
    yield way
    way.close()


def write_away(storage, told, outcome):
    """Write a line of a storage that is held, in a thread that goes on when it is told to be away. Gives the thread."""

    def write():
        try:
            storage.append_log(b"1\n")
        except SearchError as error:
            outcome.append(str(error))

    writer = threading.Thread(target=write)
    writer.start()
    deadline = time.monotonic() + 60
    while not told and time.monotonic() < deadline:
        time.sleep(0.05)
    return writer


@pytest.mark.slow
def test_a_storage_that_is_away_is_waited_for_and_nothing_is_lost(gate, tmp_path):
    """Longer than the lease lasts: nobody else could take it."""
    uri, told, outcome = join(gate.bucket, f"{uuid4().hex}/mine"), [], []
    storage = open_storage(uri)
    storage.lease_seconds = LEASE_SECONDS
    with storage.hold(RUN, told.append):
        storage.append_log(b"0\n")
        gate.shut()
        writer = write_away(storage, told, outcome)
        time.sleep(LEASE_SECONDS)
        assert writer.is_alive() and len(told) == 1 and told[0].startswith(f"waiting: the storage {uri}")
        gate.open()
        writer.join(60)
        assert not outcome and told[1:] == [f"the storage {uri} answers again"]
        storage.append_log(b"2\n")
    assert open_storage(uri).read_log() == b"0\n1\n2\n"


@pytest.mark.slow
def test_one_that_was_away_while_another_took_its_lease_writes_no_more(bucket, gate):
    folder, told, outcome = uuid4().hex, [], []
    storage, other = open_storage(join(gate.bucket, f"{folder}/mine")), open_storage(join(bucket, f"{folder}/mine"))
    storage.lease_seconds = other.lease_seconds = LEASE_SECONDS
    with storage.hold(RUN, told.append):
        gate.shut()
        writer = write_away(storage, told, outcome)
        time.sleep(LEASE_SECONDS + 2)
        with other.hold(RUN):
            gate.open()
            writer.join(60)
            assert len(outcome) == 1 and "another process has taken" in outcome[0] and "\n" not in outcome[0]
            other.append_log(b"of the other\n")
    assert other.read_log() == b"of the other\n"


@pytest.mark.slow
def test_who_does_not_wait_writes_nothing_else(gate, monkeypatch):
    """Ctrl-C while it waits: the line may be there or not, so nothing may stand behind it."""
    storage = open_storage(join(gate.bucket, f"{uuid4().hex}/mine"))

    def interrupt(seconds):
        raise KeyboardInterrupt

    with storage.hold(RUN):
        storage.append_log(b"0\n")
        gate.shut()
        monkeypatch.setattr("search.records.outage.time.sleep", interrupt)
        with pytest.raises(KeyboardInterrupt):
            storage.append_log(b"1\n")
        gate.open()
        with pytest.raises(SearchError, match="was not waited for; go on with --resume"):
            storage.append_log(b"2\n")
    assert storage.read_log() in (b"0\n", b"0\n1\n")


@pytest.mark.slow
def test_a_worker_waits_for_its_storage_with_what_it_saves_and_reads(gate, tmp_path):
    store, digests, found = TrialStore(join(gate.bucket, f"{uuid4().hex}/mine")), {}, []

    def save():
        with store.save(0, 1, digests) as folder:
            (folder / "model").write_bytes(b"weights")
        found.append(store.fetch(0, 1, digests, tmp_path))

    gate.shut()
    worker = threading.Thread(target=save)
    worker.start()
    time.sleep(2)
    assert worker.is_alive() and not found
    gate.open()
    worker.join(60)
    assert found == [None] and (tmp_path / "model").read_bytes() == b"weights"
