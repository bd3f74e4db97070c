"""Launch a search, go on with one, or replay one of its trials."""

from __future__ import annotations

import sys
import time
from contextlib import nullcontext
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console

from fashion_core.errors import SearchError
from fashion_core.models.cost import UNLIMITED
from search.address import Address, renew
from search.cli import DEFAULT_RESULTS, UNUSABLE, Results, SearchName, TrackingUri, build, refuse_others, take_fields
from search.commands.again import begin_again, can_begin_again
from search.planning.options import EXTENDED, MOVED, Extension, SearchOptions
from search.records.events import EndReason
from search.records.layout import SearchLayout
from search.records.locks import check_free

if TYPE_CHECKING:
    from search.records.record import SearchRecord

Replace = Annotated[bool, typer.Option("--replace", help="Delete an earlier search of the same name first.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would be done, and do nothing.")]
Resume = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Go on with the search of this name, after an interruption; from its --storage alone, if given; with "
        "--data and --cache-dir where they are now, and on what --address, --concurrent, --cpus-per-trial and "
        "--gpus-per-trial say.",
    ),
]
StorageOfSearch = Annotated[
    str | None, typer.Option("--storage", help="Where the search stands, if these results know nothing of it.")
]
AllowChanged = Annotated[
    Literal["code"] | None,
    typer.Option(help="Go on though the code, or a library, is not that which the search began with."),
]
Trial = Annotated[
    int | None,
    typer.Option(metavar="N", help="Replay trial N of the search --name, alone, in this process, for debugging."),
]


@take_fields(SearchOptions)
def run(
    values: dict[str, Any],
    context: typer.Context,
    replace: Replace = False,
    dry_run: DryRun = False,
    resume: Resume = None,
    trial: Trial = None,
    allow_changed: AllowChanged = None,
) -> None:
    """Search hyperparameters for fine-tuning an attribute network.

    The word `run` may be left out. Example:

    fashion-search run --data FashionDataset --space spaces/weighted_focal.yaml --trials 64
    """
    console = Console()
    if trial is not None:
        refuse_others(context, "--trial", {"trial", "name", "results"})
        if values["name"] is None:
            raise SearchError("--name must be given: the search whose trial is replayed; see --help")
        replay(SearchLayout(values["results"], values["name"]), trial, console)
        return
    if resume is not None:
        refuse_others(context, "--resume", {"resume", "results", "storage", "tracking_uri", "allow_changed", *MOVED})
        from search.experiment.stored import find_options  # pyarrow takes time: not for --help

        begun = find_options(SearchLayout(values["results"], resume), values["storage"])
        given = None if values["tracking_uri"] is None else Address(values["tracking_uri"])
        address = renew(begun.tracking_uri, given)
        moved = {name: values[name] for name in MOVED if values[name] is not None}
        options = build(SearchOptions, begun.model_dump(exclude={"tracking_uri"}) | moved | {"name": resume})
        options = options.model_copy(update={"results": values["results"], "tracking_uri": address})
        launch(options, console, resume=True, allow_changed=allow_changed)
        return
    if allow_changed is not None:
        raise SearchError("--allow-changed must go with --resume NAME, but got none; see --help")
    options = build(SearchOptions, values)
    if dry_run:
        from search.experiment.search import plan_search  # torch takes seconds: not for --help

        plan_search(options, console)
    else:
        launch(options, console, replace=replace)


@take_fields(Extension)
def extend(
    values: dict[str, Any],
    name: SearchName,
    results: Results = DEFAULT_RESULTS,
    storage: StorageOfSearch = None,
    tracking_uri: TrackingUri = None,
    allow_changed: AllowChanged = None,
) -> None:
    """Give a search that has ended more trials, longer ones, or another limit. It goes on with all that it has learned.

    What it had spent before does not count to the limits given here, and no earlier limit holds. Example:

    fashion-search extend NAME --trials 50 --time-budget 8h
    """
    from search.experiment.resuming import check_extension, follow_ledger  # pyarrow takes time: not for --help
    from search.experiment.stored import find_options, find_record
    from search.reporting.words import MORE, find_reason  # so does scipy

    given = build(Extension, values).model_dump(exclude_none=True)
    if given.keys() <= set(MOVED):
        raise SearchError("a search is extended by --trials N, --max-epochs N or a limit, but got none; see --help")
    layout = SearchLayout(results, name)
    check_free(layout)  # one that runs has no end yet, and would be told to go on
    begun = find_options(layout, storage)
    record = find_record(begun, layout)
    begun = follow_ledger(begun, record)
    reason = find_reason(record)
    if reason not in (EndReason.ALL_ENDED, *MORE):
        raise SearchError(
            f"a search is extended once all its trials or a limit ended it, but {name} did not end so; go on with "
            f"--resume {name}"
        )
    more = given.pop("trials", None)
    check_extension(record, more, given.get("max_epochs"))
    if "max_epochs" in given and more is None and reason == EndReason.ALL_ENDED:
        raise SearchError(
            f"--max-epochs lengthens trials that are not over, but all of {name} are; give it new ones too, with "
            "--trials N"
        )
    total = record.settings["trials"] if more is None else record.next_number + more
    address = renew(begun.tracking_uri, None if tracking_uri is None else Address(tracking_uri))
    limits = {*EXTENDED} - {"price_per_gpu_hour"}  # a price limits nothing: a budget given in money needs it again
    kept = begun.model_dump(exclude={*limits, "tracking_uri", "results", "name", "trials"})
    options = build(SearchOptions, kept | given | {"results": results, "name": name, "trials": total})
    options = options.model_copy(update={"tracking_uri": address})
    launch(options, Console(), resume=True, extend=True, allow_changed=allow_changed)


def launch(
    options: SearchOptions,
    console: Console,
    *,
    resume: bool = False,
    replace: bool = False,
    extend: bool = False,
    allow_changed: str | None = None,
) -> None:
    """Run a search. Ray and its workers start while this process imports what it needs, which takes seconds too."""
    began = time.monotonic()
    if options.name is not None:
        check_free(SearchLayout(options.results, options.name))
    from search.jobs.warm import import_beside

    import_beside("search.experiment.search")
    from search.jobs.cluster import open_ray
    from search.space.reading import load_space

    # where costs are limited they are measured first, and what starts with Ray would take time from that
    waits = not resume and options.find_limit(load_space(options.space)) != UNLIMITED
    allow_open = bool(options.allow_open_cluster)
    with nullcontext() if waits else open_ray(options.address, storage=options.storage, allow_open=allow_open):
        from search.experiment.search import run_search

        result = run_search(
            options,
            resume=resume,
            replace=replace,
            extend=extend,
            allow_changed=() if allow_changed is None else (allow_changed,),
            console=console,
            command=sys.argv,
            began=began,
            goes_on=begin_again if can_begin_again() else None,
        )
    check_end(result.record)


def check_end(record: SearchRecord) -> None:
    """End the command as its search ended: see `search.cli.EXIT_STATUSES`.

    Raises:
        KeyboardInterrupt: it was interrupted, and all is written down.
        Exit: it has no usable result, or lacks trials.
    """
    reason = record.ended.reason if record.ended is not None else EndReason.INCOMPLETE
    if reason == EndReason.INTERRUPTED:
        raise KeyboardInterrupt
    if reason == EndReason.INCOMPLETE or not record.rank():
        raise typer.Exit(UNUSABLE)


def replay(layout: SearchLayout, trial: int, console: Console) -> None:
    """Train one trial of a search again, in this process."""
    from search.experiment.replay import replay_trial

    replay_trial(layout, trial, console)
