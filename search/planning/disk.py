"""What a search will take on each disk, and what is free there, before it begins.

Estimates are of the most that stands at one moment. N images, K categories, P numbers of the largest network.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fashion_core.data.prepared import count_bytes, list_unprepared
from fashion_core.errors import SearchError
from fashion_core.files import find_existing, measure_free

if TYPE_CHECKING:
    from collections.abc import Sequence

    from search.planning.plan import Plan

MB = 1_000_000
PAGE = 4096  # bytes, more than the header of a file of features has
FLOAT = 4  # bytes of a number of a network, and of a feature
SLOTS = {"adamw": 2, "adam": 2, "sgd": 1}  # numbers that an optimizer keeps of each one of the network
STATES = 3  # of a running trial: the two that stay, and one that is being written
PAUSED_STATES = 1  # of a paused one
EXTRA_MODELS = 2  # beside those kept: the best in its place, and one that is being copied
# Measured on searches of drawn garments with six categories, in bytes; a row of MLflow has its place in two indexes.
LINE, POINT, RUN = 160, 260, 14_000  # of the ledger a score, of MLflow a score, of both a trial
DATABASE = 2 * MB  # of MLflow without runs, while it is made
LOG, MAX_LOG = 75_000, 4_200_000  # of what SQLite writes first: a trial or an epoch, and the most
PICTURE, REPORT = 45_000, 250_000  # a category's; all else that people read
SCORES, SCORES_EACH = 9, 3  # of an epoch: of all categories together, and of each


@dataclass(frozen=True)
class Need:
    """What one thing takes. what: in words; folder: where; size: bytes."""

    what: str
    folder: Path
    size: int


@dataclass(frozen=True)
class Disk:
    """One file system of a search.

    Attributes:
        place: a folder on it.
        free: bytes.
    """

    place: Path
    needs: tuple[Need, ...]
    free: int

    @property
    def size(self) -> int:
        """Bytes that the search takes there."""
        return sum(need.size for need in self.needs)

    def __str__(self) -> str:
        parts = ", ".join(f"{need.what} {write_size(need.size)}" for need in self.needs if need.size)
        return f"{self.place}: {write_size(self.size)} of {write_size(self.free)} free ({parts or 'all is there'})"


def write_size(count: int) -> str:
    """Bytes in words."""
    return f"{count / 1e9:,.1f} GB" if count >= 1e9 else f"{count / 1e6:,.0f} MB"


def list_disks(plan: Plan) -> list[Disk]:
    """Every file system that a search writes to, with what it takes there; storage in a cloud is none."""
    by_device: dict[int, list[Need]] = {}
    for need in list_needs(plan):
        by_device.setdefault(os.stat(find_existing(need.folder)).st_dev, []).append(need)
    return [Disk(needs[0].folder, tuple(needs), measure_free(needs[0].folder)) for needs in by_device.values()]


def check_room(disks: Sequence[Disk]) -> None:
    """Raises SearchError where a disk has not the room for what the search takes."""
    for disk in disks:
        if disk.size > disk.free:
            largest = max(disk.needs, key=lambda need: need.size)
            raise SearchError(
                f"a disk must have room for what a search takes, but {disk}; free some, or name another place with "
                f"{REMEDIES.get(largest.what, '--results')}"
            )


IMAGES, FEATURES, TRIALS, MODELS, RECORDS = "prepared images", "features", "states of trials", "models", "records"
REMEDIES = {
    IMAGES: "--cache-dir, or search smaller image sizes",
    FEATURES: "--cache-dir",
    TRIALS: "--storage, or run fewer trials at once (--concurrent)",
    MODELS: "--results, or keep fewer models (--keep-best)",
}


def list_needs(plan: Plan) -> list[Need]:
    """What a search takes, less what it has already."""
    layout, resources = plan.layout, plan.resources
    unprepared = list_unprepared(plan.annotations, plan.settings, plan.cache_dir)
    images = len(plan.annotations.table)
    numbers = max(plan.backbone_sizes.values())
    model = numbers * FLOAT
    running = min(resources.concurrent, plan.trials)
    states = plan.experiment.removeprefix("file://")
    needs = [
        Need(IMAGES, plan.cache_dir, count_bytes(images, unprepared)),
        Need(FEATURES, plan.cache_dir, count_features(plan)),
        Need(TRIALS, Path(states), count_states(plan, running) * (model + count_state(plan, numbers))),
        Need(MODELS, layout.folder, (min(plan.options.keep_best, plan.trials) + EXTRA_MODELS) * model),
        Need(RECORDS, layout.folder, count_records(plan)),
    ]
    there = {TRIALS: measure_folder(layout.states), MODELS: measure_folder(layout.checkpoints)}
    there[RECORDS] = measure_folder(layout.ledger) * (LINE + POINT) // LINE
    return [
        Need(need.what, need.folder, max(need.size - there.get(need.what, 0), 0))
        for need in needs
        if need.what != TRIALS or "://" not in states
    ]


def count_states(plan: Plan, running: int) -> int:
    """How many states stand at most: those of so many running trials, and of all that can be paused at once."""
    paused = plan.space.scheduler.count_paused(plan.trials)
    return running * STATES + paused * PAUSED_STATES


def count_state(plan: Plan, numbers: int) -> int:
    """Bytes of what a trial can go on from, beside its best model: network, its average, what the optimizer keeps."""
    slots = max(SLOTS[optimizer] for (optimizer,) in plan.space.list_settings("optimizer"))
    names = {parameter.name for parameter in plan.space.parameters}
    has_average = bool(plan.space.fixed.get("ema_decay")) or "ema_decay" in names
    return numbers * FLOAT * (1 + slots + has_average)


def count_features(plan: Plan) -> int:
    """Bytes of the features that probes want, of every image and its mirror image; but of as many files as are there of
    that size.
    """
    there = [path.stat().st_size // PAGE for path in plan.cache_dir.glob("features-*.safetensors")]
    count = 0
    for config in plan.probed:
        size = 2 * len(plan.annotations.table) * plan.feature_sizes[config.backbone] * FLOAT
        if size // PAGE in there:
            there.remove(size // PAGE)
        else:
            count += size
    return count


def count_records(plan: Plan) -> int:
    """Bytes of ledger, report and MLflow; where MLflow is elsewhere, its part goes unused."""
    categories = len(plan.annotations.schema.categories)
    scores = plan.expected_epochs * (SCORES + SCORES_EACH * categories)
    pictures = PICTURE * categories + REPORT
    names = sum(len(name) for name in plan.annotations.table["image"].to_pylist())
    log = min((plan.expected_epochs + plan.trials) * LOG, MAX_LOG)
    return round(scores * (LINE + POINT) + plan.trials * RUN + 2 * (pictures + names) + DATABASE + log)


def measure_folder(path: Path) -> int:
    """Bytes of a file, or of all files below a folder; 0 where there is none."""
    files = [path] if path.is_file() else path.rglob("*")
    return sum(each.stat().st_size for each in files if each.is_file())
