"""A search and a promotion told and given secrets in every place: none of them stands anywhere, then and afterwards."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hostile_names import SPACE
from house_rules import by_size
from registered_models import run_server
from whole_commands import SEARCH, call, share_ray

from search.registry.versions import Registry

pytestmark = pytest.mark.slow
PASSWORD, TOKEN, KEY = "pl4ntedPassw0rd", "pl4ntedT0ken", "pl4ntedKey"


def find_secrets(folder):
    """Files that hold one of them."""
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    return [
        (str(path), word) for path in files for word in (PASSWORD, TOKEN, KEY) if word.encode() in path.read_bytes()
    ]


def test_no_secret_is_shown_or_stored(tmp_path, tmp_path_factory, sample_folder, monkeypatch, capfd):
    (tmp_path / "tiny.yaml").write_text(SPACE)
    store = f"sqlite:///{tmp_path}/server/store.db"
    (tmp_path / "server").mkdir()
    short = Path(tempfile.mkdtemp(prefix="fs-", dir="/tmp"))
    own = {"AWS_SECRET_ACCESS_KEY": KEY, "AWS_ACCESS_KEY_ID": "me", "TMPDIR": str(short), "OMP_NUM_THREADS": "1"}
    monkeypatch.setattr(tempfile, "tempdir", str(short))
    for name, value in (own | {"MLFLOW_TRACKING_PASSWORD": PASSWORD}).items():  # as Ray starts, too
        monkeypatch.setenv(name, value)
    # what the server itself logs of requests is the server's
    server = [
        "server",
        "--backend-store-uri",
        store,
        "--serve-artifacts",
        "--artifacts-destination",
        f"{tmp_path}/server/files",
    ]
    told = ""

    def run(script, *options, status=0, is_alone=False):
        """A command in this process, or, alone, in one that knows nothing of what this one was told."""
        if is_alone:
            command = [sys.executable, str(SEARCH / script), *map(str, options)]
            told_nothing = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_PASSWORD"}
            done = subprocess.run(command, cwd=tmp_path, env=told_nothing, capture_output=True, text=True)
        else:
            done = call(tmp_path, script, *options)
        nonlocal told
        told += done.stdout + done.stderr
        assert done.returncode == status, done.stdout + done.stderr

    try:
        with run_server(server, "health", tmp_path_factory.mktemp("log")) as address, share_ray():
            whole = address.replace("://", f"://me:{PASSWORD}@") + f"/?token={TOKEN}"
            plain = address.replace("://", f"://me:{PASSWORD}@")
            data = ("--data", sample_folder, "--space", tmp_path / "tiny.yaml", "--concurrent", 1)
            run("run.py", *data, "--name", "bad", "--tracking-uri", whole, status=2)  # no server has such a path
            if by_size(ci=False, whole=True):
                run("run.py", *data, "--name", "worse", "--storage", f"s3://me:{KEY}@bucket/x", status=2)
            run("run.py", *data, "--name", "odd", f"--tracking-uri={plain}")
            options = ("odd", "--top", 1, "--seeds", 1, "--baseline", "none", "--force")
            run("promote.py", *options, status=2, is_alone=True)
            assert "must come again" in told.splitlines()[-1] and "MLFLOW_TRACKING_PASSWORD" in told.splitlines()[-1]
            run("promote.py", *options)
            assert "is the champion" in told and "me:***@" in told
            assert Registry(address, sample_folder.name).find("champion") is not None
            assert list(short.rglob("*.log")) and not find_secrets(short)  # while Ray runs
        told += "".join(capfd.readouterr())  # of what Ray starts
        leaks = [line for line in told.splitlines() if any(word in line for word in (PASSWORD, TOKEN, KEY))]
        assert not [*leaks, *find_secrets(tmp_path), *find_secrets(short)]
        assert list(short.iterdir())
        assert all(path.stat().st_mode & 0o077 == 0 for path in short.glob("fashion-ray-*"))
    finally:
        monkeypatch.undo()  # pytest's own files are not to be there
        shutil.rmtree(short)
