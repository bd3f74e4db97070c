"""`EFFECTS.md`: which parameters mattered, with intervals, from the ledger of a search."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fashion_core import metrics
from fashion_core.errors import SearchError
from fashion_core.escaping import write_code, write_name
from fashion_core.files import write_whole
from search.records.events import TrialStatus
from search.records.ledger import unpack_correct
from search.reporting.tables import render_table
from search.reporting.words import describe_labelled, format_value, write_count
from search.space.rungs import list_rungs
from search.space.weights import WEIGHT_PREFIX, WEIGHTS
from search.statistics.effects import (
    MIN_SPARE,
    Design,
    Effects,
    Rung,
    compute_kendall,
    count_wanted,
    estimate_effects,
)
from search.statistics.intervals import list_outcomes

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from search.records.layout import SearchLayout
    from search.records.record import SearchRecord, TrialRecord

MAX_LEVELS = 5  # of a number that is taken as a choice
ENDS = (0.1, 0.5, 0.9)  # quantiles between which the effect of a number is told
IS_THERE = " is there"  # behind the name of a parameter: whether a trial has it
SPARE_SHARE = 1e-6  # of a column's variance, which other columns leave: less is what rounding leaves
BOOTSTRAPS = 2000
SCORED = (TrialStatus.FINISHED, TrialStatus.STOPPED, TrialStatus.PAUSED)
NONE_WENT_ON = "none of these went on that far"


def build_design(
    trials: Sequence[dict[str, Any]],
    names: Sequence[str],
    categories: Sequence[str],
    together: tuple[str, str] | None = None,
) -> Design:
    """The model of trials by their flat parameters; one that never varies is left out.

    A choice has a column for each but its first value; a number its value and square; a category weight its logarithm
    less the mean of all weights' logarithms, since only their ratios count. A trial without a parameter has 0 in its
    columns, as one with its middle value has, or with its first choice: so its effect is that among the trials with it.
    Whether a trial has it has a column too, unless other columns tell that, else it would take that for its own.

    Args:
        together: two parameters, for the columns and effects of their acting together besides.
    """
    columns = Columns(len(trials))
    weight_names = [WEIGHT_PREFIX + category for category in categories if WEIGHT_PREFIX + category in names]
    for name in names:
        has = np.array([name in trial for trial in trials])
        if name not in weight_names and has.any():
            columns.add_parameter(name, [trial.get(name) for trial in trials], has)
    has = np.array([all(name in trial for name in weight_names) for trial in trials])
    if len(weight_names) > 1 and has.any():
        logs = np.log2([[trial.get(name, 1.0) for name in weight_names] for trial in trials])  # [T, K]
        columns.add_weights(weight_names, np.where(has[:, None], logs - logs.mean(1, keepdims=True), 0.0), has)
    if together is not None:
        columns.add_product(*together)
    columns.add_presence()
    return columns.build()


class Columns:
    """The columns of a design, one parameter after another.

    Attributes:
        found: [T] each. known: places of a parameter's. changes: (parameter, change in words, steps of columns).
        presence: [T] bool of each parameter that some trials lack.
        ends: of a parameter, its changes over all of its range, straight: what is told of two acting together.
        levels: of a choice, [T] bool each: which trials have that value.
        unshrunk: see `search.statistics.effects.Design`.
    """

    def __init__(self, trials: int) -> None:
        self.found = [np.ones(trials)]
        self.known: dict[str, list[int]] = {}
        self.changes: list[tuple[str, str, dict[int, float]]] = []
        self.ends: dict[str, list[tuple[str, dict[int, float]]]] = {}
        self.presence: dict[str, np.ndarray] = {}
        self.levels: dict[str, list[np.ndarray]] = {}
        self.unshrunk: set[str] = set()

    def add(self, name: str, values: np.ndarray) -> int:
        """One column. Returns its place."""
        self.found.append(values)
        self.known.setdefault(name, []).append(len(self.found) - 1)
        return len(self.found) - 1

    def add_parameter(self, name: str, values: Sequence[Any], has: np.ndarray) -> None:
        """A number or choice. has: [T] which trials have it."""
        own = [value for value, known in zip(values, has, strict=True) if known]
        levels = sorted(
            set(own), key=lambda value: (value is None, isinstance(value, str), value if value is not None else 0)
        )
        suffix = "" if has.all() else f" (in {int(has.sum())} trials)"
        if len(levels) < 2:
            return
        if not has.all():
            self.presence[name] = has
        if len(levels) > MAX_LEVELS and not any(isinstance(value, (str, bool)) or value is None for value in levels):
            self.add_number(name, np.array(own, float), has, suffix)
            return
        self.levels[name] = [
            np.array([known and value == level for value, known in zip(values, has, strict=True)]) for level in levels
        ]
        for level, is_level in zip(levels[1:], self.levels[name][1:], strict=True):
            step = {self.add(name, is_level.astype(float)): 1.0}
            text = f"{format_value(levels[0])} → {format_value(level)}{suffix}"
            self.changes.append((name, text, step))
            self.ends.setdefault(name, []).append((text, step))

    def add_number(self, name: str, numbers: np.ndarray, has: np.ndarray, suffix: str) -> None:
        """A number with a curve."""
        if by_log := is_logarithmic(numbers):
            numbers = np.log(numbers)
        points = np.quantile(numbers, ENDS)
        range_ = points[2] - points[0] or np.ptp(numbers)
        scaled, places = np.zeros(len(has)), (points - points[1]) / range_
        scaled[has] = (numbers - points[1]) / range_
        line, square = self.add(name, scaled), self.add(name, scaled**2)
        texts = [format_value(float(value), 2) for value in (np.exp(points) if by_log else points)]
        for low, high in ((0, 1), (1, 2)):
            moved = {line: places[high] - places[low], square: places[high] ** 2 - places[low] ** 2}
            self.changes.append((name, f"{texts[low]} → {texts[high]}{suffix}", moved))
        self.ends[name] = [(f"{texts[0]} → {texts[2]}", {line: places[2] - places[0]})]

    def add_weights(self, names: Sequence[str], ratios: np.ndarray, has: np.ndarray) -> None:
        """The category weights. ratios: [T, K] logarithms less their mean."""
        suffix = "" if has.all() else f" (in {int(has.sum())} trials)"
        places = [self.add(WEIGHTS, column) for column in ratios.T]
        for index, name in enumerate(names):  # one weight twice as large: its ratio to each other one doubles
            moved = {place: (place == places[index]) - 1 / len(places) for place in places}
            self.changes.append((WEIGHTS, f"{name.removeprefix(WEIGHT_PREFIX)} x 2{suffix}", moved))

    def add_product(self, one: str, other: str) -> None:
        """Two parameters acting together: by how much the change of one is another where the other has changed."""
        name, centred = f"{one} x {other}", [values - values.mean() for values in self.found]
        places: dict[tuple[int, int], int] = {}
        for text, step in self.ends[one]:
            for other_text, other_step in self.ends[other]:
                moved = {}
                for first, by in step.items():
                    for second, other_by in other_step.items():
                        pair = first, second
                        if pair not in places:
                            places[pair] = self.add(name, centred[first] * centred[second])
                        moved[places[pair]] = by * other_by
                self.changes.append((name, f"{text}, where {other} {other_text}", moved))

    def add_presence(self) -> None:
        """Whether a trial has a parameter, where the other columns do not tell: no change of it is told.

        That goes together with the parameters that it hangs on, so none of them is shrunk: what one lost, the others
        would be given.
        """
        for name, has in self.presence.items():
            own = has - has.mean()
            others = np.stack(self.found, 1)
            left = own - others @ np.linalg.lstsq(others, own, rcond=None)[0]
            if left @ left > SPARE_SHARE * (own @ own):
                self.add(f"{name}{IS_THERE}", has.astype(float))
                self.unshrunk |= {f"{name}{IS_THERE}", *self.find_parents(name, has)}

    def find_parents(self, name: str, has: np.ndarray) -> set[str]:
        """The choices that a parameter hangs on: with one of their values, no trial has it."""
        return {
            parent
            for parent, levels in self.levels.items()
            if parent != name and any(level.any() and not (level & has).any() for level in levels)
        }

    def build(self) -> Design:
        """The design."""
        effects = []
        for name, text, moved in self.changes:
            difference = np.zeros(len(self.found))
            difference[list(moved)] = list(moved.values())
            effects.append((name, text, difference))
        return Design(np.stack(self.found, 1), self.known, effects, frozenset(self.unshrunk))


def is_logarithmic(numbers: np.ndarray) -> bool:
    """Whether numbers lie more evenly by their logarithms: the median of these is nearer to the middle of the range."""
    if numbers.min() <= 0:
        return False
    plain, logs = (
        abs((np.median(values) - values.min()) / np.ptp(values) - 0.5) for values in (numbers, np.log(numbers))
    )
    return bool(logs < plain)


def split_stages(trial: TrialRecord) -> tuple[float, float] | None:
    """Best score of a trial's probe epochs and of the epochs after; None where it lacks either."""
    best: dict[float, float] = {}
    for row in trial.epochs:
        stage = row.metrics.get(metrics.PROBE)
        if stage is not None:
            best[stage] = max(best.get(stage, 0.0), trial.read_score(row))
    return (best[1.0], best[0.0]) if best.keys() == {1.0, 0.0} else None


def write_effects(layout: SearchLayout, record: SearchRecord) -> Path:
    """Write `EFFECTS.md` into the search's folder. Returns it.

    Raises:
        SearchError: too few of its trials finished.
    """
    write_whole(layout.effects, render_effects(record))
    return layout.effects


@dataclass(frozen=True)
class Mattered:
    """What the trials of a search tell of its parameters.

    Attributes:
        trials: those that tell; correct: what they answered, [T, N, K].
        epochs, rungs: see `find_rungs`; last: the place of the rung that the effects are of.
    """

    trials: list[TrialRecord]
    correct: np.ndarray
    epochs: list[int]
    rungs: list[Rung]
    last: int
    design: Design
    effects: Effects


def list_telling(record: SearchRecord) -> list[TrialRecord]:
    """The trials that tell of parameters: with a score and the answers behind it."""
    return [trial for _, trial in sorted(record.trials.items()) if trial.status in SCORED and trial.correct]


def count_missing(record: SearchRecord) -> int:
    """How many more trials the effects of its parameters need; 0 where they can be estimated."""
    trials = list_telling(record)
    design = build_design([trial.params for trial in trials], record.param_names, record.category_names)
    return max((count_wanted(design) if trials else MIN_SPARE) - len(trials), 0)


def estimate_mattered(record: SearchRecord) -> Mattered:
    """The effects of the parameters of a search.

    Raises:
        SearchError: too few of its trials finished, or too few images of a class were scored.
    """
    categories, trials = record.category_names, list_telling(record)
    if missing := count_missing(record):
        raise SearchError(
            f"effects of this space need at least {len(trials) + missing} trials that finished or that ASHA stopped, "
            f"but {record.name} has {len(trials)}; run {missing} more of them"
        )
    if record.measure.list_single():
        raise SearchError(
            f"effects on {record.objective.name} need two images or more of each class among those selected on, but in "
            f"{record.name} some class has one; label more of them"
        )
    design = build_design([trial.params for trial in trials], record.param_names, categories)
    images = record.begun.tell("selection", "select_count")
    correct = np.stack([unpack_correct(trial.correct or "", images, len(categories)) for trial in trials])
    epochs, rungs = find_rungs(record, trials, correct)
    last = max(n for n, rung in enumerate(rungs) if n == 0 or len(rung.rows) >= count_wanted(design, n))
    effects = estimate_effects(design, correct, rungs[: last + 1], record.measure)
    return Mattered(trials, correct, epochs, rungs, last, design, effects)


def render_effects(record: SearchRecord) -> str:
    """The effects as markdown."""
    objective = write_code(record.objective.name)
    parts = [f"# What mattered in the search {write_code(record.name)}", *render_stages(record)]
    if len(parts) > 1 and count_missing(record):
        return "\n\n".join(parts) + "\n"  # what there is to say of the stages stands for itself
    found = estimate_mattered(record)
    trials, effects = found.trials, found.effects
    images = record.begun.tell("selection", "select_count")
    labelled = describe_labelled(record.selection.get("labelled"))
    parts.append(
        f"{len(trials)} {describe_estimated(found)} on the same "
        f"{images:,} images{labelled}. Changes of {objective} and of the accuracy of each category in "
        "percentage points, ± half a 95% interval over trials and images together; **bold** where it does not hold 0. "
        "Of 20 cells, about one is bold by chance. A change of one parameter goes with the others as they were drawn."
    )
    parts += describe_selection(record, trials, len(found.rungs) > 1)
    parts += [render_effect_table(record, found.design, effects), *describe_conditional(trials, record.param_names)]
    parts.append("## How much of the spread is whose")
    rows = [
        [write_code(name), f"{share:.1%}"] for name, share in sorted(effects.shares.items(), key=lambda item: -item[1])
    ]
    parts.append(render_table(["parameter", f"share of the variance of {objective}"], rows))
    parts.append(
        f"Less what chance alone would give a parameter, so a share may be below 0. The model leaves "
        f"{effects.noise:.1%} to the seed, to parameters acting together, and to curves it cannot follow."
    )
    parts += render_together(record, trials, found.correct, found.rungs, find_strongest(effects, trials))
    return "\n\n".join(parts) + "\n"


def describe_estimated(found: Mattered) -> str:
    """Which scores the effects are of."""
    return describe_scored(found.epochs, found.rungs, found.last, count_wanted(found.design, len(found.rungs) - 1))


def find_rungs(
    record: SearchRecord, trials: Sequence[TrialRecord], correct: np.ndarray
) -> tuple[list[int], list[Rung]]:
    """Where trials were stopped, by epoch, and what each scored there: its best so far, as ASHA compares them.

    The last is the end of training, of which `correct` tells, [T, N, K].
    """
    settings = record.settings
    ends = np.stack([outcome.mean(1) for outcome in list_outcomes(correct, record.measure)], 1)  # [T, O]
    finished = np.flatnonzero([trial.status == TrialStatus.FINISHED for trial in trials])
    if len(finished) == len(trials):
        return [settings.get("max_epochs", 0)], [Rung(finished, ends)]
    names = [record.objective.name, *(f"{metrics.ACCURACY}/{name}" for name in record.category_names)]
    max_epochs = settings.get("max_epochs", 0)
    epochs = list_rungs(max_epochs, settings.get("grace_epochs"), settings.get("reduction_factor"))
    rungs = []
    for epoch in epochs:
        reached = [number for number, trial in enumerate(trials) if trial.last_epoch >= epoch]
        rows = [
            max((row for row in trials[number].epochs if row.epoch <= epoch), key=trials[number].read_score)
            for number in reached
        ]
        scores = [[row.metrics.get(name) or 0.0 for name in names] for row in rows]
        if reached:
            rungs.append(Rung(np.array(reached), np.array(scores)))
    return [*epochs[: len(rungs)], max_epochs], [*rungs, Rung(finished, ends[finished])]


def describe_scored(epochs: Sequence[int], rungs: Sequence[Rung], last: int, wanted: int) -> str:
    """Which scores the effects are of."""
    if len(rungs) == 1:
        return "finished trials, each scored by its best epoch"
    counts = ", ".join(f"{len(rung.rows)} reached epoch {epoch}" for epoch, rung in zip(epochs, rungs, strict=True))
    text = f"trials ({counts})"
    if last < len(rungs) - 1:
        return (
            f"{text}. Effects on the score after epoch {epochs[last]}, since effects on the end of training need "
            f"{wanted} trials there; each scored by its best epoch until then"
        )
    return f"{text}. Effects on the end of training; each scored by its best epoch"


def describe_selection(record: SearchRecord, trials: Sequence[TrialRecord], was_stopped: bool) -> list[str]:
    """What the choice of trials did to the effects, and what was done about it."""
    parts = []
    if was_stopped:
        parts.append(
            "ASHA chose who went on by the score at a rung, so among those who did, effects look smaller than they "
            "are. Here all trials count: an effect at a rung is what it is beyond the score at the rung before, among "
            "those who went on, plus what that score carries of the effect there."
        )
    if record.settings.get("sampler") == "tpe":
        parts.append(
            "The sampler drew more trials where scores were good, so parameters were not drawn independently of each "
            "other: `sampler: random` gives cleaner effects."
        )
    if left_out := len(record.trials) - len(trials):
        parts.append(
            f"{write_count(left_out, 'trial')} that failed, diverged, still run or have no answers kept are left out: "
            "what makes trials fail is not in these effects."
        )
    return parts


def describe_conditional(trials: Sequence[TrialRecord], names: Sequence[str]) -> list[str]:
    """Which parameters not every trial has."""
    some = [name for name in names if 0 < sum(name in trial.params for trial in trials) < len(trials)]
    if not some:
        return []
    listed = ", ".join(map(write_code, some))
    return [f"Not all trials have {listed}: an effect is among those that do, whose number stands beside the change."]


def find_strongest(effects: Effects, trials: Sequence[TrialRecord]) -> tuple[str, str] | None:
    """The two parameters with the largest shares, of those that all trials have; None where there are not two."""
    names = [name for name in effects.shares if all(name in trial.params for trial in trials)]
    if len(names) < 2:
        return None
    one, other = sorted(names, key=lambda name: -effects.shares[name])[:2]
    return one, other


def render_together(
    record: SearchRecord,
    trials: Sequence[TrialRecord],
    correct: np.ndarray,
    rungs: Sequence[Rung],
    pair: tuple[str, str] | None,
) -> list[str]:
    """How the two strongest parameters act together."""
    if pair is None:
        return []
    title = f"## How {write_code(pair[0])} and {write_code(pair[1])} act together"
    design = build_design([trial.params for trial in trials], record.param_names, record.category_names, pair)
    if len(trials) < (wanted := count_wanted(design)):
        return [title, f"That takes {wanted} trials, and there are {len(trials)}."]
    last = max(n for n, rung in enumerate(rungs) if n == 0 or len(rung.rows) >= count_wanted(design, n))
    effects = estimate_effects(design, correct, rungs[: last + 1], record.measure)
    text = (
        "The two strongest of the parameters that all trials have. By how much more the first change raises the score "
        "where the second parameter has changed too than where it has not; 0: each acts by itself. Numbers are "
        "taken along a straight line."
    )
    if last < len(rungs) - 1:
        text += " For this, too few trials were trained to the end: it is of the last rung that enough reached."
    return [title, text, render_effect_table(record, design, effects, only=f"{pair[0]} x {pair[1]}")]


def render_effect_table(record: SearchRecord, design: Design, effects: Effects, only: str | None = None) -> str:
    """One row an effect, one column an outcome; the last two split the error of the first. only: rows of this name."""
    categories, objective = record.category_names, record.objective
    score = "mean" if objective.is_default else write_name(objective.name)
    head = ["parameter", "change", score, *map(write_name, categories), "± by trials, by images"]
    rows = []
    for index, (name, text, _) in enumerate(design.effects):
        if only is not None and name != only:
            continue
        if np.isnan(effects.values[index, 0]):
            rows.append([write_code(name), write_name(text), NONE_WENT_ON, *[""] * (len(categories) + 1)])
            continue
        cells = []
        for value, half in zip(100 * effects.values[index], 100 * effects.halves[index], strict=True):
            cell = f"{value:+.2f} ± {half:.2f}"
            cells.append(f"**{cell}**" if abs(value) > half else cell)
        scale = 100 * effects.halves[index, 0] / (effects.errors[index, 0] or 1.0)
        split = [scale * errors[index, 0] for errors in (effects.trial_errors, effects.image_errors)]
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
        f"{len(pairs)} trials trained in both stages. The best {write_code(record.objective.name)} of the probe and "
        f"that of the whole network rank them alike with Kendall's tau **{compute_kendall(*pairs.T):.2f}** (95% "
        f"interval over trials {low:.2f} to {high:.2f}; 1 is the same order, 0 no relation); counting pairs of one "
        f"backbone alone, with {compute_kendall(pairs[:, 0], pairs[:, 1], backbones):.2f}. A trial that was stopped in "
        "the probe is not among them: where the weak ones were, tau is lower than it would be over all."
    )
    return ["## Does the probe predict the outcome?", text]
