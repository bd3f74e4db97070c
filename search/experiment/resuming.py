"""Whether a search can go on, and whether a trial of it can be run again."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import fashion_core
from fashion_core.errors import FashionError, SearchError
from search.experiment.identity import check_space
from search.records.events import EndReason
from search.records.ledger import read_events
from search.records.own_space import load_own_space
from search.reporting.words import MORE, find_target

if TYPE_CHECKING:
    from pathlib import Path

    from search.planning.options import SearchOptions
    from search.planning.plan import Plan
    from search.records.layout import SearchLayout
    from search.records.record import SearchRecord
    from search.space.space import Space

OLDEST = (0, 2)  # major and minor version that began a search which this one can go on with


def follow_ledger(options: SearchOptions, record: SearchRecord) -> SearchOptions:
    """The options of a search that goes on, with what it was given since it began: its ledger tells, and not the file
    of its options, which another machine may not have seen.
    """
    if not record.extended:
        return options
    limits = record.limits
    given = {
        "trials": record.settings["trials"],
        "max_epochs": record.settings["max_epochs"],
        "time_budget_s": limits.seconds,
        "budget_gpu_hours": limits.gpu_hours,
        "budget_cost": limits.cost,
        "price_per_gpu_hour": limits.price_per_gpu_hour,
        "stop_after": limits.patience,
        "without_gain": limits.gain or None,
        "target": limits.target,
    }
    return options.model_copy(update=given)


def check_resumable(plan: Plan, record: SearchRecord, *, extend: bool = False) -> None:
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
    if extend:
        check_longer(plan, record)
    elif record.ended is not None:
        check_limits(record, record.ended.reason)
    check_space(plan, begun)


def check_limits(record: SearchRecord, reason: str) -> None:
    """Raises SearchError where a search ended by a rule that it was given."""
    if reason in MORE:
        name, more = record.name, find_target(record) if reason == EndReason.TARGET else MORE[reason]
        raise SearchError(
            f"a search goes on until a limit that it was given is reached, but {name} ended by one ({reason}); give it "
            f"more with `fashion-search extend {name} {more or MORE[reason]}`"
        )


def check_longer(plan: Plan, record: SearchRecord) -> None:
    """A search trains longer from now on only where its scores are those that longer trials have on their way.

    Raises:
        SearchError: they are not, or it would train shorter.
    """
    then, now = record.begun.tell("settings", "max_epochs"), plan.space.scheduler.max_epochs
    if now < then:
        raise SearchError(f"--max-epochs must be {then} or more, what {record.name} has trained to, but got {now}")
    if now > then:
        check_schedule(plan.space, record.name, now)


def check_schedule(space: Space, name: str, epochs: int) -> None:
    """Raises SearchError where trials of a search would have other scores on their way, were they to train longer.

    Args:
        epochs: that they are to train for.
    """
    if set(space.list_settings("schedule", "warmup_fraction")) != {("constant", 0.0)}:
        raise SearchError(
            "--max-epochs lengthens a search whose space has `schedule: constant` and `warmup_fraction: 0`, since "
            f"other schedules end with the training, but that of {name} has not; start a new search with "
            f"--max-epochs {epochs} --warm-start {name}, which tries the best of it first"
        )


def check_extension(record: SearchRecord, trials: int | None, epochs: int | None) -> None:
    """What is typed to extend a search, as far as its own space tells: before anything is asked that would not help.

    Args:
        trials: how many more. epochs: of a trial, from now on.

    Raises:
        SearchError: its grid has fewer, or its trials cannot train longer.
    """
    try:
        space = load_own_space(record)
    except FashionError:  # it cannot be read any more, which is told later
        return
    if epochs is not None and epochs > record.begun.tell("settings", "max_epochs"):
        check_schedule(space, record.name, epochs)
    left = space.count_grid() - record.next_number if space.sampler == "grid" else None
    if trials is not None and left is not None and trials > left:
        raise SearchError(
            f"--trials must be at most {left}, what the grid of {record.name} has left, but got {trials}"
            if left > 0
            else f"--trials needs combinations that are left, but the grid of {record.name} has no more; start a new "
            "search with another space"
        )


def is_vacant(folder: Path) -> bool:
    """Whether a search can have this folder: there is none, or an empty one, as a kill at its very beginning leaves."""
    return not folder.exists() or (folder.is_dir() and not any(folder.iterdir()))


def check_replaceable(layout: SearchLayout) -> None:
    """Raises SearchError where something stands in the search's place that is no search, or a damaged one."""
    if is_vacant(layout.folder):
        return
    if not (layout.options.exists() or layout.ledger.exists()):
        raise SearchError(
            f"what is replaced must be a search, but {layout.folder} holds none; give another --name, or move it away"
        )
    try:
        read_events(layout.ledger)
    except SearchError as error:
        raise SearchError(
            f"what is replaced must be a search that can be read, but {error}; or `fashion-search delete {layout.name}`"
        ) from None


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
