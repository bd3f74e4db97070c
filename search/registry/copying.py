"""A registered version, copied to another registry with its evidence: files, tags, card, and the run it comes from.

What is copied is compared file by file, by SHA-256, before the version appears there. No alias is touched there, unless
the copy is to be champion of a model that has none.
"""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from fashion_core.errors import SearchError
from fashion_core.escaping import show_value
from fashion_core.files import hash_file
from search.address import Address
from search.cli import DEFAULT_RESULTS
from search.records.layout import ARTIFACTS
from search.registry.access import find_or_none, open_registry, tell_errors
from search.registry.serving import store_output, tell_version
from search.registry.versions import (
    CHAMPION,
    PREDECESSOR_TAG,
    PROMOTION_TAG,
    Registry,
    Version,
    build_version,
    default_registry,
    fetch,
)
from search.tracking.facts import build_source
from search.tracking.store import NOTE_TAG
from search.tracking.writer import Writer, list_inputs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlflow.entities import LoggedModel, Run

NAMED = re.compile(r"(?:models:/)?([^/@:]+)(?:/(\d+)|@([^/@]+))?")
COPIED_TAG = "copied_from"  # of a version and of its run: registry, name and number
AS_TAG = "copied_as"  # of a run: name of the registered model there
COPY_RULE = "a version is copied where it is not yet, or is the same"


@dataclass(frozen=True)
class Copy:
    """What came of copying a version.

    Attributes:
        source, version: the one that was copied, and the one there.
        files: how many were compared, with `total_bytes` together.
        is_new: whether it was copied now; else it was there.
    """

    source: Version
    version: Version
    registry: Registry
    files: int
    total_bytes: int
    is_new: bool


def copy_version(
    name: str,
    to: Address | str,
    *,
    model: str | None = None,
    champion: bool = False,
    results: Path = DEFAULT_RESULTS,
    tracking_uri: Address | str | None = None,
) -> Copy:
    """Copy a registered version to another registry; doing it again changes nothing, and finishes what was cut off.

    Args:
        name: NAME, NAME@ALIAS or NAME/NUMBER, with or without `models:/` before it; NAME alone is its champion.
        to: MLflow's server or database that it is copied to.
        model: name of the registered model there; None: the same.
        champion: make it the champion there, where there is none.
        results: folder of all searches.
        tracking_uri: of the registry that it is in; None: SQLite under the results.

    Raises:
        SearchError: there is no such version; it is there with other content; a file there is not what it is here; a
            registry does not answer.
    """
    registry, version = find_version(name, Address.of(tracking_uri or default_registry(results)))
    target = Registry(to, model or registry.model)
    if target.uri == registry.uri and target.model == registry.model:
        raise SearchError(
            f"a version is copied to another registry, or under another name, but {version.uri} is in {registry.uri} "
            "itself; name another by --to or --model"
        )
    origin = f"{registry.uri} {version.uri}"
    folder = registry.download_part(version)
    digests = compute_digests(folder)
    found = find_copy(target, version, origin)
    if found is None:
        copied = add_copy(registry, version, folder, digests, target, origin)
    else:
        copied = found
        check_same(version, registry, copied, target, digests)
    if champion:
        target.crown(copied)
    total = sum((folder / path).stat().st_size for path in digests)
    return Copy(version, target.find(copied.number) or copied, target, len(digests), total, found is None)


def find_version(name: str, uri: Address) -> tuple[Registry, Version]:
    """The version that a person named, and its registry.

    Raises:
        SearchError: there is none.
    """
    match = NAMED.fullmatch(name)
    if match is None:
        raise SearchError(
            f"a version must be NAME, NAME@ALIAS or NAME/NUMBER, but got {show_value(name)}; for example NAME@champion"
        )
    registry, which = Registry(uri, match[1]), match[2] or match[3] or CHAMPION
    version = registry.find(which)
    if version is None:
        held = [f"{each.number}{''.join(f' @{alias}' for alias in each.aliases)}" for each in registry.list_versions()]
        raise SearchError(
            f"a version that is copied must be in the registry, but {uri} has no {which} of {match[1]}, and of this "
            f"model {', '.join(held) or 'nothing'}; name another, or another registry by --tracking-uri or --results"
        )
    return registry, version


def compute_digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file, by its path below the folder."""
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {path.relative_to(folder).as_posix(): hash_file(path) for path in paths}


def find_copy(target: Registry, version: Version, origin: str) -> Version | None:
    """The version there that is a copy of this one, or its twin: of the same promotion."""
    promotion = version.tags.get(PROMOTION_TAG)
    for each in target.list_versions():
        if each.tags.get(COPIED_TAG) == origin or (promotion and each.tags.get(PROMOTION_TAG) == promotion):
            return each
    return None


def list_evidence(version: Version) -> dict[str, str]:
    """The tags that go along: all but what names a version of its own registry."""
    return {name: text for name, text in version.tags.items() if name not in (PREDECESSOR_TAG, COPIED_TAG)}


def check_same(
    version: Version, registry: Registry, copied: Version, target: Registry, digests: Mapping[str, str]
) -> None:
    """Raises SearchError where what is there under its name is not what it is here."""
    there = compute_digests(target.download_part(copied))
    faults = [f"the file {path}" for path in sorted({*there, *digests}) if there.get(path) != digests.get(path)]
    own, theirs = list_evidence(version), list_evidence(copied)
    faults += [f"the tag {name}" for name in sorted({*own, *theirs}) if own.get(name) != theirs.get(name)]
    if faults:
        more = f" and {len(faults) - 3} more" if len(faults) > 3 else ""
        raise SearchError(
            f"{COPY_RULE}, but {copied.uri} in {target.uri} differs from {version.uri} in {registry.uri} in "
            f"{', '.join(faults[:3])}{more}; nothing was changed: delete that one, or give another --model"
        )


def add_copy(
    registry: Registry, version: Version, folder: Path, digests: Mapping[str, str], target: Registry, origin: str
) -> Version:
    """Copy run, files, tags and description; the version appears once all files there are as they are here.

    Raises:
        SearchError: a file arrived as another.
    """
    own = {COPIED_TAG: origin, AS_TAG: target.model}
    with tell_errors(registry.uri):
        source = registry.connect()
        described = source.get_model_version(version.name, str(version.number)).description
        run = find_or_none(partial(source.get_run, version.run_id)) if version.run_id else None
        experiment = "copied models" if run is None else source.get_experiment(run.info.experiment_id).name
        evidence = None if run is None or not source.list_artifacts(run.info.run_id) else run.info.artifact_uri
        files = None if evidence is None else fetch(evidence, registry.uri)
    with tell_errors(target.uri):
        client = open_registry(target.uri)
        run_id = copy_run(target, experiment, run, files, own)

        def write(place: Path, logged: LoggedModel) -> None:
            shutil.copytree(folder, place)

        logged = store_output(client, target.model, run_id, own, write)
        try:
            check_arrived(digests, compute_digests(fetch(logged.artifact_location, target.uri)), target.uri)
        except SearchError:
            client.delete_logged_model(logged.model_id)  # the next call stores it anew
            raise
        target.create_model()
        with target.hold_lock():
            if (found := find_copy(target, version, origin)) is not None:
                return found
            created = client.create_model_version(
                target.model,
                logged.artifact_location,
                run_id,
                list_evidence(version) | {COPIED_TAG: origin},
                description=described,
                model_id=logged.model_id,
            )
            tell_version(client, logged, target.model, created.version)
            return build_version(created, target.read_model())


def check_arrived(here: Mapping[str, str], there: Mapping[str, str], uri: Address) -> None:
    """Raises SearchError where files there are not what they are here."""
    wrong = [path for path in sorted({*here, *there}) if here.get(path) != there.get(path)]
    if wrong:
        raise SearchError(
            f"every file of a copy must arrive as it is, but of {len(here)} in {uri} {len(wrong)} did not, such as "
            f"{wrong[0]}; no version was made: see that its storage is sound, and give the same command again"
        )


def copy_run(target: Registry, experiment: str, run: Run | None, files: Path | None, own: dict[str, str]) -> str:
    """The run there that the version comes from: parameters, figures, tags, data sets and files of the one here.

    Returns:
        Its id.
    """
    from mlflow.entities import Metric

    file = target.uri.file
    writer = Writer(target.uri, (file.parent if file is not None else Path()) / ARTIFACTS)
    client = writer.connect()
    writer.experiment = writer.find_experiment(experiment)
    known = [each for each in writer.find_runs("tags.kind = 'copy'") if own.items() <= each.data.tags.items()]
    name = None if run is None else run.info.run_name
    tags = {} if run is None else {key: text for key, text in run.data.tags.items() if is_told(key)}
    source = build_source({}) | {key: text for key, text in tags.items() if key.startswith("mlflow.")}
    note = source.pop(NOTE_TAG, f"a copy of {own[COPIED_TAG]}")
    copied = known[0] if known else None
    if copied is None:
        copied = writer.begin_run(name, {**own, "kind": "copy"}, note=note, source=source, data=())
    run_id = str(copied.info.run_id)
    if run is not None:
        if (inputs := list_inputs(run)) and not list_inputs(copied):
            client.log_inputs(run_id, inputs)
        at = run.info.end_time or run.info.start_time
        rows = [Metric(key, value, at, 0) for key, value in run.data.metrics.items()]
        writer.log_params(run_id, run.data.params)
        writer.log(run_id, rows, {**tags, **own, "kind": "copy"})
    if files is not None:
        client.log_artifacts(run_id, str(files))
    client.set_terminated(run_id)
    return run_id


def is_told(tag: str) -> bool:
    """Whether a tag of a run holds of its copy too: not one of MLflow's that names runs or models of its store."""
    return not tag.startswith("mlflow.") or tag in (NOTE_TAG, "mlflow.user") or tag.startswith("mlflow.source.")
