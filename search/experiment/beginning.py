"""What a search makes before its first trial: images and selection, and the words that it began with."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from fashion_core import metrics
from fashion_core.data.dealing import keep_splits
from fashion_core.data.splits import Selection, select_images
from fashion_core.errors import SearchError
from fashion_core.files import write_whole
from search.experiment.identity import collect_settings, digest_weights
from search.experiment.starts import count_seen, keep_starts
from search.jobs.images import Images, prepare_images
from search.jobs.training import JobSite, save_selection
from search.planning.takeover import settle
from search.records.attempts import enter_search
from search.records.costs import write_costs
from search.records.events import SearchStarted, TakenOver
from search.records.provenance import collect_provenance
from search.reporting.terminal import plain
from search.reporting.words import describe_taken

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from rich.console import Console

    from fashion_core.data.prepared import PreparedData
    from search.planning.plan import Plan
    from search.records.layout import SearchLayout
    from search.records.record import SearchRecord


@dataclass(frozen=True)
class Prepared:
    """What trials need.

    Attributes:
        site: what all of them share.
        seen: how many of the images that scores are compared on a start was trained on, by its name.
    """

    images: Images
    selection: Selection
    site: JobSite
    seen: Mapping[str, int] = field(default_factory=dict)

    @property
    def data(self) -> PreparedData:
        """One of the prepared sets: labels, names and digests are those of all."""
        return self.images.first


def write_beginning(plan: Plan, *, begun: bool, extend: bool = False) -> Plan:
    """Make the search's folder, with what it goes on with. Gives the plan that starts from what is kept there.

    Args:
        begun: the search goes on.
        extend: it is given more: its options are for later, once the ledger tells so.
    """
    layout = plan.layout
    layout.folder.mkdir(parents=True, exist_ok=True)
    if not extend:
        plan.options.save(layout.options)  # first: what is killed from here on can go on
    plan = plan if begun else keep_starts(plan)
    write_whole(layout.space_yaml, plan.space.text)
    return plan


def prepare(plan: Plan, console: Console) -> Prepared:
    """Make every prepared set that trials can need, and choose which images are trained and selected on."""
    keep_splits(plan.annotations)
    images = prepare_images(plan.annotations, plan.settings, plan.probed, plan.cache_dir, console)
    selection = select_images(images.first, plan.options.select_on, plan.options.seed)
    name = f"selection-{images.first.fingerprint}-{selection.select_on}-{selection.seed}.npz"
    path = plan.cache_dir.resolve() / name
    save_selection(path, selection.train, selection.select)
    digests = [images.first.sha256[index] for index in selection.select]
    seen = count_seen(plan, set(digests))
    for start, count in seen.items():
        console.print(
            plain(
                f"note: {start} was trained on {count:,} of the {len(digests):,} images that scores are compared on: "
                "what starts from it will look better than it is; start from another, or judge on other images",
                "yellow",
            )
        )
    return Prepared(images, selection, images.build_site(path, plan.resources), seen)


def with_taken(plan: Plan, record: SearchRecord) -> Plan:
    """The plan of a search that goes on, with what it took over when it began."""
    return replace(plan, taken=TakenOver.model_validate(record.begun.taken_over))


def settle_taken(plan: Plan, prepared: Prepared, console: Console) -> Plan:
    """The plan without what was learned on other data, which is known now; says so."""
    taken = settle(plan.taken, {data.fingerprint for data in prepared.images.prepared.values()})
    for other, before in zip(taken.others, plan.taken.others, strict=True):
        if other != before:
            console.print(plain(f"note: warm start from {describe_taken(other)}", "yellow"))
    return replace(plan, taken=taken)


def count_look(layout: SearchLayout, record: SearchRecord, prepared: Prepared, tell: Callable[[str], None]) -> None:
    """Write down that a search looks at val, which a later promotion counts; where that fails, the search goes on.

    tell: called with a line on what failed.
    """
    digests = [prepared.data.sha256[index] for index in prepared.selection.select.tolist()]
    try:
        enter_search(layout.attempts_folder, record, digests)
    except SearchError as error:
        tell(f"this search is not counted as a look at val: {error}")


def describe_start(
    plan: Plan,
    data: PreparedData,
    selection: Selection,
    command: Sequence[str],
    seen: Mapping[str, int] | None = None,
) -> SearchStarted:
    """How a search begins: settings, space, provenance, and which images each choice has seen."""
    labels, weights = data.labels, digest_weights(plan.space)
    objective = metrics.Objective(plan.space.objective)
    measure = metrics.Measure(objective, labels[selection.select], data.schema.names)
    majority = metrics.compute_majority_score(labels[selection.select], labels[selection.train], measure)
    correct = metrics.mark_correct(metrics.find_commonest(labels[selection.train]), labels[selection.select])
    by_category = {
        name: float(np.nanmean(column))
        for name, column in zip(data.schema.names, correct.T, strict=True)
        if np.isfinite(column).any()
    }
    known = labels[selection.select] >= 0
    labelled = {} if known.all() else {"labelled": dict(zip(data.schema.names, known.sum(0).tolist(), strict=True))}
    return SearchStarted(
        name=plan.layout.name,
        settings=collect_settings(plan),
        space=plan.space.text,
        space_name=plan.space.name,
        space_hash=plan.space.hash,
        provenance=collect_provenance(command),
        data={
            "folder": plan.options.data.resolve().name,
            "fingerprint": data.fingerprint,
            "counts": {split: len(data.indices(split)) for split in ("train", "val", "test")},
            "skipped": len(plan.annotations.skipped),
            "majority": majority,
            "majority_by_category": by_category,
            "categories": data.schema.to_dict(),
            **({} if plan.annotations.has_boxes else {"has_boxes": False}),
            **({"weights": weights} if weights else {}),
        },
        selection={
            "select_on": selection.select_on,
            "seed": selection.seed,
            "train_count": len(selection.train),
            "select_count": len(selection.select),
            **labelled,
            **({"seen_by_starts": dict(seen)} if seen else {}),
            "select_images": [data.names[index] for index in selection.select],
            **({"select_labels": measure.labels.tolist()} if objective.name == metrics.CLASS_ACCURACY else {}),
        },
        limits=plan.options.limits.write(),
        taken_over=plan.taken.model_dump(mode="json", exclude_defaults=True),
        costs=write_costs(plan.costs),
    )
