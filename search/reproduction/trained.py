"""A training that came to its end, and all of a folder of results."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from search.records.events import TrialStatus


@dataclass(frozen=True)
class Training:
    """One training that came to its end.

    Attributes:
        search: its name, or that of the recording. number: of its trial, or of its record.
        correct: [N, K], what its best epoch answered right; None where it diverged.
        epochs: what was measured in each.
        seconds: in all; with how many others it shared the machine.
        device: of a recorded one; of a search's, None.
    """

    search: str
    number: int
    key: str
    status: TrialStatus
    score: float
    correct: np.ndarray | None
    epochs: Sequence[dict[str, float | None]]
    seconds: float
    at_once: int
    device: str | None = None


@dataclass(frozen=True)
class Scored:
    """On what trainings were scored.

    Attributes:
        images: their names in order. categories: of the data.
        train_count: how many images each was trained on.
    """

    images: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    train_count: int = 0


@dataclass(frozen=True)
class Trained:
    """All trainings of a folder of results.

    Attributes:
        by_key: see `search.reproduction.protocol.build_key`.
    """

    by_key: dict[str, list[Training]]
    scored: Scored = Scored()

    @property
    def images(self) -> tuple[str, ...]:
        """That all were scored on."""
        return self.scored.images

    @property
    def categories(self) -> tuple[str, ...]:
        """Of the data."""
        return self.scored.categories

    @property
    def train_count(self) -> int:
        """How many images each was trained on."""
        return self.scored.train_count

    def find(self, key: str) -> list[Training]:
        """Those of a configuration, the diverged too."""
        return self.by_key.get(key, [])

    def stack(self, key: str) -> np.ndarray:
        """[S, N, K] float64: what those of a configuration answered right, without the diverged; S may be 0."""
        answers = [each.correct for each in self.find(key) if each.correct is not None]
        return np.stack(answers) if answers else np.empty((0, len(self.images), len(self.categories)))
