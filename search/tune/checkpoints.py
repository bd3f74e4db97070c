"""The models of a search's best trials, copied out of Ray's checkpoints; and what Ray keeps, deleted."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pyarrow.fs as pafs

from fashion_core.files import MODEL_FILE, whole

if TYPE_CHECKING:
    from pathlib import Path

    from ray.tune.experiment import Trial

    from search.records.layout import SearchLayout
    from search.records.record import SearchRecord

CHECKPOINT_PREFIX = "checkpoint_"  # of the folders Ray makes


class BestModels:
    """The models of the best trials that a search keeps.

    Args:
        keep_best: how many.
        record: of before: what was kept then may have to go.

    Attributes:
        kept: best score of every trial whose model is kept, by number.
    """

    def __init__(self, layout: SearchLayout, keep_best: int, record: SearchRecord) -> None:
        self.layout, self.keep_best = layout, keep_best
        self.kept: dict[int, float] = {
            trial.number: trial.best
            for trial in record.trials.values()
            if trial.best is not None and layout.find_checkpoint(trial.number)
        }

    def keep(self, trial: Trial, number: int, best: float, *, can_resume: bool = False) -> str | None:
        """Copy the trial's best model out of Ray's checkpoint if it is among the best of the search; drop the rest.

        Args:
            can_resume: leave Ray's checkpoint, for the trial to go on from.

        Returns:
            The kept model's folder, relative to the search's; None if not kept.

        Raises:
            OSError: it cannot be copied.
        """
        checkpoint = trial.checkpoint
        if checkpoint is None:
            return None
        ranked = sorted((self.kept | {number: best}).items(), key=lambda item: item[1], reverse=True)
        if number in dict(ranked[: self.keep_best]):
            folder = self.layout.checkpoint_folder(number)
            folder.mkdir(parents=True, exist_ok=True)
            try:
                copy_file(checkpoint.filesystem, f"{checkpoint.path}/{MODEL_FILE}", folder / MODEL_FILE)
            except OSError:
                shutil.rmtree(folder)
                raise
            self.kept[number] = best
        for dropped, _ in ranked[self.keep_best :]:
            if self.kept.pop(dropped, None) is not None:
                shutil.rmtree(self.layout.checkpoint_folder(dropped), ignore_errors=True)
        if not can_resume:
            delete_checkpoints(trial)
        return self.layout.find_checkpoint(number)


def delete_checkpoints(trial: Trial) -> None:
    """Delete what Ray keeps of a trial to go on from."""
    filesystem, path = trial.checkpoint.filesystem, trial.checkpoint.path
    for entry in filesystem.get_file_info(pafs.FileSelector(path.rsplit("/", 1)[0])):
        if entry.base_name.startswith(CHECKPOINT_PREFIX):
            filesystem.delete_dir(entry.path)


def copy_file(filesystem: pafs.FileSystem, source: str, target: Path) -> None:
    """Copy one file from the search's storage to this machine, complete or absent."""
    with whole(target) as temporary:
        local = pafs.LocalFileSystem()
        pafs.copy_files(source, str(temporary), source_filesystem=filesystem, destination_filesystem=local)
