"""Versions of installed libraries. It imports none of them: a node of a cluster asks here what it has."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

NOT_INSTALLED = "not installed"


def find_version(package: str) -> str:
    """Of an installed package."""
    try:
        return version(package)
    except PackageNotFoundError:
        return NOT_INSTALLED
