"""Which try on its images a promotion is: written down beside the results and with the registry, then counted.

It is entered before its networks are trained, since their scores on these images are shown as they come; and again when
it is known what is held against what. `search.records.attempts` says which tries are one.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from fashion_core.errors import SearchError
from search.records.attempts import (
    Attempt,
    JudgedImages,
    add_to_book,
    describe_images,
    find_number,
    list_attempts,
    merge,
    read_book,
)
from search.registry.attempts import RegistryBook

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np

    from search.records.layout import SearchLayout
    from search.registry.versions import Registry


class TryCounter:
    """Enters and counts the tries of one promotion.

    Each side is told what only the other knew, so that neither another folder of results nor another registry begins
    anew. Where both are others, nobody can know.

    Args:
        key: names the promotion with its options, see `PromotionOptions.build_key`.
        digests: SHA-256 of the files of the images that are judged on.
        searched: the search itself, where it selected on these images: a look at them that counts once, however often
            it is promoted; see `search.records.attempts.describe_search`.

    Attributes:
        trouble: why the registry could not be asked, or "".
    """

    def __init__(
        self,
        layout: SearchLayout,
        registry: Registry,
        key: str,
        digests: Iterable[str],
        searched: Attempt | None = None,
    ) -> None:
        """Nothing is written before it is entered."""
        self.layout, self.model, self.key, self.searched = layout, registry.model, key, searched
        self.images = describe_images(digests)
        self.registry_book = RegistryBook(registry, layout.artifacts)
        self.trouble = ""

    def enter(self, opponent: str = "", answers: str = "", score: float | None = None) -> tuple[Attempt, ...]:
        """Write this try down. Returns it with all tries before it on these images, in order: it is the last.

        Args:
            opponent: what it is judged against, in words.
            answers: digest of the answers of both, see `digest_answers`; "" before they are there.
            score: of what is judged; None before it is known.

        Raises:
            SearchError: it cannot be written beside the results.
        """
        now, folder = time.time(), self.layout.attempts_folder
        own = Attempt(
            time=now,
            search=self.layout.name,
            key=self.key,
            model=self.model,
            opponent=opponent,
            answers=answers,
            score=score,
        )
        new = (own,) if self.searched is None else (self.searched, own)
        known = merge(read_book(folder), self.ask_registry(), [replace(self.images, attempts=new)])
        related = [each for each in known if each.is_like(self.images)]
        add_to_book(folder, related)
        self.tell_registry(related)
        # once more: another process may have written in the meantime
        attempts = list_attempts([*read_book(folder), *self.ask_registry()], self.images)
        return tuple(attempts[: find_number(attempts, own)])

    def ask_registry(self) -> list[JudgedImages]:
        """What the registry knows; nothing where it does not answer."""
        if self.trouble:
            return []
        try:
            known = self.registry_book.read()
            return [*known, *self.registry_book.find_earlier(known)]
        except SearchError as error:
            self.trouble = str(error)
            return []

    def tell_registry(self, books: list[JudgedImages]) -> None:
        """Write down with the registry what it does not know."""
        if self.trouble:
            return
        try:
            self.registry_book.add(books)
        except SearchError as error:
            self.trouble = str(error)


def digest_answers(*answers: np.ndarray) -> str:
    """Tells whether the same answers are held against the same. answers: [S, N, K] each."""
    digest = hashlib.blake2b(digest_size=8)
    for each in answers:
        digest.update(repr(each.shape).encode())
        digest.update(each.astype("<f8").tobytes())
    return digest.hexdigest()
