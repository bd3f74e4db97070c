"""Whether what a search goes on with is what it began with: data, space, settings, code.

What decides a search's numbers is compared; what does not, such as the number of cores, may change. What the ledger
does not tell, as those of earlier versions do not, is not asked for.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

import numpy as np

from fashion_core.data.prepared import PreparedData
from fashion_core.errors import DataError, SearchError
from fashion_core.escaping import show_value
from search.records.provenance import compute_code_digest, find_version

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from search.planning.plan import Plan
    from search.records.events import SearchStarted

CODE = "code"  # what may be another where a person says so
LIBRARIES = ("torch", "timm", "optuna", "ray")  # that scores and proposals depend on
# Of `SearchStarted.settings`: what decides proposals, decisions and scores. The number of trials may grow.
SETTINGS = ("sampler", "scheduler", "max_epochs", "grace_epochs", "reduction_factor", "seed", "select_on")
SHOWN = 3  # lines of what has changed in a space


def check_identity(plan: Plan, begun: SearchStarted, allowed: Collection[str] = ()) -> list[str]:
    """Compare what can be compared before images are read.

    Args:
        allowed: `CODE`, or nothing.

    Returns:
        What is another and allowed to be, in words.

    Raises:
        SearchError: space, settings or code have changed.
    """
    check_space(plan, begun)
    check_settings(plan, begun)
    changed = describe_code_change(begun.provenance)
    if changed and CODE not in allowed:
        raise SearchError(
            f"a search goes on with the code it began with, but of {begun.name} {'; '.join(changed)}; restore it, or "
            f"go on all the same with --allow-changed {CODE}, which is noted: scores from before and after may differ"
        )
    return changed


def check_space(plan: Plan, begun: SearchStarted) -> None:
    """Raises SearchError where the space's file means something else since the search began."""
    if begun.space_hash == plan.space.hash:
        return
    lines = difflib.unified_diff(begun.space.splitlines(), plan.space.text.splitlines(), lineterm="", n=0)
    changes = [line for line in lines if line[:1] in "+-" and not line.startswith(("+++", "---"))]
    more = f" and {len(changes) - SHOWN} more" if len(changes) > SHOWN else ""
    told = ", ".join(show_value(" ".join(line.split())) for line in changes[:SHOWN]) + more
    raise SearchError(
        f"a search goes on with the space it began with, but {plan.options.space} has changed since ({told}); "
        f"restore it (a copy is {plan.layout.space_yaml}) or start a new search"
    )


def check_settings(plan: Plan, begun: SearchStarted) -> None:
    """Raises SearchError where a setting that decides the search's numbers is another, as in an edited options.json."""
    scheduler = plan.space.scheduler
    now: dict[str, Any] = {"sampler": plan.space.sampler, "scheduler": scheduler.type}
    now |= {name: getattr(scheduler, name) for name in SETTINGS if hasattr(scheduler, name)}
    now |= {"seed": plan.options.seed, "select_on": plan.options.select_on}
    for name in SETTINGS:
        if name in begun.settings and begun.settings[name] != now[name]:
            raise SearchError(
                f"a search goes on with the settings it began with, but `{name}` of {begun.name} was "
                f"{show_value(begun.settings[name])} and is {show_value(now[name])}; restore "
                f"{plan.layout.options.name}, or start a new search"
            )


def describe_code_change(provenance: Mapping[str, str]) -> list[str]:
    """What is another in code and libraries than when a search began, in words."""
    changed = []
    if provenance.get(CODE, now := compute_code_digest()) != now:
        changed.append("`search` or `fashion_core` has changed since")
    for name in LIBRARIES:
        if provenance.get(name, found := find_version(name)) != found:
            changed.append(f"{name} was {show_value(provenance[name])} and is {found}")
    return changed


def check_data(plan: Plan, begun: SearchStarted, data: PreparedData) -> None:
    """Raises SearchError where labels, boxes, splits or images are not those that the search began with.

    What changed is told where the images of then are still prepared.
    """
    before = begun.data.get("fingerprint", data.fingerprint)
    if before == data.fingerprint:
        return
    try:
        told = describe_data_change(PreparedData.open(plan.cache_dir / f"prepared-{before}.arrow"), data)
    except DataError:
        told = ""
    raise SearchError(
        f"a search goes on with the data it began with, but {plan.options.data.name} has changed since"
        f"{f' ({told})' if told else ''}; restore it, or start a new search"
    )


def describe_data_change(before: PreparedData, after: PreparedData) -> str:
    """What differs between two prepared sets, in words; "" where it is none of this."""
    if before.schema != after.schema:
        return "its categories or classes"
    if before.settings != after.settings:
        return f"images were prepared as {before.settings} and are as {after.settings}"
    if before.names != after.names:
        gone, new = set(before.names) - set(after.names), set(after.names) - set(before.names)
        counts = [f"{len(each):,} {word}" for each, word in ((gone, "gone"), (new, "new")) if each]
        return f"its list of images: {', '.join(counts) or 'in another order'}"
    files = np.array(before.sha256) != np.array(after.sha256)
    found = [
        (f"{int((before.labels != after.labels).sum()):,} labels", (before.labels != after.labels).any(1)),
        ("boxes", (before.boxes != after.boxes).any(1)),
        ("splits", before.splits != after.splits),
        ("the contents of files", files),
    ]
    parts = [
        f"{word} of {int(rows.sum()):,} images, the first {show_value(after.names[int(rows.argmax())])}"
        for word, rows in found
        if rows.any()
    ]
    return "; ".join(parts)
