"""Attempts of promotion: which one it is, how those before ended, and whose model and report stand for the search.

An attempt begins with a command, and ends with it. The same command after an interruption goes on with the attempt that
was cut off; a command after one that ended is another attempt, with a folder and a run in MLflow of its own. So a
refused one leaves the report, the run and the model of the one that was promoted as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field

from fashion_core.errors import SearchError
from fashion_core.files import read_json, write_whole
from search.records.events import Moment

if TYPE_CHECKING:
    from search.records.layout import AttemptLayout, SearchLayout

Outcome = Literal["promoted", "refused"]
PROMOTED: Outcome = "promoted"
REFUSED: Outcome = "refused"


class AttemptState(BaseModel):
    """What `attempt.json` tells of an attempt.

    Attributes:
        number: from 1, of all attempts of the search.
        key: names the promotion with its options, see `PromotionOptions.build_key`.
        model: name of the registered model.
        began, ended: unix seconds; no end where it was cut off, or still runs.
        outcome: what came of it; None before its end.
        forced: whether it was promoted although the gate refused it.
        run_id: of its run in MLflow; None where that did not answer.
        version: in the registry; None where none was registered.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    format: Literal["fashion-attempt/1"] = "fashion-attempt/1"
    number: int = Field(ge=1)
    key: str
    model: str
    began: Moment
    ended: Moment | None = None
    outcome: Outcome | None = None
    forced: bool = False
    run_id: str | None = None
    version: int | None = None


@dataclass(frozen=True)
class PromotionAttempt:
    """An attempt among those of its search.

    Attributes:
        others: the states of all others, in order. One of a version that kept no attempts has none; its number is 1.
    """

    layout: SearchLayout
    state: AttemptState
    others: tuple[AttemptState, ...] = ()

    @property
    def number(self) -> int:
        """Which attempt it is."""
        return self.state.number

    @property
    def files(self) -> AttemptLayout:
        """Its folder."""
        return self.layout.attempt(self.number)

    @property
    def has_older(self) -> bool:
        """Whether the search was promoted by a version that kept no attempts: that one is the first of them."""
        return all(each.number > 1 for each in (*self.others, self.state))

    @property
    def promoted(self) -> int | None:
        """Number of the last other attempt that was promoted, or may have been; None where none was."""
        numbers = [each.number for each in self.others if each.outcome == PROMOTED]
        return max(numbers, default=1 if self.has_older else None)

    def takes_place(self, *, passed: bool, ships: bool) -> bool:
        """Whether its report and model stand for the search: one that was promoted does, or any where none was.

        Args:
            ships: whether it has a model.
        """
        return passed or (self.promoted is None and (ships or not self.layout.final.folder.exists()))

    def end(self, ended: float, outcome: Outcome, **found: object) -> None:
        """Write down that it is over."""
        write_state(self.layout, self.state.model_copy(update={"ended": ended, "outcome": outcome, **found}))


def open_attempt(layout: SearchLayout, key: str, model: str, now: float) -> PromotionAttempt:
    """The attempt that a command goes on with: the one that was cut off, else a new one, which is written down.

    Args:
        key, model: of the command: another key, or another model, is another attempt.

    Raises:
        SearchError: a state cannot be read.
    """
    known = read_states(layout)
    cut_off = [each for each in known if each.ended is None and (each.key, each.model) == (key, model)]
    if cut_off:
        own = cut_off[-1]
        return PromotionAttempt(layout, own, tuple(each for each in known if each is not own))
    has_older = not known and layout.promotion_report.exists()
    number = 1 + max((each.number for each in known), default=int(has_older))
    own = AttemptState(number=number, key=key, model=model, began=now)
    write_state(layout, own)
    return PromotionAttempt(layout, own, tuple(known))


def read_states(layout: SearchLayout) -> list[AttemptState]:
    """All attempts of a search that are written down, in order.

    Raises:
        SearchError: one of them cannot be read.
    """
    numbers = [int(path.name) for path in layout.promotion_attempts.glob("*") if path.name.isdigit()]
    paths = [layout.attempt(number).state for number in sorted(numbers)]
    what, remedy = "tell of an attempt of promotion", "restore it from a backup, or delete its folder"
    return [read_json(path, AttemptState, what, remedy, SearchError) for path in paths if path.exists()]


def write_state(layout: SearchLayout, state: AttemptState) -> None:
    """Write it down."""
    path = layout.attempt(state.number).state
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, state.model_dump_json(indent=2) + "\n")
