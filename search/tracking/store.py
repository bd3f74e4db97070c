"""MLflow's database or server: where it is, and how it is opened."""

from __future__ import annotations

import logging
import os
import shlex
import sqlite3
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

from fashion_core.errors import FashionError, SearchError, first_line
from search.records.provenance import python_command

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlflow.tracking import MlflowClient

    from search.records.layout import SearchLayout

SQLITE = "sqlite:///"
NOTE_TAG = "mlflow.note.content"  # what MLflow's pages show as the description of a run
MAX_NOTE = 5_000  # characters


def default_uri(layout: SearchLayout) -> str:
    """SQLite under the results."""
    return f"{SQLITE}{layout.tracking_db}"


def open_store(uri: str) -> MlflowClient:
    """The client; makes the database if it is absent (one process at a time: two that do it at once break it)."""
    for name in ("MLFLOW_DISABLE_TELEMETRY", "DO_NOT_TRACK"):  # read when MLflow is imported
        os.environ.setdefault(name, "true")
    import mlflow.tracking

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    if uri.startswith(SQLITE):
        # MLflow goes on with what it once opened under this address, whatever folder this process works in by then
        uri = f"{SQLITE}{Path(uri.removeprefix(SQLITE)).absolute()}"
        Path(uri.removeprefix(SQLITE)).parent.mkdir(parents=True, exist_ok=True)
    client = mlflow.tracking.MlflowClient(uri, uri)
    client.search_experiments(max_results=1)
    if uri.startswith(SQLITE):
        with closing(sqlite3.connect(uri.removeprefix(SQLITE))) as database:
            database.execute("PRAGMA journal_mode=WAL")  # readers and this writer do not wait for each other
    return client


def gather_statistics(uri: str) -> None:
    """Let SQLite look at its tables: without, a page of 5,000 runs sorted by a metric takes 1.6 s, with them 0.3 s.

    Other databases do so themselves. One that is locked stays as it is, until the next search.
    """
    if uri.startswith(SQLITE):
        with closing(sqlite3.connect(uri.removeprefix(SQLITE))) as database, suppress(sqlite3.OperationalError):
            database.execute("PRAGMA analysis_limit=1000")  # rows of an index: milliseconds, however many there are
            database.execute("ANALYZE")


def take_head(report: str, until: str = "\n## ") -> str:
    """A Markdown report without its title, up to a heading: a description for MLflow's pages."""
    return report.split(until, 1)[0].partition("\n")[2].strip()[:MAX_NOTE]


def hide_password(uri: str) -> str:
    """The URI as a message may show it."""
    parts = urlsplit(uri)
    if parts.password is None:
        return uri
    return urlunsplit(parts._replace(netloc=parts.netloc.replace(f":{parts.password}@", ":***@")))


def describe_error(uri: str, error: Exception) -> str:
    """Kind and first line of an error, without the URI's password."""
    return f"{type(error).__name__}: {first_line(error).replace(uri, hide_password(uri))}"


def build_error(uri: str, error: Exception, rule: str = "MLflow must be a server or database") -> SearchError:
    """What an error of MLflow, its database or its network means."""
    return SearchError(
        f"{rule} that answers, but {hide_password(uri)} does not ({describe_error(uri, error)}); "
        "see that it runs and that this is its address"
    )


@contextmanager
def tell_errors(uri: str) -> Iterator[None]:
    """What goes wrong with MLflow inside, as this project's error."""
    try:
        yield
    except FashionError:
        raise
    except Exception as error:  # of a network, a server, a database, a driver that is not installed
        raise build_error(uri, error) from error


def ui_command(layout: SearchLayout, uri: str | None) -> str:
    """How to look at the runs."""
    if uri is not None and uri.startswith("http"):
        return f"open {hide_password(uri)} in a browser"
    return (
        f"{python_command()} -m mlflow ui --backend-store-uri {shlex.quote(hide_password(uri or default_uri(layout)))}"
    )
