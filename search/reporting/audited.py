"""What the audit of a search found, as numbers beside its text: what splits share, what train has of images judged."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel

from fashion_core.data.lines import SPLITS
from fashion_core.files import read_if_whole, write_whole

if TYPE_CHECKING:
    from collections.abc import Collection

    from fashion_core.data.audit import Audit
    from search.records.layout import SearchLayout


class SharedPictures(BaseModel):
    """How many pairs of images of two splits, or of one, show one picture.

    Attributes:
        first, second: the two.
        exact, near: the files are byte-identical; nearly alike.
        conflicting: of all these, those whose labels differ.
    """

    first: str
    second: str
    exact: int = 0
    near: int = 0
    conflicting: int = 0


class Audited(BaseModel):
    """What an audit found.

    Attributes:
        shared: pairs of images that show one picture; those of which there is none are absent.
        in_train: images that trials are compared on, of whose picture there is one among those they are trained on.
    """

    shared: list[SharedPictures]
    in_train: list[str]

    @property
    def pairs(self) -> int:
        """Of all splits."""
        return sum(each.exact + each.near for each in self.shared)

    @property
    def conflicting(self) -> int:
        """Pairs whose labels differ."""
        return sum(each.conflicting for each in self.shared)


def build_audited(found: Audit, judged: Collection[str]) -> Audited:
    """The numbers of an audit. judged: names of the images that trials are compared on."""
    shared: dict[tuple[str, str], SharedPictures] = {}
    names, in_train = set(judged), set()
    for pair in found.pairs:
        first, second = sorted(pair.splits, key=SPLITS.index)
        counts = shared.setdefault((first, second), SharedPictures(first=first, second=second))
        counts.exact += pair.exact
        counts.near += not pair.exact
        counts.conflicting += pair.conflicting
        ends = ((pair.first, pair.splits[0]), (pair.second, pair.splits[1]))
        for (own, _), (other, split) in (ends, ends[::-1]):
            if own in names and other not in names and split == "train":
                in_train.add(own)
    return Audited(shared=list(shared.values()), in_train=sorted(in_train))


def write_audited(layout: SearchLayout, audited: Audited) -> None:
    """Keep it beside the audit's text."""
    write_whole(layout.audit_facts, audited.model_dump_json() + "\n")


def read_audited(layout: SearchLayout) -> Audited | None:
    """What an audit found; None of an older search, and where the file is damaged."""
    return read_if_whole(layout.audit_facts, Audited)
