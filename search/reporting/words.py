"""Numbers, durations, parameters and trials in words."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fashion_core import metrics
from fashion_core.errors import FashionError
from fashion_core.escaping import write_name
from fashion_core.models.cost import UNLIMITED
from search.records.events import EndReason, TrialStatus
from search.records.own_space import load_own_space
from search.records.record import SearchRecord, TrialRecord, sum_up
from search.reporting.ties import Standing, compare_with_best
from search.space.weights import WEIGHT_PREFIX, WEIGHTS
from search.statistics.intervals import LEVEL, Estimate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fashion_core.models.cost import Cost
    from search.records.events import OtherSearch
    from search.records.limits import Limits

# What gives a search more that ended by a limit: options of `extend`, with a value to begin from.
MORE: dict[str, str] = {
    EndReason.TIME_BUDGET: "--time-budget 8h",
    EndReason.GPU_BUDGET: "--budget-gpu-hours 10",
    EndReason.COST_BUDGET: "--budget-cost 20",
    EndReason.NO_GAIN: "--stop-after 30",
    EndReason.TARGET: "--target 0.9",
}
MORE_TRIALS = 50
LOST = (TrialStatus.FAILED, TrialStatus.DIVERGED)


@dataclass(frozen=True)
class TrialWords:
    """A trial as people read of it.

    Attributes:
        score: best score with its standard error; beside: the other score of that epoch, see `Objective.beside`.
        origin: see `describe_origin`.
        params: short texts by name, the category weights as one.
        weighted: the categories whose weights were searched.
        reason: one line on its end.
        against: its score less the best one, points, `=` where they are tied; empty where that is not known.
    """

    number: int
    status: TrialStatus
    epochs: int
    best_epoch: int | None
    score: str
    beside: str
    origin: str
    params: dict[str, str]
    weighted: tuple[str, ...]
    reason: str
    cutoff: float | None
    against: str = ""


@dataclass(frozen=True)
class SearchWords:
    """A search as people read of it: what report and summary are made of.

    Attributes:
        counts: `3 finished, 2 stopped`.
        duration: how long it ran; took: the same with preparing, once it has ended, else None.
        ranked, others, epochs, full_epochs, saved_epochs: see `search.records.record.Outcome`.
        tied: numbers of the trials that are not told apart from the best, see `search.reporting.ties`; None where the
            best score's error is not known.
        unpaired: how many trials could not be compared with it image by image.
        error: standard error of the best score.
        objective: the score that trials are compared by.
        majority: score of always answering the commonest class.
        accuracies: (category, accuracy of the best trial, of always answering its commonest class), the mean last.
        images: how many the trials were scored on; None where that is not known.
        labelled: how many of these are labelled in each category; empty where all are in all.
        why: why it ended; None where it has not. way: how to go on.
        spent: `2 min 10 s preparing, 1 h 05 min training`, and GPU hours; empty where that is not known.
    """

    name: str
    categories: tuple[str, ...]
    counts: str
    duration: str
    took: str | None
    ranked: tuple[TrialWords, ...]
    others: tuple[TrialWords, ...]
    epochs: int
    full_epochs: int
    saved_epochs: int
    tied: tuple[int, ...] | None
    error: str
    objective: metrics.Objective
    majority: str | None
    accuracies: tuple[tuple[str, str, str | None], ...]
    images: int | None
    labelled: tuple[int, ...] = ()
    why: str | None = None
    way: str = ""
    spent: str = ""
    unpaired: int = 0

    @property
    def ending(self) -> str | None:
        """Why it ended, and how to go on; None where it has not."""
        return self.why and f"{self.why}; {self.way}"

    @property
    def scored(self) -> int | None:
        """How many images the score is of: of one category's accuracy, those labelled in it."""
        if self.objective.category is None or not self.labelled:
            return self.images
        return self.labelled[self.categories.index(self.objective.category)]

    @property
    def trials(self) -> int:
        """How many there are."""
        return len(self.ranked) + len(self.others)

    @property
    def lost(self) -> list[TrialWords]:
        """Trials that failed or diverged, by number."""
        found = [trial for trial in (*self.ranked, *self.others) if trial.status in LOST]
        return sorted(found, key=lambda trial: trial.number)


def describe_search(record: SearchRecord, after: float = 0.0) -> SearchWords:
    """The words of a search, once for all who print it.

    Args:
        after: seconds that its command went on for after the last event, for the best model and the report.
    """
    outcome, categories, objective = sum_up(record), record.category_names, record.objective
    standings = compare_with_best(record, outcome.ranked)
    is_grid, data, ended = record.settings.get("sampler") == "grid", record.data, record.ended
    best = outcome.ranked[0].best_metrics if outcome.ranked else {}
    commonest: dict[str, float] | None = data.get("majority_by_category")
    rows = [(name, f"{metrics.ACCURACY}/{name}", (commonest or {}).get(name)) for name in categories]
    known = list((commonest or {}).values())
    mean = sum(known) / len(known) if len(known) == len(categories) and known else None
    rows.append(("mean", metrics.ACCURACY, data.get("majority") if objective.is_default else mean))
    return SearchWords(
        name=record.name or "the search",
        categories=tuple(categories),
        counts=describe_counts(outcome.statuses),
        duration=format_duration(record.seconds),
        took=None if ended is None else format_duration(record.preparing_seconds + ended.seconds + after),
        ranked=tuple(
            describe_trial(trial, categories, (standings or {}).get(trial.number), is_grid=is_grid)
            for trial in outcome.ranked
        ),
        others=tuple(describe_trial(trial, categories, is_grid=is_grid) for trial in outcome.others),
        epochs=outcome.epochs,
        full_epochs=outcome.full_epochs,
        saved_epochs=outcome.saved_epochs,
        tied=None if standings is None else tuple(number for number, each in standings.items() if each.is_tied),
        error=format_score(best.get(objective.error_name)),
        objective=objective,
        majority=None if data.get("majority") is None else format_score(data["majority"]),
        accuracies=tuple(
            (name, format_score(best.get(key)), format_score(value) if commonest else None) for name, key, value in rows
        ),
        images=record.selection.get("select_count"),
        labelled=tuple(record.selection.get("labelled", {}).values()),
        why=None if ended is None else describe_ending(record, ended.reason),
        way=describe_way(record),
        spent=describe_spent(record, after),
        unpaired=sum(not each.is_paired for each in (standings or {}).values()),
    )


def describe_ending(record: SearchRecord, reason: str) -> str:
    """Why a search ended. reason: an `EndReason`, or a word of a later version."""
    limits = record.limits
    cut_short = "it was interrupted"
    if reason == EndReason.INTERRUPTED and record.reached is not None:
        cut_short += f", and {describe_ending(record, record.reached)}"
    words: dict[str, str] = {
        EndReason.ALL_ENDED: "all trials ended",
        EndReason.TIME_BUDGET: f"the time budget of {format_duration(limits.seconds or 0)} is spent",
        EndReason.GPU_BUDGET: f"the budget of {format_value(limits.gpu_hours)} GPU hours is spent",
        EndReason.COST_BUDGET: f"the budget of {format_value(limits.cost)} is spent",
        EndReason.NO_GAIN: describe_patience(limits),
        EndReason.TARGET: f"a trial has reached the target of {format_value(limits.target)}",
        EndReason.STOPPED: "it was asked to stop",
        EndReason.INTERRUPTED: cut_short,
        EndReason.BROKEN: "Ray Tune could not go on",
        EndReason.INCOMPLETE: "trials are missing, though nobody asked for that",
    }
    return words.get(reason, reason)


@dataclass(frozen=True)
class Way:
    """How a search goes on, as options: of one kind at most; of none where it cannot.

    Attributes:
        more: of `extend`. again: of a trial to be trained again, alone, as all are lost. resumes: with `--resume`.
    """

    more: str | None = None
    again: int | None = None
    resumes: bool = False


def find_reason(record: SearchRecord) -> str:
    """Why a search ended, as it counts for going on: by its limit, though a signal cut short what ran still then."""
    if record.ended is None:
        return ""
    is_limit = record.ended.reason == EndReason.INTERRUPTED and record.reached in MORE
    return record.reached if is_limit and record.reached is not None else record.ended.reason


def find_way(record: SearchRecord) -> Way:
    """How a search goes on that has ended, or is given more."""
    reason = find_reason(record)
    if reason not in (EndReason.ALL_ENDED, *MORE):
        return Way(resumes=True)
    lost = [number for number, trial in sorted(record.trials.items()) if trial.status in LOST]
    if lost and len(lost) == len(record.trials):
        return Way(again=lost[0])
    return Way(find_target(record) if reason == EndReason.TARGET else MORE.get(reason) or find_trials(record))


def find_target(record: SearchRecord) -> str | None:
    """A target that the best trial has not reached; where there is none, more trials."""
    best = max((trial.best_trained or 0.0 for trial in record.rank()), default=0.0)
    if best < 0.9:
        return MORE[EndReason.TARGET]
    higher = round((1 + best) / 2, 3)
    return f"--target {higher}" if best < higher < 1 else find_trials(record)


def find_trials(record: SearchRecord) -> str | None:
    """How many more trials; None of a grid that has no others."""
    left = MORE_TRIALS
    if record.settings.get("sampler") == "grid":
        with suppress(FashionError):  # a space that cannot be read any more
            left = min(left, load_own_space(record).count_grid() - record.next_number)
    return f"--trials {left}" if left > 0 else None


def describe_way(record: SearchRecord) -> str:
    """How a search goes on that has ended, or is given more."""
    name, way = record.name, find_way(record)
    if way.resumes:
        return f"go on with --resume {name}"
    if way.again is not None:
        return f"see why with fashion-search run --trial {way.again} --name {name}, which trains that one again, alone"
    return "the grid has no more" if way.more is None else f"more with fashion-search extend {name} {way.more}"


def describe_limits(limits: Limits) -> str:
    """When a search ends early: `after 8 h, or at a score of 0.85`; empty where it does not."""
    texts = []
    if limits.seconds is not None:
        texts.append(f"after {format_duration(limits.seconds)} from the start")
    if limits.gpu_hours is not None:
        texts.append(f"after {format_value(limits.gpu_hours)} GPU hours")
    if limits.cost is not None and limits.price_per_gpu_hour is not None:
        hours = format_value(limits.cost / limits.price_per_gpu_hour)
        texts.append(f"at a cost of {format_value(limits.cost)}, {hours} GPU hours")
    if limits.patience is not None:
        texts.append(f"when {describe_patience(limits)}")
    if limits.target is not None:
        texts.append(f"at a score of {format_value(limits.target)}")
    return ", or ".join(texts)


def describe_cost_limit(limit: Cost) -> str:
    """What networks may cost: `8 M parameters and 60 ms an image`."""
    texts = []
    if limit.parameters != UNLIMITED.parameters:
        texts.append(f"{limit.parameters / 1e6:g} M parameters")
    if limit.ms != UNLIMITED.ms:
        texts.append(f"{limit.ms:g} ms an image")
    return " and ".join(texts)


def describe_patience(limits: Limits) -> str:
    """`30 trials in a row ended without a gain of 0.002`."""
    count = f"{limits.patience} trials in a row" if limits.patience != 1 else "a trial"
    return f"{count} ended without a gain" + (f" of {format_value(limits.gain)}" if limits.gain else "")


def describe_spent(record: SearchRecord, after: float = 0.0) -> str:
    """What the time of a search went into; GPU hours of all trials, and their cost. after: see `describe_search`."""
    spent = {
        "preparing": record.preparing_seconds,
        "training": record.training_seconds,
        "waiting": record.seconds - record.training_seconds,
        "reporting": after,
    }
    texts = [f"{format_duration(seconds)} {what}" for what, seconds in spent.items() if round(seconds) > 0]
    if record.gpu_hours:
        texts.append(f"{format_value(record.gpu_hours)} GPU hours")
    if record.cost:
        texts.append(f"a cost of {record.cost:.2f}")
    return ", ".join(texts)


def describe_whole_time(record: SearchRecord) -> str:
    """How long a search took, preparing included, without what came after its end."""
    return format_duration(record.preparing_seconds + record.seconds)


def describe_trial(
    trial: TrialRecord, categories: Sequence[str], standing: Standing | None = None, *, is_grid: bool
) -> TrialWords:
    """The words of one trial. standing: beside the best one."""
    row = trial.best_metrics
    return TrialWords(
        trial.number,
        trial.status,
        len(trial.epochs),
        trial.best_epoch,
        format_score(trial.best, trial.standard_error),
        format_score(row.get(trial.objective.beside)),
        describe_origin(trial, is_grid=is_grid),
        group_params(trial.params, categories),
        tuple(name for name in categories if WEIGHT_PREFIX + name in trial.params),
        trial.reason,
        trial.cutoff,
        "" if standing is None else describe_standing(standing),
    )


def describe_standing(standing: Standing) -> str:
    """`-0.42 ± 0.57 =`: points less than the best, one standard error, and the mark of a tie."""
    text = f"{100 * standing.difference.value:+.2f} ± {100 * standing.difference.error:.2f}"
    return text + " unpaired" * (not standing.is_paired) + " =" * standing.is_tied


def describe_pairing(search: SearchWords) -> str:
    """How trials were compared with the best one, in a sentence."""
    others = len(search.ranked) - 1
    told = f"at {LEVEL:.0%} over all {others} comparisons" if others > 1 else f"at {LEVEL:.0%}"
    if not search.unpaired:
        return f"Compared image by image, {told}."
    how = "without" if search.unpaired == others else f"{search.unpaired} of them without"
    return f"Compared {told}, {how} each image's answers, which tells fewer apart."


def describe_taken(other: OtherSearch) -> str:
    """What was taken over from another search, and what was left out: `a: learns from 12 trials, ...`."""
    text = f"{other.name}: learns from {write_count(other.observed, 'trial')}, tries {other.tried} of its best first"
    if other.left_out:
        text += "; does not learn from " + ", ".join(f"{number} ({why})" for why, number in other.left_out.items())
    return text


def write_count(number: int, what: str) -> str:
    """`1 trial`, `2 trials`."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def describe_objective(objective: metrics.Objective) -> str:
    """`val/class_accuracy, the mean over all classes of the recall`; empty where it is the default."""
    return "" if objective.is_default else f"{objective.name}, {objective.words}"


def describe_counts(counts: dict[str, int], *, skip: Sequence[str] = ()) -> str:
    """`3 finished, 2 stopped`: the counts that are not 0."""
    return ", ".join(f"{count} {status}" for status, count in counts.items() if count and status not in skip) or "none"


def describe_labelled(counts: dict[str, int] | None) -> str:
    """`, labelled in pattern: 40, fit: 31 of them`, for Markdown: how many images have which labels; else empty."""
    if not counts:
        return ""
    return f", labelled in {', '.join(f'{write_name(name)}: {count:,}' for name, count in counts.items())} of them"


def describe_origin(trial: TrialRecord, *, is_grid: bool) -> str:
    """Where the trial's configuration came from: `tried first`, `sampled` or `grid`."""
    if is_grid:
        return "grid"
    return "tried first" if trial.enqueued else "sampled"


def describe_epochs(record: SearchRecord, trial: TrialRecord) -> str:
    """`after epoch 2 of 3`, its best; not trained to its end, `after epoch 1, stopped after 2 of 3 epochs`."""
    done = len(trial.epochs)
    if trial.status == TrialStatus.FINISHED:
        return f"after epoch {trial.best_epoch} of {done}"
    planned = max(record.settings.get("max_epochs", 0), done)
    end = f"so far with {done}" if trial.status == TrialStatus.RUNNING else f"{trial.status} after {done}"
    return f"after epoch {trial.best_epoch}, {end} of {write_count(planned, 'epoch')}"


def group_params(params: dict[str, Any], categories: Sequence[str]) -> dict[str, str]:
    """Parameters as short texts, the category weights as one: in the order of the categories."""
    weights = {WEIGHT_PREFIX + name for name in categories} & params.keys()
    shown = {name: format_value(value) for name, value in params.items() if name not in weights}
    if weights:
        values = [format_value(params[key], 2) for name in categories if (key := WEIGHT_PREFIX + name) in weights]
        shown[WEIGHTS] = f"all {values[0]}" if len(set(values)) == 1 else " ".join(values)
    return shown


def format_value(value: Any, digits: int = 3) -> str:
    """A parameter's value, short: 3.6e-5, 0.25, none, true."""
    if value is None or isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.{digits}g}".replace("e-0", "e-").replace("e+0", "e+")
    return str(value)


def format_score(value: float | None, error: float | None = None) -> str:
    """A score with four decimals, and its standard error where that is known."""
    if value is None:
        return "-"
    return f"{value:.4f}" if error is None else f"{value:.4f} ± {error:.4f}"


def format_duration(seconds: float) -> str:
    """A length of time in its two largest units: 45 s, 3 min 20 s, 2 h 05 min, 3 d 4 h."""
    seconds = max(round(seconds), 0)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60:02d} s"
    minutes = round(seconds / 60)
    if minutes < 24 * 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    hours = round(seconds / 3600)
    return f"{hours // 24} d {hours % 24} h"


def name_trials(numbers: Sequence[int]) -> str:
    """`trial 3`, `trials 3 and 7`, `trials 3, 7 and 9`."""
    if len(numbers) == 1:
        return f"trial {numbers[0]}"
    return f"trials {', '.join(map(str, numbers[:-1]))} and {numbers[-1]}"


def bound_score(estimate: Estimate, level: float = LEVEL) -> tuple[float, float]:
    """The interval of a score, which ends at 0 and 1 as scores do."""
    low, high = estimate.compute_interval(level)
    return max(low, 0.0), min(high, 1.0)


def write_interval(estimate: Estimate, level: float = LEVEL, digits: int = 4) -> str:
    """A score with its interval: `0.8437 [0.8301, 0.8573]`."""
    low, high = bound_score(estimate, level)
    return f"{estimate.value:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def write_points(estimate: Estimate | None, level: float = LEVEL, digits: int = 2) -> str:
    """A difference in points with its interval: `+0.42 [-0.31, +1.15]`."""
    if estimate is None:
        return ""
    low, high = (100 * bound for bound in estimate.compute_interval(level))
    return f"{100 * estimate.value:+.{digits}f} [{low:+.{digits}f}, {high:+.{digits}f}]"
