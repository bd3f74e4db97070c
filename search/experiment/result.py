"""What a search found, as an object: its record, its trials as a table, its best model, its paths."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fashion_core.errors import SearchError
from search.records.layout import SearchLayout
from search.records.locks import is_running
from search.records.record import SearchRecord, TrialRecord, load_record
from search.reporting.trials import tabulate_trials

if TYPE_CHECKING:
    import pandas as pd

    from fashion_core.models.saved import SavedModel


@dataclass(frozen=True)
class SearchResult:
    """A search, as far as it has come.

    Attributes:
        layout: every path of it.
        record: what its ledger tells.
    """

    layout: SearchLayout
    record: SearchRecord

    @property
    def name(self) -> str:
        """Its name: that of its folder."""
        return self.layout.name

    @property
    def state(self) -> str:
        """`running`, why it ended, or `killed` where it did not end in order."""
        if self.record.ended is not None:
            return self.record.ended.reason
        return "running" if is_running(self.layout) else "killed"

    @property
    def best(self) -> TrialRecord | None:
        """The best trial; None where no score stands."""
        return next(iter(self.record.rank()), None)

    @property
    def trials(self) -> pd.DataFrame:
        """A row a trial, by number, as in `trials.csv`: status, scores of the best epoch, parameters."""
        import pandas as pd

        columns, rows = tabulate_trials(self.record)
        return pd.DataFrame(rows, columns=columns).set_index("trial", drop=False)

    def model(self) -> SavedModel:
        """The best model, loaded, ready for `fashion_core.predict_images`.

        Raises:
            SearchError: no trial's model was kept.
        """
        from fashion_core.models.saved import load_model

        if not self.layout.best_model.is_file():
            raise SearchError(
                f"a search has a model once a trial of it has ended with one, but {self.name} has none; go on with "
                "it, or look at its report"
            )
        return load_model(self.layout.best_model)

    def to_dict(self) -> dict[str, Any]:
        """What `--json` shows."""
        best = self.best
        return {
            "name": self.name,
            "state": self.state,
            "trials": len(self.record.trials),
            "statuses": self.record.count_statuses(),
            "epochs": self.record.count_epochs(),
            "seconds": self.record.seconds,
            "started": None if self.record.search is None else self.record.search.time,
            "objective": self.record.objective.name,
            "best": None
            if best is None
            else {
                "trial": best.number,
                "epoch": best.best_epoch,
                "score": best.best,
                "standard_error": best.standard_error,
                "params": best.params,
            },
            "folder": str(self.layout.folder),
        }


def load_search(name: str, results: Path | str = "results") -> SearchResult:
    """A search of before, or one that runs.

    Args:
        results: folder that holds the folders of all searches.

    Raises:
        SearchError: there is no such search.
    """
    layout = SearchLayout(Path(results), name)
    return SearchResult(layout, load_record(layout))
