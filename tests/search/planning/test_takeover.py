"""What a search takes over: from a file, and from searches that were written down on the same drawn data set."""

import json
import re

import pytest
from optuna.trial import TrialState
from written_search import SPACE, write_search

from fashion_core.errors import SearchError
from search.planning.options import SearchOptions
from search.planning.plan import build_plan, render_plan
from search.planning.resources import Machine
from search.planning.takeover import OTHER_DATA, settle, take_over
from search.records.events import EpochEnded, SearchResumed, TrialEnded, TrialPaused, TrialStarted
from search.records.layout import SearchLayout
from search.records.ledger import Ledger
from search.records.record import load_record
from search.tune.study import Study

RATES = [1e-3, 1e-4, 1e-8, 1e-5]  # the best first; the third is outside of what is searched here
STATUSES = ("finished", "stopped", "finished", "failed")
HERE = SPACE.replace("[1e-9, 1e-1]", "[1e-6, 1e-1]")


@pytest.fixture(scope="module")
def results(sample_folder, tmp_path_factory):
    """A folder of results with the search `old`."""
    results = tmp_path_factory.mktemp("taking") / "results"
    write_search(results, "old", sample_folder, RATES, statuses=STATUSES, select_on="val")
    return results


def plan(results, data, text=HERE, **options):
    space = results / "here.yaml"
    space.write_text(text)
    given = SearchOptions(data=data, space=str(space), name="new", results=results, **options)
    return take_over(build_plan(given, given.build_layout(), Machine(2, 0)))


def test_what_can_be_compared_is_observed_and_the_best_are_tried_first(results, sample_folder):
    found = plan(results, sample_folder, warm_start="old")
    (other,) = found.taken.others
    assert [each.trial for each in found.taken.observed] == [0, 1]
    assert other.observed == other.tried == 2 and sum(other.left_out.values()) == 2
    assert any("lr outside" in why for why in other.left_out) and any("failed" in why for why in other.left_out)
    assert [point["lr"] for point in found.taken.tried_first] == [1e-3, 1e-4]
    shown = dict(render_plan(found))
    assert shown["warm start"].startswith("old: learns from 2 trials") and "2 known" in shown["trials"]


def test_paused_trials_of_a_search_that_ended_first_are_observed_at_their_rung(sample_folder, tmp_path):
    results = tmp_path / "results"
    layout = write_search(results, "paused", sample_folder, [1e-3], statuses=("paused",), select_on="val")
    with Ledger(layout.ledger) as ledger:
        ledger.append(TrialPaused(trial=0, rung=5))
        ledger.append(TrialEnded(trial=0, status="paused", best=0.5))
    found = plan(results, sample_folder, warm_start="paused")
    (observed,) = found.taken.observed
    assert (observed.status, observed.rung, observed.score) == ("paused", 5, 0.5)
    (told,) = Study(found.space, found.annotations.schema, (), seed=0, observed=[observed]).study.get_trials()
    assert told.state is TrialState.PRUNED and told.intermediate_values == {5: 0.5}


def test_trials_that_finished_before_their_search_was_lengthened_count_with_their_epochs(sample_folder, tmp_path):
    results = tmp_path / "results"
    layout = write_search(results, "longer", sample_folder, [1e-3], select_on="val")
    with Ledger(layout.ledger) as ledger:
        ledger.append(SearchResumed(trials=2, extended=True, max_epochs=9))
        ledger.append(TrialStarted(trial=1, trial_id="1", params={"lr": 1e-4, "fc_layers": 0}, enqueued=False))
        ledger.append(EpochEnded(trial=1, epoch=9, metrics={"val/accuracy": 0.6}))
        ledger.append(TrialEnded(trial=1, status="finished", best=0.6, best_epoch=9))
    for epochs, observed, left_out in ((9, 1, "6 epochs, here 9"), (6, 0, "9 epochs, here 6")):
        found = plan(results, sample_folder, warm_start="longer", max_epochs=epochs).taken
        assert [each.trial for each in found.observed] == [observed]
        assert found.others[0].left_out == {left_out: 1} and found.others[0].tried == 2


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("max_epochs: 6", "max_epochs: 5", "6 epochs, here 5"),
        ("image_size: 32", "image_size: 48", "other image_size"),
        ("batch_size: 8", "batch_size: 4", "other batch_size"),
        ("trials: 4", "objective: val/class_accuracy\ntrials: 4", "other objective"),
        (", fc_layers: {choice: [0, 1]}", "", None),  # not searched here, but as it is here
        ("fc_layers: {choice: [0, 1]}", "dropout: {uniform: [0.9, 0.95]}", "dropout outside the range here"),
        ("fc_layers: {choice: [0, 1]}", "fc_layers: {choice: [1]}", "fc_layers outside the range here"),
    ],
)
def test_what_cannot_be_compared_is_left_out_with_its_reason(results, sample_folder, old, new, reason):
    found = plan(results, sample_folder, HERE.replace(old, new), warm_start="old")
    (other,) = found.taken.others
    assert (other.observed == 0) == (reason is not None)
    assert reason is None or reason in other.left_out


def test_scores_on_other_images_are_left_out_but_their_best_are_tried(results, sample_folder):
    found = plan(results, sample_folder, warm_start="old", select_on="heldout")
    (other,) = found.taken.others
    assert not found.taken.observed and len(found.taken.tried_first) == other.tried == 2
    assert list(other.left_out) == ["scores are on val, here on heldout"]


def test_other_data_is_left_out_once_the_images_are_known(results, sample_folder):
    taken = plan(results, sample_folder, warm_start="old").taken
    same = load_record(SearchLayout(results, "old")).data["fingerprint"]
    assert settle(taken, {same, "x"}) == taken
    other = settle(taken, {"x"})
    assert not other.observed and other.tried_first == taken.tried_first
    assert other.others[0].left_out[OTHER_DATA] == 2


def test_the_sampler_knows_what_was_observed(results, sample_folder):
    found = plan(results, sample_folder, warm_start="old")
    schema = found.annotations.schema
    study = Study(found.space, schema, found.first, seed=0, observed=found.taken.observed)
    told = study.study.get_trials()
    assert [each.state for each in told] == [TrialState.COMPLETE, TrialState.PRUNED]
    assert told[0].value == 0.5 and told[0].params == {"lr": 1e-3, "fc_layers": 0}
    first = study.draw(-1)
    assert (first.trial, first.enqueued, first.params["lr"]) == (0, True, 1e-3)


def test_a_search_that_is_not_there_is_named(results, sample_folder):
    with pytest.raises(SearchError, match=r"'lost' stands in .*; known are old"):
        plan(results, sample_folder, warm_start="old,lost")


def test_other_categories_are_refused(results, sample_folder):
    path = SearchLayout(results, "strange").ledger
    path.parent.mkdir()
    text = SearchLayout(results, "old").ledger.read_text()
    text = re.sub(r', "crc32": \d+', "", text)  # as of a version without
    path.write_text(text.replace('"sleeve"', '"arm"').replace('"name": "old"', '"name": "strange"'))
    with pytest.raises(SearchError, match="on the categories of this data") as raised:
        plan(results, sample_folder, warm_start="strange")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "form",
    [lambda lr: {"lr": lr}, lambda lr: [{"lr": lr}], lambda lr: {"trial": 3, "params": {"lr": lr}, "config": {}}],
)
def test_configurations_of_a_file_come_first(results, sample_folder, tmp_path, form):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(form(0.002)))
    found = plan(results, sample_folder, warm_start="old", enqueue=path)
    assert found.first[0] == {"lr": 0.002} and len(found.first) == 3


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        "{}",
        "[1]",
        '{"lr": 5}',
        '{"lr": NaN}',
        '{"speed": 1}',
        '{"params": {"fc_layers": 7}}',
        '"lr"',
        "null",
    ],
)
def test_what_is_no_configuration_is_refused_in_a_line(results, sample_folder, tmp_path, content):
    path = tmp_path / "config.json"
    path.write_text(content)
    with pytest.raises(SearchError, match=r"config\.json") as raised:
        plan(results, sample_folder, enqueue=path)
    assert "\n" not in str(raised.value)


def test_every_fault_of_a_file_has_its_line(results, sample_folder, tmp_path):
    path = tmp_path / "config.json"
    path.write_text('[{"lr": 5}, {"lr": 1e-3}, {"fc_layers": 7, "speed": 1}]')
    with pytest.raises(SearchError) as raised:
        plan(results, sample_folder, enqueue=path)
    assert [line.split(":")[0] for line in str(raised.value).splitlines()] == [
        "config.json, configuration 1",
        "config.json, configuration 3",
        "config.json, configuration 3",
    ]


def test_a_grid_takes_nothing_over(results, sample_folder):
    grid = "sampler: grid\n" + HERE.replace("lr: {loguniform: [1e-6, 1e-1]}, ", "").replace("trials: 4", "")
    with pytest.raises(SearchError, match="is a grid"):
        plan(results, sample_folder, grid, warm_start="old")
