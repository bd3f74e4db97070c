"""What runs next is what the ledger says, wherever the search was killed; what ends is written down, with its model."""

import json
import math
import random
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace

import pytest
from house_rules import by_size
from small_disk import mount_disk

from fashion_core.files import MODEL_FILE
from fashion_core.models.cost import Cost
from search.experiment import running as ends
from search.experiment.running import close_trials
from search.planning.options import SearchOptions
from search.planning.plan import build_plan
from search.planning.resources import Machine
from search.records.events import (
    EpochAgain,
    LimitReached,
    SearchBroke,
    SearchEnded,
    SearchResumed,
    SearchStarted,
    StopAsked,
    StopMode,
    TrialEnded,
    TrialProposed,
    TrialSaved,
)
from search.records.ledger import Ledger, read_events
from search.records.record import replay
from search.records.requests import ask_to_stop, read_request
from search.records.session import Session
from search.records.waiting import WaitEnded, Waiting
from search.space.reading import parse_space
from search.tune import watch as watch_module
from search.tune.callback import Recorder
from search.tune.checkpoints import BestModels
from search.tune.results import CORRECT, EPOCH, FULL, LOST, METRICS, MISFIT, NODE, SAVED, SCORE
from search.tune.scheduler import LedgerScheduler
from search.tune.searcher import LedgerSearcher
from search.tune.storage import CORRECT_FILE, TrialStore
from search.tune.watch import WATCHED, watch

SPACE = """
trials: 6
fixed: {backbone: test_resnet, image_size: 32, weights: none}
search: {lr: {loguniform: [1e-4, 1e-2]}}
scheduler: {type: asha, max_epochs: 4, grace_epochs: 1, reduction_factor: 2}
"""
PROMOTED = SPACE.replace("type: asha", "type: asha, form: promotion")
LIMITED = (
    PROMOTED.replace("image_size: 32, ", "").replace(
        "search: {", "search: {image_size: {choice: [32, 64, 96]}, fc_layers: {int: [0, 2]}, "
    )
    + "constraints: {max_ms: 3}\n"
)
QUALITY = [0.5, 0.7, 0.2, 0.6, 0.1, 0.9]


@pytest.fixture(scope="module")
def plan(sample_folder, tmp_path_factory):
    return make_plan(sample_folder, tmp_path_factory.mktemp("plan"), SPACE)


@pytest.fixture(scope="module")
def promoting(sample_folder, tmp_path_factory):
    """The same search in the promotion form: rungs 1 and 2, of which each sends the best half on."""
    return make_plan(sample_folder, tmp_path_factory.mktemp("promoting"), PROMOTED)


@pytest.fixture(scope="module")
def limited(sample_folder, tmp_path_factory):
    """A search with 9 architectures, of which 2 cost little enough, as its ledger tells: 2 of 3 sizes never do."""
    found = parse_space(LIMITED, "small").list_architectures()
    costs = {each: Cost(1000, 5.0 if each.image_size > 32 or each.fc_layers == 1 else 0.5, 0.1) for each in found}
    return make_plan(sample_folder, tmp_path_factory.mktemp("limited"), LIMITED, costs)


def make_plan(sample_folder, folder, space, costs=None):
    (folder / "small.yaml").write_text(space)
    options = SearchOptions(data=sample_folder, space=str(folder / "small.yaml"), name="one", results=folder)
    return build_plan(options, options.build_layout(), Machine(2, 0), costs=costs)


class Killed(Exception):
    """Stands for the end of the process."""


class Search:
    """Ray's part, by hand: trials run one after another, each epoch's score follows from number and epoch."""

    def __init__(self, layout, watched):
        self.layout, self.watch = layout, watched
        search_id = watched.session.record.search_id
        self.searcher, self.scheduler, self.recorder = (
            each(search_id) for each in (LedgerSearcher, LedgerScheduler, Recorder)
        )
        self.started = 0

    def begin(self):
        """The next trial, as Ray has it; None after the last."""
        self.started += 1
        config = self.searcher.suggest(f"ray{self.started}")
        if config == LedgerSearcher.FINISHED or config is None:
            return None
        trial = SimpleNamespace(trial_id=f"ray{self.started}", config=config, last_result=None, error_file=None)
        self.recorder.on_trial_start(0, [], trial)
        return trial

    def begin_with_two_epochs(self):
        trial = self.begin()
        self.report(trial, 1)
        self.report(trial, 2)
        return trial

    def report(self, trial, epoch, **extra):
        """An epoch, with what it saved; gives Ray's decision."""
        number, digests = trial.config["number"], {}
        scores = [QUALITY[number % 6] + number // 6 * 1e-4 + 0.01 * each for each in range(1, epoch + 1)]
        with self.watch.models.store.save(number, epoch, digests) as folder:
            (folder / MODEL_FILE).write_text(f"model {number} after {epoch}")
            (folder / CORRECT_FILE).write_text(f"c{number}{epoch}")
        status, done = "finished" if epoch == 4 else "running", epoch == trial.config["until"]
        values = json.dumps({"val/accuracy": scores[-1]})
        result = {SCORE: max(scores), EPOCH: epoch, METRICS: values, SAVED: json.dumps(digests), "status": status}
        result |= {CORRECT: f"c{number}{epoch}", "done": done} | extra
        decision = "STOP" if result["done"] else self.scheduler.on_trial_result(None, trial, result)
        self.recorder.on_trial_result(0, [], trial, result | {"done": decision == "STOP"})
        trial.last_result = result
        if decision == "STOP":
            self.complete(trial)
        return decision

    def complete(self, trial):
        self.searcher.on_trial_complete(trial.trial_id, trial.last_result)
        self.recorder.on_trial_complete(0, [], trial)

    def die(self, trial):
        self.searcher.on_trial_complete(trial.trial_id, error=True)
        self.recorder.on_trial_error(0, [], trial)

    def train(self, trial):
        """To its end, from the newest state that it was given."""
        epoch = trial.config["saves"][0][0] if trial.config["saves"] else 0
        while self.report(trial, epoch := epoch + 1) != "STOP":
            pass

    def run(self):
        while (trial := self.begin()) is not None:
            self.train(trial)


def open_search(plan, folder, limits=None):
    """A search in a folder of its own, as a process finds it: see `Search`. limits: by which it ends early."""
    options = plan.options.model_copy(update={"results": folder})
    layout = options.build_layout()
    events = read_events(layout.ledger)
    ledger = Ledger(layout.ledger)
    session = Session(layout, ledger, replay(events))
    if not events:
        session.append(SearchStarted(name="one", settings={"gpus_per_trial": 1}, limits=limits or {}))
    store = TrialStore(str(layout.states.resolve()))
    models = BestModels(layout, store, 2, session.record)
    return ledger, watch(replace(plan, layout=layout), session, models, events)


def run(plan, folder, kill_after=None, limits=None):
    """Run it, or be killed after so many lines of the ledger. Gives what happened, without the times."""
    ledger, watching = open_search(plan, folder, limits)
    with ledger, watching as watched:
        append = ledger.append
        if len(read_events(watched.session.layout.ledger)) > 1:  # as the command goes on
            watched.session.append(SearchResumed(trials=plan.trials, limits=limits or {}))
            close_trials(watched.session, watched.models.store)

        def count(event):
            if kill_after is not None and ledger.seq >= kill_after:
                raise Killed
            return append(event)

        ledger.append = count
        try:
            watched.begin()
            Search(watched.session.layout, watched).run()
            watched.keep_running()
            close_trials(watched.session, watched.models.store)
        except Killed:
            return None
        return describe(watched.session)


def describe(session):
    record = session.record
    assert record == replay(read_events(session.layout.ledger))
    trials = [
        (trial.number, trial.params, trial.status, trial.reason, trial.best, trial.best_epoch, trial.correct)
        for _, trial in sorted(record.trials.items())
    ]
    scores = [[(row.epoch, row.metrics) for row in trial.epochs] for _, trial in sorted(record.trials.items())]
    models = {path.parent.name: path.read_text() for path in session.layout.checkpoints.glob("*/*")}
    return trials, scores, models, record.reached


@pytest.fixture(autouse=True)
def drawn_models(monkeypatch):
    """The models of these trials are lines of text."""
    monkeypatch.setattr(ends, "read_score", read_drawn_score)


def choose_kills(twin, form):
    """Lines of a ledger after which a search like it is killed: half of them, others for each form; or all."""
    lines = range(1, len(read_events(twin / "one" / "ledger.jsonl")))
    return random.Random(form).sample(lines, by_size(ci=(len(lines) + 1) // 2, whole=len(lines)))


@pytest.mark.slow
@pytest.mark.parametrize("form", ["plan", "promoting", "limited"])
def test_a_search_killed_after_any_line_equals_the_undisturbed_one(form, request, tmp_path):
    plan = request.getfixturevalue(form)
    wanted = run(plan, tmp_path / "twin")
    assert {status for _, _, status, *_ in wanted[0]} == {"finished", "stopped"} and len(wanted[0]) == 6
    for kill in choose_kills(tmp_path / "twin", form):
        assert run(plan, tmp_path / str(kill), kill) is None
        assert run(plan, tmp_path / str(kill)) == wanted, kill
        assert not any((tmp_path / str(kill) / "one" / "states").iterdir())  # all is over
        again = read_events(tmp_path / str(kill) / "one" / "ledger.jsonl")
        proposals = [event for event in again if isinstance(event, TrialProposed)]
        assert len(proposals) == 6 and all(plan.space.allows(each.params) for each in proposals)


@pytest.mark.slow
def test_a_search_killed_again_and_again_equals_it_too(plan, tmp_path):
    wanted = run(plan, tmp_path / "twin")
    for kill in range(1, 400, 7):  # going on takes up to four lines
        if (found := run(plan, tmp_path / "killed", kill)) is not None:
            break
    assert found == wanted and kill > 20


# What each ends by, and how many trials it has begun by then: numbers 0 to 5 have the qualities above.
LIMITS = [
    ({"target": 0.72}, "target", 2),
    ({"patience": 2}, "no gain", 4),  # trials 2 and 3 end below trial 1
    ({"patience": 1, "gain": 0.25}, "no gain", 2),  # 1 is better than 0, but not by so much
    ({"patience": 5}, None, 6),
    ({"seconds": 1e9, "gpu_hours": 1e9, "cost": 1e9, "price_per_gpu_hour": 2}, None, 6),
]


@pytest.mark.parametrize(("limits", "reason", "begun"), LIMITS)
def test_a_limit_ends_it(limits, reason, begun, plan, tmp_path):
    trials, _, models, reached = run(plan, tmp_path, limits=limits)
    assert (reached, len(trials)) == (reason, begun)
    if reason == "target":
        assert trials[1][2] == "interrupted" and trials[1][4] == 0.72 and models["trial-0001"] == "model 1 after 2"


@pytest.mark.slow
@pytest.mark.parametrize("form", ["plan", "promoting"])
@pytest.mark.parametrize("limits", [limits for limits, reason, _ in LIMITS if reason in ("target", "no gain")])
def test_one_that_a_limit_ends_equals_the_undisturbed_one_too(limits, form, request, tmp_path):
    plan = request.getfixturevalue(form)
    wanted = run(plan, tmp_path / "twin", limits=limits)
    for kill in choose_kills(tmp_path / "twin", form):
        assert run(plan, tmp_path / str(kill), kill, limits) is None
        assert run(plan, tmp_path / str(kill), limits=limits) == wanted, kill
        events = read_events(tmp_path / str(kill) / "one" / "ledger.jsonl")
        assert sum(isinstance(event, LimitReached) for event in events) == 1


@pytest.mark.parametrize("limits", [{"seconds": 5000.0}, {"gpu_hours": 3.0}, {"cost": 6.0, "price_per_gpu_hour": 2.0}])
def test_running_trials_end_at_their_next_epoch(limits, plan, tmp_path):
    """Two at once: once time or GPU hours are spent, each ends at its next epoch, and no third begins."""
    ledger, watching = open_search(plan, tmp_path, limits)
    with ledger, watching as watched:
        watched.begin()
        search = Search(watched.session.layout, watched)
        first, second = search.begin(), search.begin()
        assert search.report(first, 1) == "CONTINUE" and search.report(second, 1) == "CONTINUE"
        ledger.began -= 1.6 * 3600  # so much later: both have trained for as long
        assert search.report(first, 2) == "STOP" and watched.session.record.gpu_hours == pytest.approx(3.2, abs=0.01)
        assert search.begin() is None and not watched.is_over
        assert search.report(second, 2) == "STOP" and watched.is_over
        assert search.searcher.suggest("more") == LedgerSearcher.FINISHED
        watched.keep_running()
        assert all(search.layout.find_checkpoint(number) for number in (0, 1))
        assert not any(isinstance(event, TrialEnded) for event in read_events(search.layout.ledger))


def test_a_trial_that_gains_is_waited_for(plan, tmp_path):
    """The third ends without gain, but a running one is already better than all."""
    ledger, watching = open_search(plan, tmp_path, {"patience": 1})
    with ledger, watching as watched:
        watched.begin()
        search = Search(watched.session.layout, watched)
        search.train(search.begin())  # 0.5
        better, worse = search.begin(), search.begin()
        search.report(better, 1)
        search.train(worse)
        assert watched.session.record.without_gain == 1 and watched.session.record.reached is None
        search.train(better)
        assert watched.session.record.without_gain == 0 and watched.session.record.reached is None


def read_drawn_score(folder):
    """Best score and its epoch of a model that `Search.report` wrote."""
    _, number, _, epoch = (folder / MODEL_FILE).read_text().split()
    return QUALITY[int(number)] + 0.01 * int(epoch), int(epoch)


@pytest.mark.slow
@pytest.mark.parametrize("mode", StopMode)
@pytest.mark.parametrize("after", [1, 3, 8])
def test_a_search_that_is_stopped_amid_pauses_goes_on_as_if_it_had_not_been(mode, after, promoting, tmp_path):
    wanted = run(promoting, tmp_path / "twin")
    ledger, watching = open_search(promoting, tmp_path / "stopped")
    with ledger, watching as watched:
        watched.begin()
        search = Search(watched.session.layout, watched)
        for _ in range(after):
            search.train(search.begin())
        trial = search.begin()
        ask_to_stop(watched.session.layout, mode)
        watched.look_for_request()
        if mode == StopMode.NOW:
            search.complete(trial)
        else:
            search.train(trial)
        assert search.begin() is None and watched.is_over
        watched.keep_running()
        close_trials(watched.session, watched.models.store)
        statuses = {trial.status for trial in watched.session.record.trials.values()}
        assert "paused" in statuses and "running" not in statuses
        standing = watched.session.record.rank()
        assert all(trial.correct == f"c{trial.number}{trial.best_epoch}" for trial in standing)
        kept = {path.parent.name for path in watched.session.layout.checkpoints.glob("*/*")}
        assert kept == {f"trial-{trial.number:04d}" for trial in standing[:2]}
        watched.session.append(SearchEnded(reason="stopped", seconds=1.0))
    ledger, watching = open_search(promoting, tmp_path / "stopped")
    with ledger, watching as watched:
        watched.session.append(SearchResumed(trials=6))
        close_trials(watched.session, watched.models.store)
        watched.begin()
        Search(watched.session.layout, watched).run()
        watched.keep_running()
        assert describe(watched.session) == wanted
        assert not any(watched.session.layout.states.iterdir())


@pytest.mark.slow
def test_the_score_of_a_model_that_an_interruption_kept_is_not_that_of_the_trial(plan, tmp_path, monkeypatch):
    """Ctrl-C after epoch 2 keeps a model; the search goes on, and is killed as the finished one's model is copied."""
    wanted = run(plan, tmp_path / "twin")
    ledger, watching = open_search(plan, tmp_path / "killed")
    with ledger, watching as watched:
        watched.begin()
        search = Search(watched.session.layout, watched)
        search.train(search.begin())
        search.complete(search.begin_with_two_epochs())
        watched.keep_running()
        close_trials(watched.session, watched.models.store)
        assert watched.session.record.trials[1].best == 0.72
    with monkeypatch.context() as patch:
        patch.setattr(BestModels, "copy", lambda *_: (_ for _ in ()).throw(Killed))
        assert run(plan, tmp_path / "killed") is None
    found = run(plan, tmp_path / "killed")
    assert found == wanted and found[0][1][4:6] == (0.74, 4)


@contextmanager
def pause_two(plan, folder):
    """A search two of whose trials have been trained to the first rung."""
    ledger, watching = open_search(plan, folder)
    with ledger, watching as watched:
        watched.begin()
        search = Search(watched.session.layout, watched)
        search.train(search.begin())
        search.train(search.begin())
        yield watched, search


def test_a_paused_trial_whose_process_dies_as_it_goes_on_does_so_once_more(promoting, tmp_path):
    with pause_two(promoting, tmp_path) as (watched, search):
        going_on = search.searcher.suggest("ray9")  # its process dies before Ray tells that it began
        assert (going_on["number"], going_on["until"], going_on["saves"][0][0]) == (1, 2, 1)
        search.die(SimpleNamespace(trial_id="ray9", config=going_on, last_result=None, error_file=None))
        assert len(watched.session.record.trials[1].died_on) == 1
        again = search.begin()
        assert (again.config["number"], again.config["until"]) == (1, 2)
        search.train(again)
        assert watched.session.record.trials[1].rung == 2


@pytest.mark.slow
def test_a_search_that_is_over_is_extended_with_more_trials(promoting, tmp_path):
    first = run(promoting, tmp_path)
    trials, scores, *_ = run(replace(promoting, trials=12), tmp_path)
    assert len(trials) == 12 and {status for _, _, status, *_ in trials} == {"finished", "stopped"}
    assert trials[:6] == first[0] and scores[:6] == first[1]  # what was over stays as it was
    assert trials[11][2] == "finished"  # the best of all


def test_two_workers_never_have_the_same_paused_trial(promoting, tmp_path):
    with pause_two(promoting, tmp_path) as (_, search):
        first, second = (search.searcher.suggest(f"ray{n}") for n in (8, 9))  # neither has begun in the ledger
        assert (first["number"], second["number"]) == (1, 2)


@pytest.fixture
def search(plan, tmp_path):
    ledger, watching = open_search(plan, tmp_path)
    with ledger, watching as watched:
        watched.begin()
        yield Search(watched.session.layout, watched)
    assert not WATCHED


def test_a_proposal_is_written_down_before_ray_has_it(search):
    first, second = search.begin(), search.begin()
    events = read_events(search.layout.ledger)
    assert [event.kind for event in events[1:]] == ["trial_proposed", "trial_started"] * 2
    assert (events[1].after, events[3].after) == (0, 2)
    assert first.config["values"]["seed"] != second.config["values"]["seed"] and first.config["saves"] == []
    assert first.config["values"]["lr"] == events[1].params["lr"]


def test_a_trial_whose_node_is_lost_has_not_died_itself(search):
    """Whether it was lost is known by the next death."""
    alive = {"b", "c"}
    for number, node in enumerate(["a", "b", "c"]):
        trial = search.begin_with_two_epochs() if not number else search.begin()
        search.watch.liveness.find_node = lambda _, node=node: node
        search.watch.liveness.list_lost = lambda nodes: set(nodes) - alive
        search.die(trial)
    known = search.watch.session.record.trials[0]
    assert known.died_on == ["a", "b"] and known.status == "failed"  # on b, which lives, and on c
    events = [event for event in read_events(search.layout.ledger) if event.kind == "trial_retried"]
    assert [event.node for event in events] == ["a", "b"]


def test_a_trial_that_takes_its_nodes_along_ends(search, monkeypatch):
    monkeypatch.setattr(watch_module, "MAX_LOSSES", 3)
    search.watch.liveness.find_node = lambda _: "gone"
    search.watch.liveness.list_lost = set
    for number in range(4):
        search.die(search.begin_with_two_epochs() if not number else search.begin())
    known = search.watch.session.record.trials[0]
    assert known.died_on == ["gone"] * 3 and known.status == "failed"


def test_a_trial_whose_process_dies_goes_on_once(search):
    trial = search.begin_with_two_epochs()
    search.die(trial)
    again = search.begin()
    assert again.config["number"] == 0 and [epoch for epoch, _ in again.config["saves"]] == [2, 1]
    search.report(again, 3)
    search.die(again)
    ended = search.watch.session.record.trials[0]
    assert ended.status == "failed" and ended.died_on == [None] and not ended.has_standing
    assert search.begin().config["number"] == 1


def test_a_trial_on_a_node_with_other_libraries_goes_elsewhere_and_that_is_told_once(search):
    told = []
    search.watch.session.ledger.tell = told.append
    begun, other = search.begin_with_two_epochs(), search.begin()
    search.die(begun)
    for number, node in enumerate(["bad", "bad", "worse"]):
        trial = search.begin() if number else other
        assert trial.config["avoided"] == sorted({"bad"} if number else [])
        result = {SCORE: 0.0, EPOCH: 0, METRICS: "{}", "status": "running", "done": True, NODE: node}
        trial.last_result = result | {MISFIT: f"{node} is not used"}
        search.recorder.on_trial_result(0, [], trial, trial.last_result)
        search.complete(trial)
    assert told == ["bad is not used", "worse is not used"]
    again = [search.begin() for _ in range(2)]
    assert {trial.config["number"] for trial in again} == {0, 1}
    assert all(trial.config["avoided"] == ["bad", "worse"] for trial in again)
    for trial in again:
        search.train(trial)
    trials = search.watch.session.record.trials
    assert [(trial.status.is_over, trial.died_on) for trial in trials.values()] == [(True, [None]), (True, [])]
    assert [row.epoch for row in trials[0].epochs] == [1, 2, 3, 4]


def test_a_trial_on_a_node_that_lacks_a_library_goes_elsewhere_and_loses_no_try(search):
    told = []
    watched, options = search.watch, search.watch.plan.options
    watched.session.ledger.tell = told.append
    watched.liveness.find_unloaded = lambda _: ("bad", "bad lacks timm")
    watched.liveness.tell_none_left = lambda avoided: f"none is left of {sorted(avoided)}"
    trial = search.begin_with_two_epochs()
    watched.plan = replace(watched.plan, options=options.model_copy(update={"address": "10.0.0.1:1"}))
    other = search.begin()
    for each in (trial, other):
        search.die(each)
    assert told == ["bad lacks timm", "none is left of ['bad']"]
    again = [search.begin() for _ in range(2)]
    assert {each.config["number"] for each in again} == {0, 1}
    assert all(each.config["avoided"] == ["bad"] for each in again)
    assert all(each.died_on == [] and not each.status.is_over for each in watched.session.record.trials.values())
    watched.plan = replace(watched.plan, options=options)  # on this machine there is nowhere else to go
    search.die(again[0])
    assert watched.session.record.trials[again[0].config["number"]].died_on == [None]
    for each in (again[1], search.begin()):
        search.train(each)
    assert len(told) == 2


def test_while_others_run_the_end_is_waited_for(search):
    running = [search.begin() for _ in range(6)]
    assert search.searcher.suggest("more") is None
    for trial in running[1:]:
        search.train(trial)
    assert search.searcher.suggest("more") is None
    search.die(running[0])
    last = search.begin()
    assert last.config["number"] == 0 and search.searcher.suggest("more") is None
    search.train(last)
    assert search.searcher.suggest("more") == LedgerSearcher.FINISHED


def test_an_epoch_that_is_run_again_is_told_and_the_first_counts(search):
    trial = search.begin_with_two_epochs()
    search.die(trial)
    again = search.begin()
    search.report(again, 2, **{METRICS: json.dumps({"val/accuracy": 0.01})})
    record = search.watch.session.record.trials[0]
    assert [row.metrics["val/accuracy"] for row in record.epochs] == [0.51, 0.52] and record.best == 0.52
    (told,) = [event for event in read_events(search.layout.ledger) if isinstance(event, EpochAgain)]
    assert told.metrics == {"val/accuracy": 0.01} and told.epoch == 2


def train_again(search, score):
    """Two epochs, a death, and the second epoch again, with this score. Gives Ray's decision."""
    search.die(search.begin_with_two_epochs())
    return search.report(search.begin(), 2, **{METRICS: json.dumps({"val/accuracy": score})})


@pytest.mark.parametrize(
    ("settings", "changed"),
    [({"concurrent": 2}, {}), ({"concurrent": 1}, {"cpu": "another"}), ({"concurrent": 1, "nodes": 2}, {})],
)
def test_where_numbers_may_differ_another_score_is_told_and_no_more(search, settings, changed):
    record = search.watch.session.record
    record.search = replace(record.search, settings=settings)
    record.changed = changed
    assert train_again(search, 0.5) == "CONTINUE"
    assert record.compare_again() == (1, pytest.approx(0.02)) and record.trials[0].status == "running"


@pytest.mark.parametrize("is_killed", [False, True])
def test_on_one_cpu_worker_another_score_costs_the_trial(search, is_killed):
    record = search.watch.session.record
    record.search = replace(record.search, settings={"concurrent": 1})
    if is_killed:  # between the two lines
        search.die(search.begin_with_two_epochs())
        search.watch.session.append(EpochAgain(trial=0, epoch=2, metrics={"val/accuracy": 0.5}))
        search.watch.begin()
    else:
        assert train_again(search, 0.5) == "STOP"
    trial = record.trials[0]
    assert trial.status == "failed" and not trial.has_standing and not search.layout.find_checkpoint(0)
    assert "epoch 2 of trial 0 scored 0.5 after 0.52; suspect" in trial.reason
    assert search.begin().config["number"] == 1


def test_on_one_cpu_worker_the_same_score_is_well(search):
    record = search.watch.session.record
    record.search = replace(record.search, settings={"concurrent": 1})
    assert train_again(search, 0.52) == "CONTINUE"
    assert record.compare_again() == (1, 0.0)


@pytest.mark.parametrize(("status", "best"), [("failed", 0.52), ("diverged", 0.0)])
def test_a_failed_trial_keeps_what_it_had_learnt_and_a_diverged_one_nothing(search, status, best):
    trial = search.begin_with_two_epochs()
    result = {METRICS: "{}", "status": status, "error": "it broke\nat length", "done": True, SCORE: 0.0, EPOCH: 2}
    search.recorder.on_trial_result(0, [], trial, result)
    trial.last_result = result
    search.complete(trial)
    ended = search.watch.session.record.trials[0]
    assert (ended.status, ended.best, ended.reason) == (status, best, "it broke")
    assert ended.end.error == "it broke\nat length" and bool(ended.checkpoint) == (status == "failed")
    assert not search.watch.models.store.list_states(0)


def test_what_could_not_be_saved_is_said_in_the_end(search):
    trial = search.begin()
    search.report(trial, 1, **{LOST: "its state after epoch 1 could not be saved: full"})
    for epoch in (2, 3, 4):
        search.report(trial, epoch)
    reason = search.watch.session.record.trials[0].reason
    assert reason == "reached 4 epochs (its state after epoch 1 could not be saved: full)"


def test_a_search_that_ends_early_keeps_the_models_of_running_trials(search):
    search.report(search.begin(), 1)
    search.begin()
    search.watch.keep_running()
    assert search.layout.find_checkpoint(0) and search.watch.models.store.list_states(0)
    assert not any(isinstance(event, TrialEnded) for event in read_events(search.layout.ledger))
    assert sum(isinstance(event, TrialSaved) for event in read_events(search.layout.ledger)) == 1


@pytest.mark.slow
@pytest.mark.parametrize("form", ["plan", "promoting"])
@pytest.mark.parametrize("at_once", [1, 3])
def test_what_stands_of_fifty_trials_is_bounded_at_every_moment(at_once, form, request, tmp_path):
    """Kept models, by `keep_best`; states, two of each trial that runs, and one of each that is paused."""
    plan = request.getfixturevalue(form)
    ledger, watching = open_search(replace(plan, trials=50), tmp_path)
    with ledger, watching as watched:
        search, running, most = Search(watched.session.layout, watched), {}, Counter()

        def look():
            states = list(watched.session.layout.states.glob("trial-*/epoch-*"))
            most["models"] = max(most["models"], len(list(watched.session.layout.checkpoints.glob("*/*"))))
            most["states"] = max(most["states"], len(states))
            waiting = {f"trial-{number:04d}" for number, each in watched.session.record.trials.items() if each.pause}
            most["of one paused"] = max(
                most["of one paused"],
                *Counter(path.parent.name for path in states if path.parent.name in waiting).values(),
                0,
            )
            most["of one"] = max(most["of one"], *Counter(path.parent.name for path in states).values(), 0)

        watched.begin()
        while True:
            while len(running) < at_once and (trial := search.begin()) is not None:
                running[trial.trial_id] = (trial, watched.session.record.trials[trial.config["number"]].last_epoch)
            if not running:
                break
            for name, (trial, epoch) in list(running.items()):
                running[name] = (trial, epoch + 1)
                if search.report(trial, epoch + 1) == "STOP":
                    del running[name]
                look()
        watched.keep_running()
        assert len(watched.session.record.trials) == 50
    paused = plan.space.scheduler.count_paused(50)
    assert most["models"] == most["of one"] == 2 and most["states"] <= 2 * at_once + paused
    assert paused == (50 if form == "promoting" else 0) and (paused or most["states"] == 2 * at_once)
    assert most["of one paused"] == (form == "promoting")
    assert not any(watched.session.layout.states.iterdir())


def test_a_trial_that_waits_for_room_is_told_once_and_tells_of_no_epoch(search):
    trial, told = search.begin(), []
    search.watch.session.ledger.tell = told.append
    search.report(trial, 1)
    lines = search.watch.session.ledger.seq
    waiting = {SCORE: 0.5, EPOCH: 1, METRICS: "{}", "status": "running", "done": False}
    for _ in range(3):
        result = waiting | {FULL: "waiting: the disk is full"}
        assert search.scheduler.on_trial_result(None, trial, result) == "CONTINUE"
        search.recorder.on_trial_result(0, [], trial, result)
    assert told == ["waiting: the disk is full"] and search.watch.session.ledger.seq == lines
    search.report(trial, 2)
    search.scheduler.on_trial_result(None, trial, waiting | {EPOCH: 2, FULL: "waiting: again"})
    assert told[1:] == ["waiting: again"]
    assert [row.epoch for row in search.watch.session.record.trials[0].epochs] == [1, 2]


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        ({"seconds": 100}, "time budget"),
        ({"gpu_hours": 150 / 3600}, "GPU budget"),
        ({"cost": 150 / 3600, "price_per_gpu_hour": 1}, "cost budget"),
        ({"target": 0.9, "patience": 1}, None),
    ],
)
def test_a_budget_that_is_spent_ends_trials_that_wait_for_room(limits, reason, plan, tmp_path, monkeypatch):
    """Of two trials, so that GPU hours pass twice as fast; no epoch ends meanwhile."""
    ledger, watching = open_search(plan, tmp_path, limits)
    with ledger, watching as watched:
        watched.begin()
        search = Search(watched.session.layout, watched)
        trials = [search.begin(), search.begin()]
        waiting = {SCORE: 0.0, EPOCH: 0, METRICS: "{}", "status": "running", "done": False, FULL: "waiting"}

        def step():
            search.recorder.on_step_begin(0, [])
            return [search.scheduler.on_trial_result(None, trial, waiting) for trial in trials]

        lines = ledger.seq
        assert step() == ["CONTINUE"] * 2 and ledger.seq == lines
        now = time.monotonic
        monkeypatch.setattr(time, "monotonic", lambda: now() + 101)
        assert step() == [("CONTINUE" if reason is None else "STOP")] * 2
        step()  # written down once
        assert ledger.seq == lines + (reason is not None) and watched.session.record.reached == reason
        if reason is not None:
            assert search.begin() is None
            for trial in trials:
                trial.last_result = waiting
                search.complete(trial)
            assert watched.is_over
        monkeypatch.undo()
        monkeypatch.setattr(ends, "read_score", read_drawn_score)
        describe(watched.session)


def test_a_spent_budget_ends_a_search_whose_disk_is_full_and_its_end_is_written_once_there_is_room(
    plan, tmp_path, monkeypatch
):
    monkeypatch.setattr("fashion_core.files.RETRY_SECONDS", 0.01)
    with mount_disk(tmp_path / "small", 1) as disk:
        ledger, watching = open_search(plan, disk.folder, {"seconds": 100})
        with ledger, watching as watched:
            waits = Waiting(watched.session.layout, disk.told.append, watched.session.record, ledger.began)
            ledger.check = lambda fault, _: waits.check(fault, math.inf)
            waits.follow(watched.session)
            watched.begin()
            search = Search(watched.session.layout, watched)
            search.begin_with_two_epochs()
            now = time.monotonic
            monkeypatch.setattr(time, "monotonic", lambda: now() + 101)
            watched.look()
            disk.fill()
            with pytest.raises(WaitEnded, match="the time budget of one is spent while it waits: the disk"):
                for _ in range(9):  # until its last page is full
                    watched.keep_running()
                    watched.session.append(SearchBroke(error="x" * 999, restarts=0))
        before = read_events(watched.session.layout.ledger)
        assert disk.told == [] and not any(isinstance(event, TrialEnded) for event in before)
        disk.free()
        trials, _, models, reached = run(plan, disk.folder, limits={"seconds": 100})
        assert reached == "time budget" and read_events(watched.session.layout.ledger)[: len(before)] == before
    assert trials[0][5] == 2 and models["trial-0000"] == "model 0 after 2"


@pytest.mark.parametrize("mode", StopMode)
def test_a_search_that_is_asked_to_stop_begins_no_more(search, mode):
    first, second = search.begin(), search.begin()
    search.report(first, 1)
    ask_to_stop(search.watch.plan.layout, mode)
    search.watch.look_for_request()
    assert search.watch.session.record.asked == mode and search.watch.ends_now == (mode == StopMode.NOW)
    assert search.begin() is None and not search.watch.is_over  # two still run
    if mode == StopMode.AFTER_TRIALS:
        search.train(second)
        assert search.watch.session.record.trials[1].status.is_over
    elif mode == StopMode.AT_EPOCH:
        assert search.report(second, 1) == "STOP"
        assert search.watch.session.record.trials[1].status == "running"  # the search ends first
    assert not search.watch.is_over
    search.complete(first)
    if mode == StopMode.NOW:
        search.complete(second)
    assert search.searcher.suggest("next") == LedgerSearcher.FINISHED


def test_a_request_is_heard_once_and_a_later_one_counts(search):
    layout = search.watch.plan.layout
    for mode in (StopMode.AFTER_TRIALS, StopMode.NOW):
        ask_to_stop(layout, mode)
        search.watch.look_for_request()
        search.watch.look_for_request()
        assert search.watch.session.record.asked == mode and read_request(layout) is None
    assert sum(isinstance(event, StopAsked) for event in read_events(layout.ledger)) == 2
    layout.stop_request.write_text("in words of a later version")
    search.watch.look_for_request()
    assert search.watch.session.record.asked == StopMode.NOW


def test_a_search_that_goes_on_is_not_stopped_any_more(search):
    ask_to_stop(search.watch.plan.layout, StopMode.AT_EPOCH)
    search.watch.look_for_request()
    search.watch.session.append(SearchResumed(trials=4))
    assert search.begin() is not None
