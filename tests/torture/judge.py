"""What a fault has done to a search: what is lost, dropped, changed, doubled or other, and how commands ended."""

from __future__ import annotations

from typing import Any

from same_search import count_points, find_differences
from tries import Outcome

from fashion_core.metrics import ACCURACY
from search.records.events import EpochEnded, Event, SearchStarted, TrialEnded, TrialProposed, TrialStatus
from search.records.layout import SearchLayout
from search.records.ledger import read_events
from search.records.record import replay

DONE, NO_RESULT, INTERRUPTED, TERMINATED, HUNG_UP, REFUSED = 0, 4, 130, 143, 129, 2
OF_RAY = 1  # of a command that Ray ends from C++ where its head dies in the moment in which it joins
TRACEBACK = "Traceback (most recent call last)"


def judge_search(outcome: Outcome, layout: SearchLayout, told: list[list[Event]], twin: SearchLayout | None) -> None:
    """Add what a search that came to its end has lost.

    Args:
        told: events of its ledger at the moments of faults.
        twin: the undisturbed one; None where more than one worker leaves the order to chance.
    """
    events = read_events(layout.ledger)
    for before in told:
        outcome.lost += count_gone(collect_results(before), collect_results(events))
        outcome.dropped += count_gone(collect_proposals(before), collect_proposals(events))
        outcome.changed += count_gone(collect_decisions(before), collect_decisions(events))
    record = replay(events)
    wanted = next((event.settings["trials"] for event in events if isinstance(event, SearchStarted)), 0)
    outcome.lost += max(wanted - sum(trial.status.is_over for trial in record.trials.values()), 0)
    if layout.tracking_db.exists() and record.search is not None:
        points = count_points(layout.tracking_db, record.search_id)
        outcome.doubled += sum(count - 1 for count in points.values())
    if twin is not None:
        outcome.differs = find_differences(twin, layout)


def collect_results(events: list[Event]) -> dict[Any, Any]:
    """(trial, epoch) -> score; of an epoch told twice the first."""
    found: dict[Any, Any] = {}
    for event in events:
        if isinstance(event, EpochEnded):
            found.setdefault((event.trial, event.epoch), event.metrics.get(ACCURACY))
    return found


def collect_proposals(events: list[Event]) -> dict[int, Any]:
    """Trial -> what was proposed. Of one proposed twice the last, so that a second draw is seen."""
    return {event.trial: event.params for event in events if isinstance(event, TrialProposed)}


def collect_decisions(events: list[Event]) -> dict[int, Any]:
    """Trial -> how it ended; one that was interrupted goes on."""
    ends = (event for event in events if isinstance(event, TrialEnded))
    return {end.trial: (end.status, end.best, end.rung) for end in ends if end.status != TrialStatus.INTERRUPTED}


def count_gone(before: dict[Any, Any], after: dict[Any, Any]) -> int:
    """How many entries are no longer what they were."""
    return sum(key not in after or after[key] != value for key, value in before.items())


# -------------------------------------------------------------------------------------------------- how commands ended


def judge_ending(words: str, status: int, printed: str, told: str, expected: tuple[int, ...]) -> list[str]:
    """What is wrong with how a command ended, a line each.

    Args:
        printed, told: of stdout and stderr.
        expected: exit statuses; negative: by a signal.
    """
    faults = []
    if TRACEBACK in printed + told:
        last = [line for line in (printed + told).splitlines() if line.strip()][-1]
        faults.append(f"`{words}`: a traceback: {last.strip()[:200]}")
    if status not in expected:
        wanted = " or ".join(map(str, expected))
        faults.append(f"`{words}`: ended with {status} instead of {wanted}: {last_line(told or printed)}")
    if status == REFUSED and not is_helpful(told) and TRACEBACK not in told:
        faults.append(f"`{words}`: an error is one line with its way out, but it told: {show(told)}")
    if status in (INTERRUPTED, TERMINATED) and "--resume" not in printed + told:
        faults.append(f"`{words}`: ended with {status} without a word of how to go on")
    return faults


def is_helpful(told: str) -> bool:
    """Whether an error is one line, the rule and after a semicolon the remedy."""
    lines = [line for line in told.splitlines() if line.strip()]
    return len(lines) == 1 and lines[0].startswith("error: ") and "; " in lines[0]


def last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:200] if lines else "it printed nothing"


def show(text: str) -> str:
    return " / ".join(line.strip() for line in text.splitlines() if line.strip())[:300] or "nothing"
