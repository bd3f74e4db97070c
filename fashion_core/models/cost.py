"""What it costs to ask a network: its parameters, and milliseconds an image: see `fashion_core.models.timing`."""

from __future__ import annotations

import math
from dataclasses import dataclass

COST_IMAGES = 32  # of a batch
MAX_MS, MAX_PARAMS = 1e9, 1e15  # that a limit can have


@dataclass(frozen=True)
class Cost:
    """What a model costs.

    Attributes:
        parameters: their number.
        ms: milliseconds an image, on the machine that measured it; NaN where nobody did.
        spread: by how much another measurement may have more.
    """

    parameters: int
    ms: float
    spread: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        """Of two networks that are asked one after the other."""
        return Cost(self.parameters + other.parameters, self.ms + other.ms, self.spread + other.spread)

    def __str__(self) -> str:
        return f"{self.parameters / 1e6:.1f} M" + (f", {self.ms_words} ms" if self.is_measured else "")

    @property
    def is_measured(self) -> bool:
        """Whether its milliseconds are known."""
        return not math.isnan(self.ms)

    @property
    def ms_words(self) -> str:
        """`8.5 + 0.2`: with the spread, where there is one that shows; `?` where nothing was measured."""
        if not self.is_measured:
            return "?"
        return f"{self.ms:.1f} + {self.spread:.1f}" if self.spread >= 0.05 else f"{self.ms:.1f}"

    def fits(self, limit: Cost) -> bool:
        """Whether it is within a limit, which it may reach, for sure: what was not measured is not."""
        return self.parameters <= limit.parameters and (math.isinf(limit.ms) or self.ms + self.spread <= limit.ms)

    def compute_excess(self, limit: Cost) -> float:
        """How many times over a limit it is, where it is over it most; of what was measured."""
        times = self.parameters / limit.parameters, (self.ms + self.spread) / limit.ms
        return max(each for each in times if not math.isnan(each))


UNLIMITED = Cost(2**63, float("inf"))
