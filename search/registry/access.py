"""Reaching an MLflow registry: within seconds, or an error of this project that says why not."""

from __future__ import annotations

import os
import socket
import sqlite3
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

from fashion_core.errors import FashionError
from search.tracking.store import SQLITE, build_error, open_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mlflow.tracking import MlflowClient

ANSWER_S = 4  # for a first answer
PORTS = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}
# MLflow tries seven times, for minutes. Here once more at most, and not when it is first asked: who promotes can go on.
RETRIES = "MLFLOW_HTTP_REQUEST_MAX_RETRIES"
FIRST = {RETRIES: "0", "MLFLOW_HTTP_REQUEST_TIMEOUT": str(ANSWER_S)}
LATER = {RETRIES: "1", "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false"}  # the bar would stand in a report's lines
RULE = "a registry must be an MLflow server or database"
Found = TypeVar("Found")


def open_registry(uri: str) -> MlflowClient:
    """The client of a registry that answers.

    Raises:
        SearchError: it does not, or there is none of this kind.
    """
    for name, value in LATER.items():
        os.environ.setdefault(name, value)
    kept = {name: os.environ.get(name) for name in FIRST}
    try:
        ask_database(uri)
        os.environ.update(FIRST)
        return open_store(uri)
    except Exception as error:  # of a network, a server, a database, a driver that is not installed
        raise build_error(uri, error, RULE) from error
    finally:
        for name, before in kept.items():
            os.environ.pop(name, None)
            if before is not None:
                os.environ[name] = before


def ask_database(uri: str) -> None:
    """Fail where no database can be there: MLflow would try it again and again, for minutes."""
    parts = urlsplit(uri)
    dialect = parts.scheme.split("+")[0]
    if uri.startswith(SQLITE):
        path = Path(uri.removeprefix(SQLITE))
        path.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(path)) as database:
            database.execute("PRAGMA schema_version")
    elif dialect in PORTS and parts.hostname:
        socket.create_connection((parts.hostname, parts.port or PORTS[dialect]), ANSWER_S).close()


@contextmanager
def tell_errors(uri: str) -> Iterator[None]:
    """What goes wrong with the registry inside, as this project's error."""
    try:
        yield
    except FashionError:
        raise
    except Exception as error:
        from mlflow.exceptions import MlflowException

        if not isinstance(error, (MlflowException, OSError)):
            raise
        raise build_error(uri, error, RULE) from error


def find_or_none(call: Callable[[], Found]) -> Found | None:
    """What the registry gives; None where it has no such thing."""
    from mlflow.exceptions import MlflowException

    try:
        return call()
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None
