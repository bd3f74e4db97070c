"""What stopping trials early cost: some of those that ASHA stopped, drawn by chance and trained to their end.

Nothing of the search changes by it: they stand in a file of their own, beside its ledger.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import BaseModel

from fashion_core.files import read_if_whole, write_whole
from search.records.events import TrialStatus
from search.reporting.markup import Html, command, note, say, table, tag
from search.reporting.words import name_trials, write_count, write_points
from search.statistics.intervals import Estimate, compute_finite

if TYPE_CHECKING:
    from collections.abc import Sequence

    from search.records.layout import SearchLayout
    from search.records.record import SearchRecord

ORDER_STREAM = 7_321  # sets the order of trials apart from what else is drawn by a search's seed and a trial's number
SUGGESTED = 3  # trials to finish


class FinishedTrial(BaseModel):
    """A stopped trial that was trained to its end.

    Attributes:
        score, epoch: the best, and when; None where it diverged.
        epochs: trained; seconds: spent on these.
    """

    trial: int
    status: Literal["finished", "diverged"]
    score: float | None = None
    epoch: int | None = None
    epochs: int = 0
    seconds: float = 0.0


class FinishedTrials(BaseModel):
    """All of them, in the order in which they were drawn.

    Attributes:
        max_epochs: of full training.
    """

    max_epochs: int
    trials: list[FinishedTrial]


@dataclass(frozen=True)
class Regret:
    """What stopping cost, as the drawn tell of all that were stopped.

    Attributes:
        stopped: how many trials were; drawn: how many of these were finished.
        better: numbers of the drawn that score more than the best; would: 95% interval of how many of all stopped do.
        difference: the final score of the drawn less that of the best; None of fewer than two.
        gain: the same less the score that they were stopped with.
        missed: how much the best of the drawn is above the best; 0 where it is not.
    """

    stopped: int
    drawn: int
    better: tuple[int, ...]
    would: tuple[int, int]
    difference: Estimate | None
    gain: Estimate | None
    missed: float


def draw_order(record: SearchRecord) -> list[int]:
    """Numbers of the trials that ASHA stopped, in an order drawn by the search's seed: the first n are drawn by chance.

    The same search gives the same order, so more can be drawn later.
    """
    seed = record.settings.get("seed", 0)
    stopped = [trial.number for trial in record.trials.values() if trial.status == TrialStatus.STOPPED]
    return sorted(stopped, key=lambda number: draw_place(seed, number))


def draw_place(seed: int, number: int) -> tuple[int, int]:
    """What a trial's place in the order is decided by."""
    drawn = np.random.SeedSequence([seed, number, ORDER_STREAM]).generate_state(1, np.uint64)
    return int(drawn[0]), number


def write_finished(layout: SearchLayout, finished: FinishedTrials) -> None:
    """Keep what came of them."""
    layout.finished_stopped.mkdir(parents=True, exist_ok=True)
    write_whole(layout.finished_trials, finished.model_dump_json(indent=2) + "\n")


def read_finished(layout: SearchLayout) -> FinishedTrials | None:
    """What came of them; None where none was finished, or the file is damaged."""
    return read_if_whole(layout.finished_trials, FinishedTrials)


def estimate_regret(record: SearchRecord, finished: FinishedTrials) -> Regret | None:
    """What stopping cost. None where nothing can be told.

    Counted are the first of the order that are finished, without a gap: those were drawn by chance.
    """
    order, known = draw_order(record), {each.trial: each for each in finished.trials}
    drawn: list[FinishedTrial] = []
    for number in order:
        if number not in known:
            break
        drawn.append(known[number])
    best = next((trial.best for trial in record.rank()), None)
    if not drawn or best is None or finished.max_epochs != record.settings.get("max_epochs"):
        return None
    scored = [(each.trial, each.score) for each in drawn if each.score is not None]
    finals = np.array([score for _, score in scored])
    stops = np.array([record.trials[number].best or 0.0 for number, _ in scored])
    better = tuple(number for number, score in scored if score > best)
    return Regret(
        stopped=len(order),
        drawn=len(drawn),
        better=better,
        would=compute_finite(len(better), len(drawn), len(order)),
        difference=estimate_mean(finals - best),
        gain=estimate_mean(finals - stops),
        missed=max(0.0, float(finals.max(initial=0.0)) - best),
    )


def estimate_mean(values: np.ndarray) -> Estimate | None:
    """The mean over the drawn trials, by Student's t; None of fewer than two."""
    if len(values) < 2:
        return None
    error = float(values.std(ddof=1)) / math.sqrt(len(values))
    return Estimate(float(values.mean()), error, len(values) - 1, "the trials drawn")


def show_stopped(record: SearchRecord, layout: SearchLayout, name: str) -> list[Html]:
    """What stopping cost, or how that is found out; nothing where no trial was stopped.

    Args:
        name: of the search, as a command takes it.
    """
    order = draw_order(record)
    if not order:
        return []
    title, finished = tag("h3", "What stopping early cost"), read_finished(layout)
    regret = None if finished is None else estimate_regret(record, finished)
    is_over = record.ended is not None  # while it runs none can be finished
    wanted = min(SUGGESTED if regret is None else regret.drawn + SUGGESTED, len(order))
    of = write_count(len(order), "stopped trial")
    more = command(
        f"train {wanted} of {of} to their end, drawn by chance (--dry-run: what it takes)",
        f"fashion-search finish-stopped {name} --trials {wanted}",
    )
    if regret is None or finished is None:
        return [
            title,
            note("Not known: that takes stopped trials that are trained to their end all the same."),
            *[more] * is_over,
        ]
    parts = [title, say(describe_regret(record, regret)), list_finished(record, finished)]
    return [*parts, *[more] * (is_over and regret.drawn < len(order))]


def describe_regret(record: SearchRecord, regret: Regret) -> str:
    """What stopping cost, in sentences."""
    low, high = regret.would
    count = len(regret.better)
    text = (
        f"Of {regret.stopped} trials that ASHA stopped, {regret.drawn} drawn by chance were trained to their end: "
        f"{count} would have beaten the best ({name_trials(regret.better)}). "
        if count
        else f"Of {regret.stopped} trials that ASHA stopped, {regret.drawn} drawn by chance were trained to their end: "
        "none would have beaten the best. "
    )
    if regret.drawn < regret.stopped:
        text += (
            f"So of all {regret.stopped} stopped ones {low} to {high} would have (95%), "
            f"{low / regret.stopped:.0%} to {high / regret.stopped:.0%}. "
        )
    if regret.difference is not None and regret.gain is not None:
        text += (
            f"In the mean they end {write_points(regret.difference)} points from the best, after "
            f"{write_points(regret.gain)} more than where they were stopped. "
        )
    if regret.missed:
        text += f"The best of them is {100 * regret.missed:.2f} points above the best of the search."
    return text.strip()


def list_finished(record: SearchRecord, finished: FinishedTrials) -> Html:
    """A row a trial."""
    best = next((trial.best or 0.0 for trial in record.rank()), 0.0)
    rows: list[tuple[str, ...]] = []
    for each in finished.trials:
        trial = record.trials.get(each.trial)
        if trial is None:
            continue
        stop = f"{trial.best or 0.0:.4f} after {write_count(len(trial.epochs), 'epoch')}"
        if each.score is None:
            rows.append((f"trial {each.trial}", stop, each.status, ""))
        else:
            rows.append((f"trial {each.trial}", stop, f"{each.score:.4f}", f"{100 * (each.score - best):+.2f}"))
    head = ("finished all the same", "when stopped", f"after {finished.max_epochs} epochs", "less the best, points")
    return table(head, rows, class_="short")


def estimate_seconds(record: SearchRecord, numbers: Sequence[int]) -> float:
    """How long training these to their end takes, at the pace that each had, summed over them."""
    full = record.settings.get("max_epochs", 0)
    trials = (record.trials[number] for number in numbers)
    return float(sum((trial.seconds or 0.0) / max(len(trial.epochs), 1) * full for trial in trials))
