"""What came out: the scores of all arms, and a verdict on every claim."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fashion_core.metrics import ACCURACY, Measure
from search.reporting.published import BACKBONES
from search.reporting.words import write_count
from search.reproduction.studies import SizeClaim
from search.reproduction.verdicts import Finding, Verdict, judge_contrast, judge_fall
from search.statistics.intervals import Estimate, estimate_score, estimate_seed_noise

if TYPE_CHECKING:
    from collections.abc import Sequence

    from search.reproduction.protocol import Arm, Protocol
    from search.reproduction.studies import Claim, Study
    from search.reproduction.trained import Trained

MEASURE = Measure()  # the mean over the categories of the accuracy


@dataclass(frozen=True)
class ArmResult:
    """What the trainings of an arm came to.

    Attributes:
        count: of those that count; diverged: of those that did.
        score: over images and seeds; None without training.
        seed_sd: standard deviation of their scores; None of fewer than two.
    """

    count: int
    diverged: int
    score: Estimate | None
    seed_sd: float | None


@dataclass(frozen=True)
class Judged:
    """A claim with its finding."""

    study: str
    claim: Claim | SizeClaim
    finding: Finding


@dataclass(frozen=True)
class Reproduction:
    """All that was found.

    Attributes:
        judged: every claim, in the order of the studies.
    """

    protocol: Protocol
    studies: Sequence[Study]
    trained: Trained
    judged: Sequence[Judged]

    def name_arm(self, name: str, arm: Arm) -> str:
        """An arm's name in a study, with the stand-in's in the place of the report's backbone."""
        return name.replace(BACKBONES[arm.place], self.protocol.name_backbone(arm.place))

    def stack_scores(self, arm: Arm) -> np.ndarray:
        """[S, N]: what each image says of the score of each training of an arm; S may be 0."""
        answers = self.trained.stack(self.protocol.build_key(arm))
        return MEASURE.score_images(answers) if len(answers) else np.empty((0, len(self.trained.images)))

    def describe_diverged(self, study: Study, arms: Sequence[Arm]) -> str:
        """Whose trainings diverged, and how many; empty where none did.

        What is left of an arm's trainings tells of those that went well alone, so no score speaks for the arm.
        """
        texts = []
        for name, arm in study.arms.items():
            trained = self.trained.find(self.protocol.build_key(arm))
            diverged = sum(each.correct is None for each in trained)
            if arm in arms and diverged:
                count = write_count(len(trained), "training")
                texts.append(f"{diverged} of {count} of {self.name_arm(name, arm)}")
        return f"{', '.join(texts)} diverged" if texts else ""

    def list_curves(self, arm: Arm, metric: str = ACCURACY) -> list[list[float]]:
        """A metric by epoch, of each training of an arm that did not diverge."""
        found = self.trained.find(self.protocol.build_key(arm))
        return [[row.get(metric) or 0.0 for row in each.epochs] for each in found if each.correct is not None]

    def sum_up(self, arm: Arm) -> ArmResult:
        """What an arm came to."""
        scores, found = self.stack_scores(arm), self.trained.find(self.protocol.build_key(arm))
        diverged = sum(each.correct is None for each in found)
        if not len(scores):
            return ArmResult(0, diverged, None, None)
        spread = float(scores.mean(1).std(ddof=1)) if len(scores) > 1 else None
        return ArmResult(len(scores), diverged, estimate_score(scores, estimate_seed_noise([scores])), spread)


def judge_studies(protocol: Protocol, studies: Sequence[Study], trained: Trained) -> Reproduction:
    """Judge every claim of the studies by what is trained."""
    found = Reproduction(protocol, studies, trained, [])
    judged = [Judged(study.name, claim, judge(found, study, claim)) for study in studies for claim in study.claims]
    return Reproduction(protocol, studies, trained, judged)


def judge(found: Reproduction, study: Study, claim: Claim | SizeClaim) -> Finding:
    """A verdict on one claim of a study."""
    involved = [claim.arm] if isinstance(claim, SizeClaim) else [arm for arm, _ in claim.contrast]
    if diverged := found.describe_diverged(study, involved):
        return Finding(Verdict.UNKNOWN, None, diverged)
    if isinstance(claim, SizeClaim):
        return judge_fall(found.list_curves(claim.arm), claim.share, claim.published, claim.margin)
    arms, factors = zip(*claim.contrast, strict=True)
    return judge_contrast(
        [found.stack_scores(arm) for arm in arms],
        factors,
        stands_in=claim.of_backbones and not found.protocol.has_own_backbones,
    )
