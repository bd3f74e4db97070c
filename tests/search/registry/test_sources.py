"""Which searches the models in use come from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from registered_models import draw_versions

from fashion_core.errors import SearchError
from search.registry.sources import find_sources
from search.tracking.store import open_store

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.slow
@pytest.mark.parametrize("name", ["boots", "shoes"])  # before and after the first model
def test_champions_of_all_models_count(name: str, tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path / 'mlflow.db'}").tracking_uri
    assert find_sources(store) == {}
    registry, (one, two, three) = draw_versions(store, "shirts", 3)
    for version, search in ((one, "first"), (two, "second"), (three, "third")):
        registry.set_tags(version, {"search": search})
    assert find_sources(store) == {}
    registry.promote(one, None, {})
    assert find_sources(store) == {"first": "champion"}
    registry.promote(two, one, {})
    assert find_sources(store) == {"first": "previous", "second": "champion"}
    other, (again,) = draw_versions(store, name, 1)
    other.set_tags(again, {"search": "first"})
    other.promote(again, None, {})
    assert find_sources(store) == {"first": "champion", "second": "champion"}


def test_no_registry_is_made(tmp_path: Path) -> None:
    assert find_sources(f"sqlite:///{tmp_path / 'mlflow.db'}") == {} and not list(tmp_path.iterdir())


def test_one_that_does_not_answer_is_told(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_text("this is no database, but long enough to be read as one" * 20)
    with pytest.raises(SearchError, match="does not"):
        find_sources(f"sqlite:///{tmp_path / 'mlflow.db'}")
