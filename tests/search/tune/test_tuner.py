"""Tune over a plan: what it is told of the plan, and how often it is begun again where it breaks."""

import signal
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import ray
from ray.tune import tune as tune_module
from ray.tune.execution import class_cache

from fashion_core.errors import SearchError
from search.jobs.nodes import tell_libraries
from search.planning.options import SearchOptions
from search.planning.plan import build_plan
from search.planning.resources import Machine
from search.records.events import (
    EndReason,
    LimitReached,
    SearchBroke,
    SearchResumed,
    SearchStarted,
    StopAsked,
    StopMode,
    TrialEnded,
    TrialProposed,
    TrialStarted,
)
from search.records.ledger import Ledger, read_events
from search.records.record import SearchRecord
from search.records.session import Session
from search.tune import tuner
from search.tune.callback import Recorder
from search.tune.scheduler import LedgerScheduler
from search.tune.searcher import LedgerSearcher
from search.tune.trainable import TrialTrainable
from search.tune.tuner import (
    MAX_RESTARTS,
    build_trainable,
    build_tuner,
    keep_interrupt,
    name_trial,
    pass_on_no_secrets,
    run_trials,
)
from search.tune.watch import WATCHED

SPACE = """
trials: 12
fixed: {backbone: test_resnet, image_size: 32, weights: none}
search: {lr: {loguniform: [1e-4, 1e-2]}}
scheduler: SCHEDULER
"""
WITH_ASHA = "{type: asha, max_epochs: 9, grace_epochs: 1, reduction_factor: 3}"


def make_plan(folder, data, scheduler=WITH_ASHA, **options):
    (folder / "small.yaml").write_text(SPACE.replace("SCHEDULER", scheduler))
    options = SearchOptions(data=data, space=str(folder / "small.yaml"), name="one", results=folder, **options)
    return build_plan(options, options.build_layout(), Machine(4, 0))


@pytest.fixture
def plan(sample_folder, tmp_path):
    return make_plan(tmp_path, sample_folder, concurrent=2, cpus_per_trial=2)


@pytest.fixture
def session(plan):
    with Ledger(plan.layout.ledger) as ledger:
        session = Session(plan.layout, ledger, SearchRecord())
        session.append(SearchStarted(name="one"))
        yield session


def read(built):
    """What a tuner was told: of Tune and of the run."""
    inside = built._local_tuner
    return inside._tune_config, inside._run_config


def test_tune_is_told_what_the_plan_says(plan, tmp_path):
    trained = build_trainable(plan, TrialTrainable)
    tune_config, run_config = read(build_tuner(plan, trained, "one@0", str(tmp_path)))
    assert (tune_config.num_samples, tune_config.max_concurrent_trials, tune_config.time_budget_s) == (-1, 2, None)
    assert (tune_config.metric, tune_config.mode, tune_config.reuse_actors) == ("score", "max", True)
    (recorder,) = run_config.callbacks
    parts = (tune_config.search_alg, tune_config.scheduler, recorder)
    assert [type(part) for part in parts] == [LedgerSearcher, LedgerScheduler, Recorder]
    assert {part.search_id for part in parts} == {"one@0"}
    assert Path(run_config.storage_path) == tmp_path and run_config.failure_config.max_failures == 0


def test_a_trial_has_its_share_of_the_machine(plan):
    trained = build_trainable(plan, TrialTrainable)
    request = trained.default_resource_request({})
    assert request.required_resources.get("CPU") == 2 and not request.required_resources.get("GPU")
    assert trained.__qualname__ == TrialTrainable.__qualname__  # what Ray calls its processes


def test_a_trial_avoids_the_nodes_that_it_is_told_of(plan):
    trained = build_trainable(plan, TrialTrainable)
    plain, told, again = (
        trained.default_resource_request({"avoided": nodes}) for nodes in ([], ["a1", "b2"], ["a1", "b2"])
    )
    assert plain == trained.default_resource_request({}) != told == again
    assert told.required_resources == plain.required_resources and "!in(a1,b2)" in repr(told)


def test_a_trial_is_named_by_its_number():
    assert name_trial(SimpleNamespace(config={"number": 7}, trial_id="a")) == "trial-0007-a"
    assert name_trial(SimpleNamespace(config={"number": 12345}, trial_id="b")) == "trial-12345-b"


class Breaking:
    """Tune that breaks so many times."""

    def __init__(self, monkeypatch, breaks):
        self.breaks, self.built = breaks, 0
        monkeypatch.setattr(tuner, "build_tuner", self.build)

    def build(self, plan, trained, search_id, scratch):
        assert search_id in WATCHED and not list(Path(scratch).iterdir())  # its parts find the search
        self.built += 1
        return self

    def fit(self):
        if self.built <= self.breaks:
            raise RuntimeError(f"broken {self.built}")


@pytest.fixture(autouse=True)
def kept():
    """Ctrl-C raises in each test, whatever it did before, and does that again after it."""
    with keep_interrupt():
        signal.signal(signal.SIGINT, signal.default_int_handler)
        yield


def run(plan, session):
    return run_trials(plan, None, session, read_events(session.layout.ledger))


def list_breaks(session):
    return [event for event in read_events(session.layout.ledger) if isinstance(event, SearchBroke)]


@pytest.mark.parametrize("breaks", [0, 1, MAX_RESTARTS])
def test_it_goes_on_where_it_broke(breaks, plan, session, monkeypatch):
    tune = Breaking(monkeypatch, breaks)
    run(plan, session)
    assert tune.built == breaks + 1
    assert [(event.restarts, event.error) for event in list_breaks(session)] == [
        (number, f"RuntimeError: broken {number + 1}") for number in range(breaks)
    ]
    assert not WATCHED


def test_signals_do_behind_what_they_did_before(plan, session, monkeypatch):
    before = signal.getsignal(signal.SIGINT)
    tune = Breaking(monkeypatch, 0)
    tune.fit = lambda: signal.signal(signal.SIGINT, lambda *_: None)  # as Tune does, with a handler of its own
    assert not run(plan, session)
    assert signal.getsignal(signal.SIGINT) is before


def test_what_a_limit_has_ended_needs_no_tune(plan, session, monkeypatch):
    tune = Breaking(monkeypatch, 0)
    session.append(SearchResumed(trials=12, limits={"seconds": 1e-4}))
    session.record.seconds = 1.0
    assert not run(plan, session) and not tune.built
    assert session.record.reached == EndReason.TIME_BUDGET


@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_ends_it_once_or_twice(times, plan, session, monkeypatch):
    """Tune takes the first, ends in order, and puts back what was there; the second is raised out of its end."""
    tune = Breaking(monkeypatch, 0)

    def fit():
        caught = tune_module._setup_signal_catching()
        for _ in range(times):
            signal.raise_signal(signal.SIGINT)
        assert caught.is_set()

    tune.fit = fit
    assert run(plan, session) and not list_breaks(session)
    signal.raise_signal(signal.SIGINT)  # while the search closes: passed over, once
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("asked", [None, StopMode.AT_EPOCH, StopMode.NOW])
@pytest.mark.parametrize("runs", [False, True])
def test_ctrl_c_after_a_limit_or_a_request_counts_where_it_cut_something_short(runs, asked, plan, session, monkeypatch):
    """Not where all was over as asked, nor where what ran was to end at once."""
    tune = Breaking(monkeypatch, 0)

    def fit():
        tune_module._setup_signal_catching()
        watch = WATCHED[session.record.search_id]
        session.append(LimitReached(reason=EndReason.TARGET) if asked is None else StopAsked(mode=asked))
        if runs:
            watch.running["ray"] = 0
        signal.raise_signal(signal.SIGINT)

    tune.fit = fit
    assert run(plan, session) == (runs and asked != StopMode.NOW)


def test_it_is_given_up_in_the_end(plan, session, monkeypatch):
    Breaking(monkeypatch, MAX_RESTARTS + 1)
    with pytest.raises(SearchError, match=r"Ray Tune broke 4 times, .* broken 4; .* go on with --resume one") as caught:
        run(plan, session)
    assert isinstance(caught.value.__cause__, RuntimeError) and len(list_breaks(session)) == MAX_RESTARTS + 1
    assert not WATCHED


def test_what_is_over_needs_no_tune(plan, session, monkeypatch):
    tune = Breaking(monkeypatch, 0)
    for number in range(12):
        session.append(TrialProposed(trial=number, params={}, drawn={"lr": 1e-3}, enqueued=False, after=0))
        session.append(TrialStarted(trial=number, trial_id="", params={}, enqueued=False))
        session.append(TrialEnded(trial=number, status="failed"))
    assert not run(plan, session) and not tune.built


@pytest.mark.parametrize(
    ("storage", "has_nodes", "given"),
    [
        (None, False, False),
        ("/shared/ray", False, False),
        ("s3://bucket/ray", False, True),
        ("s3://bucket/ray", True, False),  # each node of a cluster has its own
    ],
)
def test_workers_get_keys_only_where_their_storage_asks_for_them(storage, has_nodes, given, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "planted")
    asked = {}
    monkeypatch.setattr(ray, "remote", lambda **options: lambda cls: asked.update(options) or cls)
    with pass_on_no_secrets(storage, has_nodes=has_nodes):
        class_cache._ActorClassCache().get(object)
    assert ("AWS_SECRET_ACCESS_KEY" in asked["runtime_env"]["env_vars"]) == given
    class_cache._ActorClassCache().get(object)
    assert "AWS_SECRET_ACCESS_KEY" in asked["runtime_env"]["env_vars"]  # as before


@pytest.mark.parametrize("address", [None, "auto"])
def test_a_cluster_is_asked_for_its_own_keys_and_our_libraries(plan, session, monkeypatch, address):
    """What an actor gets: of its environment, and of the class."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "planted")
    options = plan.options.model_copy(update={"storage": "s3://bucket/ray", "address": address})
    seen, tune = [], Breaking(monkeypatch, -1)

    def build(plan, trained, *_):
        seen.append(("AWS_SECRET_ACCESS_KEY" in class_cache.ENV_VARS_TO_PROPAGATE, trained.libraries))
        return tune

    monkeypatch.setattr(tuner, "build_tuner", build)
    run(replace(plan, options=options), session)
    assert seen == [(True, None) if address is None else (False, tell_libraries())]
