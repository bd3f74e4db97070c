"""What networks cost is known before they train: counted and measured once, and what costs too much is left out."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fashion_core.config import TrainConfig
from fashion_core.data.schema import AttributeSchema, Category
from fashion_core.errors import ConfigError, SearchError
from fashion_core.models.cost import UNLIMITED, Cost
from fashion_core.models.network import build_network
from search.planning.costs import exclude, measure_before, price, price_finished
from search.planning.options import SearchOptions
from search.planning.plan import build_plan, list_costs, render_plan
from search.planning.resources import Machine
from search.planning.takeover import take_over
from search.records.costs import read_costs, write_costs
from search.records.events import EpochEnded, SearchStarted, TrialEnded, TrialStarted
from search.records.record import replay
from search.reporting.terminal import choose_console
from search.space.architectures import USUAL, find_architecture
from search.space.reading import parse_space

SCHEMA = AttributeSchema((Category("pattern", ("floral", "solid")), Category("fit", ("tight", "loose"))))
SMALL = USUAL._replace(backbone="test_resnet", image_size=32)
SPACE = """
trials: 12
fixed: {weights: none, precision: fp32}
search:
  backbone: {choice: [test_resnet, test_vit]}
  image_size: {choice: [32, 64]}
  fc_layers: {choice: [0, 3]}
  lr: {loguniform: [1e-4, 1e-2]}
try_first:
  - {backbone: test_vit, image_size: 64, lr: 1e-3}
  - {backbone: test_resnet, image_size: 64, fc_layers: 0}
  - {lr: 2e-3}
scheduler: {max_epochs: 9}
"""
SPACE_OF_GRID = SPACE.replace("trials: 12", "sampler: grid").replace("loguniform: [1e-4, 1e-2]", "choice: [1e-3, 1e-2]")
SPACE_OF_GRID = SPACE_OF_GRID.partition("try_first")[0] + "scheduler: {max_epochs: 9}\n"
# ms by what an architecture has; what is not here, 1.
SLOW = {("test_vit", 64): 9.0, ("test_resnet", 64): 5.0}


def plan_with(text, data, folder, costs=None, **options):
    (folder / "small.yaml").write_text(text)
    given = SearchOptions(data=data, space=str(folder / "small.yaml"), name="one", results=folder, **options)
    return take_over(build_plan(given, given.build_layout(), Machine(2, 0), costs=costs))


def plant(text):
    """Costs of all architectures of a space, as a ledger may tell them."""
    architectures = parse_space(text, "test").list_architectures()
    return {each: Cost(1000, SLOW.get((each.backbone, each.image_size), 1.0), 0.5) for each in architectures}


def test_parameters_are_counted_and_milliseconds_measured():
    found = price([SMALL, SMALL._replace(fc_layers=2)], SCHEMA)
    for architecture, cost in found.items():
        config = TrainConfig(backbone="test_resnet", weights="none", fc_layers=architecture.fc_layers)
        assert cost.parameters == sum(each.numel() for each in build_network(config, SCHEMA.sizes).parameters())
        assert cost.is_measured and cost.ms > 0 and cost.spread >= 0


def test_milliseconds_are_measured_only_where_a_limit_asks_for_them():
    (few,) = price([SMALL], SCHEMA, Cost(10**9, math.inf)).values()
    (many,) = price([SMALL], SCHEMA, Cost(1000, 50.0)).values()
    (both,) = price([SMALL], SCHEMA, Cost(10**9, 50.0)).values()
    assert not few.is_measured and not many.is_measured and both.is_measured
    assert few.fits(Cost(10**9, math.inf)) and not few.fits(Cost(10**9, 50.0)) and not many.fits(Cost(1000, 50.0))


def test_what_is_known_is_not_measured_again():
    planted = Cost(7, 8.0, 9.0)
    assert price([SMALL], SCHEMA, known={SMALL: planted}) == {SMALL: planted}
    (found,) = price([SMALL], SCHEMA, known={SMALL: Cost(7, math.nan)}).values()  # its milliseconds were not asked for
    assert found.is_measured


def test_what_cannot_run_is_refused():
    with pytest.raises(ConfigError, match="timm model name"):
        price([SMALL._replace(backbone="no_such_net")], SCHEMA)


@given(
    st.dictionaries(
        st.sampled_from(parse_space(SPACE, "test").list_architectures()),
        st.builds(Cost, st.integers(1, 10**9), st.just(math.nan) | st.floats(0, 1e6), st.floats(0, 1e3)),
    )
)
def test_a_ledger_gives_costs_back(costs):
    told = json.loads(json.dumps(write_costs(costs, {each: [number] for number, each in enumerate(costs)})))
    found = list(read_costs(told))
    assert [(each, trials) for each, _, trials in found] == [(each, [number]) for number, each in enumerate(costs)]
    for (_, cost, _), wanted in zip(found, costs.values(), strict=True):
        assert cost.parameters == wanted.parameters and cost.is_measured == wanted.is_measured
        assert not cost.is_measured or cost == wanted


@given(st.integers(1, 100), st.integers(1, 100), st.floats(0.1, 10), st.floats(0, 10), st.floats(0.1, 10))
def test_a_limit_compares_the_upper_end(parameters, allowed, ms, spread, most):
    cost, limit = Cost(parameters, ms, spread), Cost(allowed, most)
    assert cost.fits(limit) == (parameters <= allowed and ms + spread <= most) and cost.fits(UNLIMITED)
    assert cost.fits(limit) == (cost.compute_excess(limit) <= 1) or ms + spread == pytest.approx(most)


def test_what_costs_too_much_is_left_out_of_all(sample_folder, tmp_path):
    """Draws, known configurations, sizes that images are prepared at; and the plan says so."""
    plan = plan_with(SPACE, sample_folder, tmp_path, plant(SPACE), max_ms=4)
    assert {each.image_size for each in plan.settings} == {32}
    assert {each.image_size for each in plan.space.excluded} == {64} and len(plan.space.excluded) == 4
    assert plan.first == [{"lr": 2e-3}] and plan.left_out == parse_space(SPACE, "test").first_points(SCHEMA)[:2]
    shown = render_plan(plan)
    assert dict(shown)["may cost"] == "at most 4 ms an image: 4 of 8 architectures are left out"
    assert dict(shown)["trials"] == "12: 1 known, 11 drawn by tpe"
    left_out = [text for topic, text in shown if topic == "left out"]
    assert left_out[0] == (
        "the known configuration backbone test_vit, image_size 64, lr 0.001: test_vit at 64 px, fc_layers 0 costs "
        "0.0 M, 9.0 + 0.5 ms, the others that it could have (1) too much as well"
    )
    assert left_out[1].endswith("test_resnet at 64 px, fc_layers 0 costs 0.0 M, 5.0 + 0.5 ms")
    rows = list_costs(plan)
    assert len(rows) == 8 and [row[-1] for row in rows] == ["left out"] * 4 + [""] * 4
    assert rows[0][1:] == ("0.00 M", "9.0 + 0.5", "left out")


def test_a_configuration_from_a_file_that_costs_too_much_is_left_out(sample_folder, tmp_path):
    points = [{"backbone": "test_vit", "image_size": 64}, {"backbone": "test_vit", "image_size": 32}]
    (tmp_path / "first.json").write_text(json.dumps(points))
    plan = plan_with(SPACE, sample_folder, tmp_path, plant(SPACE), max_ms=4, enqueue=tmp_path / "first.json")
    assert plan.first == [points[1], {"lr": 2e-3}] and points[0] in plan.left_out


def test_a_grid_counts_the_rest(sample_folder, tmp_path):
    costs = plant(SPACE_OF_GRID)
    plan = plan_with(SPACE_OF_GRID, sample_folder, tmp_path, costs, max_ms=4)
    assert plan.trials == len(plan.first) == 8 and dict(render_plan(plan))["trials"].startswith("8: 8 known")
    assert {point["image_size"] for point in plan.first} == {32} and not plan.left_out
    assert plan_with(SPACE_OF_GRID, sample_folder, tmp_path, costs).trials == 16
    with pytest.raises(SearchError, match="--trials must be at most 8"):
        plan_with(SPACE_OF_GRID, sample_folder, tmp_path, costs, max_ms=4, trials=9)


@pytest.mark.parametrize(
    ("options", "constraints", "limit"),
    [
        ({}, "{max_ms: 6}", Cost(UNLIMITED.parameters, 6.0)),
        ({"max_ms": 4}, "{max_ms: 6, max_params: 2e3}", Cost(2000, 4.0)),
        ({"max_params": 1500}, "{max_ms: 6}", Cost(1500, 6.0)),
    ],
)
def test_the_command_line_wins_over_the_space(options, constraints, limit, sample_folder, tmp_path):
    plan = plan_with(SPACE + f"constraints: {constraints}", sample_folder, tmp_path, plant(SPACE), **options)
    assert plan.limit == limit
    assert plan.space.excluded == {each for each, cost in plan.costs.items() if not cost.fits(limit)}


def test_without_a_limit_nothing_is_measured(sample_folder, tmp_path):
    plan = plan_with(SPACE, sample_folder, tmp_path)
    assert not plan.costs and not plan.space.excluded and len(plan.first) == 3 and not list_costs(plan)
    assert not measure_before(plan.options, plan.layout, choose_console(None))
    assert "may cost" not in dict(render_plan(plan))


def test_a_space_that_costs_too_much_is_refused_and_the_smallest_named(sample_folder, tmp_path):
    with pytest.raises(SearchError) as error:
        plan_with(SPACE, sample_folder, tmp_path, max_params=1000)
    smallest = build_network(TrainConfig(backbone="test_vit", weights="none", image_size=32), SCHEMA.sizes)
    count = sum(each.numel() for each in smallest.parameters())
    assert f"the smallest is test_vit at 32 px, fc_layers 0: {count / 1e6:.1f} M" in str(error.value)
    assert "at most 0.001 M parameters" in str(error.value) and "\n" not in str(error.value)


def test_the_smallest_is_what_is_least_over_the_limits():
    one, two, three = (SMALL._replace(image_size=size) for size in (32, 64, 96))
    costs = {one: Cost(10, 90.0), two: Cost(30, 5.0, 25.0), three: Cost(50, math.nan)}
    with pytest.raises(SearchError, match=r"the smallest is test_resnet at 64 px: 0.0 M, 5.0 \+ 25.0 ms"):
        exclude(parse_space(SPACE, "test"), costs, Cost(10, 10.0))


def tell(*trials):
    """A record of trials: (status, epochs, params)."""
    events = [SearchStarted(name="one", costs=write_costs({SMALL: Cost(7, 8.0, 9.0)}))]
    for number, (status, params) in enumerate(trials):
        events.append(TrialStarted(trial=number, trial_id=str(number), params=params, enqueued=False))
        events.append(EpochEnded(trial=number, epoch=1, metrics={"val/accuracy": 0.5}))
        events.append(TrialEnded(trial=number, status=status, best=0.5, best_epoch=1, checkpoint="x"))
    return replay(events)


def test_at_the_end_what_finished_is_measured_where_there_is_a_choice():
    space = parse_space(SPACE.replace(", precision: fp32", ""), "test")
    small, large = ({"backbone": "test_resnet", "image_size": size, "fc_layers": 0, "lr": 0.1} for size in (32, 64))
    other = {"backbone": "test_vit", "image_size": 64, "fc_layers": 0, "lr": 0.1}
    record = tell(("finished", small), ("finished", small), ("stopped", other), ("diverged", other))
    assert price_finished(space, SCHEMA, record) is None
    record = tell(("finished", small), ("finished", large), ("stopped", other), ("finished", small))
    record.apply(price_finished(space, SCHEMA, record))
    assert record.architectures == {
        0: SMALL,
        1: find_architecture(large),
        3: SMALL,
    }
    assert record.costs[SMALL] == Cost(7, 8.0, 9.0)  # known from the beginning
    assert record.costs[find_architecture(large)].is_measured
