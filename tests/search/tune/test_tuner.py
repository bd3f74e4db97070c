"""Tune over a plan: what it is told of the plan, and how often it is begun again where it breaks."""

import signal
from pathlib import Path
from types import SimpleNamespace

import pytest
import ray
from ray.tune import Tuner
from ray.tune.execution import class_cache
from ray.tune.schedulers import FIFOScheduler

from fashion_core.errors import SearchError
from search.planning.options import SearchOptions
from search.planning.plan import build_plan
from search.planning.resources import Machine
from search.records.events import SearchBroke, SearchStarted
from search.records.ledger import Ledger, read_events
from search.records.record import SearchRecord
from search.records.session import Session
from search.tune import tuner
from search.tune.callback import WATCHED
from search.tune.scheduler import ASHA
from search.tune.searcher import TruthfulSearcher
from search.tune.trainable import TrialTrainable
from search.tune.tuner import (
    MAX_RESTARTS,
    build_trainable,
    build_tuner,
    name_trial,
    open_tuner,
    pass_on_no_secrets,
    run_trials,
)

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
    return make_plan(tmp_path, sample_folder, concurrent=2, cpus_per_trial=2, time_budget_s=60)


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


def test_tune_is_told_what_the_plan_says(plan):
    tune_config, run_config = read(build_tuner(plan, build_trainable(plan, TrialTrainable), "one@0"))
    assert (tune_config.num_samples, tune_config.max_concurrent_trials, tune_config.time_budget_s) == (12, 2, 60)
    assert (tune_config.metric, tune_config.mode, tune_config.reuse_actors) == ("score", "max", True)
    assert isinstance(tune_config.search_alg, TruthfulSearcher)
    asha = tune_config.scheduler
    assert isinstance(asha, ASHA) and sorted(asha.rungs) == [1, 3]
    assert Path(run_config.storage_path) / run_config.name == Path(plan.experiment)
    (recorder,) = run_config.callbacks
    assert (recorder.search_id, recorder.scheduler) == ("one@0", asha)  # it asks the very one why it stops


def test_without_rungs_every_trial_trains_to_the_end(sample_folder, tmp_path):
    plan = make_plan(tmp_path, sample_folder, "{type: none, max_epochs: 6}")
    tune_config, run_config = read(build_tuner(plan, build_trainable(plan, TrialTrainable), "one@0"))
    assert type(tune_config.scheduler) is FIFOScheduler and run_config.callbacks[0].scheduler is None


def test_a_trial_has_its_share_of_the_machine(plan):
    trained = build_trainable(plan, TrialTrainable)
    request = trained.default_resource_request({})
    assert request.required_resources.get("CPU") == 2 and not request.required_resources.get("GPU")
    assert trained.__name__ == build_trainable(plan, TrialTrainable).__name__


def test_a_trial_is_named_by_its_number():
    assert name_trial(SimpleNamespace(config={"number": 7})) == "trial-0007"
    assert name_trial(SimpleNamespace(config={"number": 12345})) == "trial-12345"


def test_one_that_never_began_cannot_go_on(plan):
    with pytest.raises(SearchError, match="one ended before its first trial; start it again with --replace"):
        open_tuner(plan, None, "one@0", is_new=False)


class Breaking:
    """Tune that breaks so many times; `can_restore` as if it had saved its state."""

    def __init__(self, monkeypatch, breaks, *, can_restore=True):
        self.breaks, self.opened = breaks, []
        monkeypatch.setattr(tuner, "open_tuner", self.open)
        monkeypatch.setattr(Tuner, "can_restore", lambda path: can_restore)

    def open(self, plan, trained, search_id, *, is_new):
        assert search_id in WATCHED  # its callbacks find the search
        self.opened.append(is_new)
        return self

    def fit(self):
        if len(self.opened) <= self.breaks:
            raise RuntimeError(f"broken {len(self.opened)}")


def run(plan, session, *, resume=False):
    run_trials(plan, None, session, resume=resume)


def list_breaks(session):
    return [event for event in read_events(session.layout.ledger) if isinstance(event, SearchBroke)]


@pytest.mark.parametrize("breaks", [0, 1, MAX_RESTARTS])
def test_it_goes_on_where_it_broke(breaks, plan, session, monkeypatch):
    tune = Breaking(monkeypatch, breaks)
    run(plan, session)
    assert tune.opened == [True] + [False] * breaks
    assert [(event.restarts, event.error) for event in list_breaks(session)] == [
        (number, f"RuntimeError: broken {number + 1}") for number in range(breaks)
    ]
    assert not WATCHED


def test_a_search_that_is_resumed_never_begins_anew(plan, session, monkeypatch):
    tune = Breaking(monkeypatch, 1)
    run(plan, session, resume=True)
    assert tune.opened == [False, False]


def test_signals_do_behind_what_they_did_before(plan, session, monkeypatch):
    before = signal.getsignal(signal.SIGINT)
    tune = Breaking(monkeypatch, 0)
    tune.fit = lambda: signal.signal(signal.SIGINT, signal.SIG_IGN)  # as Tune does, with a handler of its own
    run(plan, session)
    assert signal.getsignal(signal.SIGINT) is before


def test_it_is_given_up_in_the_end(plan, session, monkeypatch):
    Breaking(monkeypatch, MAX_RESTARTS + 1)
    with pytest.raises(SearchError, match=r"Ray Tune broke 4 times, .* broken 4; .* go on with --resume one") as caught:
        run(plan, session)
    assert isinstance(caught.value.__cause__, RuntimeError) and len(list_breaks(session)) == MAX_RESTARTS + 1
    assert not WATCHED


def test_one_that_left_no_state_is_given_up_at_once(plan, session, monkeypatch):
    Breaking(monkeypatch, 1, can_restore=False)
    with pytest.raises(SearchError, match="broke once"):
        run(plan, session)
    assert len(list_breaks(session)) == 1


@pytest.mark.parametrize(("storage", "given"), [(None, False), ("/shared/ray", False), ("s3://bucket/ray", True)])
def test_workers_get_keys_only_where_their_storage_asks_for_them(storage, given, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "planted")
    asked = {}
    monkeypatch.setattr(ray, "remote", lambda **options: lambda cls: asked.update(options) or cls)
    with pass_on_no_secrets(storage):
        class_cache._ActorClassCache().get(object)
    assert ("AWS_SECRET_ACCESS_KEY" in asked["runtime_env"]["env_vars"]) == given
    class_cache._ActorClassCache().get(object)
    assert "AWS_SECRET_ACCESS_KEY" in asked["runtime_env"]["env_vars"]  # as before
