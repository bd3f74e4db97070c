"""What the networks of architectures cost: worked out before any is trained, from networks with random weights."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from fashion_core.data.annotations import load_annotations
from fashion_core.data.pixels import build_settings
from fashion_core.errors import SearchError
from fashion_core.hardware.device import choose_device
from fashion_core.models.cost import COST_IMAGES, UNLIMITED, Cost
from fashion_core.models.network import build_network
from fashion_core.models.saved import SavedModel
from fashion_core.models.timing import measure_cost
from search.planning.backbones import check_run
from search.records.costs import write_costs
from search.records.events import CostsMeasured, TrialStatus
from search.reporting.terminal import plain
from search.reporting.words import describe_cost_limit, write_count
from search.space.architectures import name_architectures
from search.space.reading import load_space

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from rich.console import Console

    from fashion_core.data.schema import AttributeSchema
    from search.planning.options import SearchOptions
    from search.records.layout import SearchLayout
    from search.records.record import SearchRecord
    from search.space.architectures import Architecture
    from search.space.space import Space


def measure_before(options: SearchOptions, layout: SearchLayout, console: Console) -> dict[Architecture, Cost]:
    """What all architectures of a search cost, where it limits that. To be called before Ray starts, which takes time
    from what is measured.

    Raises:
        SearchError, SpaceError, DataError, ConfigError: see `build_plan`.
    """
    space = load_space(options.space)
    limit = options.find_limit(space)
    if limit == UNLIMITED:
        return {}
    schema = load_annotations(options.data, options.build_reading(layout)).schema
    if options.max_epochs is not None:
        space = space.with_scheduler(max_epochs=options.max_epochs)
    architectures = space.list_architectures()
    count = write_count(len(architectures), "architecture")
    console.print(plain(f"working out what {count} cost: at most {describe_cost_limit(limit)} are allowed"))
    return price(architectures, schema, limit)


def price(
    architectures: Collection[Architecture],
    schema: AttributeSchema,
    limit: Cost | None = None,
    known: Mapping[Architecture, Cost] | None = None,
) -> dict[Architecture, Cost]:
    """What the networks of architectures cost, each built once; milliseconds where a limit asks for them.

    Args:
        limit: milliseconds are measured only where it has some, and of what has no more parameters than it allows;
            None: always.
        known: what was worked out before, and is taken as it is.

    Raises:
        ConfigError: see `build_backbone` and `check_run`.
    """
    known = known or {}
    found = {}
    for architecture in architectures:
        cost = known.get(architecture)
        if cost is None or (limit is None and not cost.is_measured):
            cost = price_one(architecture, schema, limit)
        found[architecture] = cost
    return found


def price_one(architecture: Architecture, schema: AttributeSchema, limit: Cost | None) -> Cost:
    """What a network of an architecture costs. limit: see `price`."""
    config = architecture.build_config()
    network = build_network(config, schema.sizes)
    count = sum(tensor.numel() for tensor in network.parameters())
    if limit is not None and (limit.ms == UNLIMITED.ms or count > limit.parameters):
        return Cost(count, math.nan)
    check_run(network.backbone, config.image_size)
    images = np.random.default_rng(0).integers(0, 256, (COST_IMAGES, *[config.image_size] * 2, 3), np.uint8)
    device = choose_device(None)
    saved = SavedModel(network.to(device), config, schema, {}, config.epochs, [], "")
    return measure_cost(saved, {build_settings(config): images})


def exclude(space: Space, costs: Mapping[Architecture, Cost], limit: Cost) -> Space:
    """The space without the architectures that cost more than a limit.

    Raises:
        SearchError: these are all.
    """
    if limit == UNLIMITED:
        return space
    excluded = [architecture for architecture, cost in costs.items() if not cost.fits(limit)]
    if len(excluded) == len(costs):
        smallest = min(excluded, key=lambda each: costs[each].compute_excess(limit))
        words = f"{name_architectures(costs)[smallest]}: {costs[smallest]}"
        raise SearchError(
            f"a space must have an architecture that costs at most {describe_cost_limit(limit)}, but of {space.name}, "
            f"which has {len(costs)}, none does; the smallest is {words}; give a higher --max-ms or "
            "--max-params (`constraints` in the space), or smaller choices"
        )
    return space.excluding(excluded)


def price_finished(space: Space, schema: AttributeSchema, record: SearchRecord) -> CostsMeasured | None:
    """What the trials cost that trained to their end, for the front of score against cost; what is known is kept.

    Returns:
        None where there is no choice: all have one architecture.

    Raises:
        ConfigError: see `price`.
    """
    trials: dict[Architecture, list[int]] = {}
    for number, trial in sorted(record.trials.items()):
        if trial.status == TrialStatus.FINISHED and trial.has_standing:
            trials.setdefault(space.find_architecture(trial.params), []).append(number)
    if len(trials) < 2:
        return None
    costs = price(trials, schema, known=record.costs)
    return CostsMeasured(costs=write_costs(costs, trials))
