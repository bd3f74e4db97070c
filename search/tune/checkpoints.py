"""The models of a search's best trials, copied out of what trials saved to go on from."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from fashion_core.files import MODEL_FILE, is_full
from search.records.kept import find_damage, is_newest

if TYPE_CHECKING:
    from search.records.layout import SearchLayout
    from search.records.record import SearchRecord, TrialRecord
    from search.tune.storage import TrialStore


class BestModels:
    """The models of the best trials that a search keeps.

    Args:
        keep_best: how many.
        record: of before: what was kept then may have to go.
        store: where it is held, the search can go on from it alone: its models are kept there too.

    Attributes:
        kept: best score of every trial whose model is kept, by number.
    """

    def __init__(self, layout: SearchLayout, store: TrialStore, keep_best: int, record: SearchRecord) -> None:
        self.layout, self.store, self.keep_best = layout, store, keep_best
        self.kept: dict[int, float] = {
            trial.number: trial.best
            for trial in record.trials.values()
            if trial.best is not None and layout.find_checkpoint(trial.number)
        }

    def keep(self, trial: TrialRecord) -> str | None:
        """Copy a trial's newest model if it is among the best of the search; drop the rest. Its states stay.

        Returns:
            The kept model's folder, relative to the search's; None if not kept.

        Raises:
            OSError: it cannot be copied.
        """
        number, best = trial.number, trial.best_trained
        if best is None or not trial.saves:
            return None
        ranked = sorted((self.kept | {number: best}).items(), key=lambda item: item[1], reverse=True)
        if number in dict(ranked[: self.keep_best]):
            # its state is gone where the ledger lost its last lines, but the model may stand here
            if not is_newest(self.layout.checkpoint_folder(number) / MODEL_FILE, trial):
                self.copy(trial)
            self.kept[number] = best
        for dropped, _ in ranked[self.keep_best :]:
            if self.kept.pop(dropped, None) is not None:
                shutil.rmtree(self.layout.checkpoint_folder(dropped), ignore_errors=True)
                if self.store.held is not None:
                    self.store.drop_model(dropped)
        return self.layout.find_checkpoint(number)

    def copy(self, trial: TrialRecord) -> None:
        """Copy the newest model.

        Raises:
            OSError: it cannot be copied.
        """
        number, epoch = trial.number, trial.saves[-1].epoch
        folder = self.layout.checkpoint_folder(number)
        folder.mkdir(parents=True, exist_ok=True)
        try:
            self.store.fetch_file(number, epoch, folder / MODEL_FILE)
            if (fault := find_damage(folder / MODEL_FILE, trial)) is not None:
                raise OSError(fault)
            if self.store.held is not None:
                self.store.keep_model(number, epoch)
        except OSError as error:
            if not is_full(error):  # else what was kept before stays until there is room
                shutil.rmtree(folder)
            raise
