"""SIGKILL of one search of photographs: networks from ImageNet are fine-tuned, all layers, by one worker."""

from __future__ import annotations

import os
import random
from pathlib import Path

from bench import NAME, Bench, Tried
from kills import kill_and_judge
from plans import Row
from processes import ROOT
from tries import Outcome

from search.records.layout import SearchLayout

DATA = Path(os.environ.get("FASHION_DATA", ROOT.parent / "shared" / "data" / "FashionDataset"))
SPACE = """
description: EfficientNet-Lite0, all layers fine-tuned for up to 5 epochs
trials: 8
fixed: {backbone: tf_efficientnet_lite0, weights: package, image_size: 64, batch_size: 64, crop: box}
search:
  lr: {loguniform: [1e-4, 3e-3]}
  drop_path: {uniform: [0, 0.2]}
  focal_gamma: {uniform: [0, 2]}
  category_weights: {proportions: [0.5, 2]}
scheduler: {type: asha, max_epochs: 5, grace_epochs: 1, reduction_factor: 3}
"""


class Photographed(Tried):
    """One search of photographs under faults. What is prepared of them is kept between tries."""

    def __init__(self, bench: Bench) -> None:
        super().__init__(bench)
        (self.folder / "tiny.yaml").write_text(SPACE)
        self.given[self.given.index("--data") + 1] = DATA
        self.given += ["--cache-dir", bench.kept / "prepared"]


def play(bench: Bench, case: str, number: int, draws: random.Random) -> Outcome:
    """Kill it five times, going on each time, and compare it with its twin."""
    if not DATA.is_dir():
        return Outcome(skipped="FASHION_DATA names no folder")
    twin = bench.keep("photographs", lambda tried: tried.run_to_end(tried.begin()), Photographed)
    with bench.open_try(kind=Photographed) as tried:
        return kill_and_judge(tried, SearchLayout(twin / "results", NAME), number, draws)


ROWS = (Row("photographs", "SIGKILL, photographs fine-tuned, one worker", ("fine-tuning",), 1, play),)
