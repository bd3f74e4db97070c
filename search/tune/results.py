"""What a trial reports to Ray Tune after an epoch."""

from __future__ import annotations

SCORE = "score"  # best score of the trial so far, of the objective
EPOCH = "epoch"
STATUS = "status"  # a `TrialStatus`
METRICS = "metrics"  # all others of an epoch, as JSON: of every number in a result, Ray keeps six statistics
CORRECT = "correct"  # where this epoch is the best so far: what it answered right, packed
SAVED = "saved"  # what was saved after this epoch: SHA-256 by file, as JSON
LOST = "lost"  # why it did not go on from the newest state, or could not save one, in words
FULL = "full"  # that it waits for room on a disk, in words: of a result that tells of no epoch
MISFIT = "misfit"  # that its node has other libraries, in words: of a result that tells of no epoch
NODE = "node"  # which node that is, as Ray names it
ERROR = "error"  # of a trial that failed or diverged
WORST_SCORE = 0.0
