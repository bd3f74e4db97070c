"""The images of a promotion: what is trained on and judged on, prepared in every way that some network wants.

N validation images, K categories.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fashion_core.data.annotations import load_annotations
from fashion_core.data.duplicates import group_near_duplicates
from fashion_core.data.pixels import PrepareSettings, build_settings
from fashion_core.errors import SearchError
from search.jobs.images import Images, prepare_images
from search.jobs.training import JobSite, save_selection
from search.statistics.crossfit import FOLDS, assign_folds

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from rich.console import Console

    from fashion_core.config import TrainConfig
    from fashion_core.data.prepared import PreparedData
    from fashion_core.data.reading import Reading
    from fashion_core.data.rows import Annotations
    from fashion_core.data.schema import AttributeSchema
    from search.planning.resources import Resources

MIN_GROUPS = 3  # of validation images: two to choose on, one to score
FOLD_SEED = 0  # folds are fixed before any result: the same images always fall into the same ones


@dataclass(frozen=True)
class Material:
    """Images, ready to be opened by any process.

    Attributes:
        source: the data set as it is named, and reading: how it is read.
        folder: that its images' names are relative to.
        paths: of the prepared data, by how it was prepared.
        train, val: int64 positions in the prepared data, each labelled in one category or more.
        cache_dir: of prepared data.
        judged_on: the data set that `val` is of, where it is another.
    """

    source: Path
    reading: Reading
    folder: Path
    images: Images
    train: np.ndarray
    val: np.ndarray
    cache_dir: Path
    judged_on: Path | None = None

    @property
    def data(self) -> Mapping[PrepareSettings, PreparedData]:
        """The prepared data, by how it was prepared."""
        return self.images.prepared

    @property
    def first(self) -> PreparedData:
        """One of them: labels, names and digests are those of all."""
        return self.images.first

    @property
    def schema(self) -> AttributeSchema:
        """Its categories."""
        return self.first.schema

    @property
    def counts(self) -> dict[str, int]:
        """Number of images of each split."""
        return {split: len(self.first.indices(split)) for split in ("train", "val", "test")}

    @property
    def labels(self) -> np.ndarray:
        """[N, K] of the validation images, negative where one is unlabelled in a category."""
        labels: np.ndarray = self.first.labels[self.val]
        return labels

    @cached_property
    def groups(self) -> np.ndarray:
        """[N] near duplicates among the validation images have one number."""
        return group_near_duplicates(self.first.thumbnails[self.val])

    @cached_property
    def folds(self) -> np.ndarray:
        """[N] of the cross-fitting."""
        return assign_folds(self.groups, FOLD_SEED, min(FOLDS, len(np.unique(self.groups))))

    def load_annotations(self) -> Annotations:
        """What was prepared, to be prepared otherwise: the rows are those of `data`."""
        annotations = load_annotations(self.source, self.reading)
        if self.judged_on is None:
            return annotations
        return replace_val(annotations, load_annotations(self.judged_on, self.reading))

    def list_digests(self, indices: np.ndarray) -> list[str]:
        """sha256 of the files of some images."""
        return [self.first.sha256[index] for index in indices.tolist()]

    def read_example(self) -> bytes:
        """The file of a validation image."""
        path: Path = self.folder / self.first.names[self.val[0]]
        return path.read_bytes()

    def build_site(self, name: str, train: np.ndarray, resources: Resources) -> JobSite:
        """What trainings share that train on some images and are judged on `val`.

        Args:
            name: of this choice of images, in a file's name.
        """
        path = self.cache_dir.resolve() / f"promotion-{self.first.fingerprint}-{name}.npz"
        save_selection(path, train, self.val)
        return self.images.build_site(path, resources)


def prepare_material(
    source: Path,
    configs: Sequence[TrainConfig],
    schema: AttributeSchema,
    cache_dir: Path,
    console: Console,
    reading: Reading,
    check: Callable[[Annotations], None] | None = None,
    judge_on: Path | None = None,
    *,
    selected_on_val: bool = False,
) -> Material:
    """Prepare the data set for all configurations.

    Args:
        source: the data set, a folder or a table.
        schema: of the search; the data must have the same.
        check: called with the data set before anything is made of it; raises where that must not be.
        judge_on: another data set, whose labelled images of any split judge in place of val.
        selected_on_val: whether the search selected on the val of its own data set, so that these are not fresh.

    Raises:
        SearchError: the data has other categories, or too few labelled images to train or to judge on; or some that
            judge are trained on.
        DataError: it is at fault.
    """
    annotations = load_alike(source, reading, schema, "the data of its search", "--data")
    if check is not None:
        check(annotations)
    own = annotations
    if judge_on is not None:
        annotations = replace_val(
            annotations, load_alike(judge_on, reading, schema, "images to judge on", "--judge-on")
        )
    settings = dict.fromkeys(build_settings(config) for config in configs)
    probed = [config for config in configs if config.probe_epochs]
    images = prepare_images(annotations, settings, probed, cache_dir, console)
    train, val = images.first.labelled("train"), images.first.labelled("val")
    material = Material(source, reading, annotations.folder, images, train, val, cache_dir, judge_on)
    if judge_on is not None:
        check_fresh(material, list_val_digests(own) if selected_on_val else frozenset())
    groups = len(np.unique(material.groups)) if len(val) else 0
    if groups < MIN_GROUPS or not len(train):
        raise SearchError(
            f"a promotion needs labelled images to train on, and {MIN_GROUPS} different ones or more in val to judge "
            f"on, but {judge_on or source} has {len(train)} and {groups}; label more"
        )
    check_labels(material)
    return material


def load_alike(source: Path, reading: Reading, schema: AttributeSchema, what: str, option: str) -> Annotations:
    """A data set of these categories. what, option: for its error.

    Raises:
        SearchError: it has others.
        DataError: it is at fault.
    """
    annotations = load_annotations(source, reading)
    if annotations.schema != schema:
        raise SearchError(
            f"a promotion needs {what}, with the categories {', '.join(schema.names)}, but {source} has "
            f"{', '.join(annotations.schema.names)} or other classes; name the right folder by {option}"
        )
    return annotations


def replace_val(annotations: Annotations, fresh: Annotations) -> Annotations:
    """A data set whose val is all labelled images of another one, named by their paths from the first one's folder."""
    kept = annotations.table.filter(pc.not_equal(annotations.table["split"], "val"))
    labelled = pa.array((fresh.labels() >= 0).any(1))
    added = fresh.table.filter(labelled)
    way = os.path.relpath(fresh.folder.resolve(), annotations.folder.resolve())
    names = [os.path.join(way, name) for name in added["image"].to_pylist()]
    columns = {name: added[name] for name in added.column_names}
    columns |= {"image": pa.array(names, kept.schema.field("image").type)}
    columns |= {"split": pa.array(["val"] * len(names), kept.schema.field("split").type)}
    table = pa.concat_tables([kept, pa.table(columns, schema=kept.schema)])
    return replace(annotations, table=table, has_boxes=annotations.has_boxes or fresh.has_boxes)


def list_val_digests(annotations: Annotations) -> frozenset[str]:
    """sha256 of the files of val."""
    names = annotations.table.filter(pc.equal(annotations.table["split"], "val"))["image"].to_pylist()
    return frozenset(hashlib.sha256((annotations.folder / name).read_bytes()).hexdigest() for name in names)


def check_fresh(material: Material, selected: frozenset[str]) -> None:
    """Raises SearchError where images that judge are trained on, or where the search selected on them.

    What it held out of train is of train. selected: sha256 of the files that it selected on beside these.
    """
    trained, judging = set(material.list_digests(material.train)), material.list_digests(material.val)
    if seen := sum(digest in trained for digest in judging):
        raise SearchError(
            f"--judge-on must hold images that nothing is trained on, but {seen} of {material.judged_on} are in train; "
            "leave them out"
        )
    if seen := sum(digest in selected for digest in judging):
        raise SearchError(
            f"--judge-on must hold images that the search did not select on, but {seen} of {material.judged_on} are in "
            "its val; leave them out"
        )


def check_labels(material: Material) -> None:
    """Raises SearchError where a category has no label in train, or too few in val to judge it."""
    known = material.labels >= 0
    judged = [len(np.unique(material.groups[column])) for column in known.T]
    trained = (material.first.labels[material.train] >= 0).sum(0).tolist()
    lacking = [
        f"{name} has {images} and {groups}"
        for name, images, groups in zip(material.schema.names, trained, judged, strict=True)
        if not images or groups < MIN_GROUPS
    ]
    if lacking:
        raise SearchError(
            f"a promotion needs images labelled in every category, one or more in train and {MIN_GROUPS} different "
            f"ones or more in val, but {', '.join(lacking)}; label more"
        )
