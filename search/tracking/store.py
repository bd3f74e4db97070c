"""MLflow's database or server: where it is, and how it is opened."""

from __future__ import annotations

import logging
import os
import shlex
import sqlite3
import tempfile
from contextlib import closing, contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from fashion_core.errors import FashionError, SearchError, first_line
from fashion_core.files import measure_free
from search.address import Address
from search.records.layout import ARTIFACTS
from search.records.provenance import write_command
from search.tracking.view import build_page_path, name_view

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlflow.tracking import MlflowClient

    from search.records.layout import SearchLayout

# Where a database of MLflow holds places of files, (table, column).
PLACES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
NOTE_TAG = "mlflow.note.content"  # what MLflow's pages show as the description of a run
MAX_NOTE = 5_000  # characters
NEEDED_MB = 1  # that SQLite needs beside a database, also to read it


def default_uri(layout: SearchLayout) -> str:
    """SQLite under the results."""
    return str(Address.of_file(layout.tracking_db))


def import_mlflow() -> None:
    """Import MLflow as a whole, before any part of it: of two threads that begin with different parts, as the sender's
    and the main one may, each would find the other's half done, and Python raises in either.
    """
    for name in ("MLFLOW_DISABLE_TELEMETRY", "DO_NOT_TRACK"):  # read when MLflow is imported
        os.environ.setdefault(name, "true")
    import_module("mlflow")


def open_store(uri: Address | str) -> MlflowClient:
    """The client; makes the database if it is absent.

    Raises:
        SearchError: its password is missing, or it is no address.
    """
    import_mlflow()
    os.environ["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] = "true"  # with the password, on every run's end
    import mlflow.tracking

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("psycopg").setLevel(logging.ERROR)  # it warns of each batch with a point that was there already
    for name in (
        "mlflow.store.db.utils",
        "sqlalchemy.pool",
    ):  # tracebacks of what is raised as well
        logging.getLogger(name).setLevel(logging.CRITICAL)
    address = Address.of(uri)
    if (file := address.file) is not None:
        # MLflow goes on with what it once opened under this address, whatever folder this process works in by then
        address = Address.of_file(file.absolute())
        make_database(file)
    whole = address.reveal()
    client = mlflow.tracking.MlflowClient(whole, whole)
    client.search_experiments(max_results=1)
    if file is not None:
        with closing(sqlite3.connect(file)) as database:
            database.execute("PRAGMA journal_mode=WAL")  # readers and this writer do not wait for each other
        follow_move(file)
    return client


def make_database(file: Path) -> None:
    """Make MLflow's database where there is none: whole, or not at all.

    MLflow itself makes table after table, and refuses for ever what a kill, or a full disk, has left in between; so do
    two processes that make one at once.
    """
    import_mlflow()
    import mlflow.tracking

    if file.exists():
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".mlflow-", dir=file.parent) as folder:
        made, plain = Path(folder) / "made.db", Path(folder) / "plain.db"
        address = Address.of_file(made.absolute()).reveal()
        mlflow.tracking.MlflowClient(address, address).search_experiments(max_results=1)
        with closing(sqlite3.connect(made)) as database:
            database.execute("VACUUM INTO ?", [str(plain)])  # MLflow keeps the other one open
        try:
            os.link(plain, file)  # unlike a renaming, it never takes the place of one that another process has made
        except FileExistsError:
            pass
        except OSError:  # a file system without links
            os.rename(plain, file)


def follow_move(file: Path) -> None:
    """Where results were moved or copied with their database: name MLflow's files where they are now.

    Of an experiment whose folder stands beside the database, under the name it always had. MLflow itself keeps
    absolute places, and would go on writing to the old one.
    """
    with closing(sqlite3.connect(file)) as database, database:
        for (old,) in database.execute("SELECT artifact_location FROM experiments").fetchall():
            before, _, name = (old or "").rpartition(f"/{ARTIFACTS}/")
            folder = file.parent.resolve() / ARTIFACTS / unquote(name)
            if not before.startswith("file:") or not folder.is_dir() or folder.as_uri() == old:
                continue
            for table, column in PLACES:
                database.execute(
                    f"UPDATE {table} SET {column} = ? || substr({column}, ?) "
                    f"WHERE {column} = ? OR substr({column}, 1, ?) = ?",
                    (folder.as_uri(), len(old) + 1, old, len(old) + 1, f"{old}/"),
                )


def gather_statistics(uri: Address | str) -> None:
    """Let SQLite look at its tables: without, a page of 5,000 runs sorted by a metric takes 1.6 s, with them 0.3 s.

    Other databases do so themselves. One that is locked stays as it is, until the next search.
    """
    if (file := Address.of(uri).file) is not None:
        with closing(sqlite3.connect(file)) as database, suppress(sqlite3.OperationalError):
            database.execute("PRAGMA analysis_limit=1000")  # rows of an index: milliseconds, however many there are
            database.execute("ANALYZE")


def take_head(report: str, until: str = "\n## ") -> str:
    """A Markdown report without its title, up to a heading: a description for MLflow's pages."""
    return report.split(until, 1)[0].partition("\n")[2].strip()[:MAX_NOTE]


def describe_error(uri: Address | str, error: Exception) -> str:
    """Kind and first line of an error, without the address's secrets."""
    return f"{type(error).__name__}: {Address.of(uri).hide(first_line(error))}"


def build_error(uri: Address | str, error: Exception, rule: str = "MLflow must be a server or database") -> SearchError:
    """What an error of MLflow, its database or its network means."""
    file, remedy = Address.of(uri).file, "see that it runs and that this is its address"
    if file is not None and measure_free(file) < NEEDED_MB * 1e6:  # SQLite has other words for it where it only reads
        remedy = f"the disk of {file.parent} is full: free {NEEDED_MB} MB or more there"
    return SearchError(f"{rule} that answers, but {Address.of(uri)} does not ({describe_error(uri, error)}); {remedy}")


def name_cause(uri: Address | str, error: Exception) -> Exception | None:
    """What a traceback may show as the cause: nothing where the address, which an error may tell, has secrets."""
    return None if Address.of(uri).has_secrets else error


@contextmanager
def tell_errors(uri: Address | str) -> Iterator[None]:
    """What goes wrong with MLflow inside, as this project's error."""
    try:
        yield
    except FashionError:
        raise
    except Exception as error:  # of a network, a server, a database, a driver that is not installed
        raise build_error(uri, error) from name_cause(uri, error)


def resend_command(layout: SearchLayout, uri: Address | str) -> str:
    """How a search is sent to MLflow again."""
    is_usual = Address.of(uri) == Address.of(default_uri(layout))
    return write_command("resend", layout) + ("" if is_usual else f" --tracking-uri {shlex.quote(str(uri))}")


def ui_command(layout: SearchLayout, uri: Address | str | None, experiment: str = "") -> str:
    """How to look at the runs, at the search's leaderboard: a command, or the address of a server's page.

    Args:
        experiment: MLflow's id of the space, where that is known: a server's page can be named by it.
    """
    address = Address.of(uri or default_uri(layout))
    if experiment and address.scheme in ("http", "https"):
        return str(address).rstrip("/") + build_page_path(experiment, name_view(layout.name))
    given = "" if uri is None else f" --tracking-uri {shlex.quote(str(address))}"
    return write_command("ui", layout) + given
