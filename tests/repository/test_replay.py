"""The replay of searches: what it counts, what it fits, and that each way to search does what its source says."""

import importlib
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import optuna
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from search.records.events import EpochEnded, SearchResumed, SearchStarted, TrialStarted

REPOSITORY = Path(__file__).resolve().parents[2]
BENCHMARKS = REPOSITORY / "tests" / "benchmarks"
MODULES = ("replay_curves", "replay_surface", "replay_clock", "replay_methods", "replay_peers")
SPACE = """
trials: 8
fixed: {weights: none, image_size: 32}
search:
  lr: {loguniform: [1e-4, 1e-2]}
  fc_layers: {choice: [0, 2]}
  category_weights: {proportions: [0.5, 2]}
scheduler: {type: none, max_epochs: 4}
"""


@pytest.fixture
def modules(monkeypatch):
    """The modules of the benchmark, by their last word."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    yield {name.split("_")[1]: importlib.import_module(name) for name in MODULES}
    for name in MODULES:
        sys.modules.pop(name)


@pytest.fixture
def space():
    from search.space.reading import parse_space

    return parse_space(SPACE, "test")


class Table:
    """A world of known scores, a row a trial, the same with noise and without."""

    best = 1.0

    def __init__(self, rows):
        self.rows = rows

    def score(self, trial, params, epoch):
        return self.rows[trial][epoch - 1], self.rows[trial][epoch - 1]


class Numbers:
    """A sampler whose trials have no parameters; what it learned."""

    def __init__(self):
        self.learned = []

    def draw(self, trial):
        return {}

    def learn(self, trial, epoch, score):
        self.learned.append((trial, epoch, score))


class Followed:
    """A method whose segments are written down."""

    def __init__(self, method):
        self.method, self.segments = method, []

    def next(self):
        segment = self.method.next()
        if segment is not None:
            self.segments.append((segment.trial, segment.first, segment.last))
        return segment

    def take(self, trial, epoch, score):
        return self.method.take(trial, epoch, score)


def test_what_is_spent_is_counted_by_hand(modules):
    """Rungs 1, 2 and 4, factor 2: two begin, the better goes on, and so again; every epoch costs one."""
    rows = [[0.5, 0.6, 0.7, 0.8], [0.4, 0.9, 0.9, 0.9], [0.6, 0.7, 0.8, 0.95], [0.1] * 4, [0.55] * 4, [0.2] * 4]
    method = Followed(modules["methods"].PromotionASHA(Numbers(), [1, 2, 4], 2))
    trace = modules["clock"].replay(method, Table(rows), workers=1, budget_epochs=9, seed=0)
    wanted = [(0, 1, 1), (1, 1, 1), (0, 2, 2), (2, 1, 1), (2, 2, 2), (2, 3, 4), (3, 1, 1), (4, 1, 1)]
    assert method.segments == wanted
    assert trace.regrets == pytest.approx([50, 50, 40, 40, 30, 20, 5, 5, 5])
    assert (trace.trials, trace.at(3), trace.at(100)) == (5, pytest.approx(40), pytest.approx(5))
    assert (trace.find(21), trace.find(1)) == (6, None)


def test_eight_workers_spend_the_same_and_wait_where_they_must(modules):
    rows = [[0.1 * number / 10] * 4 for number in range(40)]
    for workers in (1, 8):
        halving = Followed(modules["methods"].Hyperband(Numbers(), [(4, (1, 2, 4))], 2))
        trace = modules["clock"].replay(halving, Table(rows), workers, 16, 0)
        first = [(0, 1, 1), (1, 1, 1), (2, 1, 1), (3, 1, 1), (3, 2, 2), (2, 2, 2), (3, 3, 4), (4, 1, 1)]
        assert halving.segments[:8] == first and len(trace.regrets) == 16


def test_a_pause_costs_its_share_of_the_budget(modules):
    """The same order of trials; of two pauses at half an epoch each, one epoch of the budget is gone."""
    rows = [[0.5, 0.6, 0.7, 0.8], [0.4, 0.9, 0.9, 0.9], [0.6, 0.7, 0.8, 0.95], *([[0.1] * 4] * 9)]

    def run(cost):
        method = Followed(modules["methods"].PromotionASHA(Numbers(), [1, 2, 4], 2))
        return modules["clock"].replay(method, Table(rows), 1, 9, 0, cost), method.segments

    (free, order), (dear, others) = run(0.0), run(0.5)
    pauses = [first for _, first, _ in others].count(2)
    assert pauses == 2 and len(dear.regrets) == len(free.regrets) == 9 and order[: len(others)] == others
    assert free.regrets == pytest.approx([50, 50, 40, 40, 30, 20, 5, 5, 5])
    assert dear.regrets == pytest.approx([50, 50, 40, 40, 40, 30, 20, 5, 5])


def test_what_a_pause_costs_is_read_off_a_ledger(modules):
    """Two workers, so two cold starts; a new trial begins in 1 s, one that goes on in 4; an epoch takes 10."""
    pauses = importlib.import_module("pauses")
    events = [SearchStarted(name="a", elapsed=0.0)]
    for trial, began, epoch, start in ((0, 0, 1, 30), (1, 0, 1, 30), (2, 50, 1, 1), (3, 60, 1, 1), (0, 80, 2, 4)):
        events.append(TrialStarted(trial=trial, trial_id="", params={}, enqueued=False, elapsed=float(began)))
        told = {"train/seconds": 8.0, "val/seconds": 2.0}
        events.append(EpochEnded(trial=trial, epoch=epoch, metrics=told, elapsed=float(began + start + 10)))
    events.append(EpochEnded(trial=0, epoch=3, metrics={"train/seconds": 8.0, "val/seconds": 2.0}, elapsed=200.0))
    starts = pauses.measure_starts(events, workers=2)
    assert starts.new == (1, 1) and starts.resumed == (4,) and starts.epochs == (10,) * 6
    assert (starts.pause_seconds, starts.pause_epochs) == (3, 0.3)
    resumed = [*events, SearchResumed(trials=4, elapsed=0.0)]  # its clock begins anew, and its processes are cold
    assert pauses.measure_starts(resumed, workers=2) == starts
    assert np.isnan(pauses.measure_starts(events, workers=5).pause_seconds)


def test_smaller_images_at_a_rung_are_counted_in_pixels(modules):
    """Six configurations whose order is turned round at 96 px: the rung there throws the best away, for less."""
    sizes = importlib.import_module("replay_sizes")
    full = np.linspace(0.5, 0.75, 6)[:, None] + np.zeros(8)
    scores = {"full": full, "small": full[::-1], "growing": full}
    drawn = sizes.draw_searches(6)
    assert drawn.shape == (sizes.DRAWS, 6) and all(len(set(row)) == 6 for row in drawn[:50])
    spent, regrets = sizes.run_ways(sizes.Way("full", "full", 2), scores, drawn)
    assert spent == (6 * 2 + 2 * 6) / 8 and not regrets.any()
    spent, regrets = sizes.run_ways(sizes.Way("small", "growing", 3), scores, drawn)
    assert spent == (6 * 3 * 0.5625 + 2 * 5) / 8 and regrets == pytest.approx(20)  # the second worst of six
    assert sizes.run_ways(sizes.Way("small", "full", 3, anew=True), scores, drawn)[0] == (6 * 3 * 0.5625 + 2 * 8) / 8
    gap, error = sizes.jackknife(sizes.Way("full", "full", None), sizes.Way("full", "full", 1), scores)
    assert (gap, error) == (0, 0)


def test_recorded_sizes_are_those_that_results_curves_speaks_of(modules):
    sizes = importlib.import_module("replay_sizes")
    scores = sizes.load_scores(sizes.LINES)
    means = [scores[group][:, -1].mean() for group in sizes.GROUPS]
    assert len(scores["full"]) == 16 and means == pytest.approx([0.8146, 0.7998, 0.8098], abs=6e-5)


def test_a_method_that_gives_nothing_is_told(modules):
    class Idle:
        def next(self):
            return None

    with pytest.raises(RuntimeError, match="must give work"):
        modules["clock"].replay(Idle(), Table([]), 2, 4, 0)


def test_regret_is_of_the_model_in_hand_without_its_noise(modules):
    class Noisy(Table):
        def score(self, trial, params, epoch):
            noisy, truth = self.rows[trial][epoch - 1]
            return noisy, truth

    rows = [[(0.9, 0.5), (0.8, 0.8)], [(0.85, 0.85), (0.95, 0.7)]]
    method = modules["methods"].Hyperband(Numbers(), [(2, (2,))], 2)
    trace = modules["clock"].replay(method, Noisy(rows), 1, 4, 0)
    assert trace.regrets == pytest.approx([50, 50, 50, 30])


def test_hyperband_has_its_brackets(modules):
    assert modules["methods"].list_brackets(8, 3) == [(3, [1, 3, 8]), (2, [3, 8])]
    assert modules["methods"].list_brackets(9, 3) == [(9, [1, 3, 9]), (5, [3, 9]), (3, [9])]


def test_pasha_rises_where_the_order_changes_and_only_there(modules):
    for late, highest in (([0.1, 0.2, 0.3, 0.4], 1), ([0.4, 0.3, 0.2, 0.1], 2)):
        method = modules["methods"].PASHA(Numbers(), [1, 2, 4, 8], 2)
        for trial, (early, score) in enumerate(zip([0.1, 0.2, 0.3, 0.4], late, strict=True)):
            method.take(trial, 1, early)
            method.take(trial, 2, score)
            if method.highest == 2:
                break
        assert method.highest == highest


def test_a_random_search_of_the_product_and_of_the_others_draws_the_same(modules, space):
    methods = modules["methods"]
    ours = methods.build_product("random")(space, 4, 40, 3)
    drawn = [ours.next().params for _ in range(5)]
    for form in (
        methods.build_pausing("random", 1),
        methods.build_promotion(methods.RandomDraws, 1),
        methods.build_promotion(methods.ComparableTPE, 1),
    ):
        method = form(space, 4, 40, 3)
        assert [method.next().params for _ in range(5)] == drawn
    assert methods.build_product("random")(space, 4, 40, 4).next().params != drawn[0]


@pytest.mark.slow
def test_every_method_is_the_same_again_and_spends_its_budget(modules, space):
    methods, peers, clock = modules["methods"], modules["peers"], modules["clock"]
    builds = [
        methods.build_product("tpe", 1, 2),
        methods.build_plain,
        methods.build_pausing("tpe", 1, 2),
        methods.build_promotion(methods.SobolDraws, 1),
        methods.build_promotion(methods.ComparableTPE, 1),
        methods.build_promotion(methods.RandomDraws, 1, form=methods.PASHA),
        methods.build_hyperband,
        methods.build_halving,
        methods.build_top_k,
        peers.OptunaHyperband,
        peers.RayASHA,
    ]
    surface = modules["surface"].Surface(plant(modules, space, 30))
    for build in builds:
        first, again = (
            clock.replay(build(space, 4, 60, 1), modules["surface"].World(surface, 1), 3, 28, 1) for _ in range(2)
        )
        assert first == again and len(first.regrets) == 28 and first.trials >= 6


def plant(modules, space, count, noise=0.0, seed=0):
    """Recordings whose curves follow from lr and fc_layers: a final score and how fast it is reached."""
    rng = np.random.default_rng(seed)
    draws = modules["methods"].RandomDraws(space, 1000 + seed)
    params = tuple(draws.draw(number) for number in range(count))
    scores = np.stack([compute_curve(each) for each in params]) + rng.normal(0, noise, (count, 4))
    return modules["curves"].Recordings("planted", space, params, scores)


def compute_curve(params):
    """[4] scores."""
    far = np.log10(params["lr"]) + 2.7
    end, speed = 0.8 - 0.05 * far**2 + 0.02 * (params["fc_layers"] == 0), 0.7 + 0.2 * far
    return end - 0.2 * np.exp(-speed * np.arange(1, 5))


@pytest.mark.slow
def test_the_fit_finds_a_planted_surface(modules, space):
    Surface = modules["surface"].Surface
    recorded, others = plant(modules, space, 40), plant(modules, space, 50, seed=1)
    surface = Surface(recorded)
    found = np.stack([surface.predict_one(each) for each in others.params])
    assert np.abs(found - others.scores).max() < 0.03 and surface.judge(others)[0] > 0.9
    assert surface.best == pytest.approx(0.808, abs=0.015)  # the formula's greatest value
    noisy = Surface(plant(modules, space, 40, noise=0.01))
    assert 0.008 < noisy.noise.std() < 0.025 and not noisy.own.any()


def test_what_a_repeat_changes_is_read_off_the_other_sizes(modules, space):
    """Others lie lower by a constant and have noise of their own: the constant is left out, the noise is not."""
    curves, rng = modules["curves"], np.random.default_rng(7)
    recorded = plant(modules, space, 60, noise=0.01)
    truth = np.stack([compute_curve(each) for each in recorded.params])
    others = tuple(
        curves.Other(number, "small", curve - 0.03 + rng.normal(0, 0.01, 4)) for number, curve in enumerate(truth)
    )
    with_others = replace(recorded, others=others)
    repeats = modules["surface"].compute_repeats(with_others)
    assert repeats.std() == pytest.approx(0.01, rel=0.15) and repeats.mean(0) == pytest.approx(np.zeros(4), abs=1e-9)


def test_weights_are_the_same_as_drawn_and_as_shown(modules, space):
    encoder = modules["surface"].Encoder(space)
    drawn = modules["methods"].RandomDraws(space, 0).draw(0)
    weights = {name: value for name, value in drawn.items() if name.startswith("weight_")}
    shown = drawn | {name: value * len(weights) / sum(weights.values()) for name, value in weights.items()}
    assert encoder.encode(shown) == pytest.approx(encoder.encode(drawn))
    many = encoder.encode_units(np.random.default_rng(0).random((20_000, encoder.count)))
    assert many.mean(0)[:3] == pytest.approx(np.zeros(3), abs=0.03) and many.std(0)[:3] == pytest.approx(1, abs=0.03)


def test_recordings_are_read_and_split_by_configuration(modules):
    curves = modules["curves"]
    recorded = curves.load_lines(REPOSITORY / "results" / "curves" / "lite0.jsonl")
    assert recorded.scores.shape == (32, 8) and len(recorded.others) == 40
    taus = curves.compute_taus(recorded.scores)
    assert taus[:3] == pytest.approx([0.64, 0.65, 0.74], abs=0.006) and taus[-1] == 1  # as results/curves says
    first, second = recorded.split(0)
    lrs = [{params["lr"] for params in half.params} for half in (first, second)]
    assert len(first.params) == len(second.params) == 16 and not lrs[0] & lrs[1]
    assert len(first.others) + len(second.others) == 40
    for half in (first, second):
        for other in half.others:
            assert np.abs(half.scores[other.of] - other.scores).max() < 0.12


def test_a_table_of_curves_is_read(modules, tmp_path):
    """Trials that finished, in the order of their epochs."""
    rows = [(0, "finished", 2, 0.6, 1e-3), (0, "finished", 1, 0.5, 1e-3), (1, "stopped", 1, 0.1, 1e-4)]
    rows += [(2, "finished", 1, 0.2, 1e-2), (2, "finished", 2, 0.3, 1e-2)]
    names = ("trial", "status", "epoch", "val/accuracy", "params/probe_lr")
    columns = {name: pa.array(values) for name, values in zip(names, zip(*rows, strict=True), strict=True)}
    columns["correct"] = pa.array([None] * 5, pa.list_(pa.list_(pa.bool_())))
    pq.write_table(pa.table(columns), tmp_path / "curves.parquet")
    found = modules["curves"].load_table(tmp_path / "curves.parquet", "probe")
    assert found.scores.tolist() == [[0.5, 0.6], [0.2, 0.3]]
    assert found.params == ({"probe_lr": 1e-3}, {"probe_lr": 1e-2})
    rows.append((2, "finished", 3, 0.3, 1e-2))
    columns = {name: pa.array(values) for name, values in zip(names, zip(*rows, strict=True), strict=True)}
    pq.write_table(pa.table(columns | {"correct": pa.nulls(6)}), tmp_path / "curves.parquet")
    with pytest.raises(ValueError, match="one number of epochs"):
        modules["curves"].load_table(tmp_path / "curves.parquet", "probe")
