"""`EFFECTS.md`: which parameters mattered, with intervals, from the ledger of a search."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fashion_core import metrics
from fashion_core.errors import SearchError
from fashion_core.escaping import write_code, write_name
from fashion_core.files import write_whole
from search.records.events import TrialStatus
from search.records.ledger import unpack_correct
from search.reporting.tables import render_table
from search.reporting.words import describe_labelled, format_value
from search.space.weights import WEIGHT_PREFIX, WEIGHTS
from search.statistics.effects import BOOTSTRAPS, MIN_SPARE, SURE, Design, Effects, compute_kendall, estimate_effects

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from search.records.layout import SearchLayout
    from search.records.record import SearchRecord, TrialRecord

MAX_LEVELS = 5  # of a number that is taken as a choice
ENDS = (0.1, 0.5, 0.9)  # quantiles between which the effect of a number is told


def build_design(trials: Sequence[dict[str, Any]], names: Sequence[str], categories: Sequence[str]) -> Design:
    """The model of trials by their flat parameters. One that not every trial has, or that never varies, is left out.

    A choice has a column for each but its first value; a number its value and square; a category weight its logarithm
    less the mean of all weights' logarithms, since only their ratios count.
    """
    columns, effects = [np.ones(len(trials))], []
    known: dict[str, list[int]] = {}
    changes: list[tuple[str, str, dict[int, float]]] = []

    def add(name: str, values: np.ndarray) -> int:
        columns.append(values)
        known.setdefault(name, []).append(len(columns) - 1)
        return len(columns) - 1

    common = [name for name in names if all(name in trial for trial in trials)]
    weight_names = [name for name in common if name in {WEIGHT_PREFIX + category for category in categories}]
    for name in common:
        if name in weight_names:
            continue
        values = [trial[name] for trial in trials]
        levels = sorted(
            set(values), key=lambda value: (value is None, isinstance(value, str), value if value is not None else 0)
        )
        if len(levels) < 2:
            continue
        if len(levels) > MAX_LEVELS and not any(isinstance(value, (str, bool)) or value is None for value in levels):
            numbers = np.array(values, float)
            if by_log := is_logarithmic(numbers):
                numbers = np.log(numbers)
            points = np.quantile(numbers, ENDS)
            scaled = (numbers - points[1]) / (points[2] - points[0])
            places = (points - points[1]) / (points[2] - points[0])
            line, square = add(name, scaled), add(name, scaled**2)
            texts = [format_value(float(value), 2) for value in (np.exp(points) if by_log else points)]
            for low, high in ((0, 1), (1, 2)):
                moved = {line: places[high] - places[low], square: places[high] ** 2 - places[low] ** 2}
                changes.append((name, f"{texts[low]} → {texts[high]}", moved))
        else:
            for level in levels[1:]:
                column = add(name, np.array([value == level for value in values], float))
                changes.append((name, f"{format_value(levels[0])} → {format_value(level)}", {column: 1.0}))
    if len(weight_names) > 1:
        logs = np.log2([[trial[name] for name in weight_names] for trial in trials])  # [T, K]
        ratios = logs - logs.mean(1, keepdims=True)
        places = [add(WEIGHTS, ratios[:, index]) for index in range(len(weight_names))]
        for index, name in enumerate(weight_names):  # one weight twice as large: its ratio to each other one doubles
            moved = {place: (place == places[index]) - 1 / len(places) for place in places}
            changes.append((WEIGHTS, f"{name.removeprefix(WEIGHT_PREFIX)} x 2", moved))
    for name, text, moved in changes:
        difference = np.zeros(len(columns))
        difference[list(moved)] = list(moved.values())
        effects.append((name, text, difference))
    freedom = {name: len(found) - (name == WEIGHTS) for name, found in known.items()}  # ratios of K weights are K - 1
    return Design(np.stack(columns, 1), known, freedom, effects)


def is_logarithmic(numbers: np.ndarray) -> bool:
    """Whether numbers lie more evenly by their logarithms: the median of these is nearer to the middle of the range."""
    if numbers.min() <= 0:
        return False
    plain, logs = (
        abs((np.median(values) - values.min()) / np.ptp(values) - 0.5) for values in (numbers, np.log(numbers))
    )
    return bool(logs < plain)


def split_stages(trial: TrialRecord) -> tuple[float, float] | None:
    """Best val/accuracy of a trial's probe epochs and of the epochs after; None where it lacks either."""
    best: dict[float, float] = {}
    for row in trial.epochs:
        stage = row.metrics.get(metrics.PROBE)
        if stage is not None:
            best[stage] = max(best.get(stage, 0.0), row.metrics.get(metrics.ACCURACY) or 0.0)
    return (best[1.0], best[0.0]) if best.keys() == {1.0, 0.0} else None


def write_effects(layout: SearchLayout, record: SearchRecord) -> Path:
    """Write `EFFECTS.md` into the search's folder. Returns it.

    Raises:
        SearchError: too few of its trials finished.
    """
    write_whole(layout.effects, render_effects(record))
    return layout.effects


def render_effects(record: SearchRecord) -> str:
    """The effects as markdown."""
    categories = record.category_names
    trials = [
        trial for _, trial in sorted(record.trials.items()) if trial.status == TrialStatus.FINISHED and trial.correct
    ]
    parts = [f"# What mattered in the search {write_code(record.name)}", *render_stages(record)]
    design = build_design([trial.params for trial in trials], record.param_names, categories)
    wanted = design.matrix.shape[1] + MIN_SPARE if trials else MIN_SPARE
    if len(trials) < wanted:
        if len(parts) > 1:  # what there is to say of the stages stands for itself
            return "\n\n".join(parts) + "\n"
        raise SearchError(
            f"effects of this space need at least {wanted} finished trials, but {record.name} has "
            f"{len(trials)}; run more of them"
        )
    images = record.begun.tell("selection", "select_count")
    correct = np.stack([unpack_correct(trial.correct or "", images, len(categories)) for trial in trials])
    effects = estimate_effects(design, correct, np.random.default_rng(0))
    labelled = describe_labelled(record.selection.get("labelled"))
    parts.append(
        f"{len(trials)} finished trials, each scored by its best epoch on the same {images:,} images{labelled}. "
        f"Changes of `{metrics.ACCURACY}` and of the accuracy of each category in percentage points, ± half a 95% "
        "interval over trials and images together; **bold** where it does not hold 0. Of 20 cells, about one is bold "
        "by chance. "
        "A change of one parameter goes with the others as they were drawn; that two parameters act together is not "
        "in this model."
    )
    if record.settings.get("sampler") == "tpe":
        parts.append(
            "The sampler drew more trials where scores were good, so parameters were not drawn independently of each "
            "other: `sampler: random` gives cleaner effects."
        )
    parts += [render_effect_table(design, effects, categories), "## How much of the spread is whose"]
    rows = [
        [write_code(name), f"{share:.1%}"] for name, share in sorted(effects.shares.items(), key=lambda item: -item[1])
    ]
    parts.append(render_table(["parameter", f"share of the variance of `{metrics.ACCURACY}`"], rows))
    parts.append(
        f"Less what chance alone would give a parameter, so a share may be below 0. The model leaves "
        f"{effects.noise:.1%} to the seed, to parameters acting together, and to curves it cannot follow."
    )
    return "\n\n".join(parts) + "\n"


def render_effect_table(design: Design, effects: Effects, categories: Sequence[str]) -> str:
    """One row an effect, one column an outcome; the last two split the error of the mean."""
    head = ["parameter", "change", "mean", *map(write_name, categories), "± by trials, by images"]
    rows = []
    for index, (name, text, _) in enumerate(design.effects):
        cells = []
        for value, error in zip(100 * effects.values[index], 100 * SURE * effects.errors[index], strict=True):
            cell = f"{value:+.2f} ± {error:.2f}"
            cells.append(f"**{cell}**" if abs(value) > error else cell)
        split = [100 * SURE * errors[index, 0] for errors in (effects.trial_errors, effects.image_errors)]
        rows.append([write_code(name), write_name(text), *cells, f"{split[0]:.2f}, {split[1]:.2f}"])
    return render_table(head, rows)


def render_stages(record: SearchRecord) -> list[str]:
    """Whether the probe ranks trials as the fine-tuning does; nothing where no trial has both stages."""
    found = [(pair, trial) for trial in record.trials.values() if (pair := split_stages(trial)) is not None]
    if len(found) < 3:
        return []
    pairs = np.array([pair for pair, _ in found])
    backbones = np.array([str(trial.params.get("backbone")) for _, trial in found])
    rng = np.random.default_rng(0)
    rows = rng.integers(len(pairs), size=(BOOTSTRAPS, len(pairs)))
    low, high = np.quantile([compute_kendall(*pairs[drawn].T) for drawn in rows], [0.025, 0.975])
    text = (
        f"{len(pairs)} trials trained in both stages. The best `{metrics.ACCURACY}` of the probe and that of the whole "
        f"network rank them alike with Kendall's tau **{compute_kendall(*pairs.T):.2f}** (95% interval over trials "
        f"{low:.2f} to {high:.2f}; 1 is the same order, 0 no relation); counting pairs of one backbone alone, with "
        f"{compute_kendall(pairs[:, 0], pairs[:, 1], backbones):.2f}. A trial that was stopped in the probe is not "
        "among them: where the weak ones were, tau is lower than it would be over all."
    )
    return ["## Does the probe predict the outcome?", text]
