"""Whether a search can go on, and whether a trial of it can be run again."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import fashion_core
from fashion_core.errors import SearchError
from search.reporting.words import MORE

if TYPE_CHECKING:
    from search.planning.plan import Plan
    from search.records.events import SearchStarted
    from search.records.layout import SearchLayout
    from search.records.record import SearchRecord

OLDEST = (0, 2)  # major and minor version that began a search which this one can go on with


def check_resumable(plan: Plan, record: SearchRecord) -> None:
    """A search goes on while no limit is reached, with the space it began with, in a version that knows how it began.

    Raises:
        SearchError: it cannot go on.
    """
    begun = record.begun
    untold = record.trials.keys() - record.proposed.keys()  # what was drawn is not in older ledgers
    if untold or begun_by_older(begun.provenance.get("version", "")):
        raise SearchError(
            f"a search goes on in the version it began in, but {begun.name} was begun by an earlier version "
            f"({begun.provenance.get('version')}, this is {fashion_core.__version__}); start a new search: its "
            "report and its models can still be used"
        )
    if record.ended is not None:
        check_limits(begun.name, record.ended.reason)
    check_space(plan, begun)


def check_limits(name: str, reason: str) -> None:
    """Raises SearchError where a search ended by a rule that it was given."""
    if reason in MORE:
        raise SearchError(
            f"a search goes on until a limit that it was given is reached, but {name} ended by one ({reason}); give it "
            f"more with `fashion-search extend {name} {MORE[reason]}`"
        )


def check_nothing_lost(layout: SearchLayout) -> None:
    """Raises SearchError where a search whose ledger tells nothing has left more than its beginning."""
    left = [path for path in (layout.checkpoints, layout.states, layout.best_folder, layout.report) if path.exists()]
    if left:
        raise SearchError(
            f"a search goes on with its ledger, but {layout.ledger} tells nothing, and {left[0].name} stands beside "
            "it; restore the ledger from a backup, or start anew with --replace"
        )


def begun_by_older(found: str) -> bool:
    """Whether a version is older than `OLDEST`; one that is not known is not."""
    numbers = re.match(r"(\d+)\.(\d+)", found)
    return numbers is not None and (int(numbers[1]), int(numbers[2])) < OLDEST


def check_space(plan: Plan, begun: SearchStarted) -> None:
    """Raises SearchError where the space's file has changed since the search began."""
    if begun.space_hash != plan.space.hash:
        raise SearchError(
            f"a search goes on with the space it began with, but {plan.options.space} has changed since; "
            f"restore it (a copy is {plan.layout.space_yaml}) or start a new search"
        )
