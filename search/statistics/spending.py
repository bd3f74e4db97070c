"""How small a p-value opens the gate at the n-th try on the same images: error is spent over all tries, without end.

Of twenty equal challengers, each let through at p <= 0.05, one or more pass in half of all cases. Here try n is let
through at p <= 0.05 w_n, and the w_n of all tries there may ever be sum to 1: whatever number of tries, and whatever
was seen before, the probability that any equal or worse challenger passes is at most 0.05 (Bonferroni's inequality;
as an online procedure: Tian & Ramdas 2021, Online control of the familywise error rate, section 2, alpha-spending).

    w_n = 4 / ((n + 3) (n + 4)),  whose first n sum to n / (n + 4)

falls slowly at first and like n ** -2 in the end: 0.01 at the first try, 0.0011 at the tenth. What this finds, and how
often it errs: `results/promotion_statistics/`.
"""

from __future__ import annotations

from search.statistics.intervals import LEVEL

ERROR = 1 - LEVEL  # that of all tries on the same images, taken together
DELAY = 3  # tries that later ones are put off by; the larger, the more even the spending


def spend_error(attempt: int) -> float:
    """The largest p-value that opens the gate at this try. attempt: from 1.

    Raises:
        ValueError: tries are counted from 1.
    """
    if attempt < 1:
        raise ValueError(f"tries are counted from 1, but got {attempt}; give the number of tries so far, this one too")
    return ERROR * (DELAY + 1) / ((attempt + DELAY) * (attempt + DELAY + 1))
