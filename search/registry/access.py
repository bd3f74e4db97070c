"""Reaching an MLflow registry: within seconds, or an error of this project that says why not."""

from __future__ import annotations

import os
import socket
import sqlite3
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, TypeVar

from fashion_core.errors import FashionError
from search.address import Address
from search.tracking.store import build_error, import_mlflow, name_cause, open_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mlflow.tracking import MlflowClient

ANSWER_S = 4  # for a database's first answer
SERVER_S = 15  # for a server's: one that has just started, on a busy machine, takes its time
PORTS = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}
SSL_REQUEST = bytes.fromhex("0000000804d2162f")  # the first message to PostgreSQL, to which any server says a letter
# MLflow tries seven times, for minutes. Here once more at most, and not when it is first asked: who promotes can go on.
RETRIES = "MLFLOW_HTTP_REQUEST_MAX_RETRIES"
FIRST = {RETRIES: "0", "MLFLOW_HTTP_REQUEST_TIMEOUT": str(SERVER_S), "PGCONNECT_TIMEOUT": str(ANSWER_S)}
LATER = {RETRIES: "1", "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false"}  # the bar would stand in a report's lines
RULE = "a registry must be an MLflow server or database"
Found = TypeVar("Found")


def open_registry(uri: Address | str, rule: str = RULE) -> MlflowClient:
    """The client of a registry that answers.

    Args:
        rule: what it must be, in the words of an error.

    Raises:
        SearchError: it does not, or there is none of this kind.
    """
    for name, value in LATER.items():
        os.environ.setdefault(name, value)
    kept = {name: os.environ.get(name) for name in FIRST}
    try:
        os.environ.update(FIRST)
        ask_database(uri)
        return open_store(uri)
    except FashionError:
        raise
    except Exception as error:  # of a network, a server, a database, a driver that is not installed
        raise build_error(uri, error, rule) from name_cause(uri, error)
    finally:
        for name, before in kept.items():
            os.environ.pop(name, None)
            if before is not None:
                os.environ[name] = before


def ask_database(uri: Address | str) -> None:
    """Fail where no database can be there: MLflow would try it again and again, for minutes."""
    address = Address.of(uri)
    if (file := address.file) is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(file)) as database:
            database.execute("PRAGMA schema_version")
    elif address.scheme in PORTS and address.host is not None:
        host, port = address.host
        with socket.create_connection((host, port or PORTS[address.scheme]), ANSWER_S) as connection:
            await_greeting(connection, address.scheme)
        connect_once(address)


def await_greeting(connection: socket.socket, scheme: str) -> None:
    """Fail where nothing is said by what should be a database: its driver might wait for ever.

    Raises:
        TimeoutError, ConnectionError: nothing, within `ANSWER_S`.
    """
    if scheme == "postgresql":
        connection.sendall(SSL_REQUEST)
    if scheme != "mssql" and not connection.recv(1):
        raise ConnectionError("it hangs up: no database of this kind")


def connect_once(address: Address) -> None:
    """Fail where the database does not let us in, or its driver is not installed."""
    from sqlalchemy import create_engine

    engine = create_engine(address.reveal())
    try:
        engine.connect().close()
    finally:
        engine.dispose()


@contextmanager
def tell_errors(uri: Address | str) -> Iterator[None]:
    """What goes wrong with the registry inside, as this project's error."""
    try:
        yield
    except FashionError:
        raise
    except Exception as error:
        from mlflow.exceptions import MlflowException

        if not isinstance(error, (MlflowException, OSError)):
            raise
        raise build_error(uri, error, RULE) from name_cause(uri, error)


def find_or_none(call: Callable[[], Found]) -> Found | None:
    """What the registry gives; None where it has no such thing."""
    import_mlflow()
    from mlflow.exceptions import MlflowException

    try:
        return call()
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None
