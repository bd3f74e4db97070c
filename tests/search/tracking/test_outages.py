"""Whatever calls of MLflow fail, before or after it has taken them: in the end it holds what it would have held."""

from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from search.records.events import (
    EpochEnded,
    SearchEnded,
    SearchResumed,
    SearchStarted,
    TrialEnded,
    TrialPaused,
    TrialStarted,
)
from search.tracking import writer as writing
from search.tracking.writer import RunsAhead, Writer


class Page(list):
    token = None


class Store:
    """MLflow in memory: a point that stands there is not added again; calls fail as planned.

    Args:
        failures: by number of the call, whether it fails after it was taken.
    """

    def __init__(self, failures=None):
        self.failures, self.calls = failures or {}, 0
        self.runs, self.points, self.others = {}, set(), {}

    def __getattr__(self, name):
        if name not in CALLS:
            raise AttributeError(name)

        def call(*arguments, **options):
            self.calls += 1
            is_taken = self.failures.get(self.calls)
            answer = None if is_taken is False else CALLS[name](self, *arguments, **options)
            if is_taken is not None:
                raise ConnectionError(f"call {self.calls}")
            return answer

        return call

    def create_run(self, experiment, time, tags, run_name):
        assert run_name not in self.runs, "a run stands there twice"
        info = SimpleNamespace(run_id=run_name, status="RUNNING")
        run = SimpleNamespace(info=info, data=SimpleNamespace(tags=dict(tags), params={}), inputs=None)
        self.runs[run_name] = run
        return run

    def log_batch(self, run, metrics=(), params=(), tags=()):
        for row in params:
            assert self.runs[run].data.params.setdefault(row.key, row.value) == row.value
        self.points |= {(run, row.key, row.timestamp, row.step, row.value) for row in metrics}
        self.runs[run].data.tags |= {row.key: row.value for row in tags}

    def get_metric_history(self, run, key):
        rows = [SimpleNamespace(timestamp=point[2], step=point[3]) for point in self.points if point[:2] == (run, key)]
        return sorted(rows, key=lambda row: row.step)

    def set_status(self, run, status, time=None):
        self.runs[run].info.status = status

    def keep(self, *arguments):
        self.others[arguments[:-1]] = arguments[-1]

    def read(self):
        """Everything that people see."""
        runs = {
            name: (run.info.status, run.data.tags["status"], run.data.tags.get("reason"), run.data.params)
            for name, run in self.runs.items()
        }
        return runs, self.points, self.others


CALLS = {
    "get_experiment_by_name": lambda store, name: SimpleNamespace(lifecycle_stage="active", experiment_id="1"),
    "search_runs": lambda store, *_, **__: Page(store.runs.values()),
    "create_run": Store.create_run,
    "log_batch": Store.log_batch,
    "get_metric_history": Store.get_metric_history,
    "update_run": Store.set_status,
    "set_terminated": Store.set_status,
    "log_text": lambda store, run, text, name: store.keep("file", run, name, text),
    "log_dict": lambda store, run, values, name: store.keep("file", run, name, values),
    "set_experiment_tag": lambda store, *arguments: store.keep("tag", *arguments),
}


def build_events():
    """A search that went on twice: its trials rise and fall, pause, are cut off and go on, diverge."""
    begun = SearchStarted(name="s", settings={"objective": "val/accuracy", "max_epochs": 3, "seed": 0}, space_name="s")
    events = [begun]
    scores = {0: [0.3, 0.5, 0.4], 1: [0.2, 0.1, 0.6]}
    for trial, values in scores.items():
        events.append(TrialStarted(trial=trial, trial_id=str(trial), params={"lr": 0.1}, enqueued=False))
        events += [EpochEnded(trial=trial, epoch=n, metrics={"val/accuracy": v}) for n, v in enumerate(values, 1)]
        events.append(TrialEnded(trial=trial, status="finished", reason="all epochs", best=max(values), best_epoch=2))
    paused = TrialStarted(trial=2, trial_id="2", params={"lr": 0.1, "drop": 0.5}, enqueued=False)
    lost = TrialStarted(trial=3, trial_id="3", params={"lr": 0.3}, enqueued=False)
    events += [paused, EpochEnded(trial=2, epoch=1, metrics={"val/accuracy": 0.7}), TrialPaused(trial=2, rung=1)]
    events += [lost, EpochEnded(trial=3, epoch=1, metrics={"val/accuracy": 0.2})]
    events += [TrialEnded(trial=3, status="interrupted", reason="stopped", best=0.2), SearchResumed(trials=4)]
    events += [TrialEnded(trial=3, status="diverged", reason="no number", best=0.0), paused]
    events += [EpochEnded(trial=2, epoch=2, metrics={"val/accuracy": 0.6}), SearchResumed(trials=4), paused]
    events += [EpochEnded(trial=2, epoch=3, metrics={"val/accuracy": 0.8})]
    events += [TrialEnded(trial=2, status="finished", best=0.8), SearchEnded(reason="all trials ended", seconds=9)]
    return [replace(event, time=1000.0 + n, seq=n, elapsed=float(n)) for n, event in enumerate(events)]


EVENTS = build_events()


def send(store, events, cuts):
    """As the tracker does: a batch that failed is sent again, what is known of runs is forgotten."""
    writer = Writer("http://nowhere", "/nowhere")
    writer.client = store
    edges = [0, *sorted(cuts), len(events)]
    for start, stop in pairwise(edges):
        while True:
            try:
                writer.send(events[start:stop])
                break
            except ConnectionError:
                writer.forget_runs()
    return store.read()


@pytest.fixture(scope="module", autouse=True)
def without_tables():
    """The store has no database to be analysed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writing, "gather_statistics", lambda uri: None)
        yield


@given(
    st.sets(st.integers(1, len(EVENTS) - 1), max_size=6),
    st.dictionaries(st.integers(1, 90), st.booleans(), max_size=12),
)
@example(cuts={2, 5}, failures={8: False})  # epochs 1 to 3 wait while the server is away
@example(cuts={2}, failures={9: True, 14: True})  # it has taken the end of a trial, and dies
def test_what_mlflow_holds_follows_from_the_ledger_alone(cuts, failures):
    whole = send(Store(), EVENTS, ())
    assert send(Store(failures), EVENTS, cuts) == whole


def test_the_points_of_the_best_are_those_of_the_epochs_and_the_ends():
    _, points, _ = send(Store(), EVENTS, {2, 5})
    found = {(run, step, value) for run, key, _, step, value in points if key == "best/val_accuracy"}
    assert found == {
        *[("trial-0000", 1, 0.3), ("trial-0000", 2, 0.5), ("trial-0001", 1, 0.2), ("trial-0001", 3, 0.6)],
        *[("trial-0002", 1, 0.7), ("trial-0002", 3, 0.8), ("trial-0003", 1, 0.2), ("trial-0003", 2, 0.0)],
        *[("s", 1, 0.5), ("s", 2, 0.6), ("s", 3, 0.6), ("s", 4, 0.8)],
    }


@given(st.integers(0, len(EVENTS)))
def test_events_that_come_again_count_once(start):
    writer = Writer("http://nowhere", "/nowhere")
    writer.client = store = Store()
    writer.send(EVENTS)
    before, seconds = store.calls, writer.record.seconds
    writer.send(EVENTS[start:])
    assert store.calls == before and writer.record.seconds == seconds


def test_a_search_that_went_on_twice_can_be_sent_by_another_writer():
    store = Store()
    before = send(store, EVENTS, {20})
    assert send(store, EVENTS, ()) == before


@pytest.mark.parametrize("kept", [-6, -8])  # the second epoch of a trial was lost; and the end of another
def test_a_point_that_the_ledger_does_not_tell_is_found(kept):
    store = Store()
    send(store, EVENTS[:-4], ())
    events = [*EVENTS[:kept], replace(SearchResumed(trials=4), time=2000.0, seq=len(EVENTS) + kept)]
    with pytest.raises(RunsAhead):
        send(store, events, ())
