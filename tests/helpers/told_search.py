"""A search of five trials, told event by event: written down by a real session, with made-up scores."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from search.records.events import EpochEnded, SearchEnded, SearchStarted, TrialEnded, TrialStarted
from search.records.layout import SearchLayout
from search.records.ledger import Ledger
from search.records.record import SearchRecord
from search.records.session import Session

if TYPE_CHECKING:
    from pathlib import Path

MAX_EPOCHS, TRIALS = 6, 5
CATEGORIES = ("pattern", "fit")
LONG_REASON = "CUDA out of memory: a smaller batch_size, or fewer trials at once, usually helps; " + "x" * 60


class ToldSearch(Session):
    """A search that is being written down. Listeners are called after every event."""

    def __init__(self, results: Path) -> None:
        layout = SearchLayout(results, "some_search")
        super().__init__(layout, Ledger(layout.ledger), SearchRecord())
        self.append(
            SearchStarted(
                name="some_search",
                settings={"trials": TRIALS, "max_epochs": MAX_EPOCHS, "sampler": "tpe"},
                data={"categories": {name: ["a", "b"] for name in CATEGORIES}},
                selection={"select_on": "val", "select_count": 500, "train_count": 5000},
            )
        )

    def start(self, number: int, *, enqueued: bool = False) -> None:
        params = {"backbone": "tf_efficientnet_lite0", "lr": 0.000123456, "dropout": 0.1 * number, "fc_layers": 0}
        params |= {"weight_pattern": 1.234567, "weight_fit": 0.765433}
        self.append(TrialStarted(trial=number, trial_id=f"id{number}", params=params, enqueued=enqueued))

    def epoch(self, number: int, epoch: int, score: float | None) -> None:
        self.append(EpochEnded(trial=number, epoch=epoch, metrics={"val/accuracy": score, "val/accuracy_se": 0.0071}))

    def end(
        self,
        number: int,
        status: str,
        best: float | None = None,
        best_epoch: int | None = None,
        reason: str = "because",
        **fields: Any,
    ) -> None:
        fields |= {"status": status, "reason": reason, "best": best, "best_epoch": best_epoch}
        self.append(TrialEnded(trial=number, **fields))

    def run(self) -> None:
        """Five trials: two finish, one is stopped, one fails, one diverges."""
        for number, scores in enumerate(
            [[0.7, 0.75, 0.78, 0.8, 0.81, 0.805], [0.6, 0.65], [0.7, 0.76, 0.79, 0.8, 0.8, 0.806]]
        ):
            self.start(number, enqueued=number == 0)
            for epoch, score in enumerate(scores, 1):
                self.epoch(number, epoch, score)
            best = max(scores)
            if len(scores) == MAX_EPOCHS:
                self.end(number, "finished", best, scores.index(best) + 1)
            else:
                self.end(number, "stopped", best, 2, rung=2, cutoff=0.75)
        self.start(3)
        self.epoch(3, 1, 0.9)  # better than all, but its model is gone
        self.end(3, "failed", 0.9, 1, LONG_REASON)
        self.start(4)
        self.end(4, "diverged", 0.0, None, "training loss must stay finite, but was nan")
        self.append(SearchEnded(reason="all trials ended", seconds=7380.0))
