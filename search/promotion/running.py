"""A promotion while it runs: what it is to do, its images, and the workers, MLflow and registry that it works with."""

from __future__ import annotations

import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fashion_core.data.schema import AttributeSchema
from fashion_core.errors import SearchError
from search.jobs.cluster import open_ray
from search.jobs.material import Material, prepare_material
from search.planning.options import load_options
from search.planning.resources import Resources, choose_resources
from search.promotion.champion import check_champion
from search.promotion.judgement import UNLIMITED, Cost
from search.promotion.plan import PromotionPlan, find_plan, settle_plan
from search.promotion.tracking import PromotionTracker
from search.promotion.tries import TryCounter
from search.records.locks import PROMOTE, hold_search
from search.records.record import load_record
from search.registry.versions import Registry, name_model
from search.reporting.terminal import plain
from search.tracking.store import default_uri

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import Console

    from search.promotion.options import PromotionOptions, Workplace
    from search.records.layout import SearchLayout
    from search.records.record import SearchRecord


@dataclass(frozen=True)
class Promotion:
    """A promotion while it runs.

    Attributes:
        search: what is promoted, from its ledger.
        tries: enters and counts it among the tries on its images; attempt: which try it is, from 1, as it begins.
        command: what started it, as `sys.argv`, or the call from Python.
        started: in seconds, by a clock that does not jump.
    """

    layout: SearchLayout
    search: SearchRecord
    options: PromotionOptions
    plan: PromotionPlan
    material: Material
    resources: Resources
    tracker: PromotionTracker
    registry: Registry
    tries: TryCounter
    attempt: int
    console: Console
    command: tuple[str, ...]
    started: float

    @property
    def key(self) -> str:
        """Names what comes of it: see `PromotionOptions.build_key`."""
        return self.options.build_key(self.plan.promotion_id)

    @property
    def limit(self) -> Cost:
        """What the model may cost."""
        parameters = self.options.max_params
        return Cost(
            UNLIMITED.parameters if parameters is None else int(parameters), self.options.max_ms or UNLIMITED.ms
        )


@contextmanager
def open_promotion(
    layout: SearchLayout,
    options: PromotionOptions,
    place: Workplace,
    console: Console,
    command: Sequence[str],
    *,
    replace: bool,
) -> Iterator[Promotion]:
    """Begin a promotion, or go on with it: its plan, its images, MLflow, and the workers. All are let go in the end.

    Args:
        replace: forget an earlier promotion of this search, and begin anew.

    Raises:
        SearchError: there is no such search, it still runs, another process promotes it, or it went on otherwise.
        FashionError: the data is at fault.
    """
    started = time.monotonic()
    load_record(layout)  # tells which searches there are
    with ExitStack() as stack:
        stack.enter_context(hold_search(layout, PROMOTE))
        settings, search = load_options(layout), load_record(layout)
        layout.promotion_folder.mkdir(parents=True, exist_ok=True)
        plan = find_plan(layout, search, options, anew=replace)
        uri = place.tracking_uri or settings.tracking_uri or default_uri(layout)
        registry = Registry(uri, place.model or name_model(settings.data))
        trouble = find_trouble(registry, console)
        schema = AttributeSchema.from_dict(search.begun.categories)
        check_champion(registry, options.build_key(plan.promotion_id), schema)
        material = prepare_material(
            place.data or settings.data,
            [candidate.config for candidate in plan.everyone],
            schema,
            place.cache_dir or settings.cache_dir or layout.prepared_folder,
            console,
            settings.build_reading(layout),
        )
        plan = settle_plan(layout, plan, material.first)
        digests = material.list_digests(material.val)
        tries = TryCounter(layout, registry, options.build_key(plan.promotion_id), digests)
        tries.trouble = trouble or ""
        attempt = len(tries.enter())
        tracker = PromotionTracker(registry.uri, layout, search, plan)
        tracker.error = trouble
        tracker.start(options)
        stack.callback(tracker.close)
        resources = stack.enter_context(open_workers(place, len(plan.everyone) * len(plan.seeds)))
        yield Promotion(
            layout,
            search,
            options,
            plan,
            material,
            resources,
            tracker,
            registry,
            tries,
            attempt,
            console,
            tuple(command),
            started,
        )


def find_trouble(registry: Registry, console: Console) -> str | None:
    """Why the registry does not answer, told before hours of work; None where it does.

    The promotion goes on without: its model can be registered later.

    Raises:
        SearchError: its address is none, or lacks a password that was not stored.
    """
    registry.uri.reveal()
    try:
        registry.connect()
    except SearchError as error:
        console.print(plain(f"note: {error}; until then the model can be made, but not registered", "yellow"))
        return str(error)
    return None


@contextmanager
def open_workers(place: Workplace, count: int) -> Iterator[Resources]:
    """Ray, while it is needed, and what each of so many networks gets of it."""
    with open_ray(place.address) as machine:
        yield choose_resources(
            machine,
            count,
            concurrent=place.concurrent,
            cpus_per_trial=place.cpus_per_trial,
            gpus_per_trial=place.gpus_per_trial,
        )
