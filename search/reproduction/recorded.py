"""Trainings that were recorded on another machine, by `tests/benchmarks/record_curves.py`: a line of JSON each.

A recording stands as `*.jsonl` in a folder of results. Its heading says which images were scored, in which order; a
record has the whole configuration of a training, and of each epoch its metrics and which answers were right.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fashion_core.config import build_config
from fashion_core.errors import FashionError, SearchError
from fashion_core.escaping import show_value
from fashion_core.metrics import ACCURACY
from search.records.events import TrialStatus
from search.records.ledger import unpack_correct
from search.reproduction.protocol import build_key
from search.reproduction.trained import Scored, Training

if TYPE_CHECKING:
    from pathlib import Path

DIVERGED = "DivergedError"  # how the error of a training that did begins


@dataclass(frozen=True)
class Recording:
    """A recording.

    Attributes:
        scored: on what.
        trainings: that came to their end.
    """

    scored: Scored
    trainings: list[Training]


def list_recordings(results: Path) -> list[Path]:
    """The recordings in a folder of results."""
    return sorted(results.glob("*.jsonl"))


def read_recording(path: Path) -> Recording:
    """A recording. What was cut off, failed or was killed in it is left out.

    Raises:
        SearchError: it cannot be read, or is none.
    """
    try:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        headings = [line for line in lines if "name" not in line]
        scored = {read_heading(heading) for heading in headings}
        (one,) = scored
        at_once = max(heading["processes"] for heading in headings)
        records = [line for line in lines if "name" in line]
        found = [take_record(path.name, number, record, one, at_once) for number, record in enumerate(records)]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError, FashionError) as error:
        raise SearchError(
            f"{path} must be a recording of tests/benchmarks/record_curves.py, on one set of images, but "
            f"{show_value(str(error) or type(error).__name__)}; take it away, or record it again"
        ) from error
    return Recording(one, [each for each in found if each is not None])


def read_heading(heading: dict[str, Any]) -> Scored:
    """On what the trainings after it were scored."""
    return Scored(tuple(heading["images"]), tuple(heading["categories"]), heading["train_images"])


def take_record(name: str, number: int, record: dict[str, Any], scored: Scored, at_once: int) -> Training | None:
    """A record as a training; None of one that came to no end."""
    has_diverged = (record["error"] or "").startswith(DIVERGED)
    if record["status"] != "finished" and not has_diverged:
        return None
    config, epochs = build_config(record["config"]), record["epochs"]
    if config.start_seed is None or record.get("early"):  # its start was not drawn, or it is of no configuration
        return None
    scores = [epoch["metrics"][ACCURACY] for epoch in epochs]
    correct = None
    if not has_diverged:
        best = epochs[int(np.argmax(scores))]
        answers = unpack_correct(best["correct"], len(scored.images), len(scored.categories))
        correct = np.asarray(answers, np.float64)
    return Training(
        search=name,
        number=number,
        key=build_key(config),
        status=TrialStatus.DIVERGED if has_diverged else TrialStatus.FINISHED,
        score=max(scores, default=0.0) if correct is not None else 0.0,
        correct=correct,
        epochs=[epoch["metrics"] for epoch in epochs],
        seconds=float(np.median([epoch["seconds"] for epoch in epochs] or [0.0]) * len(epochs)),
        at_once=at_once,
        device=record["device"],
    )
