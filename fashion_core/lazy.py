"""Faces of packages that load nothing before it is asked for (PEP 562)."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


def attach(package: str, files: Mapping[str, Sequence[str]]) -> Callable[[str], Any]:
    """The `__getattr__` of a package: a name is taken from its file when it is first used.

    Args:
        package: its name.
        files: names by the file that defines them, relative to the package, as in `{"loop": ["fit"]}`.
    """
    places = {name: file for file, names in files.items() for name in names}

    def find(name: str) -> Any:
        if name not in places:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(f"{package}.{places[name]}"), name)

    return find
