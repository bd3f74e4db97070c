"""Which searches the champions of a registry come from."""

from __future__ import annotations

from search.address import Address
from search.registry.access import open_registry, tell_errors
from search.registry.versions import CHAMPION, PREVIOUS, Registry

SOURCE_TAG = "search"  # of a version: the name of the search that was promoted


def find_sources(uri: Address | str) -> dict[str, str]:
    """Names of searches whose model is in use -> `champion`, or `previous` for the one to go back to.

    All registered models of the registry count. No registry is made where there is none.

    Raises:
        SearchError: it does not answer.
    """
    if (file := Address.of(uri).file) is not None and not file.exists():
        return {}
    found: dict[str, dict[str, str]] = {PREVIOUS: {}, CHAMPION: {}}
    with tell_errors(uri):
        for model in open_registry(uri).search_registered_models():
            registry = Registry(uri, model.name)
            for alias, searches in found.items():
                version = registry.find(alias)
                if version is not None and SOURCE_TAG in version.tags:
                    searches[version.tags[SOURCE_TAG]] = alias
    return found[PREVIOUS] | found[CHAMPION]  # a search may be both
