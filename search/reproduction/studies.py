"""The studies of the report: which arms each compares, and what the report claims of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from search.reporting import published
from search.reporting.published import (
    BACKBONES,
    DEPTHS,
    EXCHANGED,
    PLACES,
    PRINTED,
    RESNET,
    SE_RESNET,
    SE_RESNEXT,
    average_backbone,
    average_depth,
    read_table,
)
from search.reproduction.protocol import Arm

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from search.reporting.published import Place

StudyName = Literal["table2", "depth", "flip", "focal", "weights", "backbones", "se", "box", "feature", "curves"]
TABLE, PROTOCOL = "Table 2", "its protocol; no number of it is known here"


@dataclass(frozen=True)
class Claim:
    """What the report says of the arms of a study, as a sum of their scores times these factors.

    Attributes:
        text: what is to be judged, in one sentence: the sum is above 0.
        contrast: (arm, factor); the factors add up to 0.
        source: where it stands in the report.
        published: what the sum is there; None where no number is known.
        of_backbones: it says nothing of stand-ins.
    """

    text: str
    contrast: Sequence[tuple[Arm, float]]
    source: str
    published: float | None = None
    of_backbones: bool = False


@dataclass(frozen=True)
class SizeClaim:
    """What the report's numbers say of the epochs of an arm: how far the best lies above the mean of the last.

    Attributes:
        published: how far; margin: by how much it may be off.
        share: of the epochs, that are the last.
    """

    text: str
    arm: Arm
    source: str
    published: float
    margin: float
    share: float


@dataclass(frozen=True)
class Study:
    """One question of the report.

    Attributes:
        arms: what is trained, by its name in tables.
        figure: of the report, beside which the study's figure stands; None: it has none.
    """

    name: str
    question: str
    arms: Mapping[str, Arm]
    claims: Sequence[Claim | SizeClaim] = ()
    figure: str | None = None


def build_studies(on: Place) -> dict[str, Study]:
    """All studies by name, in the order in which they are told. on: backbone of those of one factor."""
    found = [
        build_table(),
        build_depth(),
        build_pair(
            on,
            "flip",
            "Does the random flip help?",
            {"flip 0.5": {"flip": published.FLIP}, "no flip": {"flip": 0.0}},
            "A random horizontal flip raises the score.",
            "figure 8; no number of it is known here",
            figure="figure 8",
        ),
        build_pair(
            on,
            "focal",
            "Is the focal loss better than cross-entropy?",
            {
                "focal, gamma 2": {"focal_gamma": published.FOCAL_GAMMA},
                "cross-entropy": {"focal_gamma": 0.0},
            },
            "The focal loss with gamma 2 scores higher than cross-entropy.",
            PROTOCOL,
        ),
        build_pair(
            on,
            "weights",
            "Do the report's category weights help?",
            {
                "the report's weights": {"category_weights": dict(published.WEIGHTS)},
                "equal weights": {"category_weights": {}},
            },
            "The report's category weights score higher than equal ones.",
            "its best score, 0.8265, less the best of Table 2",
            published.BEST_SCORE - max(map(max, published.TABLE_2.values())),
        ),
        build_backbones(),
        build_se(),
        build_pair(
            on,
            "box",
            "Is the crop by the box better than the whole image?",
            {"box": {"crop": "box"}, "whole image": {"crop": "whole"}},
            "The crop by the bounding box scores higher than the whole image.",
            PROTOCOL,
        ),
        build_pair(
            on,
            "feature",
            "Are the 1000 ImageNet logits a better feature than the pooled one?",
            {"1000 logits": {"feature": "logits"}, "pooled feature": {"feature": "pooled"}},
            "The 1000 outputs of the ImageNet classifier score higher than the pooled feature.",
            PROTOCOL,
        ),
        build_curves(on),
    ]
    return {study.name: study for study in found}


def build_pair(
    on: Place,
    name: str,
    question: str,
    levels: Mapping[str, Mapping[str, object]],
    claim: str,
    source: str,
    size: float | None = None,
    figure: str | None = None,
) -> Study:
    """A study of one factor with two levels, whose first the report says is better. size: by how much."""
    arms = {level: Arm(on, changes) for level, changes in levels.items()}
    better, worse = arms.values()
    return Study(name, question, arms, [Claim(claim, [(better, 1.0), (worse, -1.0)], source, size)], figure)


def list_grid() -> dict[tuple[int, Place], Arm]:
    """The arms of Table 2, by FC layers and place."""
    return {(depth, place): Arm(place, {"fc_layers": depth}) for depth in DEPTHS for place in PLACES}


def average(arms: Sequence[Arm], sign: float) -> list[tuple[Arm, float]]:
    """A contrast's part: the mean over some arms, times a sign."""
    return [(arm, sign / len(arms)) for arm in arms]


def build_table() -> Study:
    """Table 2: nine arms, and which of its two SE columns is the better one."""
    grid = list_grid()
    arms = {f"{BACKBONES[place]}, {depth} FC": arm for (depth, place), arm in grid.items()}
    columns = [[grid[depth, place] for depth in DEPTHS] for place in PLACES]
    claims = []
    for reading, (better, worse) in ((PRINTED, (SE_RESNET, SE_RESNEXT)), (EXCHANGED, (SE_RESNEXT, SE_RESNET))):
        contrast = [*average(columns[better], 1.0), *average(columns[worse], -1.0)]
        size = average_backbone(better, reading) - average_backbone(worse, reading)
        text = f"{BACKBONES[better]} scores higher than {BACKBONES[worse]}, in the mean over FC layers."
        claims.append(Claim(text, contrast, f"{TABLE}, {reading}", size, of_backbones=True))
    return Study("table2", "Does Table 2 come out again?", arms, claims)


def build_depth() -> Study:
    """FC layers, in the mean over backbones: the same in both readings of Table 2."""
    grid = list_grid()
    arms = {f"{depth} FC, {BACKBONES[place]}": arm for (depth, place), arm in grid.items()}
    claims = []
    for fewer, more in ((0, 2), (2, 4), (0, 4)):
        ours, theirs = ([grid[depth, place] for place in PLACES] for depth in (fewer, more))
        size = average_depth(fewer) - average_depth(more)
        text = f"{fewer} FC layers score higher than {more}, in the mean over the three backbones."
        claims.append(Claim(text, [*average(ours, 1.0), *average(theirs, -1.0)], TABLE, size))
    return Study("depth", "Do FC layers before the heads cost accuracy?", arms, claims)


def build_backbones() -> Study:
    """The three backbones without FC layers."""
    grid = list_grid()
    arms = {BACKBONES[place]: grid[0, place] for place in PLACES}
    claims = []
    for reading, better in ((PRINTED, SE_RESNET), (EXCHANGED, SE_RESNEXT)):
        row = read_table(reading)[0]
        claims.append(
            Claim(
                f"{BACKBONES[better]} scores higher than {BACKBONES[RESNET]} without FC layers.",
                [(grid[0, better], 1.0), (grid[0, RESNET], -1.0)],
                f"{TABLE}, {reading}",
                row[better] - row[RESNET],
                of_backbones=True,
            )
        )
    return Study("backbones", "Which backbone is the best?", arms, claims, "figures 9 and 10")


def build_se() -> Study:
    """Squeeze and excitation: what it adds to ResNet-50, in the mean over FC layers."""
    grid = list_grid()
    pair = (RESNET, SE_RESNET)
    arms = {f"{BACKBONES[place]}, {depth} FC": grid[depth, place] for depth in DEPTHS for place in pair}
    plain, excited = ([grid[depth, place] for depth in DEPTHS] for place in pair)
    gain = [*average(excited, 1.0), *average(plain, -1.0)]
    loss = [*average(plain, 1.0), *average(excited, -1.0)]
    more, less = (average_backbone(SE_RESNET, reading) for reading in (PRINTED, EXCHANGED))
    resnet = average_backbone(RESNET, PRINTED)
    claims = [
        Claim("SE blocks raise the score of ResNet-50.", gain, f"{TABLE}, {PRINTED}", more - resnet, True),
        Claim("SE blocks lower the score of ResNet-50.", loss, f"{TABLE}, {EXCHANGED}", resnet - less, True),
    ]
    return Study("se", "Do SE blocks help?", arms, claims)


def build_curves(on: Place) -> Study:
    """Loss and accuracy by epoch, in each category."""
    arm = Arm(on)
    claim = SizeClaim(
        "The best epoch lies about 0.8 points above the mean of the last third of the epochs.",
        arm,
        "the author's training logs, 29 epochs",
        published.BEST_ABOVE_LAST,
        published.BEST_ABOVE_LAST / 2,
        published.LAST_EPOCHS / published.EPOCHS,
    )
    return Study("curves", "How do loss and accuracy go on by epoch?", {"the protocol": arm}, [claim], "figure 6")
