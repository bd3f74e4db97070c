"""Reaching a registry: within seconds, or told why not."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from free_port import find_port

from fashion_core.errors import SearchError
from search.registry import access
from search.registry.access import open_registry
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


@pytest.fixture
def silent() -> Iterator[int]:
    """The port of a server that takes calls and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.mark.slow  # it waits for the limit
@pytest.mark.parametrize("scheme", ["http", "postgresql", "mysql+pymysql"])
def test_one_that_never_answers_is_left_after_seconds(
    silent: int, scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access, "ANSWER_S", 1)
    monkeypatch.setitem(access.FIRST, "MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    with pytest.raises(SearchError, match=r"does not .*(T|t)ime") as told:
        open_registry(f"{scheme}://me:secret@127.0.0.1:{silent}/db")
    assert "secret" not in str(told.value) and "\n" not in str(told.value)


def test_what_is_no_address_is_refused_with_the_remedy() -> None:
    with pytest.raises(SearchError, match=r"^an address must be like .*got localhost:5000; write http"):
        open_registry("localhost:5000")
