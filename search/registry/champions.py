"""Who was champion when, and by which evidence: from the registry alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fashion_core.errors import SearchError
from search.address import Address
from search.cli import DEFAULT_RESULTS
from search.registry.sources import SOURCE_TAG
from search.registry.versions import (
    BY_PROMOTION,
    BY_ROLLBACK,
    CHAMPION,
    INTERVAL_TAG,
    JUDGED_TAG,
    PREDECESSOR_TAG,
    SCORE_TAG,
    Registry,
    Version,
    default_registry,
    find_only_model,
    list_models,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from search.registry.versions import Crowning

BY_HAND = "set by hand"


@dataclass(frozen=True)
class Term:
    """A time for which one version was the champion.

    Attributes:
        number: of the version.
        version: None where it was deleted since.
        since, until: unix seconds; `until` is None of the one in use, `since` where nobody wrote it down.
        how: it became champion: by promotion, rollback or copy, or by hand, in MLflow itself.
        is_exact: whether `since` is when it became champion; else it is when it was registered, moments before.
    """

    number: int
    version: Version | None
    since: float | None
    until: float | None
    how: str
    is_exact: bool = True

    @property
    def search(self) -> str:
        """Name of the search that it comes from; "" where it does not say."""
        return self.get(SOURCE_TAG)

    @property
    def score(self) -> str:
        """`0.8527 [0.8388, 0.8665]`; without interval for a version that was registered without."""
        try:
            low, high = (min(max(float(end), 0.0), 1.0) for end in self.get(INTERVAL_TAG).split())
        except ValueError:
            return self.get(SCORE_TAG)
        return f"{self.get(SCORE_TAG)} [{low:.4f}, {high:.4f}]"

    @property
    def verdict(self) -> str:
        """What made it champion, in words."""
        if self.how != BY_PROMOTION:
            return "rolled back to it" if self.how == BY_ROLLBACK else self.how
        against, number = self.get(JUDGED_TAG), self.get("try")
        text = (self.get("gate") or "unknown") + (f" against {against}" if against else "")
        text += f", try {number}" if number else ""
        return text + ("; promoted by force" if self.get("forced") == "true" else "")

    @property
    def is_champion(self) -> bool:
        """Whether it is the one in use."""
        return self.until is None and self.version is not None and CHAMPION in self.version.aliases

    def get(self, tag: str) -> str:
        """A tag of its version; "" where there is none."""
        return "" if self.version is None else self.version.tags.get(tag, "")

    def to_dict(self) -> dict[str, Any]:
        """All of it, JSON-able."""
        version = self.version
        return {
            "version": self.number,
            "since": self.since,
            "since_is_exact": self.is_exact,
            "until": self.until,
            "how": self.how,
            "is_champion": self.is_champion,
            "search": self.search,
            "score": self.score,
            "verdict": self.verdict,
            "run": "" if version is None else version.run_id,
            "tags": {} if version is None else version.tags,
        }


def list_champions(
    name: str | None = None, *, results: Path = DEFAULT_RESULTS, tracking_uri: Address | str | None = None
) -> tuple[Registry, list[Term]]:
    """The registry of a model, and who was its champion, the first one first.

    Args:
        name: of the registered model, or of a search that was promoted to one; None: the only one with a champion.
        results: folder of all searches.
        tracking_uri: of the registry; None: SQLite under the results.

    Raises:
        SearchError: there is no such model, or it never had a champion; the registry does not answer.
    """
    uri = Address.of(tracking_uri or default_registry(results))
    registry = Registry(uri, find_only_model(uri) if name is None else find_model_name(uri, name))
    terms = build_terms(registry.list_versions(), registry.list_crownings())
    if not terms:
        raise SearchError(
            f"a model has champions once a promotion passed, but {registry.model} in {uri} never had one; "
            "promote a search"
        )
    return registry, terms


def find_model_name(uri: Address, name: str) -> str:
    """The registered model of this name, else the one that a search of this name was promoted to.

    Raises:
        SearchError: there is none, or there are several.
    """
    models = list_models(uri)
    if name in models:
        return name
    found = [
        model
        for model in models
        if any(version.tags.get(SOURCE_TAG) == name for version in Registry(uri, model).list_versions())
    ]
    if len(found) != 1:
        raise SearchError(
            "champions are told of a registered model that has one, or of a search that was promoted to it, but "
            f"{name} is {'a search of several' if found else 'neither'} in {uri}; models there are "
            f"{', '.join(found or models) or 'none'}; name one of them, or another registry by --tracking-uri"
        )
    return found[0]


def build_terms(versions: Sequence[Version], crownings: Sequence[Crowning]) -> list[Term]:
    """The times of all champions. Those of before crownings were written down are known by their tags alone."""
    known = {version.number: version for version in versions}
    told = {each.version for each in crownings}
    first = min((each.time for each in crownings), default=float("inf"))
    begun: list[tuple[int, float | None, str, bool]] = [
        (version.number, version.created, BY_PROMOTION, False)
        for version in versions
        if PREDECESSOR_TAG in version.tags and version.number not in told and version.created < first
    ]
    begun += [(each.version, each.time, each.how, True) for each in crownings]
    current = next((version.number for version in versions if CHAMPION in version.aliases), None)
    if current is not None and (not begun or begun[-1][0] != current):
        begun.append((current, None, BY_HAND, True))
    ends = [since for _, since, _, _ in begun[1:]] + [None]
    return [
        Term(number, known.get(number), since, until, how, is_exact)
        for (number, since, how, is_exact), until in zip(begun, ends, strict=True)
    ]
