"""The only training loop, and all it stands on: losses, optimizers, evaluation, states to go on from."""

from typing import TYPE_CHECKING

from fashion_core.lazy import attach

if TYPE_CHECKING:
    from fashion_core.training.checkpoint import load_training, save_training
    from fashion_core.training.evaluation import Evaluation, evaluate
    from fashion_core.training.loop import EpochResult, fit
    from fashion_core.training.losses import WeightedFocalLoss, build_loss, focal_loss
    from fashion_core.training.state import TrainingState, build_state

__all__ = [
    "EpochResult",
    "Evaluation",
    "TrainingState",
    "WeightedFocalLoss",
    "build_loss",
    "build_state",
    "evaluate",
    "fit",
    "focal_loss",
    "load_training",
    "save_training",
]
__getattr__ = attach(
    __name__,
    {
        "checkpoint": ["load_training", "save_training"],
        "evaluation": ["Evaluation", "evaluate"],
        "loop": ["EpochResult", "fit"],
        "losses": ["WeightedFocalLoss", "build_loss", "focal_loss"],
        "state": ["TrainingState", "build_state"],
    },
)
