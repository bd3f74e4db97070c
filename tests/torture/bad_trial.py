"""A search one trial of which misbehaves once: what `trials.py` starts, as a command.

python tests/torture/bad_trial.py WAY FOLDER SEARCH-OPTIONS...
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from rich.console import Console

from fashion_core.command import run_command
from search.experiment.search import run_search
from search.planning.options import SearchOptions
from search.tune.results import EPOCH, ERROR, METRICS, SCORE, STATUS, WORST_SCORE
from search.tune.trainable import TrialTrainable

TRIAL, EPOCH_OF_FAULT = 0, 2
FOR_EVER_S = 1e6
TOO_MUCH = 1 << 50  # bytes


class BadTrial(TrialTrainable):
    """Trial 0 misbehaves before its second epoch; once, if it is to go on after it."""

    way: str
    once: str

    def step(self) -> dict[str, Any]:
        """An epoch, unless it is the one."""
        is_it = self.config["number"] == TRIAL and self.iteration + 1 == EPOCH_OF_FAULT
        if not is_it or Path(self.once).exists():
            return super().step()
        Path(self.once).touch()
        match self.way:
            case "raises":
                self.results = raise_late()
            case "exits":
                os._exit(7)
            case "exits in Python":
                sys.exit(7)
            case "hangs":
                time.sleep(FOR_EVER_S)
            case "is refused memory":
                self.results = take_too_much()
            case "diverges":
                return {SCORE: WORST_SCORE, EPOCH: 1, STATUS: "diverged", METRICS: json.dumps({}), ERROR: "not finite",
                        "done": True}  # fmt: skip
        return super().step()


def raise_late():
    """A training that raises."""
    raise RuntimeError("a fault of the network")
    yield


def take_too_much():
    """A training that asks for more memory than any machine has."""
    yield bytearray(TOO_MUCH)


def main() -> None:
    """Run the search of the command line's JSON."""
    way, options = sys.argv[1], SearchOptions.model_validate_json(sys.argv[2])
    BadTrial.way, BadTrial.once = way, str(Path.cwd() / "faulted")
    resume = options.build_layout().options.exists()
    run_search(options, resume=resume, trainable=BadTrial, console=Console())


if __name__ == "__main__":
    run_command(main)
