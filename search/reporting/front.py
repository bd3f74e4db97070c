"""Score against cost: the trials that no other beats in both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fashion_core.escaping import write_name
from search.records.events import TrialStatus
from search.reporting.tables import Part, Rows
from search.space.architectures import name_architectures

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fashion_core.models.cost import Cost
    from search.records.record import SearchRecord, TrialRecord
    from search.reporting.words import SearchWords
    from search.space.architectures import Architecture


@dataclass(frozen=True)
class PricedTrial:
    """A trial that trained to its end, and what its network costs."""

    trial: TrialRecord
    architecture: Architecture
    cost: Cost

    @property
    def score(self) -> float:
        """The best of the objective."""
        return self.trial.best or 0.0

    def beats(self, other: PricedTrial) -> bool:
        """Whether it is as good in score, milliseconds and parameters, and better in one; of equal ones the earlier."""
        one, two = self.rate(), other.rate()
        if one == two:
            return self.trial.number < other.trial.number
        return all(ours >= theirs for ours, theirs in zip(one, two, strict=True))

    def rate(self) -> tuple[float, float, float]:
        """What is the better, the greater it is."""
        return self.score, -self.cost.ms, -self.cost.parameters


def list_priced(record: SearchRecord) -> list[PricedTrial]:
    """The trials whose cost the ledger tells, the best first; none where all cost the same."""
    found = [
        PricedTrial(trial, architecture, cost)
        for trial in record.rank()
        if trial.status == TrialStatus.FINISHED
        and (architecture := record.architectures.get(trial.number)) is not None
        and (cost := record.costs[architecture]).is_measured
    ]
    return found if len({each.architecture for each in found}) > 1 else []


def find_front(priced: Sequence[PricedTrial]) -> list[PricedTrial]:
    """Those that no other beats, the best first."""
    return [each for each in priced if not any(other.beats(each) for other in priced)]


def describe_front(search: SearchWords, priced: Sequence[PricedTrial], against: str) -> list[Part]:
    """The front as a table, and what to make of it.

    Args:
        priced: see `list_priced`.
        against: title of the column that has a trial's score less the best.
    """
    objective = priced[0].trial.objective.name
    names = name_architectures([each.architecture for each in priced])
    words = {trial.number: trial for trial in search.ranked}
    best, cheapest = priced[0], min(find_tied(search, priced), key=lambda each: (each.cost.ms, each.cost.parameters))
    text = (
        f"Of the {len(priced)} trials that trained to their end, these are beaten by no other in `{objective}`, "
        "milliseconds and parameters together. *ms an image*: with all cores of the machine that measured it, and by "
        "how much another measurement may have more."
    )
    if cheapest is not best:
        text += (
            f" Trial {cheapest.trial.number} is not told apart from the best of them, trial {best.trial.number}, and "
            f"takes {cheapest.cost.ms / best.cost.ms:.0%} of its time."
        )
    head = ("trial", objective, against, "parameters", "ms an image", "architecture")
    rows = [
        (
            str(each.trial.number),
            words[each.trial.number].score,
            words[each.trial.number].against,
            f"{each.cost.parameters / 1e6:.2f} M",
            each.cost.ms_words,
            write_name(names[each.architecture]),
        )
        for each in find_front(priced)
    ]
    return [text, Rows(head, rows)]


def find_tied(search: SearchWords, priced: Sequence[PricedTrial]) -> list[PricedTrial]:
    """The best of the priced trials, and where it is the best of all, those that are not told apart from it."""
    best = priced[0]
    tied = set(search.tied or ()) if search.ranked[0].number == best.trial.number else set()
    return [each for each in priced if each is best or each.trial.number in tied]


def bound_errors(priced: Sequence[PricedTrial]) -> tuple[list[float], list[float]]:
    """One standard error of each score, downwards and upwards: none reaches below 0 or above 1."""
    pairs = [(each.score, each.trial.standard_error or 0.0) for each in priced]
    return [min(error, score) for score, error in pairs], [min(error, 1 - score) for score, error in pairs]
