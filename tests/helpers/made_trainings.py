"""Trainings of the studies of the report in a folder of results, by ledgers alone: drawn answers, no training."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fashion_core.data.schema import AttributeSchema
from search.planning.options import SearchOptions
from search.records.events import EndReason, EpochEnded, SearchEnded, SearchStarted, TrialEnded, TrialStarted
from search.records.layout import SearchLayout
from search.records.ledger import Ledger, pack_correct
from search.reporting.published import WEIGHTS
from search.reproduction.running import locate_space, write_space
from search.space.reading import parse_space
from search.tune.study import Study

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from search.reproduction.protocol import Arm, Protocol

CATEGORIES = {name: ["a", "b"] for name in WEIGHTS}
SCHEMA = AttributeSchema.from_dict(CATEGORIES)
IMAGES = 60


def make_trainings(
    results: Path,
    protocol: Protocol,
    arms: Sequence[Arm],
    *,
    name: str = "flip-report_lite-0",
    score: Callable[[Arm], float] = lambda arm: 0.7,
    statuses: Sequence[str] = (),
    lost: Sequence[int] = (),
    ended: EndReason | None = EndReason.ALL_ENDED,
    images: Sequence[str] = tuple(f"{number}.jpg" for number in range(IMAGES)),
    start_seeds: bool = True,
    seed: int = 0,
) -> SearchLayout:
    """A search that trained these arms, each as often as it is there. score: the share of right answers, expected.

    statuses: of the first trials; the others finished. lost: those whose answers the ledger has not.
    """
    layout, rng = SearchLayout(results, name), np.random.default_rng(seed)
    layout.folder.mkdir(parents=True)
    text = write_space(protocol, arms)
    path = locate_space(results, name)
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    SearchOptions(data="data", space=str(path), name=name, results=results).save(layout.options)
    space = parse_space(text, name)
    study = Study(space, SCHEMA, space.first_points(SCHEMA), seed=seed)
    with Ledger(layout.ledger) as ledger:
        ledger.append(
            SearchStarted(
                name=name,
                space=text,
                space_name=name,
                settings={"max_epochs": protocol.epochs, "start_seeds": start_seeds, "trials": len(arms)},
                data={"categories": CATEGORIES},
                selection={"select_images": list(images), "select_count": len(images), "train_count": 100},
            )
        )
        for number, arm in enumerate(arms):
            params = study.draw(number).params
            ledger.append(TrialStarted(trial=number, trial_id=str(number), params=params, enqueued=True))
            correct = rng.random((len(images), len(CATEGORIES))) < score(arm)
            best = float(correct.mean())
            for epoch in range(1, protocol.epochs + 1):
                metrics = {"val/accuracy": best - 0.01 * (protocol.epochs - epoch)}
                metrics |= {
                    f"{kind}/{each}": 0.5 for kind in ("val/accuracy", "val/loss", "train/loss") for each in WEIGHTS
                }
                ledger.append(EpochEnded(trial=number, epoch=epoch, metrics=metrics))
            status = statuses[number] if number < len(statuses) else "finished"
            kept = pack_correct(correct) if status == "finished" and number not in lost else None
            ledger.append(
                TrialEnded(trial=number, status=status, reason="", best=best, best_epoch=protocol.epochs, correct=kept)
            )
        if ended is not None:
            ledger.append(SearchEnded(reason=ended, seconds=1.0))
    return layout
