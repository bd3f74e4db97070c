"""What trials can go on from, on the search's storage: a folder, or an object store.

`<storage>/trial-0007/epoch-0003/` holds the state after epoch 3: the training, where it is not over, the best model so
far, and what that answered right. The newest two stay. A state counts once the ledger names it, with the SHA-256 of its
files; one that is not as the ledger says, because it was cut off or damaged, is passed over.
"""

from __future__ import annotations

import shutil
import tempfile
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.fs as pafs

from fashion_core.errors import SearchError
from fashion_core.files import hash_file, is_full, measure_free, whole

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from search.planning.plan import Plan
    from search.records.record import TrialRecord

KEPT = 2  # states of a running trial
TRIAL_PREFIX, EPOCH_PREFIX = "trial-", "epoch-"
CORRECT_FILE = "correct.txt"  # see `search.records.ledger.pack_correct`


@dataclass(frozen=True)
class TrialStore:
    """The saved states of a search's trials. A URI or an absolute path: it travels to the workers."""

    uri: str

    def locate(self, number: int, epoch: int | None = None) -> tuple[pafs.FileSystem, str]:
        """The folder of a trial, or of one state of it, with its file system."""
        filesystem, path = pafs.FileSystem.from_uri(self.uri)
        folder = f"{path}/{name_trial(number)}"
        return filesystem, folder if epoch is None else f"{folder}/{EPOCH_PREFIX}{epoch:04d}"

    def find_full(self) -> Path:
        """Of the disks that saving and fetching write to, the one with the least room: a folder on it."""
        filesystem, path = pafs.FileSystem.from_uri(self.uri)
        places = [Path(tempfile.gettempdir())]
        places += [Path(path)] if isinstance(filesystem, pafs.LocalFileSystem) else []
        return min(places, key=measure_free)

    @contextmanager
    def save(self, number: int, epoch: int, digests: dict[str, str]) -> Iterator[Path]:
        """A folder to write a state into. When that is done, it stands in its place, and older ones but one are gone.

        Args:
            digests: gets SHA-256 by file, for the ledger.

        Raises:
            OSError: the storage is full, or away; nothing is left that looks like a state.
        """
        filesystem, folder = self.locate(number, epoch)
        is_local = isinstance(filesystem, pafs.LocalFileSystem)
        if is_local:
            Path(folder).parent.mkdir(parents=True, exist_ok=True)
        made = tempfile.mkdtemp(prefix=".part-", dir=Path(folder).parent if is_local else None)
        try:
            yield Path(made)
            digests |= {path.name: hash_file(path) for path in sorted(Path(made).iterdir())}
            if is_local:
                shutil.rmtree(folder, ignore_errors=True)
                Path(made).rename(folder)
            else:
                filesystem.create_dir(folder)
                pafs.copy_files(made, folder, destination_filesystem=filesystem)
            for path in self.list_states(number)[:-KEPT]:
                filesystem.delete_dir(path)
        finally:
            shutil.rmtree(made, ignore_errors=True)

    def list_states(self, number: int) -> list[str]:
        """Paths of the states of a trial, oldest first."""
        filesystem, folder = self.locate(number)
        found = filesystem.get_file_info(pafs.FileSelector(folder, allow_not_found=True))
        return sorted(entry.path for entry in found if entry.base_name.startswith(EPOCH_PREFIX))

    def fetch(self, number: int, epoch: int, digests: Mapping[str, str], target: Path) -> str | None:
        """Copy a state into an empty folder.

        Returns:
            Why it cannot be had; None where it can: it is what the ledger says.

        Raises:
            OSError: the disk of the folder is full.
        """
        filesystem, folder = self.locate(number, epoch)
        for name, digest in digests.items():
            try:
                copy_file(filesystem, f"{folder}/{name}", target / name)
            except OSError as error:
                if is_full(error):  # of this machine
                    raise
                return f"{name} cannot be read ({type(error).__name__})"
            if hash_file(target / name) != digest:
                return f"{name} is damaged"
        return None

    def read_correct(self, trial: TrialRecord) -> str | None:
        """What the best epoch of a trial answered right, by the newest state that tells; None where none does."""
        for epoch, digests in list_saves(trial):
            if CORRECT_FILE in digests:
                with tempfile.TemporaryDirectory() as folder:
                    digest = {CORRECT_FILE: digests[CORRECT_FILE]}
                    if self.fetch(trial.number, epoch, digest, Path(folder)) is None:
                        return (Path(folder) / CORRECT_FILE).read_text()
        return None

    def delete(self, number: int) -> None:
        """Forget a trial."""
        filesystem, folder = self.locate(number)
        with suppress(FileNotFoundError):
            filesystem.delete_dir(folder)

    def delete_all_but(self, numbers: Collection[int]) -> None:
        """Forget all trials but some."""
        filesystem, folder = pafs.FileSystem.from_uri(self.uri)
        kept = set(map(name_trial, numbers))
        for entry in filesystem.get_file_info(pafs.FileSelector(folder, allow_not_found=True)):
            if entry.base_name.startswith(TRIAL_PREFIX) and entry.base_name not in kept:
                filesystem.delete_dir(entry.path)


def name_trial(number: int) -> str:
    """The folder of a trial."""
    return f"{TRIAL_PREFIX}{number:04d}"


def list_saves(trial: TrialRecord) -> list[tuple[int, dict[str, str]]]:
    """(epoch, SHA-256 by file) of a trial's states, the newest first, after those epochs that the ledger tells."""
    newest = {save.epoch: save.digests for save in trial.saves}  # of one epoch that was saved again, the last
    return sorted(((epoch, files) for epoch, files in newest.items() if epoch <= trial.last_epoch), reverse=True)


def copy_file(filesystem: pafs.FileSystem, source: str, target: Path) -> None:
    """Copy one file from the search's storage to this machine, complete or absent."""
    with whole(target) as temporary:
        local = pafs.LocalFileSystem()
        pafs.copy_files(source, str(temporary), source_filesystem=filesystem, destination_filesystem=local)


def clear_storage(plan: Plan, *, replace: bool) -> None:
    """Delete what an earlier search of this name left in a storage of its own.

    Raises:
        SearchError: it left something, but may not be replaced.
    """
    if plan.options.storage is None:
        return  # it stands in the search's folder
    filesystem, path = pafs.FileSystem.from_uri(plan.experiment)
    if filesystem.get_file_info(path).type == pafs.FileType.NotFound:
        return
    if not replace:
        raise SearchError(
            f"--storage must hold no search of the name {plan.layout.name}, but {plan.experiment} exists; give another "
            "--name, or delete the old one with --replace"
        )
    filesystem.delete_dir(path)
