"""An address is whole for whoever connects to it, and for nobody else."""

import copy
import io
import json
import pickle
import traceback

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel
from rich.console import Console
from rich.pretty import pretty_repr
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

from fashion_core.errors import SearchError
from fashion_core.secrets import hide_secrets
from search.address import Address, renew

SECRET = "pl4nted+S3cret"
PLACES = {
    "postgresql": f"postgresql://me:{SECRET}@host:5432/db",
    "driver": f"postgresql+psycopg2://me:{SECRET}@host/db?ssl=1",
    "mysql": f"mysql+pymysql://me:{SECRET}@host/db",
    "redis": f"redis://:{SECRET}@host:6379",
    "http": f"http://me:{SECRET}@host:5000/path",
    "https": f"https://me:{SECRET}@host",
    "at": f"https://me:p@{SECRET}@host",
    "at and slash": f"http://me:p@s/{SECRET}@host:5000",
    "mail": f"http://me@mail.org:{SECRET}@host",
    "within a value": f"postgresql://host/db?options=-c%20password={SECRET}",
    "jwt": f"http://host/?jwt={SECRET}",
    "pw": f"http://host/?pw={SECRET}",
    "slash": f"postgresql://me:p/{SECRET}@host/db",
    "blank": f"http://me:p {SECRET}@host",
    "quote": f"http://me:p'\"{SECRET}@host",
    "s3": f"s3://AKIA:{SECRET}@bucket/key",
    "signature": f"https://host/x?X-Amz-Signature={SECRET}&X-Amz-Date=1",
    "credential": f"https://host/x?a=1&X-Amz-Credential={SECRET}",
    "token": f"http://host/?token={SECRET}",
    "password": f"postgresql://host/db?user=me&password={SECRET}",
    "coded": f"http://host/?pass%77ord={SECRET}",
    "key": f"s3://bucket/x?secret_key={SECRET};x",
    "odbc": f"mssql+pyodbc:///?odbc_connect=Server%3Dx%3BPWD%3D{SECRET}",
    "fragment": f"http://host/#access_token={SECRET}",
    "no scheme": f"me:{SECRET}@host:5000",
}


class Holder(BaseModel):
    at: Address


def show_all(address):
    """All ways in which text is made of it."""
    console = Console(file=io.StringIO(), width=200)
    console.print(address, {"at": address}, pretty_repr(address))
    holder = Holder(at=address)
    yield from (str(address), repr(address), f"{address}", f"{address:>5}")
    yield from (repr([address]), json.dumps(address, default=str), console.file.getvalue(), str(holder), repr(holder))
    yield from (holder.model_dump_json(), str(holder.model_dump()), json.dumps(holder.model_dump(mode="json")))
    yield from (str(pickle.dumps(address)), str(copy.deepcopy(address)), repr(pickle.loads(pickle.dumps(holder))))
    try:
        raise ValueError(address)
    except ValueError as error:
        yield "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())


@pytest.mark.parametrize("text", PLACES.values(), ids=PLACES)
def test_nothing_shows_its_secret(text):
    address = Address(text)
    assert address.has_secrets and all(SECRET[-6:] not in shown for shown in show_all(address))
    assert "***" in str(address)
    error = f"cannot open {text} (really {text!r}), password {SECRET} is wrong"
    assert SECRET not in address.hide(error)


@pytest.mark.parametrize("text", [text for name, text in PLACES.items() if name not in ("blank", "no scheme")])
def test_a_text_that_names_it_is_shown_without(text):
    assert SECRET not in hide_secrets(f"connection to '{text}' failed, see {text}")


@pytest.mark.parametrize(
    "text",
    [
        "sqlite:////a/my token=5/b.db", "http://host:5000/path?x=1", "http://user@host", "databricks", "s3://bucket/key",
        "http://host:5000/a@b", "gs://my bucket/x", "http://someone.of.the.team@host",
    ],
)  # fmt: skip
def test_what_is_no_secret_is_shown(text):
    assert str(Address(text)) == text and not Address(text).has_secrets


@pytest.mark.parametrize("place", ["https://{}@host", "https://{}:@host/path", "see https://{}@host, please"])
def test_a_token_in_the_users_place_is_hidden(place):
    shown = str(Address(place.format(token := "glpat_0123456789abcdefXY")))
    assert token not in shown and "***@host" in shown and token not in hide_secrets(place.format(token))


@pytest.mark.parametrize("header", ["Authorization: Bearer {}", "'authorization': 'Basic {}'", "a bearer {} of mine"])
def test_a_header_is_shown_without_its_credentials(header):
    assert hide_secrets(header.format(SECRET * 2)) == header.format("***")


@pytest.mark.parametrize(
    "text", ["models:/name@champion", "lr=0.1 for seed=3", "a bearer of news", "mail me@host: it is 10:30, a/b=c"]
)
def test_other_text_stays(text):
    assert hide_secrets(text) == text


@given(st.text("ab1:/?#@ %é", min_size=1, max_size=12))
def test_any_password_in_its_place_is_hidden_as_sqlalchemy_reads_it(password):
    url = make_url("postgresql://me@host:5432/db").set(password=password)
    address = Address(url.render_as_string(hide_password=False))
    assert str(address) == url.render_as_string(hide_password=True) and make_url(address.reveal()) == url


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("postgresql://me:{}@host/db", "PGPASSWORD"),
        ("mysql+pymysql://me:{}@host/db", "MYSQL_PWD"),
        ("http://me:{}@host:5000", "MLFLOW_TRACKING_PASSWORD"),
    ],
)
def test_what_was_not_stored_comes_from_the_environment(text, name, monkeypatch):
    monkeypatch.delenv(name, raising=False)
    stored = Holder.model_validate_json(Holder(at=Address(text.format("old"))).model_dump_json()).at
    with pytest.raises(SearchError, match=rf"^an address is stored without .*--tracking-uri, or set {name}$") as told:
        stored.reveal()
    assert "\n" not in str(told.value)
    monkeypatch.setenv(name, "a@b c")
    assert stored.reveal() == text.format("a%40b%20c") and str(stored) == text.format("***")


def test_a_token_in_a_query_must_be_given_again(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "x")
    with pytest.raises(SearchError, match=r"the whole address by --tracking-uri$"):
        Address("http://host/?token=***").reveal()


def test_one_that_is_stored_may_be_given_again_with_its_password():
    stored, whole = Address("postgresql://me:***@host/db"), Address("postgresql://me:new@host/db")
    assert renew(stored, None) is stored and renew(None, None) is None
    assert renew(stored, whole) is whole and renew(Address("postgresql://me@host/db"), whole) is whole
    for begun, other in (
        (stored, "postgresql://me:new@other/db"),
        (stored, "postgresql://you:x@host/db"),
        (None, "http://x"),
    ):
        with pytest.raises(SearchError, match="goes on in MLflow where it began"):
            renew(begun, Address(other))


@pytest.mark.parametrize("text", ["localhost:5000", "host", "me:secret@host:5000", "./mlruns", "", "host/path"])
def test_what_is_no_address_is_told_with_the_remedy(text):
    with pytest.raises(SearchError, match=r"must be like http://host:5000.*write http://") as told:
        Address(text).reveal()
    assert "secret" not in str(told.value)


def test_an_sqlite_address_names_its_file():
    assert str(Address("sqlite:////a/b c.db").file) == "/a/b c.db"
    assert Address("postgresql://host/db").file is None


@pytest.mark.parametrize("name", ["a b", "a?b", "a#b", "a%b", "a%20b", "a'b\"c", "a&b=c;d", "é", "a+b", "a:b@c"])
def test_any_path_is_the_file_that_sqlalchemy_opens(tmp_path, name):
    path = tmp_path / name / "some.db"
    path.parent.mkdir()
    address = Address.of_file(path)
    assert address.file == path and not address.has_secrets and str(address) == address.reveal()
    engine = create_engine(address.reveal())
    with engine.connect() as connection:
        connection.execute(text("CREATE TABLE t (x INTEGER)"))
    engine.dispose()
    assert path.is_file() and [each.name for each in tmp_path.iterdir()] == [name]
