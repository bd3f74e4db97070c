"""The front holds what no trial beats, and the report shows it where costs are known."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from fashion_core.models.cost import Cost
from search.records.costs import write_costs
from search.records.events import CostsMeasured, EpochEnded, SearchEnded, SearchStarted, TrialEnded, TrialStarted
from search.records.layout import SearchLayout
from search.records.ledger import Ledger
from search.records.record import load_record, replay
from search.reporting.front import bound_errors, find_front, list_priced
from search.reporting.report import write_report
from search.reporting.words import describe_search
from search.space.architectures import USUAL

SIZES = (96, 128, 160, 192)
TRIAL = st.tuples(st.integers(0, 5), st.sampled_from(SIZES))
COSTS = st.tuples(*[st.builds(Cost, st.integers(1, 4), st.integers(1, 4).map(float), st.floats(0, 1))] * len(SIZES))


def tell(trials, costs, status="finished"):
    """Events of a search: (score, image size) of each trial; costs by size."""
    selection = {"select_on": "val", "select_count": 100, "train_count": 900}
    events = [SearchStarted(name="one", settings={"trials": len(trials)}, selection=selection)]
    for number, (score, _) in enumerate(trials):
        events.append(TrialStarted(trial=number, trial_id=str(number), params={"lr": 0.1}, enqueued=False))
        told = {"val/accuracy": score, "val/accuracy_se": 0.02}
        events.append(EpochEnded(trial=number, epoch=1, metrics=told))
        events.append(TrialEnded(trial=number, status=status, best=score, best_epoch=1, checkpoint="x"))
    if costs:
        by_size = {USUAL._replace(image_size=size): cost for size, cost in zip(SIZES, costs, strict=True)}
        having = {each: [n for n, (_, size) in enumerate(trials) if size == each.image_size] for each in by_size}
        events.append(CostsMeasured(costs=write_costs(by_size, having)))
    return [*events, SearchEnded(reason="all trials ended", seconds=1.0)]


def test_an_error_reaches_no_score_that_cannot_be():
    costs = [Cost(1, float(n), 0.0) for n in range(1, 5)]
    priced = list_priced(replay(tell([(0.99, 96), (0.5, 128), (0.01, 160)], costs)))
    below, above = bound_errors(priced)
    assert below == pytest.approx([0.02, 0.02, 0.01]) and above == pytest.approx([0.01, 0.02, 0.02])


@given(st.lists(TRIAL, min_size=1, max_size=8), COSTS)
def test_the_front_is_what_no_trial_beats(trials, costs):
    trials = [(score / 10, size) for score, size in trials]
    priced = list_priced(replay(tell(trials, costs)))
    assert bool(priced) == (len({size for _, size in trials}) > 1)
    known = {n: (score, costs[SIZES.index(size)]) for n, (score, size) in enumerate(trials)}

    def is_as_good(one, other):
        (score, cost), (best, least) = known[one], known[other]
        return score >= best and cost.ms <= least.ms and cost.parameters <= least.parameters

    wanted = [
        n for n in known if not any(is_as_good(m, n) and (not is_as_good(n, m) or m < n) for m in known if m != n)
    ]
    front = [each.trial.number for each in find_front(priced)]
    assert not priced or sorted(front) == wanted
    assert front == sorted(front, key=lambda n: (-known[n][0], n))


def write(tmp_path, events):
    layout = SearchLayout(tmp_path, "one")
    layout.folder.mkdir(exist_ok=True)
    with Ledger(layout.ledger) as ledger:
        for event in events:
            ledger.append(event)
    record = load_record(layout)
    written = write_report(layout, record, describe_search(record))
    return written, layout.report.read_text(), layout.folder / "front.png"


def test_the_report_shows_the_front(tmp_path):
    trials = [(0.80, 160), (0.79, 96), (0.60, 96), (0.78, 192), (0.81, 192)]
    costs = (Cost(3_000_000, 4.0, 0.1), Cost(3_000_000, 6.0), Cost(3_000_000, 10.0, 2.0), Cost(3_000_000, 20.0))
    written, report, picture = write(tmp_path, tell(trials, costs))
    section = report.partition("## Score against cost")[2]
    assert "Of the 5 trials that trained to their end" in section
    assert "Trial 1 is not told apart from the best of them, trial 4, and takes 20% of its time" in section
    rows = [line.split(" | ") for line in section.splitlines() if line.startswith("| ")][2:]
    assert [row[0] for row in rows] == ["| 4", "| 0", "| 1"]
    assert [row[4] for row in rows] == ["20.0", "10.0 + 2.0", "4.0 + 0.1"]
    assert rows[1][1] == "0.8000 ± 0.0200" and rows[1][5] == "tf_efficientnet_lite0 at 160 px |"
    assert picture in written and Image.open(picture).size[0] > 300
    again = write_report(SearchLayout(tmp_path, "one"), load_record(SearchLayout(tmp_path, "one")), describe_search(
        load_record(SearchLayout(tmp_path, "one"))
    ))  # fmt: skip
    assert again == written and SearchLayout(tmp_path, "one").report.read_text() == report


@pytest.mark.parametrize(
    ("costs", "status"),
    [
        ((), "finished"),  # an older search
        ((Cost(1, math.nan),) * 4, "finished"),
        ((Cost(1, 1.0),) * 4, "stopped"),
    ],
)
def test_it_is_left_out_where_nothing_is_known(costs, status, tmp_path):
    written, report, picture = write(tmp_path, tell([(0.8, 96), (0.7, 128)], costs, status))
    assert "Score against cost" not in report and "front.png" not in report
    assert picture not in written and not picture.exists()
