"""A search that is told event by event."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from told_search import ToldSearch

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def search(tmp_path: Path) -> Iterator[ToldSearch]:
    search = ToldSearch(tmp_path)
    yield search
    search.ledger.close()
