"""How long trainings of a reproduction take."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from made_trainings import make_trainings

from fashion_core.config import TrainConfig
from search.reproduction.costs import find_known, name_kind, weigh_epoch
from search.reproduction.protocol import Arm, load_protocol
from search.reproduction.trainings import read_trainings

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("values", "epochs"),
    [
        ({}, 1.0),
        ({"early_size": 0.5}, 1.0),
        ({"early_share": 0.5, "early_size": 0.5}, 0.625),  # half of the epochs see a quarter of the pixels
        ({"sam_rho": 0.05}, 2.0),
        ({"sam_rho": 0.05, "early_share": 0.5, "early_size": 0.5}, 1.25),
    ],
)
def test_an_epoch_costs_as_many_plain_ones(values: dict[str, float], epochs: float) -> None:
    assert weigh_epoch(TrainConfig(**values)) == pytest.approx(epochs)


def test_what_was_trained_tells_of_plain_epochs(tmp_path: Path) -> None:
    """A step with two passes that took twice as long says the same of a plain one."""
    protocol = load_protocol("report_lite")
    make_trainings(tmp_path, protocol, [Arm(0), Arm(1, {"sam_rho": 0.05})])
    found = read_trainings(tmp_path)
    known = find_known(found)
    for place, passes in ((0, 1), (1, 2)):
        arm = Arm(place, {"sam_rho": 0.05} if passes == 2 else {})
        (training,) = found.find(protocol.build_key(arm))
        config = TrainConfig(**protocol.build_values(arm))
        assert known[name_kind(config)] * passes == pytest.approx(
            training.seconds / len(training.epochs) / training.at_once
        )
