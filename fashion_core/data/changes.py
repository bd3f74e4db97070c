"""What has changed of a data set since it was prepared, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fashion_core.data.prepared import BOX
from fashion_core.escaping import show_value

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from fashion_core.data.prepared import PreparedData
    from fashion_core.data.rows import Annotations

MAX_SHOWN = 3  # names of images


def list_changes(then: PreparedData, annotations: Annotations, digests: Sequence[str]) -> list[str]:
    """Each kind of change with its first images: classes, images more and fewer, bytes, labels, boxes, splits, order.

    Args:
        then: as it was prepared.
        digests: of the images' files now, SHA-256, a row of the annotations each.
    """
    table = annotations.table
    names, splits = table["image"].to_pylist(), table["split"].to_pylist()
    boxes = list(zip(*(table[name].to_pylist() for name in BOX), strict=True))
    now = dict(zip(names, zip(digests, splits, boxes, table["labels"].to_pylist(), strict=True), strict=True))
    old = dict(
        zip(
            then.names,
            zip(then.sha256, then.splits.tolist(), map(tuple, then.boxes.tolist()), then.labels.tolist(), strict=True),
            strict=True,
        )
    )
    both = [name for name in old if name in now]
    found = []
    if then.schema.to_dict() != annotations.schema.to_dict():
        found.append("categories or their classes")
    found += tell("more", [name for name in now if name not in old])
    found += tell("fewer", [name for name in old if name not in now])
    for part, what in enumerate(("with other bytes", "in another split", "with another box", "with another label")):
        changed = [name for name in both if old[name][part] != now[name][part]]
        where = {str(now[name][1]) for name in changed}
        found += tell(f"{what} ({', '.join(sorted(where))})" if part != 1 else what, changed)
    if not found and then.names != names:
        found.append("another order of images")
    return found


def tell(what: str, names: Collection[str]) -> list[str]:
    """`2 images with other bytes: a.jpg, b.jpg`; nothing where there are none."""
    if not names:
        return []
    shown = ", ".join(show_value(name) for name in list(names)[:MAX_SHOWN])
    more = ", ..." if len(names) > MAX_SHOWN else ""
    return [f"{len(names):,} image{'s' if len(names) > 1 else ''} {what}: {shown}{more}"]
