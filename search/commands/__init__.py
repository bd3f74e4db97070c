"""The console command `fashion-search`: its sub-commands, one file for those that belong together."""

from typing import TYPE_CHECKING

from fashion_core.lazy import attach

if TYPE_CHECKING:
    from search.commands.app import main

__all__ = ["main"]
__getattr__ = attach(__name__, {"app": ["main"]})
