"""Numbers of the report, and of the training logs that its author published, each with its place.

Source: X. Li 2021, "DeepFashion Attribute Prediction Challenge Report".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

Place = int  # of a backbone among the three: a column of Table 2
RESNET, SE_RESNET, SE_RESNEXT = range(3)
PLACES: tuple[Place, ...] = (RESNET, SE_RESNET, SE_RESNEXT)
BACKBONES = ("ResNet-50", "SE-ResNet-50", "SE-ResNeXt-50 32x4d")  # by place
DEPTHS = (0, 2, 4)  # FC layers: the rows of Table 2

# Table 2, test accuracy by FC layers: as it is printed.
TABLE_2: Mapping[int, tuple[float, float, float]] = {
    0: (0.7985, 0.8235, 0.7964),
    2: (0.7978, 0.8172, 0.7918),
    4: (0.7743, 0.8138, 0.7717),
}
# The author's training logs: best validation accuracy of 29 epochs.
LOGS: Mapping[int, tuple[float, float, float]] = {
    0: (0.7957, 0.8099, 0.8252),
    2: (0.7948, 0.7952, 0.8148),
    4: (0.7694, 0.7726, 0.8138),
}
PRINTED, EXCHANGED = READINGS = ("as printed", "SE columns exchanged")
BEST_SCORE = 0.8265  # on the test images, with the weights below; with equal ones the best of Table 2
# The report's best category weights, 1 to 6, by the names that this project gives the categories.
WEIGHTS = {"pattern": 0.95, "sleeve": 0.85, "length": 0.85, "neckline": 0.9, "material": 1.0, "fit": 0.9}
EPOCHS = 29
LAST_EPOCHS = 10  # of these, whose mean the best of all is compared with
BEST_ABOVE_LAST = 0.008  # by how much it lies above, in the logs
FOCAL_GAMMA = 2.0
FLIP = 0.5  # a mirror, or none


def read_table(reading: str) -> dict[int, tuple[float, float, float]]:
    """Table 2 in one of its `READINGS`. The author's logs fit it far better with its SE columns exchanged."""
    if reading == PRINTED:
        return dict(TABLE_2)
    return {depth: (row[RESNET], row[SE_RESNEXT], row[SE_RESNET]) for depth, row in TABLE_2.items()}


def average_depth(depth: int) -> float:
    """The mean over backbones of a row of Table 2: the same in both readings."""
    return sum(TABLE_2[depth]) / len(PLACES)


def average_backbone(place: Place, reading: str) -> float:
    """The mean over FC layers of a column of Table 2."""
    return sum(row[place] for row in read_table(reading).values()) / len(DEPTHS)
