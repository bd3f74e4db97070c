"""The seeds of a training: they follow from the seed of its search and its number, and from nothing else."""

from __future__ import annotations

import numpy as np


def draw_seeds(seed: int, *path: int, with_start: bool = True) -> dict[str, int]:
    """`seed` and `start_seed` of one training, such as a trial of a search.

    Args:
        seed: of the search.
        path: whole numbers that name the training: of a trial, its number.
        with_start: whether its new layers have a start of their own; not in older searches, where all had the
            architecture's.
    """
    found, start = np.random.SeedSequence([seed, *path]).generate_state(2, np.uint32)
    return {"seed": int(found), "start_seed": int(start)} if with_start else {"seed": int(found)}
