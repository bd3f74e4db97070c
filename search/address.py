"""The address of a server or database, which shows itself without its password, and is stored without it."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlsplit

from pydantic_core import core_schema

from fashion_core.errors import SearchError
from fashion_core.secrets import HIDDEN, hide_secrets

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler

SQLITE = "sqlite:///"
SPECIAL = re.compile(r"[%?]")  # what means something in a path's place in an address
# By scheme, where the environment has a password that is not in the address. Those of clouds have their own.
PASSWORDS = {
    "postgresql": "PGPASSWORD",
    "mysql": "MYSQL_PWD",
    "http": "MLFLOW_TRACKING_PASSWORD",
    "https": "MLFLOW_TRACKING_PASSWORD",
}
SHORT_NAMES = ("databricks", "databricks-uc", "uc")  # addresses of MLflow without `://`


class Address:
    """An address. Whatever shows, formats, compares or pickles it sees `***` for its secrets; `reveal` tells it whole.

    Args:
        text: as typed; or as it was stored, with `***` for what must come again.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    @classmethod
    def of(cls, address: Address | str) -> Address:
        """The address that a text is."""
        return address if isinstance(address, Address) else cls(address)

    @classmethod
    def of_file(cls, path: Path) -> Address:
        """The address of an SQLite database's file."""
        if not SPECIAL.search(str(path)):
            return cls(f"{SQLITE}{path}")
        from sqlalchemy import URL  # it takes a moment

        return cls(URL.create("sqlite", database=str(path)).render_as_string())

    def __str__(self) -> str:
        if self._text.startswith(SQLITE):  # a path
            return self._text
        if "://" not in self._text and "@" in self._text:  # somebody forgot the scheme
            return f"{HIDDEN}@{self._text.rpartition('@')[2]}"
        shown = hide_secrets(re.sub(r"\s", lambda match: quote(match[0]), self._text))
        return shown if HIDDEN in shown else self._text

    def __repr__(self) -> str:
        return f"Address({str(self)!r})"

    def __format__(self, form: str) -> str:
        return format(str(self), form)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Address) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))

    def __reduce__(self) -> tuple[type[Address], tuple[str]]:
        return Address, (str(self),)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        """Read from text; written as text without its secrets."""
        text = core_schema.no_info_after_validator_function(cls, core_schema.str_schema())
        either = core_schema.union_schema([core_schema.is_instance_schema(cls), text])
        return core_schema.json_or_python_schema(text, either, serialization=core_schema.to_string_ser_schema())

    @property
    def scheme(self) -> str:
        """`http` of `http://host`, `postgresql` of `postgresql+psycopg2://host/database`; empty where there is none."""
        return self._text.partition("://")[0].partition("+")[0] if "://" in self._text else ""

    @property
    def host(self) -> tuple[str, int | None] | None:
        """Name and port; None where it names no machine."""
        parts = urlsplit(self._text)
        return (parts.hostname, parts.port) if parts.hostname else None

    @property
    def file(self) -> Path | None:
        """The file of an SQLite database; None of any other address."""
        if not self._text.startswith(SQLITE):
            return None
        path = self._text.removeprefix(SQLITE)
        if not SPECIAL.search(path):
            return Path(path)
        from sqlalchemy import make_url  # it takes a moment

        return Path(make_url(self._text).database or "")

    @property
    def has_secrets(self) -> bool:
        """Whether any of it is not shown."""
        return HIDDEN in str(self)

    def is_alike(self, other: Address) -> bool:
        """Whether the two differ by nothing but secrets."""
        return str(self).replace(f":{HIDDEN}@", "@") == str(other).replace(f":{HIDDEN}@", "@")

    def reveal(self) -> str:
        """The whole address, for whoever connects to it; a password that was not stored from the environment.

        Raises:
            SearchError: it is no address; a secret is missing.
        """
        if not self.scheme and self._text not in SHORT_NAMES:
            raise SearchError(
                "an address must be like http://host:5000, postgresql://user@host/database or sqlite:///file.db, but "
                f"got {self}; write http:// before the name of a server"
            )
        if HIDDEN not in self._text:
            return self._text
        name = PASSWORDS.get(self.scheme, "")
        whole = self._text
        if password := os.environ.get(name):
            whole = whole.replace(f":{HIDDEN}@", f":{quote(password, safe='')}@", 1)
        if HIDDEN in whole:
            remedy = f", or set {name}" if f":{HIDDEN}@" in whole and name else ""
            raise SearchError(
                f"an address is stored without its password, which must come again, but that of {self} is missing; "
                f"give the whole address by --tracking-uri{remedy}"
            )
        return whole

    def hide(self, text: str) -> str:
        """A text, such as an error, without the secrets of this address."""
        text = text.replace(self._text, str(self))
        for secret in self.list_secrets():
            text = text.replace(secret, HIDDEN)
        return hide_secrets(text)

    def list_secrets(self) -> list[str]:
        """What must not be shown of it, as typed and as meant; without what is too short to be told from other text."""
        shown, found = str(self), list[str]()
        for text in (self._text, unquote(self._text)):
            pieces = re.split(r"[:/@?&=#;\s'\"]", text)
            found += [piece for piece in pieces if len(piece) > 3 and piece not in shown]
        return sorted(set(found), key=len, reverse=True)


def renew(stored: Address | None, given: Address | None) -> Address | None:
    """Where a search goes on being tracked: where it was, with what is not stored from the address given again.

    Raises:
        SearchError: another one was given.
    """
    if given is None:
        return stored
    if stored is None or not stored.is_alike(given):
        raise SearchError(
            f"a search goes on in MLflow where it began, {stored or 'in its results'}, but got --tracking-uri {given}; "
            "leave it out, or give that address with its password"
        )
    return given
