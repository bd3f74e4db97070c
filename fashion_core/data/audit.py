"""What to know of a data set before trusting a score: how unequal its classes are, and what is in it twice."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

from fashion_core.data.duplicates import find_near_duplicates
from fashion_core.data.lines import SPLITS
from fashion_core.escaping import write_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fashion_core.data.prepared import PreparedData

TINY_BOX = 50  # pixels
MAX_PAIRS_SHOWN = 20
BAR = "\\|"  # in a cell of a table


@dataclass(frozen=True)
class Pair:
    """Two images that show one picture.

    Args:
        first, second: their paths; splits: theirs.
        exact: the files are byte-identical.
        conflicting: in a category, both are labelled, and not alike.
    """

    first: str
    second: str
    splits: tuple[str, str]
    exact: bool
    conflicting: bool


@dataclass(frozen=True)
class Audit:
    """Counts and oddities of a data set.

    Attributes:
        images: by split; unlabelled: images without any label, by split.
        partial: category -> split -> images that are labelled in others alone; without categories that have none.
        classes: category -> class -> split -> images.
        pairs: exact and near duplicates, within and across splits.
        tiny_boxes: by split: boxes under 50 px wide or high.
    """

    images: dict[str, int]
    unlabelled: dict[str, int]
    partial: dict[str, dict[str, int]]
    classes: dict[str, dict[str, dict[str, int]]]
    pairs: tuple[Pair, ...]
    tiny_boxes: dict[str, int]

    def to_dict(self) -> dict[str, Any]:
        """All of it, JSON-able; without `partial` where there is none."""
        return {name: value for name, value in asdict(self).items() if name != "partial" or value}


def audit(data: PreparedData) -> Audit:
    """Count and compare; reads no image."""
    splits = [split for split in SPLITS if len(data.indices(split))]
    sides = data.boxes[:, 2:] - data.boxes[:, :2]
    classes = {
        category.name: {
            name: {split: int((data.labels[data.indices(split), k] == c).sum()) for split in splits}
            for c, name in enumerate(category.classes)
        }
        for k, category in enumerate(data.schema.categories)
    }
    pairs = []
    for i, j in find_near_duplicates(data.thumbnails):
        both = (data.labels[[i, j]] >= 0).all(0)  # [K]
        conflicting = bool((both & (data.labels[i] != data.labels[j])).any())
        exact = data.sha256[i] == data.sha256[j]
        pairs.append(Pair(data.names[i], data.names[j], (str(data.splits[i]), str(data.splits[j])), exact, conflicting))
    return Audit(
        images={split: len(data.indices(split)) for split in splits},
        unlabelled={split: len(data.indices(split)) - len(data.labelled(split)) for split in splits},
        partial=count_partial(data, splits),
        classes=classes,
        pairs=tuple(pairs),
        tiny_boxes={split: int((sides[data.indices(split)] < TINY_BOX).any(1).sum()) for split in splits},
    )


def count_partial(data: PreparedData, splits: Sequence[str]) -> dict[str, dict[str, int]]:
    """By category and split, images that are labelled in other categories but not in this; see `Audit`."""
    found = {}
    for k, name in enumerate(data.schema.names):
        counts = {split: int((data.labels[data.labelled(split), k] < 0).sum()) for split in splits}
        if any(counts.values()):
            found[name] = counts
    return found


def render_audit(found: Audit) -> str:
    """The audit as Markdown that reads well as plain text."""
    splits = list(found.images)
    lines = ["## Images", "", render_row("", splits), render_rule(splits)]
    for topic, counts in (
        ("images", found.images),
        ("without labels", found.unlabelled),
        *((f"no label in {write_name(name)}", counts) for name, counts in found.partial.items()),
        (f"box under {TINY_BOX} px", found.tiny_boxes),
    ):
        lines.append(render_row(topic, [counts[split] for split in splits]))
    lines += ["", "## Classes", "", render_row("", splits), render_rule(splits)]
    for category, classes in found.classes.items():
        for name, counts in classes.items():
            lines.append(render_row(f"{write_name(category)}: {write_name(name)}", [counts[split] for split in splits]))
    lines += ["", "## Images that show one picture", ""]
    kinds = Counter((pair.splits, pair.exact) for pair in found.pairs)
    for first, second in [*((split, split) for split in splits), *combinations(splits, 2)]:
        exact, near = kinds[(first, second), True], kinds[(first, second), False]
        where = f"within {first}" if first == second else f"{first} and {second}"
        lines.append(f"- {where}: {exact} byte-identical pairs, {near} nearly alike")
    conflicting = sum(pair.conflicting for pair in found.pairs)
    lines += [f"- {conflicting} of all {len(found.pairs)} pairs have different labels", ""]
    for pair in found.pairs[:MAX_PAIRS_SHOWN]:
        kind = "identical" if pair.exact else "alike"
        conflict = ", different labels" if pair.conflicting else ""
        first, second = write_name(pair.first), write_name(pair.second)
        lines.append(f"- {first} ({pair.splits[0]}) and {second} ({pair.splits[1]}): {kind}{conflict}")
    if len(found.pairs) > MAX_PAIRS_SHOWN:
        lines.append(f"- and {len(found.pairs) - MAX_PAIRS_SHOWN} more")
    return "\n".join(lines) + "\n"


def render_row(topic: str, values: list[Any]) -> str:
    """A row of a table: its topic, and a value a split."""
    return f"| {topic.replace('|', BAR):<28} | " + " | ".join(f"{value:>6}" for value in values) + " |"


def render_rule(splits: list[str]) -> str:
    """The line under a table's head."""
    return f"| {'-' * 28} | " + " | ".join("-----:" for _ in splits) + " |"
