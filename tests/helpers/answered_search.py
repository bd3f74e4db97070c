"""A search whose ledger tells what every trial answered to every image: what a report of it can be made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fashion_core.files import MODEL_FILE
from search.records.events import EpochEnded, SearchEnded, SearchStarted, TrialEnded, TrialProposed, TrialStarted
from search.records.layout import SearchLayout
from search.records.ledger import Ledger, pack_correct

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

MAX_EPOCHS, IMAGES, STOPPED_FROM = 4, 80, 6
SPACE = """
trials: 12
fixed: {image_size: 32, backbone: test_resnet, weights: none, batch_size: 16}
search:
  lr: {loguniform: [1e-4, 1e-1]}
  dropout: {uniform: [0, 0.5]}
  fc_layers: {choice: [0, 2]}
scheduler: {type: asha, max_epochs: 4, grace_epochs: 1, reduction_factor: 2}
"""


def draw_answers(trials: int, categories: int, seed: int = 0) -> np.ndarray:
    """[T, N, K]: trial 1 is the best, trial 0 is known, and the later ones are worse and worse."""
    rng = np.random.default_rng(seed)
    easy = rng.random((IMAGES, categories))
    skill = np.array([0.7, 0.8, *np.linspace(0.78, 0.4, trials - 2)])
    return (easy + rng.normal(0, 0.05, (trials, IMAGES, categories)) < skill[:, None, None]).astype(float)


def keep_model(layout: SearchLayout, number: int = 1) -> None:
    """Let it have kept a trial's model, of which nothing but that is known."""
    layout.checkpoint_folder(number).mkdir(parents=True)
    (layout.checkpoint_folder(number) / MODEL_FILE).touch()


def write_search(
    results: Path,
    name: str = "answered",
    trials: int = 12,
    categories: Sequence[str] = ("sleeve", "fit"),
    classes: Sequence[str] = ("a", "b"),
    *,
    reason: str = "it ran out of memory",
    ended: bool = True,
    images: Sequence[str] | None = None,
    **extra: Any,
) -> SearchLayout:
    """Trials of four epochs; from `STOPPED_FROM` on they are stopped after the first, and the last one failed."""
    layout, answers = SearchLayout(results, name), draw_answers(trials, len(categories))
    rng = np.random.default_rng(1)
    with Ledger(layout.ledger) as ledger:
        ledger.append(
            SearchStarted(
                name=name,
                settings={
                    "trials": trials, "sampler": "tpe", "scheduler": "asha", "max_epochs": MAX_EPOCHS,
                    "grace_epochs": 1, "reduction_factor": 2, "seed": 0, "select_on": "val", "concurrent": 1,
                    "cpus_per_trial": 1,
                },
                space=SPACE, space_name="tiny", space_hash="ab" * 32,
                provenance={"command": "python search/run.py --data FashionDataset --space tiny", "torch": "2.14.1"},
                data={
                    "folder": "FashionDataset", "fingerprint": "f00d", "counts": {"train": 400, "val": IMAGES},
                    "majority": 0.4, "categories": {each: list(classes) for each in categories},
                },
                selection={
                    "select_on": "val", "train_count": 400, "select_count": IMAGES,
                    "select_images": list(images or [f"img/{n:03d}.jpg" for n in range(IMAGES)]),
                },
                **extra,
            )
        )  # fmt: skip
        for number in range(trials):
            params = {"lr": float(10 ** rng.uniform(-4, -1)), "dropout": float(rng.uniform(0, 0.5))}
            params["fc_layers"] = int(rng.choice([0, 2]))
            known = number == 0
            ledger.append(
                TrialProposed(trial=number, params=params, drawn=params, enqueued=known, after=ledger.seq - 1)
            )
            ledger.append(TrialStarted(trial=number, trial_id=str(number), params=params, enqueued=known))
            epochs = 1 if number >= STOPPED_FROM else MAX_EPOCHS
            correct = answers[number]
            score, own = float(correct.mean()), correct.mean(1)
            error = float(own.std(ddof=1) / np.sqrt(IMAGES))
            for epoch in range(1, epochs + 1):
                share = epoch / epochs
                metrics = {"val/accuracy": score * (0.5 + share / 2), "val/accuracy_se": error}
                metrics |= {f"val/accuracy/{each}": float(correct[:, k].mean()) for k, each in enumerate(categories)}
                ledger.append(EpochEnded(trial=number, epoch=epoch, metrics=metrics))
            fields: dict[str, Any] = {"best": score, "best_epoch": epochs, "correct": pack_correct(correct)}
            if number == trials - 1:
                fields = {"status": "failed", "reason": reason, "error": reason}
            elif epochs < MAX_EPOCHS:
                fields |= {"status": "stopped", "reason": "by ASHA", "rung": 1, "cutoff": min(score + 0.01, 1.0)}
            else:
                fields |= {"status": "finished", "reason": "reached 4 epochs"}
            ledger.append(TrialEnded(trial=number, **fields))
        if ended:
            ledger.append(SearchEnded(reason="all trials ended", seconds=600.0))
    return layout
