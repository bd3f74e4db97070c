"""Files on their way to nodes: sent once, fetched once, checked; what a node keeps has bounds."""

import errno
import os
import shutil
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from local_s3 import join, serve_s3

from fashion_core.errors import DataError
from search.jobs import travel
from search.jobs.travel import IN_USE_S, make_room, open_cache, send_files
from search.records.storage import open_storage

CONTENT = bytes(range(256)) * 100_000  # more than one chunk


@pytest.fixture(autouse=True)
def node(tmp_path, monkeypatch):
    """This machine's temp folder, as that of a node."""
    (tmp_path / "temp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temp"))


@pytest.fixture(params=["folder", "s3"])
def uri(request, tmp_path):
    if request.param == "folder":
        yield str(tmp_path / "storage" / ".images")
    else:
        with serve_s3() as bucket:
            yield join(bucket, ".images")


@pytest.fixture
def sent(tmp_path, uri):
    """The parcel of a file that nodes do not see."""
    path = tmp_path / "images.arrow"
    path.write_bytes(CONTENT)
    parcels = send_files([path], uri, pytest.fail)
    path.unlink()
    return parcels[path]


def test_a_file_is_fetched_once_and_whole(sent, monkeypatch):
    copies, copy = [], travel.Parcel.copy
    monkeypatch.setattr(travel.Parcel, "copy", lambda self, *rest: (copies.append(1), copy(self, *rest)))
    told = []
    with ThreadPoolExecutor(3) as pool:
        found = set(pool.map(lambda _: sent.find(lambda *step: told.append(step)), range(3)))
    (path,) = found
    assert path.read_bytes() == CONTENT and path.suffix == ".arrow" and len(copies) == 1
    assert (travel.FETCHING, len(CONTENT), len(CONTENT)) in told
    assert path.parent.stat().st_mode & 0o77 == 0


def test_a_file_that_is_here_is_opened_where_it_is(sent):
    sent.path.write_bytes(CONTENT)
    assert sent.find() == sent.path and not list(open_cache().iterdir())
    sent.path.write_bytes(b"another")
    assert sent.find() != sent.path


def test_a_file_is_sent_once(sent, uri, tmp_path, monkeypatch):
    other = tmp_path / "the same by another name.arrow"
    other.write_bytes(CONTENT)
    storage = type(open_storage(uri))
    monkeypatch.setattr(storage, "send_once", lambda *_: pytest.fail("it was sent again"))
    assert send_files([other], uri, pytest.fail)[other].digest == sent.digest
    assert open_storage(uri).list() == [sent.digest]


def test_a_file_that_comes_damaged_is_told_and_not_kept(sent, uri):
    open_storage(uri).write(sent.digest, CONTENT[:-1])
    with pytest.raises(DataError, match=f"delete {sent.digest}"):
        sent.find()
    assert [path.suffix for path in open_cache().iterdir()] == [".lock"]
    open_storage(uri).write(sent.digest, CONTENT)
    assert sent.find().read_bytes() == CONTENT


def test_what_was_not_asked_for_for_longest_goes_first(tmp_path, monkeypatch):
    now = time.time()
    for age, name in enumerate(("new.arrow", "old.arrow", "older.arrow", "oldest.arrow")):
        (tmp_path / name).write_bytes(bytes(100))
        os.utime(tmp_path / name, (now, now - age * 2 * IN_USE_S))
    (tmp_path / "oldest.lock").touch()
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(total=600, free=1000))
    make_room(tmp_path, 80)  # 480 of the 300 that are half of the disk
    assert sorted(path.name for path in tmp_path.glob("*.arrow")) == ["new.arrow", "old.arrow"]
    make_room(tmp_path, 500)  # what is in use stays, though it is too much
    assert [path.name for path in tmp_path.glob("*.arrow")] == ["new.arrow"] and (tmp_path / "oldest.lock").exists()
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(total=600, free=10))
    with pytest.raises(OSError) as caught:
        make_room(tmp_path, 500)
    assert caught.value.errno == errno.ENOSPC


def test_a_folder_of_somebody_else_is_not_used(tmp_path, monkeypatch):
    (tmp_path / "temp" / f"fashion-images-{os.getuid()}").symlink_to(tmp_path)
    with pytest.raises(DataError, match="TMPDIR"):
        open_cache()


def test_a_site_opens_what_was_fetched(sent, tmp_path):
    from fashion_core.config import TrainConfig
    from fashion_core.data.pixels import build_settings
    from search.jobs.training import JobSite

    config = TrainConfig(image_size=32)
    here = tmp_path / "selection.npz"
    plain = JobSite({build_settings(config): sent.path}, here, 1)
    site = plain.with_parcels({sent.path: sent})
    job = site.build_job(config)
    assert job.prepared.read_bytes() == CONTENT and job.selection == here and site.files == [here, sent.path]
    assert plain.build_job(config).prepared == sent.path
