"""Optuna is told the truth, proposals hold what a trial needs, and numbers stay unique after a restart."""

import pytest
from optuna.trial import TrialState

from fashion_core.config import build_config
from fashion_core.data.schema import AttributeSchema, Category
from search.records.events import EpochEnded, TrialEnded, TrialStarted
from search.records.ledger import Ledger
from search.space.reading import parse_space
from search.tune.results import EPOCH, SCORE
from search.tune.searcher import TruthfulSearcher

SCHEMA = AttributeSchema(
    (Category("pattern", ("floral", "solid")), Category("fit", ("tight", "loose", "conventional")))
)
SPACE = """
trials: 8
fixed: {weights: none}
search:
  lr: {loguniform: [1e-4, 1e-2]}
  fc_layers: {choice: [0, 2]}
  category_weights: {proportions: [0.5, 2]}
try_first:
  - {lr: 1e-3, fc_layers: 0, category_weights: 1}
scheduler: {type: asha, max_epochs: 9, grace_epochs: 1, reduction_factor: 3}
"""


@pytest.fixture
def build(tmp_path):
    def build(seed=0):
        ledger = tmp_path / "ledger.jsonl"
        space = parse_space(SPACE, "test")
        return TruthfulSearcher(space, SCHEMA, space.first_points(SCHEMA), trials=8, seed=seed, ledger=ledger)

    return build


def test_a_proposal_is_a_trial(build):
    proposal = build().suggest("a")
    assert proposal["number"] == 0 and proposal["enqueued"]
    assert proposal["params"] == {"lr": 1e-3, "fc_layers": 0, "weight_pattern": 1.0, "weight_fit": 1.0}
    config = build_config(proposal["values"])
    assert config.epochs == 9 and config.category_weights == {"pattern": 1.0, "fit": 1.0}


@pytest.mark.parametrize(
    ("result", "error", "state", "value"),
    [
        ({SCORE: 0.8, EPOCH: 9, "status": "finished"}, False, TrialState.COMPLETE, 0.8),
        ({SCORE: 0.6, EPOCH: 3, "status": "running"}, False, TrialState.PRUNED, 0.6),
        ({SCORE: 0.0, EPOCH: 2, "status": "diverged"}, False, TrialState.COMPLETE, 0.0),
        ({SCORE: 0.0, EPOCH: 1, "status": "failed"}, False, TrialState.FAIL, None),
        (None, True, TrialState.FAIL, None),
    ],
)
def test_optuna_is_told_the_truth(build, result, error, state, value):
    searcher = build()
    searcher.suggest("a")
    searcher.on_trial_complete("a", result, error=error)
    (trial,) = searcher.study.trials
    assert trial.state is state
    if state is TrialState.PRUNED:
        assert trial.intermediate_values == {3: 0.6}
    else:
        assert trial.value == value


def test_the_last_epoch_of_a_stopped_trial_is_told(build):
    searcher = build()
    searcher.suggest("a")
    searcher.on_trial_result("a", {SCORE: 0.5, EPOCH: 1})
    searcher.on_trial_complete("a", {SCORE: 0.6, EPOCH: 3, "status": "running"})
    assert searcher.study.trials[0].intermediate_values == {1: 0.5, 3: 0.6}


def test_same_seed_same_proposals(build):
    first, second = build(seed=3), build(seed=3)
    assert [first.suggest(str(i)) for i in range(4)] == [second.suggest(str(i)) for i in range(4)]
    assert build(seed=3).suggest("0")["params"] == build(seed=4).suggest("0")["params"]  # enqueued
    other = build(seed=4)
    assert [other.suggest(str(i)) for i in range(4)] != [build(seed=3).suggest(str(i)) for i in range(4)]


def test_numbers_stay_unique_after_a_restart(build, tmp_path):
    searcher = build()
    searcher.suggest("a")
    searcher.save(str(tmp_path / "snapshot"))
    with Ledger(tmp_path / "ledger.jsonl") as ledger:  # two more trials began after the snapshot
        for number in range(3):
            ledger.append(TrialStarted(trial=number, trial_id=str(number), params={}, enqueued=False))
    restored = build()
    restored.restore(str(tmp_path / "snapshot"))
    assert restored.suggest("d")["number"] == 3
    assert not restored.suggest("e")["enqueued"]


def test_after_a_restart_what_ended_counts_and_what_was_cut_off_is_replaced(build, tmp_path):
    """A snapshot after trial 0; the ledger knows three more: of 8 planned, 0, 1 and 3 are over, so five are to come."""
    searcher = build()
    proposals = [searcher.suggest("0")]
    searcher.save(str(tmp_path / "snapshot"))
    proposals += [searcher.suggest(str(number)) for number in (1, 2, 3)]
    with Ledger(tmp_path / "ledger.jsonl") as ledger:
        for number, proposal in enumerate(proposals):
            fields = {"trial": number, "trial_id": str(number)}
            ledger.append(TrialStarted(**fields, params=proposal["params"], enqueued=proposal["enqueued"]))
            ledger.append(EpochEnded(trial=number, epoch=1, metrics={"val/accuracy": 0.5}))
        ledger.append(TrialEnded(trial=1, status="finished", best=0.7))
        ledger.append(TrialEnded(trial=2, status="interrupted", best=0.5))
        ledger.append(TrialEnded(trial=3, status="stopped", best=0.5))
    restored = build()
    restored.restore(str(tmp_path / "snapshot"))
    states = [TrialState.RUNNING, TrialState.COMPLETE, TrialState.FAIL, TrialState.PRUNED]
    assert [trial.state for trial in restored.study.trials] == states and restored.study.trials[1].value == 0.7
    numbers = [restored.suggest(f"new {count}")["number"] for count in range(5)]
    assert numbers == [4, 5, 6, 7, 8] and restored.suggest("none") == restored.FINISHED


def test_a_known_configuration_that_was_cut_off_is_tried_again(build, tmp_path):
    searcher = build()
    searcher.save(str(tmp_path / "snapshot"))
    known = searcher.suggest("0")
    with Ledger(tmp_path / "ledger.jsonl") as ledger:
        ledger.append(TrialStarted(trial=0, trial_id="0", params=known["params"], enqueued=True))
    restored = build()
    restored.restore(str(tmp_path / "snapshot"))
    again = restored.suggest("1")
    assert again["enqueued"] and again["params"] == known["params"] and again["number"] == 1
