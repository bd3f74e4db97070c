"""A promotion while it runs: what it is to do, its images, and the workers, MLflow and registry that it works with."""

from __future__ import annotations

import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from fashion_core.data.schema import AttributeSchema
from fashion_core.errors import SearchError
from fashion_core.files import retry_while_full
from fashion_core.metrics import Measure
from fashion_core.models.cost import UNLIMITED, Cost
from search.experiment.stored import bring_back, find_options, find_record, hold_stored
from search.jobs.beats import TRIAL_TIMEOUT_S
from search.jobs.cluster import open_ray
from search.jobs.guard import HeadGuard
from search.jobs.loads import measure
from search.jobs.material import Material, prepare_material
from search.jobs.nodes import check_shared, tell_libraries
from search.planning.packing import settle_gpus
from search.planning.resources import choose_resources
from search.promotion.attempt_state import PromotionAttempt, open_attempt
from search.promotion.champion import check_champion
from search.promotion.plan import PromotionPlan, find_plan, settle_plan
from search.promotion.source import check_like_search
from search.promotion.tracking import PromotionTracker, describe_origin
from search.promotion.tries import TryCounter
from search.records.attempts import describe_search
from search.records.kept import set_damaged_aside
from search.records.locks import PROMOTE, hold_search
from search.records.record import load_record
from search.registry.versions import Registry, name_model
from search.reporting.terminal import plain
from search.statistics.gate import LEAST_IMAGES
from search.tracking.store import default_uri

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from rich.console import Console

    from fashion_core.data.rows import Annotations
    from fashion_core.metrics import Objective
    from search.planning.options import SearchOptions
    from search.planning.resources import Machine, Resources
    from search.promotion.options import PromotionOptions, Workplace
    from search.records.layout import SearchLayout
    from search.records.record import SearchRecord

T = TypeVar("T")


@dataclass(frozen=True)
class Promotion:
    """A promotion while it runs.

    Attributes:
        search: what is promoted, from its ledger.
        own: which attempt of its search it is, with the folder of that.
        tries: enters and counts it among the tries on its images; attempt: which try it is, from 1, as it begins.
        command: what started it, as `sys.argv`, or the call from Python.
        timeout_s: how long a training may take for a step.
        started: in seconds, by a clock that does not jump.
        libraries: see `search.jobs.reruns.train_all`.
    """

    layout: SearchLayout
    search: SearchRecord
    options: PromotionOptions
    plan: PromotionPlan
    material: Material
    resources: Resources
    timeout_s: float
    tracker: PromotionTracker
    registry: Registry
    own: PromotionAttempt
    tries: TryCounter
    attempt: int
    console: Console
    command: tuple[str, ...]
    started: float
    libraries: Mapping[str, str] | None = None

    @property
    def key(self) -> str:
        """Names what comes of it: see `PromotionOptions.build_key`."""
        return self.options.build_key(self.plan.promotion_id)

    def wait(self, make: Callable[[], T]) -> T:
        """What `make` gives; while the disk is full it is tried again and again, in sight."""
        return retry_while_full(make, self.layout.folder, lambda text: self.console.print(plain(text, "yellow")))

    @property
    def selected_on(self) -> str:
        """What the search selected on; where other images judge than its own, val is what they are not."""
        return "other" if self.options.is_fresh else self.plan.select_on

    @property
    def measure(self) -> Measure:
        """The objective on the images that judge."""
        return build_measure(self.plan, self.material)

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

    def tell(text: str) -> None:
        console.print(plain(text, "yellow"))

    started = time.monotonic()
    settings = find_options(layout, place.storage)
    find_record(settings, layout)  # tells which searches there are
    with ExitStack() as stack:
        stack.enter_context(hold_search(layout, PROMOTE))
        storage = stack.enter_context(hold_stored(settings, layout, PROMOTE, tell))
        if storage is not None:
            bring_back(storage, layout)
        search = load_record(layout)
        set_damaged_aside(layout, search, tell, storage)
        layout.promotion_folder.mkdir(parents=True, exist_ok=True)
        plan = find_plan(layout, search, options, anew=replace)
        registry = find_registry(layout, settings, place)
        trouble = find_trouble(registry, console)
        schema = AttributeSchema.from_dict(search.begun.categories)
        check_champion(registry, options.build_key(plan.promotion_id), schema)
        source, reading = place.data or settings.data, settings.build_reading(layout)
        cache_dir = place.cache_dir or settings.cache_dir or layout.prepared_folder
        configs = [candidate.config for candidate in plan.everyone]

        def prepare() -> Material:
            selected = plan.select_on == "val"
            given = (source, configs, schema, cache_dir, console, reading, check, options.judge_on)
            return prepare_material(*given, selected_on_val=selected)

        def check(annotations: Annotations) -> None:
            check_like_search(layout, search, annotations, cache_dir)

        material = retry_while_full(prepare, cache_dir, tell)
        check_images(count_images(plan.objective, material), options, source)
        check_measure(build_measure(plan, material), schema)
        plan = retry_while_full(lambda: settle_plan(layout, plan, material.first), layout.folder, tell)
        key = options.build_key(plan.promotion_id)
        own = retry_while_full(lambda: open_attempt(layout, key, registry.model, time.time()), layout.folder, tell)
        has_looked = plan.select_on == "val" and not options.is_fresh
        searched = describe_search(search) if has_looked else None
        tries = TryCounter(layout, registry, key, material.list_digests(material.val), searched)
        tries.trouble = trouble or ""
        attempt = len(retry_while_full(tries.enter, layout.folder, tell))
        origin = describe_origin(command, source.resolve().name, material, search)
        tracker = PromotionTracker(registry.uri, layout, search, plan, own.number, tell, origin)
        tracker.error = trouble
        tracker.start(options)
        stack.callback(tracker.close)
        machine = stack.enter_context(open_ray(place.address, allow_open=bool(place.allow_open_cluster)))
        if place.address is not None:
            check_shared(layout.folder, [])
        stack.enter_context(HeadGuard(layout.name))
        yield Promotion(
            layout,
            search,
            options,
            plan,
            material,
            share_out(place, plan, schema, machine),
            place.trial_timeout_s or TRIAL_TIMEOUT_S,
            tracker,
            registry,
            own,
            tries,
            attempt,
            console,
            tuple(command),
            started,
            None if place.address is None else tell_libraries(),
        )


def build_measure(plan: PromotionPlan, material: Material) -> Measure:
    """The objective of a promotion on the images that judge."""
    return Measure(plan.objective, material.labels, tuple(material.schema.names))


def count_images(objective: Objective, material: Material) -> int:
    """How many images judge: of one category's accuracy, those labelled in it."""
    if objective.category is None:
        return len(material.val)
    return int((material.labels[:, material.schema.names.index(objective.category)] >= 0).sum())


def check_images(count: int, options: PromotionOptions, source: Path) -> None:
    """Raises SearchError where a promotion would be judged on too few labelled images. source: the search's data."""
    if count >= LEAST_IMAGES or options.force:
        return
    others = "judge on other labelled images with --judge-on" if options.judge_on is None else "give --judge-on more"
    raise SearchError(
        f"a promotion is judged on {LEAST_IMAGES} labelled images or more, but "
        f"{f'val of {source}' if options.judge_on is None else options.judge_on} has {count}; label more of them, "
        f"{others}, or make the best the champion unjudged with --force"
    )


def check_measure(measure: Measure, schema: AttributeSchema) -> None:
    """Raises SearchError where the gate could not know how sure the objective is on the images that judge."""
    if single := measure.list_single():
        classes = {each.name: each.classes for each in schema.categories}
        listed = ", ".join(f"{category}: {classes[category][label]}" for category, label in single)
        raise SearchError(
            f"{measure.objective.name} is judged where each class has two validation images or more, or none, but "
            f"these have one: {listed}; label more of them, or judge on other images with --judge-on"
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


def find_registry(layout: SearchLayout, settings: SearchOptions, place: Workplace) -> Registry:
    """Where the model is registered, and under which name."""
    uri = place.tracking_uri or settings.tracking_uri or default_uri(layout)
    return Registry(uri, place.model or name_model(settings.data))


def share_out(place: Workplace, plan: PromotionPlan, schema: AttributeSchema, machine: Machine) -> Resources:
    """What each network gets of a machine."""
    networks, configs = len(plan.everyone) * len(plan.seeds), [each.config for each in plan.everyone]
    gpus_per_trial, _ = settle_gpus(
        place.gpus_per_trial, machine, networks, place.cpus_per_trial, lambda: measure(configs, schema)
    )
    return choose_resources(
        machine,
        networks,
        concurrent=place.concurrent,
        cpus_per_trial=place.cpus_per_trial,
        gpus_per_trial=gpus_per_trial,
    )
