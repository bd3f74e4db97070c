"""What a page answers: a question, its answer in a sentence, and what stands behind that."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from search.records.layout import SearchLayout
    from search.records.record import SearchRecord
    from search.reporting.champion import Champion
    from search.reporting.markup import Html
    from search.reporting.words import SearchWords


@dataclass(frozen=True)
class Source:
    """What answers are made of.

    Attributes:
        photographs: what is shown of these, see `search.reporting.photographs`; None: nothing.
        champion: the model in use; a text: why it is not known; None: there is none, or nobody asked.
    """

    layout: SearchLayout
    record: SearchRecord
    search: SearchWords
    photographs: Html | None = None
    champion: Champion | str | None = None


@dataclass(frozen=True)
class Answer:
    """An answer. short: in a sentence."""

    short: Html | str
    parts: Sequence[Html]
