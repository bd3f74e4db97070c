"""What trials can go on from, on the search's storage: see `search.records.storage`.

`trial-0007/epoch-0003/` holds the state after epoch 3: the training, where it is not over, the best model so far, and
what that answered right. The newest two stay; of a trial that pauses, the newest one. A state counts once the ledger
names it, with the SHA-256 of its files; one that is not as the ledger says, because it was cut off or damaged, is
passed over.
"""

from __future__ import annotations

import tempfile
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fashion_core.errors import SearchError
from fashion_core.files import MODEL_FILE, hash_file, is_full, measure_free
from search.records.storage import MODELS, is_folder, open_storage

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from search.records.record import TrialRecord
    from search.records.storage import Storage

KEPT = 2  # states of a running trial
PATIENCE_S = 240.0  # of a worker whose storage is away: then its trial goes on without
TRIAL_PREFIX, EPOCH_PREFIX = "trial-", "epoch-"
CORRECT_FILE = "correct.txt"  # see `search.records.ledger.pack_correct`


@dataclass(frozen=True)
class TrialStore:
    """The saved states of a search's trials.

    Args:
        uri: a URI or an absolute path: it travels to the workers.
        held: the storage, in the process that holds it; there, what is asked waits while it is away.
    """

    uri: str
    held: Storage | None = None

    def open(self) -> Storage:
        """Where they stand.

        Raises:
            OSError: the storage is away.
        """
        try:
            return self.held or open_storage(self.uri, PATIENCE_S)
        except SearchError as error:
            raise OSError(str(error)) from None

    def find_full(self) -> Path:
        """Of the disks that saving and fetching write to, the one with the least room: a folder on it."""
        places = [Path(tempfile.gettempdir())]
        if is_folder(self.uri):
            places.append(Path(self.open().home))
        return min(places, key=measure_free)

    @contextmanager
    def save(self, number: int, epoch: int, digests: dict[str, str]) -> Iterator[Path]:
        """A folder to write a state into. When that is done, it stands in its place, and older ones but one are gone.

        Args:
            digests: gets SHA-256 by file, for the ledger.

        Raises:
            OSError: the storage is full, or away; nothing is left that looks like a state.
        """
        storage = self.open()
        with storage.save_folder(name_state(number, epoch), digests) as folder:
            yield folder
        with suppress(OSError):  # the state stands, whatever becomes of older ones
            for name in self.list_states(number)[:-KEPT]:
                storage.delete(name)

    def keep_only(self, number: int, epochs: Collection[int]) -> None:
        """Delete all states of a trial but those after these epochs.

        Raises:
            OSError: the storage is away.
        """
        kept = {name_state(number, epoch) for epoch in epochs}
        for name in self.list_states(number):
            if name not in kept:
                self.open().delete(name)

    def list_states(self, number: int) -> list[str]:
        """Names of the states of a trial, oldest first."""
        trial = name_trial(number)
        return [f"{trial}/{name}" for name in self.open().list(trial) if name.startswith(EPOCH_PREFIX)]

    def fetch(self, number: int, epoch: int, digests: Mapping[str, str], target: Path) -> str | None:
        """Copy a state into an empty folder.

        Returns:
            Why it cannot be had; None where it can: it is what the ledger says.

        Raises:
            OSError: the disk of the folder is full.
        """
        for name, digest in digests.items():
            try:
                self.fetch_file(number, epoch, target / name)
            except OSError as error:
                if is_full(error):  # of this machine
                    raise
                return f"{name} cannot be read ({type(error).__name__})"
            if hash_file(target / name) != digest:
                return f"{name} is damaged"
        return None

    def fetch_file(self, number: int, epoch: int, target: Path) -> None:
        """Copy one file of a state, of the target's name, complete or absent.

        Raises:
            OSError: it cannot be had.
        """
        self.open().fetch(f"{name_state(number, epoch)}/{target.name}", target)

    def keep_model(self, number: int, epoch: int) -> None:
        """Keep the model of a state beyond its trial.

        Raises:
            OSError: it cannot be copied.
        """
        self.open().copy(f"{name_state(number, epoch)}/{MODEL_FILE}", f"{name_model(number)}/{MODEL_FILE}")

    def drop_model(self, number: int) -> None:
        """Keep it no longer."""
        self.open().delete(name_model(number))

    def read_correct(self, trial: TrialRecord, best_epoch: int | None = None) -> str | None:
        """What the best epoch of a trial answered right, by the newest state that tells; None where none does.

        Args:
            best_epoch: only by a state whose best epoch is this one; None: by any.

        Raises:
            OSError: the disk of the temp folder is full.
        """
        for epoch, digests in list_saves(trial):
            if CORRECT_FILE in digests and best_epoch in (None, trial.find_best_epoch(epoch)):
                with tempfile.TemporaryDirectory() as folder:
                    digest = {CORRECT_FILE: digests[CORRECT_FILE]}
                    if self.fetch(trial.number, epoch, digest, Path(folder)) is None:
                        return (Path(folder) / CORRECT_FILE).read_text()
        return None

    def delete(self, number: int) -> None:
        """Forget a trial."""
        self.open().delete(name_trial(number))

    def delete_all_but(self, numbers: Collection[int]) -> None:
        """Forget all trials but some."""
        storage, kept = self.open(), set(map(name_trial, numbers))
        for name in storage.list():
            if name.startswith(TRIAL_PREFIX) and name not in kept:
                storage.delete(name)


def name_trial(number: int) -> str:
    """The folder of a trial."""
    return f"{TRIAL_PREFIX}{number:04d}"


def name_model(number: int) -> str:
    """The folder of its kept model."""
    return f"{MODELS}/{name_trial(number)}"


def name_state(number: int, epoch: int) -> str:
    """The folder of one state of it."""
    return f"{name_trial(number)}/{EPOCH_PREFIX}{epoch:04d}"


def list_saves(trial: TrialRecord) -> list[tuple[int, dict[str, str]]]:
    """(epoch, SHA-256 by file) of a trial's states, the newest first, after those epochs that the ledger tells."""
    newest = {save.epoch: save.digests for save in trial.saves}  # of one epoch that was saved again, the last
    return sorted(((epoch, files) for epoch, files in newest.items() if epoch <= trial.last_epoch), reverse=True)
