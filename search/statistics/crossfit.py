"""The score of a choice: made on nine folds of images, scored on the tenth, in turns.

The best of several candidates looks better than it is on the images that it was chosen on. Here no image scores a
choice that it took part in. The figure is the score of the procedure, choosing included; what ships is chosen on all.

A network also keeps its seed's luck on new images: what was chosen for it is a better network, but no better recipe.
`cross_fit` scores networks as they are; `cross_fit_seeds` leaves the scored seed out of the choice too, and so scores
the recipe, trained again.

S seeds, N images, G groups of near-duplicate images, B resamples. Answers are [S, N, K],
NaN where an image is unlabelled in a category, or scores [S, N].
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fashion_core.metrics import has_missing, score_answers

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

FOLDS = 10
RESAMPLES = 2000


def assign_folds(groups: np.ndarray, seed: int, folds: int = FOLDS) -> np.ndarray:
    """The fold of every image, [N] int64: groups stay whole, folds are as even as that allows.

    Depends on the groups and the seed alone, so it stands before any result.

    Args:
        groups: [N] whole numbers; images of one group show one picture.

    Raises:
        ValueError: fewer groups than folds.
    """
    names, members, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    if len(names) < folds:
        raise ValueError(f"{folds} folds need as many groups of images, but there are {len(names)}; take fewer folds")
    by_group = np.empty(len(names), np.int64)
    filled = np.zeros(folds, np.int64)
    for group in np.random.default_rng(seed).permutation(len(names)):
        by_group[group] = filled.argmin()
        filled[by_group[group]] += sizes[group]
    return by_group[members]


def cross_fit(choose: Callable[[np.ndarray], np.ndarray], folds: np.ndarray) -> np.ndarray:
    """Answers of what was chosen without them: every image's from the choice made on the other folds.

    Their score is that of the procedure. With an interval: `intervals.estimate_score` or `compare`.

    Args:
        choose: images to choose on, [n] int64 -> answers [S, N, ...] of what it chose, or built, on all N images.
        folds: [N], see `assign_folds`.

    Returns:
        Answers, as `choose` gave them.

    Raises:
        ValueError: fewer than two folds, or choices of different shapes.
    """
    names = np.unique(folds)
    if len(names) < 2:
        raise ValueError(f"choosing and scoring need two folds or more, but there is {len(names)}; use assign_folds")
    result: np.ndarray | None = None
    for fold in names:
        chosen = np.asarray(choose(np.flatnonzero(folds != fold)))
        if result is None:
            result = np.empty_like(chosen)
        if chosen.shape != result.shape or chosen.ndim < 2 or chosen.shape[1] != len(folds):
            raise ValueError(
                f"every choice must answer all {len(folds)} images with the same seeds, but one is of shape "
                f"{list(chosen.shape)} and the first of {list(result.shape)}; use seeds that all candidates have, or "
                "the mean over seeds"
            )
        result[:, folds == fold] = chosen[:, folds == fold]
    assert result is not None
    return result


def cross_fit_seeds(
    choose: Callable[[np.ndarray, np.ndarray], np.ndarray], folds: np.ndarray, seeds: int
) -> np.ndarray:
    """`cross_fit` where a seed is scored by choices made without it.

    Args:
        choose: images and seeds to choose on, both int64 -> answers [S, N, ...] of the chosen, with all seeds.
        seeds: S, the same for all candidates.

    Raises:
        ValueError: fewer than two seeds, or choices of different shapes.
    """
    if seeds < 2:
        raise ValueError(
            f"leaving a seed out needs two or more, but there is {seeds}; re-run with more, or use cross_fit"
        )
    parts = []
    for seed in range(seeds):
        others = np.delete(np.arange(seeds), seed)
        answers = cross_fit(lambda images, others=others: choose(images, others), folds)  # type: ignore[misc]
        parts.append(answers[seed : seed + 1])
    return np.concatenate(parts)


def find_best(candidates: Sequence[np.ndarray], images: np.ndarray, seeds: np.ndarray | None = None) -> int:
    """The candidate with the best score on some images and seeds, the first of equals.

    A category in which none of these images is labelled is left out, see `fashion_core.metrics.score_answers`.

    Args:
        candidates: answers [S, N, ...] each.
        images, seeds: those to look at; seeds None: all.
    """
    looked_at = ((answers if seeds is None else answers[seeds])[:, images] for answers in candidates)
    means = [score_answers(answers).mean() if has_missing(answers) else answers.mean() for answers in looked_at]
    return int(np.argmax(means))


def compute_best_shares(
    candidates: Sequence[np.ndarray], groups: np.ndarray, rng: np.random.Generator, resamples: int = RESAMPLES
) -> np.ndarray:
    """How often each candidate is the best when images and seeds are drawn again: shares of sum 1, one a candidate.

    Both are drawn with replacement, the images by whole groups, the same for all candidates. This counts what is
    neither an image's nor a seed's alone more than once (Owen 2007, The pigeonhole bootstrap), so the shares are too
    even rather than too sure. Equals share their resample.

    Args:
        candidates: scores [S, N] each on the same images, see `fashion_core.metrics.score_images`; S may differ.
        groups: [N] whole numbers, see `assign_folds`.
    """
    wrong = [list(scores.shape) for scores in candidates if scores.ndim != 2 or scores.shape[1] != len(groups)]
    if wrong:
        raise ValueError(
            f"candidates must be scored [seeds, images] on the {len(groups)} images, but one is {wrong[0]}; "
            "score all on one set"
        )
    names, members = np.unique(groups, return_inverse=True)
    drawn = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=resamples).astype(float)  # [B, G]
    by_image = drawn[:, members]  # [B, N]: how often each image was drawn
    means = np.empty((resamples, len(candidates)))
    for index, scores in enumerate(candidates):
        seeds = len(scores)
        weights = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=resamples) / seeds  # [B, S]
        means[:, index] = ((by_image @ scores.T) * weights).sum(1)
    best = np.isclose(means, means.max(1, keepdims=True), rtol=1e-12, atol=0)  # equal sums may differ by rounding
    shares: np.ndarray = (best / best.sum(1, keepdims=True)).mean(0)
    return shares
