"""What a search is going to do, resolved and checked before anything starts."""

from __future__ import annotations

import logging
from bisect import insort
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import optuna

from fashion_core.attributes import AttributeSchema
from fashion_core.backbones import build_backbone
from fashion_core.config import Feature, TrainConfig, build_config
from fashion_core.deepfashion import Annotations, load_annotations
from fashion_core.errors import ConfigError, SearchError, SpaceError
from search.job import name_settings
from search.layout import SearchLayout
from search.options import SearchOptions
from search.resources import Machine, Resources, choose_resources
from search.space import Space, load_space

SIMULATED_TRIALS, MIN_SIMULATIONS = 20_000, 3
DRAWS = 50  # of a space, looked at before the start


@dataclass(frozen=True)
class Plan:
    """A search that can start.

    Args:
        trials: how many will run.
        space: with the scheduler as it will run.
        cache_dir: where prepared data stands.
    """

    options: SearchOptions
    layout: SearchLayout
    space: Space
    annotations: Annotations
    resources: Resources
    trials: int
    cache_dir: Path

    @property
    def full_epochs(self) -> int:
        """Epochs if no trial were stopped."""
        return self.trials * self.space.scheduler.max_epochs

    @property
    def prepared_bytes(self) -> int:
        """Memory-mapped pixels of all prepared sets, shared by all trials."""
        return sum(len(self.annotations.table) * size * size * 3 for size, _, _ in self.space.prepare_settings())


def build_plan(options: SearchOptions, layout: SearchLayout, machine: Machine) -> Plan:
    """Read space and annotations, and check that they, the backbones and the machine go together.

    Raises:
        SearchError, SpaceError, DataError, ConfigError, WeightsError: what does not fit, and what to do.
    """
    space = load_space(options.space)
    if options.max_epochs is not None:
        space = space.with_scheduler(max_epochs=options.max_epochs)
    trials = options.trials or space.trials
    if space.sampler == "grid" and trials > space.count_grid():
        raise SearchError(
            f"--trials must be at most {space.count_grid()}, the combinations of {space.name}, but got {trials}"
        )
    annotations = load_annotations(options.data, skip_bad=options.skip_bad)
    space.check_schema(annotations.schema)
    check_draws(space, annotations.schema)
    resources = choose_resources(
        machine,
        trials,
        concurrent=options.concurrent,
        cpus_per_trial=options.cpus_per_trial,
        gpus_per_trial=options.gpus_per_trial,
    )
    cache_dir = options.cache_dir or layout.results / ".prepared"
    return Plan(options, layout, space, annotations, resources, trials, cache_dir)


def check_draws(space: Space, schema: AttributeSchema) -> None:
    """Draw some trials, so that fields which do not go together are found before the first trial.

    Raises:
        SpaceError: a draw is no possible configuration.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for point in space.first_points(schema)[:DRAWS]:
        study.enqueue_trial(point)
    for _ in range(2 * DRAWS):
        try:
            build_config(space.build_values(space.suggest(study.ask(), schema), schema))
        except ConfigError as error:
            raise SpaceError(f"a space must draw possible configurations, but of {space.name} {error}") from None


def measure_backbones(space: Space) -> dict[str, int]:
    """Number of parameters of every backbone that trials can have, its ImageNet classifier included where it is used.

    Raises:
        ConfigError: see `build_backbone`.
    """
    feature = find_feature(space)
    sizes = {}
    for name, _ in space.backbones():  # without weights: a plan can be shown where there are none
        backbone = build_backbone(name, weights="none", feature=feature)
        sizes[name] = sum(parameter.numel() for parameter in backbone.parameters())
    return sizes


def check_weights(space: Space) -> None:
    """Load the weights of every backbone once, so that missing ones are found before the first trial.

    Raises:
        ConfigError, WeightsError: see `build_backbone`.
    """
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # else a line for each of its many retries
    for name, weights in space.backbones():
        if weights != "none":
            build_backbone(name, weights=weights, feature=find_feature(space))


def find_feature(space: Space) -> Feature:
    """The backbone's output that trials use, as far as the space fixes it."""
    default: Feature = TrainConfig.model_fields["feature"].default
    return space.fixed.get("feature", default)


def estimate_epochs(plan: Plan, rng: np.random.Generator) -> float:
    """Epochs to expect: ASHA over trials one after another whose ranks never change, averaged over their orders."""
    scheduler = plan.space.scheduler
    rungs = plan.space.rungs()
    if not rungs:
        return plan.full_epochs
    assert scheduler.reduction_factor is not None
    simulations, total = max(SIMULATED_TRIALS // plan.trials, MIN_SIMULATIONS), 0
    for _ in range(simulations):
        seen: dict[int, list[float]] = {rung: [] for rung in rungs}  # ascending
        for quality in rng.random(plan.trials).tolist():
            total += scheduler.max_epochs
            for rung in rungs:
                others = seen[rung]
                stopped = bool(others) and quality < compute_quantile(others, 1 - 1 / scheduler.reduction_factor)
                insort(others, quality)
                if stopped:
                    total += rung - scheduler.max_epochs
                    break
    return total / simulations


def compute_quantile(ascending: Sequence[float], share: float) -> float:
    """The quantile as numpy's default has it, of numbers in order."""
    place = (len(ascending) - 1) * share
    low = int(place)
    high = min(low + 1, len(ascending) - 1)
    return ascending[low] + (place - low) * (ascending[high] - ascending[low])


def render_plan(plan: Plan, backbone_sizes: dict[str, int], rng: np.random.Generator) -> list[tuple[str, str]]:
    """What a dry run shows: (topic, text) lines."""
    space, scheduler, resources = plan.space, plan.space.scheduler, plan.resources
    counts = {
        split: int(np.sum(plan.annotations.table["split"].to_numpy() == split)) for split in ("train", "val", "test")
    }
    expected = estimate_epochs(plan, rng)
    rungs = ", ".join(map(str, space.rungs())) or "none: every trial trains to the end"
    settings = ", ".join(name_settings(*setting) for setting in space.prepare_settings())
    per_trial = f"{resources.cpus_per_trial} CPU core{'s' if resources.cpus_per_trial > 1 else ''}"
    if resources.gpus_per_trial:
        per_trial += f" and {resources.gpus_per_trial:g} GPU"
    skipped = len(plan.annotations.skipped)
    lines = [
        ("space", f"{space.name}: {space.description}"),
        ("data", ", ".join(f"{count} {split}" for split, count in counts.items() if count)),
        ("selects on", "val" if plan.options.select_on == "val" else "15% of train, held out; val stays unseen"),
        (
            "trials",
            f"{plan.trials} by {space.sampler}, {len(space.first_points(plan.annotations.schema))} of them known ones",
        ),
        ("searched", ", ".join(parameter.name for parameter in space.parameters)),
        ("rungs", f"{rungs} (of {scheduler.max_epochs} epochs)"),
        ("epochs", f"about {expected:.0f}, {expected / plan.full_epochs:.0%} of full training ({plan.full_epochs})"),
        ("at once", f"{resources.concurrent} trials, each with {per_trial}"),
        ("backbones", ", ".join(f"{name} ({size / 1e6:.1f} M)" for name, size in backbone_sizes.items())),
        (
            "prepared data",
            f"{settings}: {plan.prepared_bytes / 2**20:,.0f} MiB in {plan.cache_dir}, shared by all trials",
        ),
        ("results", str(plan.layout.folder)),
        ("tracking", plan.options.tracking_uri or f"MLflow in {plan.layout.tracking_db}"),
    ]
    if skipped:
        lines.insert(2, ("skipped", f"{skipped} faults in the annotations; their rows are left out"))
    return lines
