"""Arrays in, estimates out: intervals, the gate, cross-fitting, calibration, which networks to average.
Knows nothing of searches or files.
"""

from typing import TYPE_CHECKING

from fashion_core.lazy import attach

if TYPE_CHECKING:
    from search.statistics.calibration import Calibration, compute_calibration, fit_temperatures
    from search.statistics.crossfit import assign_folds, cross_fit, cross_fit_seeds, find_best
    from search.statistics.effects import Design, Effects, compute_kendall, estimate_effects
    from search.statistics.gate import Difference, Verdict, compare_answers, judge
    from search.statistics.intervals import (
        Estimate,
        SeedNoise,
        compare,
        compute_gap,
        estimate_score,
        estimate_seed_noise,
    )
    from search.statistics.members import average_members, find_correct, select_members

__all__ = [
    "Calibration",
    "Design",
    "Difference",
    "Effects",
    "Estimate",
    "SeedNoise",
    "Verdict",
    "assign_folds",
    "average_members",
    "compare",
    "compare_answers",
    "compute_calibration",
    "compute_gap",
    "compute_kendall",
    "cross_fit",
    "cross_fit_seeds",
    "estimate_effects",
    "estimate_score",
    "estimate_seed_noise",
    "find_best",
    "find_correct",
    "fit_temperatures",
    "judge",
    "select_members",
]
__getattr__ = attach(
    __name__,
    {
        "calibration": ["Calibration", "compute_calibration", "fit_temperatures"],
        "crossfit": ["assign_folds", "cross_fit", "cross_fit_seeds", "find_best"],
        "effects": ["Design", "Effects", "compute_kendall", "estimate_effects"],
        "gate": ["Difference", "Verdict", "compare_answers", "judge"],
        "intervals": ["Estimate", "SeedNoise", "compare", "compute_gap", "estimate_score", "estimate_seed_noise"],
        "members": ["average_members", "find_correct", "select_members"],
    },
)
