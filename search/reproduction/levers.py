"""A study of its own: which levers raise the score of one recipe, each switched on alone.

It asks nothing of the report. Its trainings are judged on images held out of train, so that val stays unseen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from search.reproduction.protocol import Arm
from search.reproduction.studies import Claim, Study

if TYPE_CHECKING:
    from collections.abc import Mapping

    from search.reporting.published import Place

LEVERS = "levers"
SPACE = "lite_levers"
RECIPE = "the recipe"
# Changes of the recipe by name. Half of the epochs see three quarters of the side; a layer of the backbone learns at
# 0.8 of the next one's rate; the average of the weights is over about a hundred steps, an epoch and a half.
CHANGES: Mapping[str, Mapping[str, object]] = {
    "more of the picture around the box": {"crop_margin": 0.3},
    "the box in a square, its aspect kept": {"crop": "box_square"},
    "smaller images in the first half of the epochs": {"early_share": 0.5, "early_size": 0.75},
    "larger images": {"image_size": 288},
    "a larger backbone": {"backbone": "tf_efficientnet_lite2"},
    "more epochs": {"epochs": 12},
    "learning rates that fall layer by layer": {"layer_decay": 0.8},
    "attention pooling": {"pooling": "attention"},
    "an average of the weights": {"ema_decay": 0.99},
    "sharpness-aware steps": {"sam_rho": 0.05},
    "smoothed labels": {"label_smoothing": 0.1},
    "blended images": {"mixup": 0.2},
}


def build_levers(on: Place) -> Study:
    """The study. on: place of its backbone."""
    recipe = Arm(on)
    arms = {RECIPE: recipe} | {name: Arm(on, changes) for name, changes in CHANGES.items()}
    claims = [
        Claim(f"The score is higher with {name}.", [(arms[name], 1.0), (recipe, -1.0)], describe_changes(changes))
        for name, changes in CHANGES.items()
    ]
    return Study(LEVERS, "Which levers raise the score of a recipe, each switched on alone?", arms, claims)


def describe_changes(changes: Mapping[str, object]) -> str:
    """`early_share 0.5, early_size 0.75`."""
    return ", ".join(f"{name} {value}" for name, value in changes.items())
