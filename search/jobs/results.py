"""Names of what a trial reports to Ray Tune."""

from __future__ import annotations

SCORE = "score"  # best val/accuracy of a trial so far: what a trial reports, and ASHA and Optuna see
EPOCH = "training_iteration"
METRICS = "metrics"  # all others of an epoch, as JSON: of every number in a result, Ray keeps six statistics
