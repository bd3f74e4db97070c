"""A search whose record stands on a storage of its own: the results folder holds a view of it, and can be made anew."""

from __future__ import annotations

import tempfile
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from fashion_core.errors import SearchError, first_line
from fashion_core.files import MODEL_FILE, write_whole
from search.planning.options import SearchOptions, check_open, load_options
from search.records.kept import fetch_again, is_newest
from search.records.ledger import parse_events, read_events
from search.records.logfile import LogFile
from search.records.record import load_record, replay
from search.records.storage import BEGINNING, LEDGER, MODELS, OPTIONS, SPACE, STARTS, open_storage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from search.planning.plan import Plan
    from search.records.layout import SearchLayout
    from search.records.record import SearchRecord
    from search.records.storage import Storage


def find_storage(options: SearchOptions, layout: SearchLayout) -> Storage | None:
    """The storage that holds the record; None where the search's own folder does.

    Raises:
        SearchError: it is none.
    """
    home = options.locate_experiment(layout)
    return None if home == str(layout.states.resolve()) else open_storage(home)


@contextmanager
def hold_stored(
    options: SearchOptions,
    layout: SearchLayout,
    does: str,
    tell: Callable[[str], None],
    check: Callable[[str, float], None] | None = None,
) -> Iterator[Storage | None]:
    """Hold the storage of a search whose folder is held already; see `Storage.hold`.

    Gives None where it has none of its own.
    """
    storage = find_storage(options, layout)
    with nullcontext() if storage is None else storage.hold(does, tell, check):
        yield storage


# ------------------------------------------------------------------------------------------------- what goes on from it


def find_options(layout: SearchLayout, storage: str | None) -> SearchOptions:
    """What a search was started with: by its storage, where that is named, else by its folder.

    Raises:
        SearchError: there is no such search.
    """
    return load_options(layout) if storage is None else load_stored_options(storage, layout)


def find_record(options: SearchOptions, layout: SearchLayout) -> SearchRecord:
    """What happened in a search, by its storage, where it has one: another machine may have gone on with it.

    Raises:
        SearchError: there is no such search, or its storage does not answer.
    """
    storage = find_storage(options, layout)
    if storage is None:
        return load_record(layout)
    with telling_away(storage.uri):
        record = replay(parse_events(storage.read_log(), storage.uri))
    if record.search is None:
        raise SearchError(f"--storage must hold a search that has begun, but {storage.uri} holds none; give another")
    return record


def load_stored_options(storage: str, layout: SearchLayout) -> SearchOptions:
    """The options of a search that its storage holds, for this machine: with the space's copy, where its file is away.

    Args:
        storage: as `--storage` names it.

    Raises:
        SearchError: it holds no such search, or does not answer; or its address has a password.
    """
    try:
        check_open(storage)
    except ValueError as error:
        raise SearchError(f"--storage {error}") from None
    home = SearchOptions.model_construct(storage=storage).locate_experiment(layout)
    with telling_away(home):
        content = open_storage(home).read(OPTIONS)
    if content is None:
        raise SearchError(f"--storage must hold the search that goes on, but {home} holds none; give another")
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / OPTIONS).write_bytes(content)
        options = SearchOptions.load(Path(folder) / OPTIONS)
    if Path(options.space).suffix and not Path(options.space).is_file():  # a file, and no shipped space
        options = options.model_copy(update={"space": str(layout.space_yaml)})  # see `bring_back`
    return options.model_copy(update={"storage": storage, "results": layout.results, "name": layout.name})


@contextmanager
def telling_away(uri: str) -> Iterator[None]:
    """Raises SearchError where a storage does not answer."""
    try:
        yield
    except OSError as error:
        raise SearchError(
            f"--storage must be one that answers, but {uri} does not ({first_line(error)}); look at its address and "
            "your rights"
        ) from None


def bring_back(storage: Storage, layout: SearchLayout) -> None:
    """Make the view what the storage holds: the ledger, what networks start from, models that are kept. While both are
    held.

    A search whose storage has no ledger, but its view has, was begun by a version that kept it there alone: the storage
    gets it.

    Raises:
        SearchError: the view holds what the storage does not.
    """
    record = storage.read_log()
    with LogFile(layout.ledger) as view:
        here = view.read()
        if here and not record and storage.read(OPTIONS) is None:
            storage.append_log(here)
            record = here
        if not record.startswith(here):
            raise SearchError(
                f"a search's ledger must begin as the one on its storage, but {layout.ledger} is not how that of "
                f"{storage.uri} begins; move {layout.folder} away, and go on from the storage"
            )
        view.append(record[len(here) :], is_synced=True)
    for name, target in ((OPTIONS, layout.options), (SPACE, layout.space_yaml)):
        if not target.is_file() and (content := storage.read(name)) is not None:
            write_whole(target, content)
    renew_models(storage, layout)
    for folder, here_folder in ((STARTS, layout.starts), (MODELS, layout.checkpoints)):
        for name in storage.list(folder):
            for file in storage.list(f"{folder}/{name}"):
                fetch_missing(storage, f"{folder}/{name}/{file}", here_folder / name / file)


def renew_models(storage: Storage, layout: SearchLayout) -> None:
    """Fetch the kept models of trials that another machine has trained further than this one knows."""
    if not any(layout.checkpoints.glob(f"*/{MODEL_FILE}")):
        return
    for trial in replay(read_events(layout.ledger)).trials.values():
        file = layout.checkpoint_folder(trial.number) / MODEL_FILE
        if trial.saves and file.is_file() and not is_newest(file, trial):
            fetch_again(storage, file)


def fetch_missing(storage: Storage, name: str, target: Path) -> None:
    """Copy a file of the storage that is not here."""
    if not target.is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        storage.fetch(name, target)


# ------------------------------------------------------------------------------------------------------- what begins it


def check_vacant(storage: Storage, *, replace: bool) -> None:
    """Whether a new search can stand here.

    Args:
        replace: a search may, which can be read.

    Raises:
        SearchError: another does; or something that is no search, or a damaged one.
    """
    names = storage.list()
    if not names:
        return
    if not replace:
        raise SearchError(
            f"--storage must hold no search of the name {storage.name}, but {storage.uri} exists; give another --name, "
            f"go on with --resume {storage.name}, or delete the old one with --replace"
        )
    if not any(name == OPTIONS or name.startswith((LEDGER, "trial-")) for name in names):
        raise SearchError(
            f"what is replaced must be a search, but {storage.uri} holds none; give another --name, or move it away"
        )
    try:
        parse_events(storage.read_log(), storage.uri)
    except SearchError as error:
        raise SearchError(
            f"what is replaced must be a search that can be read, but {error}; or `fashion-search delete "
            f"{storage.name}`"
        ) from None


def check_nothing_stored(storage: Storage) -> None:
    """Raises SearchError where a search whose ledger tells nothing has left more than its beginning."""
    left = [name for name in storage.list() if name not in BEGINNING]
    if left:
        raise SearchError(
            f"a search goes on with its ledger, but that of {storage.uri} tells nothing, and {left[0]} stands beside "
            "it; restore the ledger from a backup, or start anew with --replace"
        )


def store_beginning(storage: Storage, layout: SearchLayout) -> None:
    """Keep on the storage what the search was started with, its options last: what is without is no search yet."""
    for path in sorted(layout.starts.rglob("*")):
        if path.is_file():
            storage.write(f"{STARTS}/{path.relative_to(layout.starts).as_posix()}", path.read_bytes())
    storage.write(SPACE, layout.space_yaml.read_bytes())
    storage.write(OPTIONS, layout.options.read_bytes())


def keep_options(plan: Plan, storage: Storage | None) -> None:
    """Keep the options of a search that was given more: for people, and for a version that went by them."""
    plan.options.save(plan.layout.options)
    if storage is not None:
        storage.write(OPTIONS, plan.layout.options.read_bytes())
