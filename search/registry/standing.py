"""The champion that a search's best trial has to stand beside, for its report: found without a model being loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from pydantic import BaseModel

from fashion_core.data.prepared import PreparedData
from fashion_core.errors import FashionError, first_line
from fashion_core.files import read_if_whole
from search.planning.options import load_options
from search.records.layout import FinalLayout
from search.registry.champions import build_terms
from search.registry.versions import CHAMPION, Registry, name_model
from search.reporting.champion import Champion
from search.tracking.store import default_uri

if TYPE_CHECKING:
    from search.address import Address
    from search.records.layout import SearchLayout
    from search.records.record import SearchRecord
    from search.registry.versions import Version


def find_champion(
    layout: SearchLayout, record: SearchRecord, tracking_uri: Address | str | None = None, model: str | None = None
) -> Champion | str | None:
    """The champion of the model that the search would be promoted to; None where there is none, or why nobody knows.

    A registry that does not answer within seconds costs a report this, and nothing else.

    Args:
        tracking_uri: of the registry; None: that of the search.
        model: its name there; None: the one that the search was last promoted to, else that of its data.
    """
    try:
        options = load_options(layout)
        uri = tracking_uri or options.tracking_uri or default_uri(layout)
        registry = Registry(uri, model or find_promoted(layout) or name_model(options.data))
        version = registry.find(CHAMPION)
        return None if version is None else build_champion(layout, record, registry, version)
    except Exception as error:  # of a network, a database, another version: it costs the report this and nothing else
        return first_line(str(error)) or type(error).__name__


class Promoted(BaseModel):
    """Of an attempt of promotion, the registered model that it is for."""

    model: str


def find_promoted(layout: SearchLayout) -> str | None:
    """The registered model that the last attempt of promotion of a search was for; None where none tells."""
    numbers = sorted(int(path.name) for path in layout.promotion_attempts.glob("*") if path.name.isdigit())
    found = [read_if_whole(layout.attempt(number).state, Promoted) for number in reversed(numbers)]
    return next((each.model for each in found if each is not None), None)


def build_champion(layout: SearchLayout, record: SearchRecord, registry: Registry, version: Version) -> Champion:
    """What the registry tells of it."""
    term = build_terms(registry.list_versions(), registry.list_crownings())[-1]
    images, correct = match_answers(layout, record, registry, version) or (None, None)
    return Champion(registry.model, version.number, term.search, term.since, term.score, images=images, correct=correct)


def match_answers(
    layout: SearchLayout, record: SearchRecord, registry: Registry, version: Version
) -> tuple[np.ndarray, np.ndarray] | None:
    """What it answered to the images that the search's trials are compared on: [n] positions of these, [S, n, K].

    None where it was judged on others, or what tells images apart is gone.
    """
    from search.registry.history import read_answers  # torch takes seconds, and is of use where there is a champion
    from search.registry.served_model import FINAL

    folder = load_options(layout).cache_dir or layout.prepared_folder
    path = folder / f"prepared-{record.data.get('fingerprint')}.arrow"
    if not path.is_file():
        return None
    try:
        data = PreparedData.open(path)
        file = registry.download_part(version, f"/artifacts/{FINAL}/{FinalLayout(layout.folder).answers.name}")
        answers = read_answers(FinalLayout(file.parent))
    except (FashionError, OSError):
        return None
    digests = dict(zip(data.names, data.sha256, strict=True))
    places = {digest: place for place, digest in enumerate(answers.digests)}
    names: list[str] = record.selection.get("select_images", [])
    pairs = [(row, places[digests[name]]) for row, name in enumerate(names) if digests.get(name) in places]
    if not pairs:
        return None
    rows, columns = np.array(pairs).T
    return rows, answers.correct[:, columns]
