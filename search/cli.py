"""What the commands of this package share: arguments, and how they end where something is wrong."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from fashion_core.errors import FashionError

SearchName = Annotated[str, typer.Argument(help="The search's name: its folder under the results.")]
Results = Annotated[Path, typer.Option(help="Folder that holds the folders of all searches.")]
DEFAULT_RESULTS = Path("results")


def run_command(command: Callable[[], Any]) -> None:
    """Run a command; errors of this project are told without a traceback, with exit status 2."""
    try:
        command()
    except FashionError as error:
        Console(stderr=True, soft_wrap=True).print(f"error: {error}", markup=False, highlight=False)
        sys.exit(2)
