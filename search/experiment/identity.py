"""Whether what a search goes on with is what it began with: data, space, weights, settings, code; and what is not.

What decides results must be the same. Code may differ where that is allowed, and a machine may; both are written down.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fashion_core.data.changes import list_changes
from fashion_core.data.prepared import PreparedData, find_fingerprint
from fashion_core.errors import FashionError, SearchError, SpaceError
from fashion_core.escaping import show_value
from fashion_core.files import MODEL_FILE, hash_file, read_checked
from fashion_core.models.cost import UNLIMITED
from search.space.architectures import write_limit
from search.space.reading import parse_space

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from fashion_core.data.pixels import PrepareSettings
    from fashion_core.data.rows import Annotations
    from search.planning.plan import Plan
    from search.records.events import SearchStarted
    from search.records.record import SearchRecord
    from search.space.space import Space

CODE = "code"  # what --allow-changed allows
CODE_NAMES = ("code_digest", "torch", "torchvision", "timm", "optuna", "ray")  # of the provenance
MACHINE_NAMES = ("python", "platform", "cpu", "cpu_count", "gpu")
UNLIMITED_SETTINGS = write_limit(UNLIMITED)  # not told where there are no limits
SETTING_NAMES = (
    "seed",
    "select_on",
    "objective",
    "sampler",
    "scheduler",
    "scheduler_form",
    "max_epochs",
    "grace_epochs",
    "reduction_factor",
    *UNLIMITED_SETTINGS,
)
RESOURCE_NAMES = ("concurrent", "cpus_per_trial", "gpus_per_trial", "nodes")
MAX_TOLD = 4  # differences in one line


def collect_settings(plan: Plan) -> dict[str, Any]:
    """A search's settings, as its ledger has them."""
    scheduler, options = plan.space.scheduler, plan.options
    return {
        "trials": plan.trials,
        "objective": plan.space.objective,
        "sampler": plan.space.sampler,
        "scheduler": scheduler.type,
        "scheduler_form": scheduler.form,
        "max_epochs": scheduler.max_epochs,
        "grace_epochs": scheduler.grace_epochs,
        "reduction_factor": scheduler.reduction_factor,
        "seed": options.seed,
        "start_seeds": True,
        "select_on": options.select_on,
        **{name: value for name, value in write_limit(plan.limit).items() if value is not None},
        "concurrent": plan.resources.concurrent,
        "cpus_per_trial": plan.resources.cpus_per_trial,
        "gpus_per_trial": plan.resources.gpus_per_trial,
        **({"nodes": len(plan.machine.nodes)} if plan.machine.nodes else {}),
    }


def digest_weights(space: Space) -> dict[str, str]:
    """SHA-256 of the files of weights and saved models that networks start from, as the space names them."""
    names = {path: name for name, path in space.starts.items()}
    found = {}
    for (weights,) in space.list_settings("weights"):
        path = Path(weights).expanduser()
        file = path / MODEL_FILE if path.is_dir() else path
        if file.is_file():
            found[names.get(weights, weights)] = hash_file(file)
    return found


def check_unchanged(
    plan: Plan, record: SearchRecord, now: Mapping[str, str], allowed: Collection[str], *, extend: bool = False
) -> None:
    """A search goes on with the settings, code, weights and data that it began with.

    Args:
        now: provenance of what goes on.
        allowed: what may have changed: `CODE`.
        extend: it may train longer, see `search.experiment.resuming.check_longer`.

    Raises:
        SearchError: one of them has changed; it says what, and what to do.
    """
    check_settings(plan, record, extend=extend)
    if CODE not in allowed:
        check_code(record, now, extend=extend)
    check_weights(plan.space, record.begun)
    check_data(plan.annotations, plan.settings[0], plan.cache_dir, record.begun)


def check_settings(plan: Plan, record: SearchRecord, *, extend: bool = False) -> None:
    """Raises SearchError where settings that decide results are others than those it began with."""
    names = [name for name in SETTING_NAMES if not (extend and name == "max_epochs")]
    then, now = UNLIMITED_SETTINGS | record.settings, UNLIMITED_SETTINGS | collect_settings(plan)
    if found := tell_differences(then, now, names):
        raise SearchError(
            f"a search goes on with the settings it began with, but {plan.layout.options} has others: {found}; "
            "restore it, or start a new search"
        )


def check_code(record: SearchRecord, now: Mapping[str, str], *, extend: bool = False) -> None:
    """Raises SearchError where code or libraries are others than those it went on with last.

    extend: it has ended, so that another `--resume` is refused.
    """
    if found := tell_differences(record.provenance, now, CODE_NAMES):
        commit = record.provenance.get("git_commit", "")[:12]
        way = "repeat the command with" if extend else f"go on with --resume {record.name}"
        raise SearchError(
            f"a search goes on with the code it began with, but this differs: {found}; restore that"
            f"{f' (commit {commit})' if commit else ''}, or {way} --allow-changed {CODE}"
        )


def check_weights(space: Space, begun: SearchStarted) -> None:
    """Raises SearchError where a file that networks start from has changed. Older ledgers do not tell of them."""
    then: dict[str, str] = begun.data.get("weights", {})
    now = digest_weights(space) if then else {}
    for name, digest in then.items():
        if now.get(name) != digest:
            raise SearchError(
                f"a search keeps to the weights it began with, but {show_value(name)} "
                f"{'has changed since' if name in now else 'is gone'}; restore it, or start a new search"
            )


def check_data(annotations: Annotations, settings: PrepareSettings, cache_dir: Path, begun: SearchStarted) -> None:
    """Raises SearchError, which says what has changed, where images or labels are others than those it began with.

    Args:
        settings: the first of all in which its trials can want their images prepared: they name its fingerprint.
        cache_dir: of prepared images.
    """
    then = begun.data.get("fingerprint")
    if not then:
        return
    now, digests = find_fingerprint(annotations, settings, cache_dir, then)
    if now == then:
        return
    try:
        old = read_checked(cache_dir / f"prepared-{then}.arrow", PreparedData.open)
        changes = list_changes(old, annotations, digests)
    except FashionError:  # what was prepared then is gone: counts are known
        changes = compare_counts(begun, annotations)
    told = "; ".join(changes) or "the way images are read"
    raise SearchError(
        f"a search keeps to the images and labels it began with, but those of {begun.data.get('folder')} have "
        f"changed: {told}; restore them, or start a new search"
    )


def compare_counts(begun: SearchStarted, annotations: Annotations) -> list[str]:
    """Where the numbers of images differ, in words."""
    found = annotations.table["split"].to_pylist()
    then: dict[str, int] = begun.data.get("counts", {})
    words = [
        f"{found.count(split)} images in {split}, not {count}"
        for split, count in then.items()
        if found.count(split) != count
    ]
    return words or ["bytes of images, or labels, boxes, splits or order"]


def note_changes(plan: Plan, record: SearchRecord, now: Mapping[str, str]) -> dict[str, str]:
    """What is no longer as it was when the search ran last and need not be: code that was allowed, the machine.

    Returns:
        By name, as it is now; in the words of provenance and settings.
    """
    settings, known = (
        {name: f"{value:g}" for name, value in ({"nodes": 0} | found).items() if name in RESOURCE_NAMES}
        for found in (collect_settings(plan), record.settings)
    )
    then, present = known | record.provenance, settings | dict(now)
    names = (*CODE_NAMES, *MACHINE_NAMES, *RESOURCE_NAMES)
    return {name: present[name] for name in names if name in then and present.get(name, then[name]) != then[name]}


def tell_differences(then: Mapping[str, Any], now: Mapping[str, Any], names: Collection[str]) -> str:
    """`seed 1, not 0; ...`: what differs of what both know."""
    found = [name for name in names if name in then and name in now and then[name] != now[name]]
    return tell([f"{name} {show_value(now[name])}, not {show_value(then[name])}" for name in found])


def tell(differences: list[str]) -> str:
    """The first of them in one line."""
    more = len(differences) - MAX_TOLD
    return "; ".join(differences[:MAX_TOLD]) + (f"; and {more} more" if more > 0 else "")


# --------------------------------------------------------------------------------------------------------------- space


def check_space(plan: Plan, begun: SearchStarted) -> None:
    """Raises SearchError, which says what has changed, where the space is another than that the search began with."""
    if begun.space_hash != plan.space.hash:
        raise SearchError(
            f"a search goes on with the space it began with, but {plan.options.space} has changed since"
            f"{compare_spaces(begun.space, plan.space.text)}; "
            f"restore it (a copy is {plan.layout.space_yaml}) or start a new search"
        )


def compare_spaces(then: str, now: str) -> str:
    """`: search.lr.high 0.1, not 0.01; ...` of two YAML texts; empty where that cannot be told."""
    try:
        old, new = (flatten_space(parse_space(text, "space")) for text in (then, now))
    except SpaceError:  # of an older version
        return ""
    words = [f"{name} is new" for name in list_absent(new, old)] + [f"{name} is gone" for name in list_absent(old, new)]
    differences = tell_differences(old, new, list(new))
    return ": " + "; ".join([*words[:MAX_TOLD], *([differences] if differences else [])] or ["the order of the search"])


def list_absent(names: Collection[str], among: Collection[str]) -> list[str]:
    """Dotted names that are not among others; not those of fields whose parameter is not."""
    absent = [name for name in names if name not in among]
    return [name for name in absent if name.rpartition(".")[0] not in absent]


def flatten_space(space: Space) -> dict[str, Any]:
    """All that a space means, by dotted names; a parameter has a name of its own beside those of its fields."""
    found: dict[str, Any] = {"objective": space.objective, "sampler": space.sampler, "trials": space.trials}
    found |= {f"constraints.{name}": value for name, value in write_limit(space.limit).items() if value is not None}
    found |= {f"fixed.{name}": value for name, value in space.fixed.items()}
    found |= {f"scheduler.{name}": value for name, value in asdict(space.scheduler).items()}
    for parameter in space.parameters:
        found[f"search.{parameter.name}"] = ""
        values = asdict(parameter)
        found |= {f"search.{parameter.name}.{name}": value for name, value in values.items() if name != "name"}
    return found | {f"try_first.{number}": values for number, values in enumerate(space.try_first)}
