"""What a promotion is going to do: its candidates, what it goes on with, and what it will not begin."""

import dataclasses
import io
import json
import shutil

import numpy as np
import pytest
from rich.console import Console
from written_search import write_search

from fashion_core.data.reading import Reading
from fashion_core.data.schema import AttributeSchema
from fashion_core.errors import SearchError
from fashion_core.samples.dataset import draw_sample_data
from search.jobs.material import prepare_material
from search.planning.resources import Resources
from search.promotion.options import PromotionOptions
from search.promotion.plan import (
    build_promotion,
    check_data,
    describe_left_out,
    find_plan,
    fingerprint_data,
    load_promotion,
    save_promotion,
    settle_plan,
)
from search.promotion.view import draw_plan
from search.records.events import SearchEnded
from search.records.layout import SearchLayout
from search.records.record import load_record
from search.registry.versions import Registry
from search.space.seeds import draw_seeds
from search.tracking.store import default_uri

RATES = [3e-3, 2e-3, 3e-3, 1e-3, 1e-4]


@pytest.fixture(scope="module")
def written(tmp_path_factory, sample_folder):
    results = tmp_path_factory.mktemp("written") / "results"
    return write_search(results, "mine", sample_folder, RATES, statuses=("finished",) * 4 + ("stopped",))


@pytest.fixture
def layout(tmp_path, written):
    """A search of a test's own."""
    shutil.copytree(written.folder, tmp_path / "results" / "mine")
    return SearchLayout(tmp_path / "results", "mine")


def test_the_best_finished_trials_are_candidates_each_configuration_once(layout):
    plan = build_promotion(load_record(layout), PromotionOptions(top=3))
    assert [(each.trial, each.search_score) for each in plan.candidates] == [(0, 0.5), (1, 0.49), (3, 0.47)]
    assert [each.config.lr for each in plan.candidates] == [3e-3, 2e-3, 1e-3]
    assert all(each.config.epochs == 6 for each in plan.everyone)
    assert len(build_promotion(load_record(layout), PromotionOptions(top=9)).candidates) == 3  # none that was stopped


def end_early(record, number, reason, epochs=2):
    """The search ended by a rule or a person before this trial did."""
    trial = record.trials[number]
    row = dataclasses.replace(trial.epochs[0], epoch=epochs)
    trial.epochs, trial.end = [row], dataclasses.replace(trial.end, status="interrupted", best_epoch=epochs)
    record.ended = SearchEnded(reason=reason, seconds=1.0)


@pytest.mark.parametrize(
    ("reason", "way"),
    [
        ("target", "fashion-search extend mine --target 0.9"),
        ("time budget", "fashion-search extend mine --time-budget 8h"),
        ("stopped", "search/run.py --resume mine"),
        ("interrupted", "search/run.py --resume mine"),
    ],
)
def test_a_best_trial_that_the_search_ended_is_told_of(layout, reason, way):
    record = load_record(layout)
    assert describe_left_out(record) == ""
    end_early(record, 1, reason)
    assert describe_left_out(record) == ""  # another is better, and was trained to its end
    end_early(record, 0, reason)
    ended = "the best, trial 0 (0.5000), was ended after 2 of 6 epochs, with its search, and is no candidate"
    told = f"{ended}; finish it first: {way}"
    assert describe_left_out(record) == f"{told}; or promote the others, as they are"
    plan = build_promotion(record, PromotionOptions(top=3))
    assert [each.trial for each in plan.candidates] == [2, 3]
    console = Console(file=io.StringIO(), width=200)
    drawn = draw_plan(
        plan,
        PromotionOptions(),
        record,
        Resources(1, 1, 0),
        Registry(default_uri(layout), "m"),
        {"train": 1, "val": 1},
    )
    console.print(drawn)
    assert ended in " ".join(console.file.getvalue().split())
    for number in (2, 3):
        end_early(record, number, reason)
    with pytest.raises(SearchError) as caught:
        build_promotion(record, PromotionOptions())
    assert str(caught.value).endswith(f"trial 4 stopped); {told}")


def test_a_search_that_stopped_all_its_trials_is_given_more(layout):
    record = load_record(layout)
    for trial in record.trials.values():
        trial.end = dataclasses.replace(trial.end, status="stopped")
    with pytest.raises(SearchError, match="; go on with it: fashion-search extend mine --trials 50"):
        build_promotion(record, PromotionOptions())


def test_a_search_whose_trials_were_all_lost_is_looked_at(layout):
    record = load_record(layout)
    for trial in record.trials.values():
        trial.end = dataclasses.replace(trial.end, status="diverged")
    with pytest.raises(SearchError, match=r"; see why: search/run\.py --trial 0 --name mine"):
        build_promotion(record, PromotionOptions())


def test_seeds_are_fresh_and_the_same_for_the_same_search(layout):
    record = load_record(layout)
    one, other = (build_promotion(record, PromotionOptions(seeds=4)) for _ in range(2))
    drawn = [one.choose_seeds(number) for number in range(4)]
    assert drawn == [other.choose_seeds(number) for number in range(4)] and one.promotion_id != other.promotion_id
    assert all(len({each[name] for each in drawn}) == 4 for name in ("seed", "start_seed"))
    trials = [value for number in range(1000) for value in draw_seeds(0, number).values()]
    assert not {*one.seeds, *one.start_seeds, one.soup_start} & set(trials)


def test_networks_of_a_soup_have_one_start_that_no_rerun_has(layout):
    plan = build_promotion(load_record(layout), PromotionOptions(seeds=4))
    drawn = [plan.choose_soup_seeds(number) for number in range(4)]
    assert len({each["start_seed"] for each in drawn}) == 1 and len({each["seed"] for each in drawn}) == 4
    assert drawn[0]["start_seed"] not in plan.start_seeds


def test_a_promotion_begun_before_there_were_starts_goes_on_with_one(layout):
    record, options = load_record(layout), PromotionOptions(top=2, seeds=2)
    save_promotion(layout, build_promotion(record, options))
    path = layout.promotion_folder / "plan.json"
    told = json.loads(path.read_text())
    del told["start_seeds"], told["soup_start"]
    path.write_text(json.dumps(told))
    plan = load_promotion(layout, record, options)
    assert [plan.choose_seeds(number) for number in range(2)] == [{"seed": seed} for seed in plan.seeds]


def test_it_goes_on_with_what_was_written_down(layout):
    record, options = load_record(layout), PromotionOptions(top=2, seeds=2)
    assert load_promotion(layout, record, options) is None
    plan = dataclasses.replace(build_promotion(record, options), data="abc")
    save_promotion(layout, plan)
    assert load_promotion(layout, record, options) == plan
    # what changes no re-run may change
    assert load_promotion(layout, record, options.model_copy(update={"fit_on": "train+val", "force": True})) == plan
    with pytest.raises(SearchError, match="--top 2, --baseline report"):
        load_promotion(layout, record, options.model_copy(update={"top": 3, "baseline": "none"}))
    other = json.loads((layout.promotion_folder / "plan.json").read_text()) | {"search_id": "mine@0"}
    (layout.promotion_folder / "plan.json").write_text(json.dumps(other))
    with pytest.raises(SearchError, match="another search"):
        load_promotion(layout, record, options)


def test_other_images_or_labels_are_noticed(layout, sample_prepared):
    plan = dataclasses.replace(
        build_promotion(load_record(layout), PromotionOptions()), data=fingerprint_data(sample_prepared)
    )
    check_data(layout, plan, fingerprint_data(sample_prepared))
    labels = sample_prepared.labels
    try:
        sample_prepared.labels = np.roll(labels, 1, 0)
        with pytest.raises(SearchError, match="have changed"):
            check_data(layout, plan, fingerprint_data(sample_prepared))
    finally:
        sample_prepared.labels = labels


def test_a_handful_of_validation_images_is_too_few(tmp_path, layout):
    folder = draw_sample_data(tmp_path / "few", train=8, val=2, test=1)
    plan = build_promotion(load_record(layout), PromotionOptions())
    schema = AttributeSchema.from_dict(load_record(layout).begun.categories)
    with pytest.raises(SearchError, match="3 different ones or more in val"):
        prepare_material(
            folder,
            [each.config for each in plan.everyone],
            schema,
            tmp_path / "cache",
            Console(file=io.StringIO()),
            Reading(),
        )


def test_nothing_of_an_earlier_one_goes_before_the_data_is_known(layout, sample_prepared):
    record = load_record(layout)
    left = layout.promotion_folder / "reruns" / "trial-0000-seed0"
    left.mkdir(parents=True)
    plan = find_plan(layout, record, PromotionOptions(), anew=False)
    assert not plan.data and left.exists()
    settled = settle_plan(layout, plan, sample_prepared)
    assert not left.exists() and settled.data == fingerprint_data(sample_prepared)
    left.mkdir(parents=True)
    begun = find_plan(layout, record, PromotionOptions(), anew=False)
    assert begun == settled == settle_plan(layout, begun, sample_prepared) and left.exists()
    assert find_plan(layout, record, PromotionOptions(), anew=True).promotion_id != begun.promotion_id
