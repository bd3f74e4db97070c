"""What architectures cost, as a ledger tells it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from fashion_core.models.cost import Cost
from search.records.events import PricedArchitecture
from search.space.architectures import USUAL, Architecture

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence


def write_costs(
    costs: Mapping[Architecture, Cost], trials: Mapping[Architecture, Sequence[int]] | None = None
) -> list[dict[str, Any]]:
    """Costs for a ledger. trials: which have each architecture, where that is known."""
    return [
        PricedArchitecture(
            architecture=architecture._asdict(),
            parameters=cost.parameters,
            ms=cost.ms if cost.is_measured else None,
            spread=cost.spread if cost.is_measured else None,
            trials=list((trials or {}).get(architecture, ())),
        ).model_dump(mode="json", exclude_defaults=True)
        for architecture, cost in costs.items()
    ]


def read_costs(told: Iterable[Mapping[str, Any]]) -> Iterator[tuple[Architecture, Cost, Sequence[int]]]:
    """What `write_costs` wrote. What an architecture lacks, of an earlier version, is as usual."""
    for values in told:
        part = PricedArchitecture.model_validate(values)
        known: dict[str, Any] = {name: part.architecture.get(name, usual) for name, usual in USUAL._asdict().items()}
        cost = Cost(part.parameters, math.nan if part.ms is None else part.ms, part.spread or 0.0)
        yield Architecture(**known), cost, part.trials
