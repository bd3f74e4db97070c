"""A search in a folder of results made of its ledger and options alone: no data set, no training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from search.planning.options import SearchOptions
from search.records.events import (
    EndReason,
    EpochEnded,
    SearchEnded,
    SearchStarted,
    TrialEnded,
    TrialProposed,
    TrialStarted,
    TrialStatus,
)
from search.records.layout import SearchLayout
from search.records.ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def make_search(
    results: Path,
    name: str,
    scores: Sequence[float] = (0.5,),
    *,
    fingerprint: str = "aa",
    ended: EndReason | None = EndReason.ALL_ENDED,
    **options: Any,
) -> SearchLayout:
    """A trial a score, each of one epoch. options: of `SearchOptions`, beside those it must have."""
    layout = SearchLayout(results, name)
    layout.folder.mkdir(parents=True)
    SearchOptions(data="data", space="tiny", name=name, results=results, **options).save(layout.options)
    with Ledger(layout.ledger) as ledger:
        data = {"folder": "data", "fingerprint": fingerprint, "categories": {"sleeve": ["short", "long"]}}
        settings = {"trials": len(scores), "scheduler": "none", "max_epochs": 1}
        ledger.append(SearchStarted(name=name, settings=settings, space_name="tiny", data=data))
        for number, score in enumerate(scores):
            params = {"lr": 0.1 * (number + 1)}
            ledger.append(
                TrialProposed(trial=number, params=params, drawn=params, enqueued=False, after=ledger.seq - 1)
            )
            ledger.append(TrialStarted(trial=number, trial_id=str(number), params=params, enqueued=False))
            metrics = {"val/accuracy": score, "val/accuracy_se": 0.01, "val/accuracy/sleeve": score}
            ledger.append(EpochEnded(trial=number, epoch=1, metrics=metrics))
            ledger.append(TrialEnded(trial=number, status=TrialStatus.FINISHED, reason="", best=score, best_epoch=1))
        if ended is not None:
            ledger.append(SearchEnded(reason=ended, seconds=1.0))
    return layout
