"""How every command of this package ends where something is wrong."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from rich.console import Console

from fashion_core.errors import FashionError


def run_command(command: Callable[[], Any]) -> None:
    """Run a command; errors of this project are told without a traceback, with exit status 2."""
    try:
        command()
    except FashionError as error:
        Console(stderr=True, soft_wrap=True).print(f"error: {error}", markup=False, highlight=False)
        sys.exit(2)
