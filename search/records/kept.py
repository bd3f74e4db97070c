"""The models that a search keeps, compared with its ledger: it has the SHA-256 of all that its trials saved."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fashion_core.files import MODEL_FILE, hash_file
from search.records.storage import MODELS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from search.records.layout import SearchLayout
    from search.records.record import SearchRecord, TrialRecord
    from search.records.storage import Storage

DAMAGED = ".damaged"  # ends the name of a model that is kept no longer


def find_damage(file: Path, trial: TrialRecord) -> str | None:
    """Why a file is none of the models that a trial saved, in one line; None where it is, or where an older ledger does
    not tell.
    """
    digests = {save.digests[MODEL_FILE] for save in trial.saves if MODEL_FILE in save.digests}
    try:
        if not digests or hash_file(file) in digests:
            return None
        fault = "has changed since"
    except OSError as error:
        fault = f"cannot be read ({error.strerror or error})"
    return (
        f"a kept model must be as trial {trial.number} saved it, but {file} {fault}; restore it from a backup, or "
        "do without: the trial's scores stand"
    )


def is_newest(file: Path, trial: TrialRecord) -> bool:
    """Whether a file is the model that a trial saved last."""
    digest = trial.saves[-1].digests.get(MODEL_FILE) if trial.saves else None
    try:
        return digest is not None and hash_file(file) == digest
    except OSError:
        return False


def set_damaged_aside(
    layout: SearchLayout, record: SearchRecord, tell: Callable[[str], None], storage: Storage | None = None
) -> None:
    """Rename kept models that are damaged, so that nothing takes them for models any more.

    Args:
        tell: called with a line on each.
        storage: that holds the search, and may have the model as it was.
    """
    for trial in record.trials.values():
        if layout.find_checkpoint(trial.number) is None:
            continue
        file = layout.checkpoint_folder(trial.number) / MODEL_FILE
        if (fault := find_damage(file, trial)) is not None:
            file.replace(file.with_name(file.name + DAMAGED))
            if storage is not None and fetch_again(storage, file) and find_damage(file, trial) is None:
                fault = f"{file} was damaged; the one on the search's storage has taken its place"
            tell(f"{fault} (it is named {file.name}{DAMAGED} now)")


def fetch_again(storage: Storage, file: Path) -> bool:
    """Copy a kept model from the storage, where that has it."""
    folder = f"{MODELS}/{file.parent.name}"
    if file.name not in storage.list(folder):
        return False
    storage.fetch(f"{folder}/{file.name}", file)
    return True
