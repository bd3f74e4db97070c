"""What a pause costs in a search whose trials pause at rungs: read from its ledger.

python tests/benchmarks/pauses.py results/NAME

A trial that goes on from a rung has a start of its own: Ray gives it a process, its state is read, its network built.
Measured is the time from the ledger's word that a trial began, or goes on, to its next epoch, less what training and
scoring that epoch took; a pause costs by how much it is longer than that of a new trial in a process that was there
before. As epochs, it is what `replay.py --pause-epochs` adds to the budgets.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY))

from fashion_core.metrics import TRAIN_SECONDS, VAL_SECONDS  # noqa: E402
from search.records.events import EpochEnded, Event, SearchResumed, SearchStarted, TrialStarted  # noqa: E402
from search.records.ledger import read_events  # noqa: E402

LEDGER = "ledger.jsonl"


@dataclass(frozen=True)
class Starts:
    """Seconds that starts took, beside their first epoch.

    Args:
        new: of trials that had no epoch yet, without the first ones of each command: their processes start too.
        resumed: of trials that go on. epochs: what an epoch takes.
    """

    new: tuple[float, ...]
    resumed: tuple[float, ...]
    epochs: tuple[float, ...]

    @property
    def pause_seconds(self) -> float:
        """What a pause costs: the medians' difference; NaN where there is nothing to compare."""
        return float(np.median(self.resumed) - np.median(self.new)) if self.new and self.resumed else float("nan")

    @property
    def pause_epochs(self) -> float:
        """The same in epochs, not below 0."""
        return max(self.pause_seconds, 0.0) / float(np.median(self.epochs)) if self.epochs else float("nan")


def measure_starts(events: Iterable[Event], workers: int) -> Starts:
    """Read the starts off a ledger. workers: how many trials run at once: so many starts of a command are cold."""
    new: list[float] = []
    resumed: list[float] = []
    epochs: list[float] = []
    began: dict[int, tuple[float, bool]] = {}  # by trial: when it was told to begin, and whether a process was there
    seen: set[int] = set()
    starts = 0
    for event in events:
        if isinstance(event, (SearchStarted, SearchResumed)):
            began, starts = {}, 0
        elif isinstance(event, TrialStarted) and event.elapsed is not None:
            began[event.trial] = event.elapsed, starts >= workers
            starts += 1
        elif isinstance(event, EpochEnded):
            seconds = sum(event.metrics.get(name) or 0.0 for name in (TRAIN_SECONDS, VAL_SECONDS))
            epochs.append(seconds)
            start, is_warm = began.pop(event.trial, (None, False))
            if start is not None and event.elapsed is not None and is_warm:
                (resumed if event.trial in seen else new).append(max(event.elapsed - start - seconds, 0.0))
            seen.add(event.trial)
    return Starts(tuple(new), tuple(resumed), tuple(epochs))


def describe(name: str, seconds: tuple[float, ...]) -> str:
    """`new trials: 12 starts, 0.42 s [0.40, 0.51]`: the median between the quartiles."""
    if not seconds:
        return f"{name}: none"
    low, middle, high = np.percentile(seconds, [25, 50, 75])
    return f"{name}: {len(seconds)} starts, {middle:.2f} s [{low:.2f}, {high:.2f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("search", type=Path, help="folder of a search")
    folder: Path = parser.parse_args().search
    events = read_events(folder / LEDGER)
    told: Any = next((event.settings for event in events if isinstance(event, SearchStarted)), {})
    starts = measure_starts(events, int(told.get("concurrent", 1)))
    print(describe("new trials", starts.new))
    print(describe("going on after a pause", starts.resumed))
    print(f"a pause costs {starts.pause_seconds:.2f} s, {starts.pause_epochs:.3f} of an epoch")


if __name__ == "__main__":
    main()
