"""What a network answers on a set of images, and how well.

B images of a batch, N images in all, K categories, C classes of one category. A confusion matrix is [C, C] int64:
row = truth, column = answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from fashion_core import metrics
from fashion_core.models.forward import predict_batch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from fashion_core.config import TrainConfig
    from fashion_core.loading.features import Source
    from fashion_core.training.losses import WeightedFocalLoss


class ConfusionCounts:
    """Confusion matrices of K categories, counted on the device the answers are on."""

    def __init__(self, sizes: Sequence[int], device: torch.device | str = "cpu") -> None:
        self.sizes = tuple(sizes)
        self.matrices = [torch.zeros(size, size, dtype=torch.int64, device=device) for size in sizes]

    def update(self, answers: Tensor, labels: Tensor) -> None:
        """Count a batch. answers, labels: [B, K] int64; a negative label counts nowhere."""
        for index, (matrix, size) in enumerate(zip(self.matrices, self.sizes, strict=True)):
            column = labels[:, index]
            cells = column.clamp(min=0) * size + answers[:, index]
            matrix.view(-1).scatter_add_(0, cells, (column >= 0).long())  # `bincount` would wait for the GPU

    def to_numpy(self) -> list[np.ndarray]:
        """K arrays [C_i, C_i] int64."""
        return [matrix.cpu().numpy() for matrix in self.matrices]


@dataclass(frozen=True)
class Evaluation:
    """Answers on N images, each labelled in one category or more.

    Attributes:
        confusion: K matrices [C_i, C_i] int64, row = truth.
        correct: [N, K] in the order of the source, see `fashion_core.metrics.mark_correct`.
        labels: [N, K], negative where an image is unlabelled in a category.
        probabilities: K arrays [N, C_i] float32, in that order.
        loss: weighted total.
        category_losses: [K], each the mean over the images labelled in it.
    """

    confusion: list[np.ndarray]
    correct: np.ndarray
    labels: np.ndarray
    probabilities: list[np.ndarray]
    loss: float
    category_losses: list[float]

    def compute_metrics(self, names: Sequence[str], objective: metrics.Objective) -> dict[str, float]:
        """Scores and losses by name, with the standard error of the objective where that can be known."""
        scores = metrics.compute_scores(self.confusion, names)
        scores[metrics.ACCURACY_SE] = metrics.compute_standard_error(self.correct)
        if not objective.is_default:
            error = metrics.Measure(objective, self.labels, tuple(names)).compute_standard_error(self.correct)
            scores |= {} if error is None else {objective.error_name: error}
        scores[metrics.VAL_LOSS] = self.loss
        return scores | {
            f"{metrics.VAL_LOSS}/{name}": value for name, value in zip(names, self.category_losses, strict=True)
        }


def evaluate(
    network: nn.Module,
    source: Source,
    loss: WeightedFocalLoss,
    config: TrainConfig,
    autocast: AbstractContextManager[Any] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Answer every image of the source and compare with its labels; losses are those of the averaged probabilities.

    progress: told after every batch: batches done, and in all.
    """
    counts = ConfusionCounts(source.data.schema.sizes, source.device)
    totals = torch.zeros(1 + len(counts.sizes), device=source.device)
    truth = source.labels.cpu().numpy()  # [N, K]
    starts = range(0, len(source), config.eval_batch_size)
    shares = torch.from_numpy(compute_batch_shares(truth, config.eval_batch_size)).to(source.device)
    answered, parts = [], []
    for start, share in zip(starts, shares, strict=True):
        images, labels = source.batch(torch.arange(start, min(start + config.eval_batch_size, len(source))))
        log_probabilities = predict_batch(network, images, flip=config.eval_flip, autocast=autocast)
        answers = torch.stack([values.argmax(1) for values in log_probabilities], 1)  # [B, K]
        counts.update(answers, labels)
        answered.append(answers)
        parts.append([values.exp() for values in log_probabilities])
        _, by_category = loss(log_probabilities, labels)
        by_category = by_category * share
        totals += len(labels) * torch.cat([(by_category * loss.weights).sum()[None], by_category])
        if progress is not None:
            progress(len(answered), len(starts))
    total, *by_category = (totals / len(source)).tolist()
    probabilities = [torch.cat(values).cpu().numpy() for values in zip(*parts, strict=True)]
    correct = metrics.mark_correct(torch.cat(answered).cpu().numpy(), truth)
    return Evaluation(counts.to_numpy(), correct, truth, probabilities, total, by_category)


def compute_batch_shares(labels: np.ndarray, size: int) -> np.ndarray:
    """What makes the mean of batches' mean losses, weighted by their images, that over all labelled images.

    The share of a batch's images that is labelled in a category, over that of all images: 1 where no label is missing.

    Args:
        labels: [N, K], negative where unlabelled.
        size: B, images of a batch.

    Returns:
        [ceil(N / B), K] float32.
    """
    known = labels >= 0
    whole = np.maximum(known.mean(0), 1 / len(labels))
    shares = [known[start : start + size].mean(0) / whole for start in range(0, len(labels), size)]
    return np.array(shares, np.float32)
