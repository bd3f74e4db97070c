"""Which images a search trains on, and which it selects on. N images, K categories, C classes in all categories."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from fashion_core.data.duplicates import group_near_duplicates
from fashion_core.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fashion_core.data.prepared import PreparedData

HELDOUT_SHARE = 0.15


@dataclass(frozen=True)
class Selection:
    """Images as sorted int64 positions in the prepared data; `train` and `select` share none."""

    select_on: str
    train: np.ndarray
    select: np.ndarray
    seed: int


def select_images(
    data: PreparedData, select_on: Literal["val", "heldout"], seed: int, share: float = HELDOUT_SHARE
) -> Selection:
    """Train on train and select on val; or hold a share of train out to select on, so that val stays unseen.

    What is held out is stratified over the classes of all categories, the rarest first (Sechidis et al. 2011), and
    keeps near duplicates together.

    Raises:
        DataError: there are no labelled images to train or to select on, in all or in a category.
    """
    train, select = data.labelled("train"), data.labelled("val")
    if select_on == "heldout":
        rng = np.random.default_rng(seed)
        is_held = hold_out(data.labels[train], group_near_duplicates(data.thumbnails[train]), share, rng)
        train, select = train[~is_held], train[is_held]
    for name, images in (("train", train), (select_on, select)):
        if len(images) == 0:
            remedy = "select on heldout" if name == "val" else "give more labelled images"
            raise DataError(f"a search needs labelled images to train and to select on, but {name} has none; {remedy}")
        where = "the part of train that is held out" if name == "heldout" else name
        check_categories(data.labels[images], data.schema.names, where)
    return Selection(select_on, train, select, seed)


def check_categories(labels: np.ndarray, names: Sequence[str], where: str) -> None:
    """Every category needs a labelled image to train and to score on.

    Args:
        labels: [N, K], negative where unlabelled.
        names: K.
        where: the images, in words.

    Raises:
        DataError: names the categories without any.
    """
    lacking = [name for name, column in zip(names, labels.T, strict=True) if not (column >= 0).any()]
    if lacking:
        raise DataError(
            f"every category must have labelled images in {where}, but {', '.join(lacking)} has none; label some, or "
            "leave the category out of the data"
        )


def hold_out(labels: np.ndarray, groups: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """[N] bool: a share of the images that has each class in about that share.

    The class with the fewest images left is dealt first: its groups, in random order, are held out until it has its
    share. An image counts in the categories in which it is labelled.

    Args:
        labels: [N, K], negative where unlabelled.
        groups: [N], kept together.
    """
    offsets = np.cumsum([0, *(labels.max(0) + 1)[:-1]])
    images, categories = np.nonzero(labels >= 0)
    classes = (labels + offsets)[images, categories]
    has_class = np.zeros((len(labels), classes.max() + 1), bool)
    has_class[images, classes] = True
    _, group_of = np.unique(groups, return_inverse=True)
    counts = np.zeros((group_of.max() + 1, has_class.shape[1]))  # images of each class in each group
    np.add.at(counts, group_of, has_class)
    wanted = share * counts.sum(0)
    held = np.zeros(len(counts), bool)
    waiting = rng.permutation(len(counts))
    waiting = waiting[counts[waiting].any(1)]  # one without any label belongs to no class's share
    while len(waiting):
        left = counts[waiting].sum(0)
        rarest = np.where(left > 0, left, np.inf).argmin()
        dealt = waiting[counts[waiting, rarest] > 0]
        for group in dealt:
            if wanted[rarest] >= counts[group, rarest] / 2:  # closer to the wish with it than without
                held[group] = True
                wanted -= counts[group]
        waiting = waiting[counts[waiting, rarest] == 0]
    return held[group_of]
