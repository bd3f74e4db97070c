"""What a trial reports to Ray Tune after an epoch."""

from __future__ import annotations

SCORE = "score"  # best val/accuracy of the trial so far: what ASHA and Optuna see
EPOCH = "training_iteration"  # Ray's own count of reports
STATUS = "status"  # a `TrialStatus`
METRICS = "metrics"  # all others of an epoch, as JSON: of every number in a result, Ray keeps six statistics
CORRECT = "correct"  # where this epoch is the best so far: what it answered right, packed
ERROR = "error"  # of a trial that failed or diverged
WORST_SCORE = 0.0
