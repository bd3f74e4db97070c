"""Looks at val of a reproduction, counted where promotions of the same results are.

Each search enters itself beside its own results; what is in a folder of them is told to that folder too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fashion_core.errors import SearchError
from fashion_core.files import hash_file
from search.records.attempts import Attempt, add_to_book, describe_images, enter_look, read_book
from search.records.layout import SearchLayout
from search.reproduction.options import DEFAULT_FOLDER

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from search.reproduction.trained import Training

NOTE = "trainings of a reproduction were scored on these images"


def enter_recorded(results: Path, trainings: Iterable[Training], folder: Path, images: Sequence[str]) -> None:
    """Enter recorded trainings, a recording as one look.

    Args:
        results: of the reproduction.
        trainings: all there are.
        folder: of the data set. images: paths below it, of the images scored.

    Raises:
        SearchError: a book of tries is damaged or cannot be written; an image cannot be read.
    """
    names = sorted({each.search for each in trainings if each.device is not None})
    if not names:
        return
    try:
        judged = describe_images(hash_file(folder / image) for image in images)
    except OSError as error:
        raise SearchError(f"an image that was scored must be there to be counted as looked at, but {error}") from error
    for name in names:
        began = (results / name).stat().st_mtime
        look = Attempt(time=began, search="", key=f"recorded {name}", answers="recorded", note=NOTE)
        enter_look(locate_book(results), judged, look)


def share_looks(results: Path) -> None:
    """Tell the folder of results around the reproduction's own, where that has the usual name."""
    if results.name == DEFAULT_FOLDER.name:
        add_to_book(locate_book(results.parent), read_book(locate_book(results)))


def locate_book(results: Path) -> Path:
    """The tries beside some results."""
    return SearchLayout(results, "any").attempts_folder
