"""MLflow's pages opened at the leaderboard."""

from __future__ import annotations

from typing import Annotated

import typer

from fashion_core.errors import SearchError
from fashion_core.escaping import show_text
from search.address import Address
from search.cli import DEFAULT_RESULTS, Results, TrackingUri
from search.records.layout import SearchLayout

MAX_SHOWN = 5
Name = Annotated[str | None, typer.Argument(metavar="[NAME]", help="A search; without: all, the newest space first.")]
Port = Annotated[int, typer.Option(help="Where the pages are served on this machine.", min=1, max=65535)]


def ui(
    name: Name = None, results: Results = DEFAULT_RESULTS, tracking_uri: TrackingUri = None, port: Port = 5000
) -> None:
    """Show trials in MLflow's pages: best first, with what was searched, and charts of it. Ctrl-C ends it.

    Where MLflow is a server, the page's address is told; else its pages are served on this machine.
    """
    from search.tracking.pages import HOST, check_port, serve_pages

    uri, space = find_store(name, results, tracking_uri)
    if uri.scheme in ("http", "https"):
        tell_pages(str(uri).rstrip("/"), uri, name, space)
        return
    check_port(port)
    typer.echo("MLflow starts; this takes some seconds...", err=True)
    with serve_pages(uri, port) as server:
        tell_pages(f"http://{HOST}:{port}", uri, name, space)
        typer.echo("Ctrl-C ends it.", err=True)
        status = server.wait()
    raise SearchError(f"MLflow's server must run until Ctrl-C, but ended with status {status}; start it again")


def find_store(name: str | None, results: Results, tracking_uri: str | None) -> tuple[Address, str | None]:
    """Where the runs are, and a search's space.

    Raises:
        SearchError: there is no such search, or no runs at all.
    """
    from search.planning.options import load_options
    from search.records.record import load_record
    from search.tracking.store import default_uri

    layout = SearchLayout(results, name or "any")
    space = None if name is None else load_record(layout).begun.space_name
    own = load_options(layout).tracking_uri if name is not None and layout.options.is_file() else None
    uri = Address.of(tracking_uri or own or default_uri(layout))
    if uri.file is not None and not uri.file.is_file():
        raise SearchError(f"MLflow's database must be there, but {uri.file} is not; run a search first, e.g. make demo")
    return uri, space


def tell_pages(base: str, uri: Address, name: str | None, space: str | None) -> None:
    """Print where the leaderboards are."""
    from search.tracking.pages import list_pages

    pages = list_pages(uri, name, space)
    if not pages:
        typer.echo(show_text(f"{base} (no leaderboard yet; send a search again: fashion-search resend NAME)"))
    for page in pages[:MAX_SHOWN]:
        hint = (
            "" if page.is_prepared else f" (without columns and charts; fashion-search resend {page.title} adds them)"
        )
        typer.echo(show_text(f"{page.title}: {base}{page.path}{hint}"))
