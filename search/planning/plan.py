"""What a search is going to do, resolved and checked before anything starts."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from fashion_core.data.annotations import load_annotations
from fashion_core.data.rows import UNLABELLED
from fashion_core.data.splits import HELDOUT_SHARE, check_categories
from fashion_core.errors import SearchError, WeightsError
from fashion_core.metrics import Measure, Objective
from fashion_core.models.backbones import check_early_sizes
from fashion_core.models.cost import UNLIMITED
from search.planning.backbones import try_backbones
from search.planning.costs import exclude, price
from search.planning.packing import Packing, list_heaviest, settle_gpus
from search.planning.resources import Machine, Resources, choose_resources
from search.records.events import TakenOver
from search.records.layout import REGISTERED
from search.reporting.words import (
    describe_cost_limit,
    describe_limits,
    describe_objective,
    describe_taken,
    format_value,
    write_count,
)
from search.space.architectures import name_architectures
from search.space.reading import load_space

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from fashion_core.config import TrainConfig
    from fashion_core.data.pixels import PrepareSettings
    from fashion_core.data.rows import Annotations
    from fashion_core.models.cost import Cost
    from search.planning.options import SearchOptions
    from search.planning.packing import MeasureLoads
    from search.records.layout import SearchLayout
    from search.records.limits import Limits
    from search.space.architectures import Architecture
    from search.space.space import Space

MANY_BYTES = 10**10  # of prepared images: told in GB, as disks are
MAPPED = ("backbone", "image_size", "pooling")  # fields that say which feature maps are needed
FEW_LABELS = 30  # images: of fewer, the normal approximation to a mean of right and wrong is poor
MAX_LISTED = 30  # architectures
EXPECTATION_SEED = 0  # of the simulated searches that tell how many epochs to expect


@dataclass(frozen=True)
class Plan:
    """A search that can start.

    Args:
        machine: what there is to run on.
        trials: how many will run.
        space: with the scheduler as it will run.
        experiment: where the states of trials are saved: a URI, or an absolute path.
        cache_dir: where prepared data stands.
        settings: all ways in which trials can want their images prepared.
        probed: a configuration for every set of features that trials can probe.
        known: the space's own configurations that are run first, as flat parameters.
        expected_epochs: of all trials together, for some are stopped early.
        backbone_sizes: number of parameters by name.
        feature_sizes: length of the feature by name of the backbone.
        origins: what was taken of each weights file or saved model, in words.
        limit: what networks may cost. costs: of all architectures of the space, where that is limited: the space
            excludes those over it.
        left_out: known configurations that only such architectures could have, as flat parameters.
        missing: why the weights of a backbone cannot be had; None if all can.
        taken: what comes from elsewhere: see `search.planning.takeover`.
        packing: how many trials share a GPU by measurement; None: it was not asked for.
    """

    options: SearchOptions
    layout: SearchLayout
    space: Space
    annotations: Annotations
    machine: Machine
    resources: Resources
    trials: int
    experiment: str
    cache_dir: Path
    settings: Sequence[PrepareSettings]
    probed: Sequence[TrainConfig]
    known: Sequence[dict[str, Any]]
    expected_epochs: float
    backbone_sizes: Mapping[str, int]
    feature_sizes: Mapping[str, int]
    origins: Mapping[str, str]
    missing: WeightsError | None
    limit: Cost = UNLIMITED
    costs: Mapping[Architecture, Cost] = field(default_factory=dict)
    left_out: Sequence[dict[str, Any]] = ()
    taken: TakenOver = field(default_factory=TakenOver)
    packing: Packing | None = None

    @property
    def first(self) -> list[dict[str, Any]]:
        """The configurations that are run first, as flat parameters: those taken over, then the space's own."""
        return [*self.taken.tried_first, *(point for point in self.known if point not in self.taken.tried_first)]

    @property
    def full_epochs(self) -> int:
        """Epochs if no trial were stopped."""
        return self.trials * self.space.scheduler.max_epochs

    @property
    def prepared_bytes(self) -> int:
        """Memory-mapped pixels of all prepared sets, shared by all trials."""
        return sum(len(self.annotations.table) * each.image_size**2 * 3 for each in self.settings)

    @property
    def prepared_size(self) -> str:
        """The same in words."""
        size = self.prepared_bytes
        return f"{size / 1e9:,.0f} GB" if size >= MANY_BYTES else f"{size / 2**20:,.0f} MiB"

    def check_weights(self) -> None:
        """Raises WeightsError where the weights of a backbone cannot be had; the plan can be shown all the same."""
        if self.missing is not None:
            raise self.missing


def build_plan(
    options: SearchOptions,
    layout: SearchLayout,
    machine: Machine,
    find_start: Callable[[str], Path] | None = None,
    costs: Mapping[Architecture, Cost] | None = None,
    measure_loads: MeasureLoads | None = None,
) -> Plan:
    """Read space and annotations, and check that they, the backbones and the machine go together.

    Weights that cannot be had are told by the plan's `check_weights`.

    Args:
        find_start: gives the folder of a registered model that weights name; None: there is no registry to ask.
        costs: what is known of architectures; what is not, and is limited, is measured.
        measure_loads: asked where as many trials are to share a GPU as fit; None: it cannot be, and none share.

    Raises:
        SearchError, SpaceError, DataError, ConfigError: what does not fit, and what to do.
    """
    space = load_space(options.space)
    if options.max_epochs is not None:
        space = space.with_scheduler(max_epochs=options.max_epochs)
    space = space.with_rungs()
    annotations = load_annotations(options.data, options.build_reading(layout))
    limit, sampled = options.find_limit(space), space
    if limit != UNLIMITED:
        costs = price(space.list_architectures(), annotations.schema, limit, costs)
        space = exclude(space, costs, limit)
    trials = options.trials or space.trials
    if space.sampler == "grid" and trials > space.count_grid():
        raise SearchError(
            f"--trials must be at most {space.count_grid()}, the combinations of {space.name}, but got {trials}"
        )
    check_labels(annotations, ("train", "val") if options.select_on == "val" else ("train",))
    configs = space.check(annotations.schema)
    drop_paths = {config.backbone: config.drop_path for config in configs if config.drop_path}
    for config in configs:
        check_early_sizes(config.backbone, config.early_share)
    space = replace(space, has_boxes=annotations.has_boxes)
    known = space.first_points(annotations.schema)
    left_out = [] if space.sampler == "grid" else sampled.first_points(annotations.schema)
    named = [weights for (weights,) in space.list_settings("weights") if weights.startswith(REGISTERED)]
    space = space.with_starts({weights: str(find_start(weights)) for weights in named} if find_start else {})
    settings, probed, backbones = space.prepare_settings(), space.list_probed(), space.backbones()
    gpus_per_trial, packing = settle_gpus(
        options.gpus_per_trial,
        machine,
        trials,
        options.cpus_per_trial,
        None if measure_loads is None else lambda: measure_loads(list_heaviest(space), annotations.schema),
    )
    resources = choose_resources(
        machine,
        trials,
        concurrent=options.concurrent,
        cpus_per_trial=options.cpus_per_trial,
        gpus_per_trial=gpus_per_trial,
    )
    check_gpu_limits(options.limits, resources)
    expected_epochs = space.scheduler.expect_epochs(trials, np.random.default_rng(EXPECTATION_SEED))
    mapped = {(name, side) for name, side, pooling in space.list_settings(*MAPPED) if pooling == "attention"}
    tried = try_backbones(backbones, drop_paths, mapped)
    names = {path: weights for weights, path in space.starts.items()}
    return Plan(
        options=options,
        layout=layout,
        space=space,
        annotations=annotations,
        machine=machine,
        resources=resources,
        trials=trials,
        experiment=options.locate_experiment(layout),
        cache_dir=options.cache_dir or layout.results / ".prepared",
        settings=settings,
        probed=probed,
        known=known,
        expected_epochs=expected_epochs,
        backbone_sizes=tried.sizes,
        feature_sizes=tried.lengths,
        origins={names.get(weights, weights): words for weights, words in tried.origins.items()},
        missing=tried.missing,
        limit=limit,
        costs=costs or {},
        left_out=[point for point in left_out if point not in known],
        packing=packing,
    )


def check_gpu_limits(limits: Limits, resources: Resources) -> None:
    """Raises SearchError where GPU hours are limited, and trials have no GPU: the limit would never be reached."""
    if not resources.gpus_per_trial and (limits.gpu_hours is not None or limits.cost is not None):
        option = "--budget-cost" if limits.gpu_hours is None else "--budget-gpu-hours"
        raise SearchError(
            f"{option} counts the GPUs of trials, but each has {resources.gpus_per_trial:g}; give --time-budget instead"
        )


def check_labels(annotations: Annotations, splits: Sequence[str]) -> None:
    """Raises DataError where a category has no label in one of these splits, before any image is prepared."""
    names, labels = annotations.schema.names, annotations.labels()
    of = annotations.table["split"].to_numpy()
    for split in splits:
        own = labels[of == split]
        if (own >= 0).any():  # else nothing is labelled at all, and choosing the images says what can be done
            check_categories(own, names, split)


def find_untrained(annotations: Annotations) -> list[str]:
    """Classes that other splits have and train has not, as `category: class`."""
    labels, is_train = annotations.labels(), annotations.table["split"].to_numpy() == "train"
    lacking = []
    for category, own in zip(annotations.schema.categories, labels.T, strict=True):
        found = set(np.unique(own).tolist()) - set(np.unique(own[is_train]).tolist())
        lacking += [f"{category.name}: {category.classes[index]}" for index in sorted(found - {UNLABELLED})]
    return lacking


def list_scarce(annotations: Annotations, select_on: str) -> list[str]:
    """Of each category with so few labels among the images that scores are compared on that its accuracy is a guess."""
    labels, of = annotations.labels(), annotations.table["split"].to_numpy()
    split, share = ("val", 1.0) if select_on == "val" else ("train", HELDOUT_SHARE)
    counts = ((labels[of == split] >= 0).sum(0) * share).round().astype(int).tolist()
    return [
        f"{name} has {count} labelled images to compare scores on: its accuracy is known to "
        f"{100 / count**0.5:.0f} points at worst, and intervals may be too narrow"
        for name, count in zip(annotations.schema.names, counts, strict=True)
        if 0 < count < FEW_LABELS
    ]


def list_unjudged(annotations: Annotations, objective: str) -> list[str]:
    """Classes that stand in the way of a promotion: one image of val has them, as `category: class`."""
    schema, of = annotations.schema, annotations.table["split"].to_numpy()
    measure = Measure(Objective(objective), annotations.labels()[of == "val"], tuple(schema.names))
    classes = {each.name: each.classes for each in schema.categories}
    return [f"{category}: {classes[category][label]}" for category, label in measure.list_single()]


def render_plan(plan: Plan) -> list[tuple[str, str]]:
    """What a dry run shows: (topic, text) lines."""
    space, scheduler, resources = plan.space, plan.space.scheduler, plan.resources
    counts = {
        split: int(np.sum(plan.annotations.table["split"].to_numpy() == split)) for split in ("train", "val", "test")
    }
    share = plan.expected_epochs / plan.full_epochs
    rungs = ", ".join(map(str, scheduler.rungs())) or "none: every trial trains to the end"
    rungs += f" (of {scheduler.max_epochs} epochs)"
    if scheduler.promotes:
        rungs += f"; each trial pauses there, and the best 1/{scheduler.reduction_factor} go on"
    elif scheduler.rungs():
        rungs += f"; a trial that is not among the best 1/{scheduler.reduction_factor} there is stopped"
    settings = ", ".join(map(str, plan.settings))
    per_trial = f"{resources.cpus_per_trial} CPU core{'s' if resources.cpus_per_trial > 1 else ''}"
    if resources.gpus_per_trial:
        per_trial += f" and {resources.gpus_per_trial:g} GPU"
    unlabelled = {name: count for name, count in plan.annotations.count_unlabelled().items() if count}
    skipped = len(plan.annotations.skipped)
    known, sizes = min(len(plan.first), plan.trials), plan.backbone_sizes.items()
    lines = [
        ("space", ": ".join(filter(None, (space.name, space.description)))),
        ("data", ", ".join(f"{count} {split}" for split, count in counts.items() if count)),
        ("categories", ", ".join(f"{each.name} ({len(each.classes)})" for each in plan.annotations.schema.categories)),
        ("selects on", "val" if plan.options.select_on == "val" else "15% of train, held out; val stays unseen"),
        *((("objective", text),) if (text := describe_objective(Objective(space.objective))) else ()),
        ("trials", f"{plan.trials}: {known} known, {plan.trials - known} drawn by {space.sampler}"),
        ("searched", ", ".join(parameter.name for parameter in space.parameters)),
        ("rungs", rungs),
        ("epochs", f"about {plan.expected_epochs:.0f}, {share:.0%} of full training ({plan.full_epochs})"),
        *((("ends early", text),) if (text := describe_limits(plan.options.limits)) else ()),
        ("at once", f"{resources.concurrent} trials, each with {per_trial}"),
        *describe_cluster(plan),
        ("backbones", ", ".join(f"{name} ({size / 1e6:.1f} M parameters)" for name, size in sizes)),
        (
            "prepared data",
            f"{settings}: {plan.prepared_size} in {plan.cache_dir}, shared by all trials",
        ),
        ("results", str(plan.layout.folder)),
        ("tracking", str(plan.options.tracking_uri or f"MLflow in {plan.layout.tracking_db}")),
    ]
    lines += describe_limit(plan)
    if plan.packing is not None:
        lines.append(("on a GPU", f"{write_count(plan.packing.count, 'trial')}: {plan.packing.words}"))
    lines += [("warm start", describe_taken(other)) for other in plan.taken.others]
    lines += [("weights", f"{weights}: {words}") for weights, words in plan.origins.items()]
    if not plan.annotations.has_boxes:
        lines.insert(3, ("note", "the data names no boxes: whole images are looked at, whatever crop the space has"))
    lines[3:3] = [("note", remark) for remark in list_scarce(plan.annotations, plan.options.select_on)]
    if unjudged := list_unjudged(plan.annotations, space.objective):
        text = f"one image of val has {', '.join(unjudged)}: no promotion can judge {space.objective} on it"
        lines.insert(3, ("note", text))
    if untrained := find_untrained(plan.annotations):
        lines.insert(3, ("note", f"no image of train has {', '.join(untrained)}: it can never be answered"))
    if unlabelled:
        lines.insert(3, ("unlabelled", ", ".join(f"{count:,} in {name}" for name, count in unlabelled.items())))
    lines[3:3] = [("layout", plan.annotations.layout), *(("note", remark) for remark in plan.annotations.remarks)]
    if skipped:
        lines.insert(3, ("skipped", f"{skipped} faults in the annotations; their rows are left out"))
    return lines


def describe_cluster(plan: Plan) -> list[tuple[str, str]]:
    """(topic, text) on the nodes of a cluster, what travels to them, and what their GPUs cost; nothing of one machine
    without GPUs.
    """
    nodes, lines = plan.machine.nodes, []
    if nodes:
        of_kind = Counter((node.cpus, node.gpus) for node in nodes)
        kinds = [
            f"{count} with {write_count(cpus, 'CPU core')}" + (f" and {write_count(gpus, 'GPU')}" if gpus else "")
            for (cpus, gpus), count in sorted(of_kind.items(), reverse=True)
        ]
        lines.append(("nodes", f"{write_count(len(nodes), 'node')} to train on: {', '.join(kinds)}"))
        once = f"{plan.prepared_size} of images, once to each node by {plan.options.storage}"
        images = once if plan.options.travels else "no images: each node must see the prepared data where it is"
        lines.append(("travels", f"the code, and {images}"))
    if gpus := plan.resources.concurrent * plan.resources.gpus_per_trial:
        lines.append(("costs", describe_price(gpus, plan.options.limits)))
    return lines


def describe_price(gpus: float, limits: Limits) -> str:
    """What a search costs an hour, and at most. gpus: of all trials at once."""
    price, hours = limits.price_per_gpu_hour, limits.gpu_hours
    if price is not None and limits.cost is not None:
        hours = min(hours or math.inf, limits.cost / price)
    if limits.seconds is not None:
        hours = min(hours or math.inf, gpus * limits.seconds / 3600)
    each = f"{gpus:g} GPU hours an hour" + (f", {gpus * price:.2f} at {price:g} a GPU hour" if price else "")
    if hours is None:
        return f"{each}; without a limit, such as --budget-gpu-hours"
    return f"{each}; at most {hours:g} GPU hours" + (f", {hours * price:.2f}" if price else "")


def describe_limit(plan: Plan) -> list[tuple[str, str]]:
    """(topic, text) on what networks may cost, how many architectures cost more, and which known configurations."""
    if plan.limit == UNLIMITED:
        return []
    count, excluded = write_count(len(plan.costs), "architecture"), len(plan.space.excluded)
    text = (
        f"at most {describe_cost_limit(plan.limit)}: {excluded} of {count} {'is' if excluded == 1 else 'are'} left out"
    )
    lines = [("may cost", text)]
    names = name_architectures(plan.costs)
    for point in plan.left_out:
        first, *others = plan.space.list_architectures(point)
        more = f", the others that it could have ({len(others)}) too much as well" if others else ""
        shown = ", ".join(f"{name} {format_value(value)}" for name, value in point.items())
        lines.append(("left out", f"the known configuration {shown}: {names[first]} costs {plan.costs[first]}{more}"))
    return lines


def list_costs(plan: Plan) -> list[tuple[str, str, str, str]]:
    """A row for each architecture, where what they cost is limited: name, parameters, ms an image, what becomes of it.

    The dearest come first; of more than `MAX_LISTED`, the last row tells how many are left.
    """
    names, excluded = name_architectures(plan.costs), plan.space.excluded
    dearest = sorted(plan.costs.items(), key=lambda item: -item[1].compute_excess(plan.limit))
    rows = [
        (names[name], f"{cost.parameters / 1e6:.2f} M", cost.ms_words, "left out" if name in excluded else "")
        for name, cost in dearest[:MAX_LISTED]
    ]
    more = len(dearest) - MAX_LISTED
    return [*rows, *([(f"and {more} more", "", "", "")] if more > 0 else [])]
