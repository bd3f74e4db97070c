"""Registered models that a search's networks start from: fetched when it is planned, kept beside it when it begins.

An alias may name another version tomorrow, so a search that goes on, a trial that is replayed and a promotion take what
was kept. Of the model the backbone alone is taken: heads start anew, whatever categories and FC layers it has.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from fashion_core.errors import WeightsError
from fashion_core.files import ENSEMBLE_FILE, MODEL_FILE, whole
from search.jobs.loads import measure
from search.planning.plan import Plan, build_plan
from search.records.layout import REGISTERED, FinalLayout
from search.registry.history import read_history
from search.registry.models import find_model

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from fashion_core.models.cost import Cost
    from search.address import Address
    from search.planning.options import SearchOptions
    from search.planning.resources import Machine
    from search.records.layout import SearchLayout
    from search.space.architectures import Architecture


def plan_with_starts(
    options: SearchOptions,
    layout: SearchLayout,
    machine: Machine,
    *,
    begun: bool,
    costs: Mapping[Architecture, Cost] | None = None,
) -> Plan:
    """The plan of a search, with the registered models that its space names.

    Args:
        begun: the search goes on, with the models that it began with.
        costs: see `build_plan`.

    Raises:
        FashionError: see `build_plan`; a registered model is not to be had, or is an ensemble.
    """
    kept = layout.list_starts() if begun else {}

    def find_start(weights: str) -> Path:
        return Path(kept[weights]) if weights in kept else fetch_start(weights, layout.results, options.tracking_uri)

    return build_plan(options, layout, machine, find_start, costs, measure)


def fetch_start(weights: str, results: Path, tracking_uri: Address | str | None) -> Path:
    """The folder of a registered model of one network.

    Args:
        weights: models:/NAME@ALIAS or models:/NAME/VERSION.
        results: folder of all searches.
        tracking_uri: of the registry; None: SQLite under the results.

    Raises:
        SearchError: there is no such version, or no registry that answers.
        WeightsError: it is an ensemble.
    """
    folder = find_model(weights, results, tracking_uri)
    if (folder / ENSEMBLE_FILE).is_file():
        raise WeightsError(
            f"`weights` must be those of one network, but {weights} is an ensemble of several; name a version that is "
            "none, or the folder of one of its networks"
        )
    return folder


def keep_starts(plan: Plan) -> Plan:
    """Copy the registered models of a plan beside its search. Returns the plan that starts from the copies."""
    registered = {name: folder for name, folder in plan.space.starts.items() if name.startswith(REGISTERED)}
    for weights, folder in registered.items():
        kept = plan.layout.start_folder(weights)
        kept.mkdir(parents=True, exist_ok=True)
        for source in (Path(folder) / MODEL_FILE, FinalLayout(Path(folder)).trained_on):
            if source.is_file():
                with whole(kept / source.name) as temporary:
                    shutil.copyfile(source, temporary)
    space = plan.space.with_starts(plan.layout.list_starts())
    return replace(plan, space=space, probed=space.list_probed())


def count_seen(plan: Plan, digests: Collection[str]) -> dict[str, int]:
    """How many of some images each start was trained on, by its name: those that tell, and have seen any.

    Args:
        digests: of the images' files, SHA-256.

    Raises:
        CheckpointError: what tells it is damaged.
    """
    found = {}
    for name, path in plan.space.starts.items():
        folder = Path(path) if Path(path).is_dir() else Path(path).parent
        trained_on = read_history(FinalLayout(folder)).trained_on or frozenset()
        found[name] = len(trained_on.intersection(digests))
    return {name: count for name, count in found.items() if count}
