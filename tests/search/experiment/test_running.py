"""How a search's trials and the search itself ended, where Tune did not say it."""

import io
from types import SimpleNamespace

import pyarrow.fs as pafs
import pytest
from drawn_models import SCHEMA, draw_model
from rich.console import Console

from fashion_core.errors import SearchError
from fashion_core.models.saved import Best, save_model
from search.experiment import running
from search.experiment.running import close_trials, run_session
from search.records.events import (
    EndReason,
    EpochEnded,
    LimitReached,
    SearchEnded,
    SearchStarted,
    TrialEnded,
    TrialPaused,
    TrialSaved,
    TrialStarted,
)
from search.records.layout import SearchLayout
from search.records.ledger import Ledger, read_events
from search.records.record import SearchRecord, replay
from search.records.session import Session
from search.records.storage import ObjectStorage
from search.space.reading import parse_space
from search.tune.storage import CORRECT_FILE, TrialStore

SPACE = """
trials: 3
fixed: {backbone: test_resnet, weights: none}
search: {image_size: {choice: [32, 64]}, lr: {loguniform: [1e-4, 1e-2]}}
scheduler: {max_epochs: 9}
"""


@pytest.fixture
def session(tmp_path):
    """A search that has begun."""
    layout = SearchLayout(tmp_path, "s")
    with Ledger(layout.ledger) as ledger:
        session = Session(layout, ledger, SearchRecord())
        session.append(SearchStarted(name="s", settings={"trials": 3, "max_epochs": 9}))
        yield session


def start(session, number, scores=(), image_size=32):
    """A trial that has come so far."""
    session.append(TrialStarted(trial=number, trial_id=str(number), params={"image_size": image_size}, enqueued=False))
    for epoch, score in enumerate(scores, 1):
        session.append(EpochEnded(trial=number, epoch=epoch, metrics={"val/accuracy": score}))


def end(session, number, status="finished"):
    session.append(TrialEnded(trial=number, status=status, best=0.5, best_epoch=1))


def keep(session, number, score, epoch):
    """The model of an epoch, as `BestModels` keeps it."""
    drawn = draw_model(number)
    best = Best(epoch, {"val/accuracy": score}, [], drawn.network.state_dict())
    save_model(session.layout.checkpoint_folder(number), best, drawn.config, SCHEMA, "data")


def find_states(session):
    return TrialStore(str(session.layout.states))


def save(store, session, number, epoch, answers):
    """A state after an epoch, with what the best one until then answered right."""
    digests = {}
    with store.save(number, epoch, digests) as folder:
        (folder / CORRECT_FILE).write_text(answers)
    session.append(TrialSaved(trial=number, epoch=epoch, digests=digests))


@pytest.fixture(params=["folder", "object store"])
def store(request, session):
    if request.param == "folder":
        return find_states(session)
    (session.layout.results / "bucket" / "s").mkdir(parents=True)  # of an object store, on a disk
    filesystem = pafs.SubTreeFileSystem(str(session.layout.results / "bucket"), pafs.LocalFileSystem())
    return TrialStore("s3://bucket/s", ObjectStorage("s3://bucket/s", filesystem, "s"))


def test_an_interrupted_trial_tells_what_its_best_epoch_answered_right(session, store):
    start(session, 0, [0.25, 0.75, 0.5])  # the state after the third epoch tells of the second
    save(store, session, 0, 1, "first")
    save(store, session, 0, 3, "second")
    start(session, 1, [0.25, 0.5, 0.75])  # its model is of an epoch before the last, which no state tells of
    save(store, session, 1, 2, "second")
    keep(session, 1, 0.5, 2)
    start(session, 2, [0.25, 0.5, 0.75])  # no model: the best epoch went with its process
    save(store, session, 2, 2, "second")
    start(session, 3, [0.5])
    save(store, session, 3, 1, "first")
    store.delete(3)  # it was lost
    start(session, 4, [0.5, 0.5])  # of equal ones the first is the best
    save(store, session, 4, 2, "first")
    close_trials(session, store)
    found = {number: trial.correct for number, trial in session.record.trials.items()}
    assert found == {0: "second", 1: "second", 2: None, 3: None, 4: "first"}
    assert replay(read_events(session.layout.ledger)).trials[0].correct == "second"


def test_only_trials_that_run_are_closed(session):
    start(session, 0, [0.5])
    end(session, 0)
    start(session, 1, [0.25, 0.75, 0.5])
    start(session, 2)
    before = session.ledger.seq
    close_trials(session, find_states(session))
    first, second = read_events(session.layout.ledger)[before:]
    assert (first.trial, first.status, first.reason) == (1, "interrupted", "the search ended first")
    assert (first.best, first.best_epoch, first.checkpoint) == (0.75, 2, None)
    assert (second.trial, second.best, second.best_epoch) == (2, None, None)
    assert session.record.trials[0].status == "finished"
    close_trials(session, find_states(session))
    assert session.ledger.seq == before + 2


def test_the_best_is_that_of_the_model_that_is_kept(session):
    """The third epoch was better, but its model went with the process."""
    start(session, 4, [0.25, 0.5, 0.75])
    keep(session, 4, 0.5, 2)
    close_trials(session, find_states(session))
    trial = session.record.trials[4]
    assert (trial.end.best, trial.end.best_epoch, trial.checkpoint) == (0.5, 2, "checkpoints/trial-0004")


def test_a_trial_that_goes_on_is_closed_again(session):
    start(session, 0, [0.25])
    close_trials(session, find_states(session))
    start(session, 0)
    session.append(EpochEnded(trial=0, epoch=2, metrics={"val/accuracy": 0.5}))
    close_trials(session, find_states(session))
    trial = session.record.trials[0]
    assert (trial.status, trial.end.best, trial.end.best_epoch) == ("interrupted", 0.5, 2)


def run(session, monkeypatch, trials, *, interrupted=False):
    """A search whose trials are run by a function, in place of Tune. Gives its end, what was printed, what broke it."""
    schema = SimpleNamespace(schema=SCHEMA)
    states = str(session.layout.states)
    plan = SimpleNamespace(trials=3, space=parse_space(SPACE, "s"), annotations=schema, experiment=states)

    def run_trials(*_, **__):
        trials()
        return interrupted

    monkeypatch.setattr(running, "run_trials", run_trials)
    console = Console(file=io.StringIO(), width=80)
    fault = run_session(plan, session, None, console, None, [], goes_on=False)
    assert replay(read_events(session.layout.ledger)) == session.record
    return session.record.ended, console.file.getvalue(), fault


@pytest.mark.parametrize("is_reached", [False, True])
def test_a_search_whose_trials_have_all_ended_ended_in_order(is_reached, session, monkeypatch):
    def trials():
        for number, status in enumerate(("finished", "stopped", "failed")):
            start(session, number, [0.5])
            end(session, number, status)
        if is_reached:  # a limit as well: no matter
            session.append(LimitReached(reason="time budget"))

    ended, shown, fault = run(session, monkeypatch, trials, interrupted=True)
    assert isinstance(ended, SearchEnded) and ended.reason == "all trials ended" and fault is None
    assert ended.seconds == pytest.approx(session.record.seconds, abs=1)
    assert shown  # a line a trial


@pytest.mark.parametrize(
    ("reached", "interrupted", "breaks", "reason"),
    [
        *((each, False, True, each) for each in EndReason if each.is_limit),
        ("time budget", True, False, "interrupted"),  # what it let run was cut short
        (None, True, False, "interrupted"),
        (None, False, True, "broken"),
        (None, False, False, "incomplete"),
    ],
)
def test_a_search_that_did_not_run_all_of_them_says_why(reached, interrupted, breaks, reason, session, monkeypatch):
    def trials():
        start(session, 0, [0.5])
        end(session, 0)
        start(session, 1, [0.5])  # still trains
        start(session, 2, [0.5])
        end(session, 2)
        if reached is not None:
            session.append(LimitReached(reason=reached))
        if breaks:
            raise SearchError("it broke")

    ended, _, fault = run(session, monkeypatch, trials, interrupted=interrupted)
    assert ended.reason == reason and session.record.trials[1].status == "interrupted"
    assert (fault is not None) == breaks


@pytest.mark.parametrize("sizes", [(32, 64, 32), (32, 32, 32)])
def test_what_finished_trials_cost_is_written_down_where_there_is_a_choice(sizes, session, monkeypatch):
    """Once: a search that is given more trials takes what it knows."""

    def trials():
        for number, size in enumerate(sizes):
            start(session, number, [0.5], size)
            end(session, number)

    run(session, monkeypatch, trials)
    assert {n: each.image_size for n, each in session.record.architectures.items()} == (
        dict(enumerate(sizes)) if 64 in sizes else {}
    )
    costs = dict(session.record.costs)
    assert len(costs) == len(set(sizes)) - (64 not in sizes) and all(cost.ms > 0 for cost in costs.values())
    run(session, monkeypatch, lambda: None)
    assert session.record.costs == costs
    kinds = [event.kind for event in read_events(session.layout.ledger)]
    assert kinds[-1] == "search_ended" and kinds.count("costs_measured") == 2 * (64 in sizes)


def test_costs_that_cannot_be_measured_are_left_out(session, monkeypatch):
    def trials():
        for number, size in enumerate((32, 64, "large")):
            start(session, number, [0.5], size)
            end(session, number)

    ended, shown, fault = run(session, monkeypatch, trials)
    assert ended.reason == "all trials ended" and fault is None and not session.record.costs
    assert "what the trials cost could not be measured: " in shown


def test_a_paused_trial_stays_paused_where_the_search_ends_first(session):
    start(session, 0, [0.5, 0.75])
    session.append(TrialPaused(trial=0, rung=2, correct="x"))
    keep(session, 0, 0.75, 2)
    close_trials(session, find_states(session))
    trial = session.record.trials[0]
    assert (trial.status, trial.rung, trial.correct, trial.best) == ("paused", 2, "x", 0.75)
    assert (
        trial.reason == "paused after epoch 2; the search ended first" and trial.checkpoint == "checkpoints/trial-0000"
    )
    assert (
        not trial.status.is_over
        and running.choose_reason(session.record, 1, is_broken=False, is_interrupted=True) == EndReason.INTERRUPTED
    )
    start(session, 0)
    assert trial.status == "running" and trial.climbed == 2
