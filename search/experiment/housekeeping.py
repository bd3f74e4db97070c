"""All searches of a folder of results at a glance, and one of them taken away with all that is its own."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from fashion_core.errors import SearchError
from fashion_core.metrics import ACCURACY
from search.experiment.result import SearchResult, load_search
from search.planning.options import load_options
from search.records.layout import NAME_PATTERN, SearchLayout
from search.records.locks import bar_starts, list_busy
from search.records.record import list_searches, load_record

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from search.records.storage import Storage

DAMAGED = "damaged"  # state of a search whose ledger cannot be read


@dataclass(frozen=True)
class Glance:
    """A search in a list of all.

    Attributes:
        state: see `SearchResult.state`; `damaged` where its ledger cannot be read.
        trials: how many it has begun.
        best: the best score that stands; None where there is none.
        started: unix seconds; None where it is not known.
        objective: the name of the score.
    """

    name: str
    state: str
    trials: int = 0
    best: float | None = None
    started: float | None = None
    objective: str = ACCURACY

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return dict(vars(self))


def glance_at(results: Path) -> list[Glance]:
    """Every search of a folder of results that has begun, the oldest first. One that is damaged stands among them."""
    found = []
    for name in list_searches(results):
        if NAME_PATTERN.fullmatch(name):
            try:
                found.append(describe(load_search(name, results)))
            except (SearchError, OSError):
                found.append(Glance(name, DAMAGED))
    return sorted(found, key=lambda each: (each.started or 0.0, each.name))


def describe(search: SearchResult) -> Glance:
    """What a list says of a search."""
    best = search.best
    return Glance(
        search.name,
        search.state,
        len(search.record.trials),
        None if best is None else best.best,
        search.record.begun.time,
        search.record.objective.name,
    )


# ------------------------------------------------------------------------------------------------------------ removal


@dataclass(frozen=True)
class Removal:
    """What goes when a search is deleted.

    Attributes:
        folder: the search's own, with ledger, models, report and promotion, and its size in bytes.
        cache: prepared images and what else no other search uses, with sizes in bytes.
        kept: what stays, and why, in words.
        storage: its own, held, and the bytes there; None: it has none.
    """

    layout: SearchLayout
    folder: tuple[Path, int]
    cache: tuple[tuple[Path, int], ...]
    kept: tuple[str, ...]
    storage: tuple[Storage, int] | None = None

    @property
    def cache_bytes(self) -> int:
        """Size of what goes from the cache."""
        return sum(size for _, size in self.cache)

    @property
    def total_bytes(self) -> int:
        """Size of all that goes."""
        return self.folder[1] + self.cache_bytes + (0 if self.storage is None else self.storage[1])


def plan_removal(layout: SearchLayout, storage: Storage | None = None) -> Removal:
    """What would go with a search. Nothing is touched.

    Args:
        storage: its own, held.

    Raises:
        SearchError: there is no such search.
    """
    check_there(layout)
    cache, kept = find_cache(layout)
    return Removal(
        layout,
        (layout.folder, measure(layout.folder)),
        tuple((path, measure(path)) for path in cache),
        tuple(kept),
        None if storage is None else (storage, storage.measure()),
    )


def check_there(layout: SearchLayout) -> None:
    """Raise SearchError where there is no such search, and tell which there are."""
    if not layout.options.is_file() and not layout.ledger.is_file():
        load_options(layout)


def delete_search(removal: Removal) -> Removal:
    """Delete it; its caller holds it. What is gone already is no fault. Returns what went, and what stays.

    What another search has come to use since it was planned stays. None begins to between the look and the removal.
    """
    with bar_starts(removal.layout.results):
        cache, kept = find_cache(removal.layout)
        gone = tuple((path, size) for path, size in removal.cache if path in cache)
        for path, _ in gone:
            path.unlink(missing_ok=True)
    if removal.storage is not None:
        removal.storage[0].delete()
    shutil.rmtree(removal.layout.folder)
    return replace(removal, cache=gone, kept=tuple(kept))


def find_cache(layout: SearchLayout) -> tuple[list[Path], list[str]]:
    """Files of the cache that go with a search, and what stays of it, in words.

    Its ledger names the first form in which its images were prepared. Files of other forms and features do not tell
    whose they are, so they go with the last search of these results.
    """
    given = load_options(layout).cache_dir if layout.options.is_file() else None
    cache = given or layout.prepared_folder
    if not cache.is_dir():
        return [], []
    if cache.resolve() != layout.prepared_folder.resolve():
        return [], [f"{cache}: searches of other results may use it, since --cache-dir named it"]
    others = [SearchLayout(layout.results, name) for name in list_searches(layout.results) if name != layout.name]
    if set(list_busy(layout.results)) - {layout.name}:  # also those that prepare their images, and have no ledger yet
        return [], [f"{cache}: another search that runs may use it"]
    if not others:
        return [path for path in sorted(cache.rglob("*")) if path.is_file()], []
    try:
        fingerprint = read_fingerprint(layout)
        used = {read_fingerprint(other) for other in others}
    except SearchError as error:
        return [], [f"{cache}: it cannot be told who uses it, since {error}"]
    own = [] if fingerprint is None or fingerprint in used else list(list_prepared(cache, fingerprint))
    left = sum(measure(path) for path in cache.glob("*.*")) - sum(map(measure, own))
    return own, [f"{left / 2**20:,.1f} MiB in {cache}: other searches may use them"] if left else []


def read_fingerprint(layout: SearchLayout) -> str | None:
    """What names the first form of a search's images; None where its ledger does not say."""
    found: str | None = load_record(layout).data.get("fingerprint") if layout.ledger.is_file() else None
    return found


def list_prepared(cache: Path, fingerprint: str) -> Iterable[Path]:
    """The files of one form of a data set: images, which of them were trained on, notes that lead to them, locks."""
    from fashion_core.data.prepared import read_note  # pyarrow, which a list of searches needs not

    prepared = f"prepared-{fingerprint}"
    yield from sorted([*cache.glob(f"{prepared}.*"), *cache.glob(f"selection-{fingerprint}-*")])
    for note in sorted(cache.glob("known-*.json")):
        if read_note(note) == f"{prepared}.arrow":
            yield from (path for path in (note, note.with_suffix(".lock")) if path.is_file())


def measure(path: Path) -> int:
    """Bytes of a file, or of all files in a folder; links count as themselves."""
    if not path.is_dir():
        return path.lstat().st_size
    return sum(each.lstat().st_size for each in path.rglob("*") if not each.is_dir())
