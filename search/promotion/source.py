"""Whether what a promotion trains on is what its search was trained on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from search.experiment.identity import check_data, check_weights
from search.experiment.resuming import begun_by_older
from search.records.own_space import load_own_space

if TYPE_CHECKING:
    from pathlib import Path

    from fashion_core.data.rows import Annotations
    from search.records.layout import SearchLayout
    from search.records.record import SearchRecord


def check_like_search(layout: SearchLayout, record: SearchRecord, annotations: Annotations, cache_dir: Path) -> None:
    """A promotion trains on the images and labels, and from the weights, that its search began with.

    Of a search of an earlier version that cannot be told: it named its images in another way.

    Args:
        cache_dir: of prepared images.

    Raises:
        SearchError: one of them has changed; it says what.
    """
    begun = record.begun
    if not begun_by_older(begun.provenance.get("version", "")):
        space = load_own_space(record).with_starts(layout.list_starts())
        check_weights(space, begun)
        check_data(annotations, space.prepare_settings()[0], cache_dir, begun)
