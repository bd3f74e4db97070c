"""When a search is to end before all its trials have: what it may spend, and what is good enough.

What is reached is worked out in `search.records.record`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_PATIENCE = 20  # trials without gain, where only the gain is given


@dataclass(frozen=True)
class Limits:
    """The rules by which a search ends early; None: no such rule.

    Attributes:
        seconds: from the start of its command, over all its commands.
        gpu_hours: of all trials together.
        cost, price_per_gpu_hour: in one currency, whichever it is.
        patience: trials in a row that ended without a gain.
        gain: what the best score must rise by to count as one; 0: anything.
        target: a score that is good enough.
    """

    seconds: float | None = None
    gpu_hours: float | None = None
    cost: float | None = None
    price_per_gpu_hour: float | None = None
    patience: int | None = None
    gain: float = 0.0
    target: float | None = None

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> Limits:
        """What `write` gave; what a later version added is left out."""
        known = {name: values[name] for name in cls.__dataclass_fields__ if values.get(name) is not None}
        if "patience" in known:
            known["patience"] = int(known["patience"])
        return cls(**known)

    def write(self) -> dict[str, float]:
        """Those that are given, for the ledger."""
        return {name: value for name, value in asdict(self).items() if value}
