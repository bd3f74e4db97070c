"""What a person says of a data set beside where it stands: how strictly it is read, and what its files leave open."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from fashion_core.errors import DataError

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

BoxForm = Literal["xyxy", "xywh", "yxyx", "xxyy", "cxcywh"]
BOX_FORMS: dict[BoxForm, str] = {
    "xyxy": "x1 y1 x2 y2",
    "xywh": "x y w h",
    "yxyx": "y1 x1 y2 x2",
    "xxyy": "x1 x2 y1 y2",
    "cxcywh": "centre_x centre_y w h",
}
SKIP_SHARE = 0.05  # of the rows: more faulty ones are no slips, and the rest is another data set


@dataclass(frozen=True)
class Reading:
    """How a data set is read.

    Args:
        skip_bad: leave faulty rows out: up to `SKIP_SHARE` of all where True, up to this share (0 to 1) where a number.
        follow_links: read images that are links out of the data set's folder.
        attributes: YAML file that makes categories of the official download's attributes.
        garments: take the official download's kinds of garment as one more category.
        boxes: what a box's four numbers are; None: as the layout or a table's columns say.
        categories: a table's columns that are categories; empty: all that look like some.
        splits: folder that keeps the splits of tables that have none of their own; None: they are kept nowhere.
    """

    skip_bad: bool | float = False
    follow_links: bool = False
    attributes: Path | None = None
    garments: bool = False
    boxes: BoxForm | None = None
    categories: tuple[str, ...] = ()
    splits: Path | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.skip_bad <= 1:  # NaN too
            raise DataError(f"the share of rows to skip must be 0 to 1, but is {self.skip_bad}; give one like 0.2")

    @property
    def max_skipped(self) -> float:
        """The share of rows that may be left out."""
        return SKIP_SHARE if self.skip_bad is True else float(self.skip_bad)


def split_names(text: str | None) -> tuple[str, ...]:
    """The names in a text like `colour,shape`."""
    return tuple(name.strip() for name in (text or "").split(",") if name.strip())


def build_reading(given: argparse.Namespace, boxes: BoxForm | None) -> Reading:
    """How a data set is to be read, as a command's options say. boxes: what a box's four numbers are."""
    return Reading(
        skip_bad=given.skip_bad,
        follow_links=given.follow_links,
        attributes=given.attributes,
        garments=given.garments,
        boxes=boxes,
        categories=split_names(given.categories),
    )
