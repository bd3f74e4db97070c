"""What an older version of this project left behind: a search, promoted twice, and a search that was cut off.

python tests/helpers/older_version.py CHECKOUT tests/system/older_version.tar.xz

made the archive from a checkout of commit 55425e9, the last one before the packages had rooms. It holds:

    results/mlflow.db    both searches, both promotions, versions 1 (`previous`) and 2 (`champion`, an ensemble)
    results/mlartifacts  the two versions as registered, each with the `fashion_core` of its time
    results/tiny         the search that was promoted: ledger, report, `final`
    results/cut          the search that was cut off, with Ray's own state
    photos               images to ask about
    expected.json        what the older version itself said, of all of this

Weights are rounded to few values, and pictures, ONNX files and re-runs left out, so that it is small.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = "/older"  # what the archive calls its own folder, in all that names places
MODEL = "fashion-attributes"
SPACE = """\
description: small networks, written by an older version
sampler: tpe
trials: 4
fixed: {image_size: 32, backbone: test_resnet, weights: none, batch_size: 16, precision: fp32, eval_flip: false}
search:
  lr: {loguniform: [1e-3, 3e-2]}
  category_weights: {proportions: [0.5, 2]}
scheduler: {type: asha, max_epochs: 12, grace_epochs: 1, reduction_factor: 2}
"""
# In a process that has nothing of this project on its path: a registered version brings all it needs.
SERVE = """\
import base64, json, sys
from pathlib import Path
import mlflow, pandas
mlflow.set_tracking_uri(sys.argv[1])
model = mlflow.pyfunc.load_model(sys.argv[2])
images = [base64.b64encode(Path(photo).read_bytes()).decode() for photo in sys.argv[3:]]
answers = model.predict(pandas.DataFrame({"image": images}))
print(json.dumps([json.loads(text) for text in answers["probabilities"]]))
"""
QUIET = {
    "HF_HUB_OFFLINE": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "RAY_USAGE_STATS_ENABLED": "0",
    "COLUMNS": "200",
    "OMP_NUM_THREADS": "1",
}


# ------------------------------------------------------------------------------------------------------------- opening


def unpack(archive: Path, folder: Path) -> Path:
    """The archive in a folder, with all places in it named anew."""
    with tarfile.open(archive) as file:
        file.extractall(folder, filter="data")
    rename_places(folder, ROOT, str(folder))
    return folder


def rename_places(folder: Path, before: str, after: str) -> None:
    """Put one name of a folder in the place of another, in all text files and databases under it."""
    for path in folder.rglob("*"):
        if path.suffix == ".db":
            rename_in_database(path, before, after)
        elif path.is_file() and path.suffix not in (".safetensors", ".npz", ".pkl", ".jpg"):
            content = path.read_bytes()
            if before.encode() in content:
                path.write_bytes(content.replace(before.encode(), after.encode()))


def rename_in_database(path: Path, before: str, after: str) -> None:
    """The same in every text of a SQLite database."""
    with sqlite3.connect(path) as database:
        for (table,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            for column in [row[1] for row in database.execute(f"PRAGMA table_info({table})")]:
                database.execute(
                    f"UPDATE {table} SET {column} = replace({column}, ?, ?) WHERE instr({column}, ?)",
                    (before, after, before),
                )
    database.close()


# ------------------------------------------------------------------------------------------------------------- asking


class Version:
    """The commands of one version of this project, run in a folder."""

    def __init__(self, checkout: Path, folder: Path) -> None:
        self.checkout, self.folder = checkout, folder

    def run(self, *arguments: str, own: bool = True, status: int = 0) -> str:
        """What a command prints; without ``own``, this version is not on Python's path."""
        path = {"PYTHONPATH": str(self.checkout) if own else ""}
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=self.folder,
            env=os.environ | QUIET | path,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if status else None,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == status, (arguments, done.returncode, done.stdout)
        return done.stdout

    def run_script(self, name: str, *arguments: str, status: int = 0) -> str:
        """What a script of `search/` prints."""
        return self.run(str(self.checkout / "search" / name), *arguments, status=status)

    def ask_champion(self) -> list[dict[str, Any]]:
        """What `search.predict` says of each photograph."""
        text = self.run("-m", "search.predict", f"models:/{MODEL}@champion", *self.list_photos(), "--json")
        return [json.loads(line) for line in text.splitlines()]

    def serve(self, number: str, *, beside: bool = False) -> list[dict[str, Any]]:
        """Probabilities of each photograph by category and class, from MLflow alone.

        Args:
            number: of the registered version.
            beside: in a process that has imported this version before.
        """
        uri = f"sqlite:///{self.folder}/results/mlflow.db"
        code = f"import fashion_core.predict\n{SERVE}" if beside else SERVE
        text = self.run("-c", code, uri, f"models:/{MODEL}/{number}", *self.list_photos(), own=beside)
        return json.loads(text.splitlines()[-1])

    def roll_back(self) -> str:
        """Make version 1 the champion."""
        return self.run_script("promote.py", "--rollback")

    def compare(self) -> str:
        """The promoted model of `tiny`, which is version 2, against the champion."""
        return self.run_script("promote.py", "--compare", "tiny", f"models:/{MODEL}@champion")

    def list_photos(self) -> list[str]:
        """The photographs to ask about."""
        return [path.relative_to(self.folder).as_posix() for path in sorted((self.folder / "photos").iterdir())]


# -------------------------------------------------------------------------------------------------------------- making


def make(checkout: Path, archive: Path) -> None:
    """Run the older version, keep what it left, and what it says of that."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        older = Version(checkout, folder)
        older.run("-m", "fashion_core.sample_data", "sample", "--train", "120", "--val", "48", "--test", "24")
        (folder / "tiny.yaml").write_text(SPACE)
        usual = ["--concurrent", "1", "--cpus-per-trial", "1"]
        search = ["--data", "sample", "--space", "tiny.yaml", *usual]
        promotion = ["tiny", "--top", "1", "--baseline", "none", "--force", *usual]
        older.run_script("run.py", *search, "--name", "tiny", "--seed", "3")
        older.run_script("promote.py", *promotion, "--seeds", "1")
        older.run_script("promote.py", *promotion, "--seeds", "4", "--replace")
        cut_off(older, *search, "--name", "cut", "--seed", "4", "--trials", "200")
        make_small(folder)
        (folder / "expected.json").write_text(json.dumps(say_all(older), indent=1))
        rename_places(folder, str(checkout), f"{ROOT}/checkout")
        rename_places(folder, str(folder), ROOT)
        shutil.rmtree(folder / "sample")
        with tarfile.open(archive, "w:xz", preset=9) as file:
            for path in sorted(folder.rglob("*"), key=lambda path: (path.suffix, path.name, path)):
                if path.is_file():  # alike files side by side, which packs better
                    file.add(path, path.relative_to(folder), filter=forget_owner)


def cut_off(version: Version, *arguments: str) -> None:
    """Interrupt a search after some trials."""
    ledger = version.folder / "results/cut/ledger.jsonl"
    command = [sys.executable, str(version.checkout / "search/run.py"), *arguments]
    environment = os.environ | QUIET | {"PYTHONPATH": str(version.checkout)}
    process = subprocess.Popen(command, cwd=version.folder, env=environment)
    while process.poll() is None and not (ledger.is_file() and ledger.read_text().count("trial_ended") >= 4):
        time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    process.wait()


def say_all(version: Version) -> dict[str, Any]:
    """What a version answers of the two registered ones, before and after it takes the second one back."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        shutil.copytree(version.folder, folder, dirs_exist_ok=True)
        rename_places(folder, str(version.folder), str(folder))
        copy = Version(version.checkout, folder)
        return {
            "asked": copy.ask_champion(),
            "served": {number: copy.serve(number) for number in ("1", "2")},
            "rolled back": copy.roll_back(),
            "compared": copy.compare(),
        }


def forget_owner(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """An entry that says nothing of the machine."""
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


def make_small(folder: Path) -> None:
    """Leave out what no test needs."""
    (folder / "photos").mkdir()
    for path in sorted((folder / "sample/img").glob("*"))[:3]:
        shutil.copy(path, folder / "photos")
    results = folder / "results"
    for name in (
        ".prepared",
        "tiny/ray",
        "tiny/promotion/reruns",
        "tiny/best",
        "tiny/checkpoints",
        "cut/best",
        "cut/checkpoints",
    ):
        shutil.rmtree(results / name, ignore_errors=True)
    for pattern in ("*.png", "*.onnx", "*.lock", ".lock"):
        for path in results.rglob(pattern):
            path.unlink()
    for path in results.rglob("*.safetensors"):
        round_weights(path)
    with sqlite3.connect(results / "mlflow.db") as database:
        database.execute("PRAGMA journal_mode = DELETE")
        database.commit()
        database.execute("VACUUM")
    database.close()


def round_weights(path: Path) -> None:
    """A saved model with a handful of values for the weights of each layer, which packs well."""
    import numpy as np
    from safetensors import safe_open
    from safetensors.numpy import save_file

    with safe_open(path, "numpy") as file:
        metadata, tensors = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    for name, values in tensors.items():
        if values.ndim > 1 and values.any():
            step = np.abs(values).max() / 4
            tensors[name] = (np.round(values / step) * step).astype(values.dtype)
    save_file(tensors, path, metadata)


if __name__ == "__main__":
    make(Path(sys.argv[1]).resolve(), Path(sys.argv[2]))
