"""The state that a re-run goes on from: a folder that is there whole or not at all, with the SHA-256 of its files."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

from fashion_core.errors import CheckpointError
from fashion_core.files import build_damage, check_form, hash_file, parse_json, write_whole
from fashion_core.training.checkpoint import save_training
from search.records.storage import SCRATCH, hash_files, open_scratch

if TYPE_CHECKING:
    from pathlib import Path

    from fashion_core.training.state import TrainingState

STATE_FOLDER, DIGESTS_FILE = "state", "digests.json"


def save_state(folder: Path, state: TrainingState) -> None:
    """Write a state in the place of the one before.

    Args:
        folder: of the re-run.
    """
    with open_scratch(folder) as made:
        save_training(made, state)
        write_whole(made / DIGESTS_FILE, json.dumps(hash_files(made), indent=2) + "\n")
        shutil.rmtree(folder / STATE_FOLDER, ignore_errors=True)
        made.rename(folder / STATE_FOLDER)


def find_state(folder: Path) -> Path | None:
    """The folder of the state that was saved; None where there is none.

    Raises:
        CheckpointError: there is one, which is not as it was saved.
    """
    saved = folder / STATE_FOLDER
    if not saved.exists():
        return None
    try:
        digests = check_form(parse_json((saved / DIGESTS_FILE).read_text()), dict[str, str])
        for name, digest in digests.items():
            if hash_file(saved / name) != digest:
                raise ValueError(f"{name} has changed since it was saved")
    except (OSError, ValueError) as error:
        raise build_damage(saved, "hold a state to go on from", "begin again", CheckpointError, error) from None
    return saved


def delete_state(folder: Path) -> None:
    """Delete the state, and what a process that was killed has left of another."""
    for path in (folder / STATE_FOLDER, *folder.glob(f"{SCRATCH}*")):
        shutil.rmtree(path, ignore_errors=True)
