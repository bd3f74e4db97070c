"""Reaching a registry: within seconds, or told why not."""

from pathlib import Path

import pytest
from registered_models import find_port

from fashion_core.errors import SearchError
from search.registry.versions import CHAMPION, Registry


def test_a_registry_that_is_away(tmp_path: Path) -> None:
    port = find_port()
    (tmp_path / "file").write_text("not a database, and not a folder\n" * 100)
    for uri, shown, reason in [
        (f"http://127.0.0.1:{port}", None, "refused"),
        (f"postgresql://me:secret@127.0.0.1:{port}/x", f"postgresql://me:***@127.0.0.1:{port}/x", "ConnectionRefused"),
        ("nosuch://here", None, "nosuch"),
        (f"sqlite:///{tmp_path / 'file'}", None, "not a database"),
        (f"sqlite:///{tmp_path / 'file' / 'below' / 'mlflow.db'}", None, "NotADirectory"),
    ]:
        registry = Registry(uri, "m")
        with pytest.raises(SearchError, match=reason) as told:
            registry.connect()
        assert (shown or uri) in str(told.value) and "secret" not in str(told.value)
    with pytest.raises(SearchError, match=f"127.0.0.1:{port}"):
        Registry(f"http://127.0.0.1:{port}", "m").find(CHAMPION)
