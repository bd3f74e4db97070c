"""Optuna's study is what the ledger tells: the same ledger, the same proposal; and Optuna is told the truth."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.trial import TrialState

from fashion_core.config import build_config
from fashion_core.data.schema import AttributeSchema, Category
from search.records.events import (
    EpochEnded,
    Observed,
    SearchResumed,
    SearchStarted,
    TrialEnded,
    TrialProposed,
    read_event,
    write_event,
)
from search.space.reading import parse_space
from search.tune.samplers import ENOUGH
from search.tune.study import RungStudy, Study, choose_rung
from search.tune.watch import build_study

SCHEMA = AttributeSchema(
    (Category("pattern", ("floral", "solid")), Category("fit", ("tight", "loose", "conventional")))
)
SPACE = """
trials: 8
sampler: SAMPLER
fixed: {weights: none}
search:
  lr: {loguniform: [1e-4, 1e-2]}
  fc_layers: {choice: [0, 2]}
  category_weights: {proportions: [0.5, 2]}
try_first:
  - {lr: 1e-3, fc_layers: 0, category_weights: 1}
  - {fc_layers: 2}
scheduler: {type: asha, max_epochs: 9, grace_epochs: 1, reduction_factor: 3}
"""


def build(seed=0, sampler="tpe", observed=()):
    space = parse_space(SPACE.replace("SAMPLER", sampler), "test")
    return Study(space, SCHEMA, space.first_points(SCHEMA), seed=seed, observed=observed)


def observe(count):
    """Trials of another search: the higher lr, the better."""
    points = [
        {"lr": 10 ** (-4 + 2 * n / count), "fc_layers": 0, "weight_pattern": 1.0, "weight_fit": 1.0}
        for n in range(count)
    ]
    return [Observed(search="other", trial=n, drawn=point, score=n / count) for n, point in enumerate(points)]


def read_back(event):
    """As the ledger gives it again."""
    return read_event(write_event(event))


def end(proposal, status="finished"):
    """An end that depends on the proposal, in one of the ways."""
    score = round(0.5 + 40 * proposal.params["lr"], 4)
    return TrialEnded(trial=proposal.trial, status=status, best=score, rung=3 if status == "stopped" else None)


def run(study, count, events=()):
    """Draw and end so many trials, after the events of before; gives the ledger."""
    events = list(events)
    statuses = ["finished", "stopped", "diverged", "failed", "finished"]
    for _ in range(count):
        proposal = study.draw(len(events) - 1)
        for event in (proposal, end(proposal, statuses[proposal.trial % len(statuses)])):
            study.take(event)
            events.append(read_back(event))
    return events


def test_a_proposal_is_a_configuration():
    proposal = build().draw(-1)
    assert (proposal.trial, proposal.enqueued, proposal.after) == (0, True, -1)
    assert proposal.params == {"lr": 1e-3, "fc_layers": 0, "weight_pattern": 1.0, "weight_fit": 1.0}
    study = build()
    config = build_config(study.space.build_values(study.draw(-1).params, SCHEMA))
    assert config.epochs == 9 and config.category_weights == {"pattern": 1.0, "fit": 1.0}


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_a_study_built_again_proposes_the_same(sampler):
    """After any prefix of the ledger; TPE models from the tenth trial on."""
    events = run(build(3, sampler), 14)
    for cut in (0, 1, 2, 7, 21, 24, 25):
        study = build(3, sampler)
        for event in events[:cut]:
            study.take(event)
        if cut % 2:  # a proposal whose end is not told yet
            study.take(next(event for event in events[cut:] if isinstance(event, TrialEnded)))
        following = [event for event in events[cut:] if isinstance(event, TrialProposed)][:2]
        for wanted in following:
            found = study.draw(wanted.after)
            assert read_back(found) == wanted
            study.take(next(e for e in events if isinstance(e, TrialEnded) and e.trial == wanted.trial))


def test_other_seeds_draw_others_and_known_ones_are_kept():
    first, second = [event for event in run(build(3), 6) if isinstance(event, TrialProposed)], build(4)
    others = [event for event in run(second, 6) if isinstance(event, TrialProposed)]
    assert first[0].params == others[0].params
    assert first[1].enqueued and first[1].params["fc_layers"] == 2 != first[1].params["lr"]
    assert first[1].params["lr"] != others[1].params["lr"]  # what a known one lacks is drawn
    assert all(one.params != other.params for one, other in zip(first[2:], others[2:], strict=True))
    assert not first[2].enqueued


def test_no_two_trials_of_one_search_are_drawn_alike():
    lrs = [event.params["lr"] for event in run(build(sampler="random"), 20) if isinstance(event, TrialProposed)]
    assert len(set(lrs)) == len(lrs)


@pytest.mark.parametrize(
    ("status", "state", "value"),
    [
        ("finished", TrialState.COMPLETE, 0.54),
        ("stopped", TrialState.PRUNED, 0.54),
        ("diverged", TrialState.PRUNED, 0.0),
        ("failed", TrialState.FAIL, None),
        ("interrupted", TrialState.RUNNING, None),
    ],
)
def test_optuna_is_told_the_truth(status, state, value):
    study = build()
    proposal = study.draw(-1)
    study.take(proposal)
    study.take(end(proposal, status))
    (trial,) = study.study.trials
    assert trial.state is state and trial.value == value
    assert trial.intermediate_values == {"stopped": {3: 0.54}, "diverged": {0: 0.0}}.get(status, {})
    assert trial.params == proposal.drawn


def test_weights_are_told_as_they_were_drawn():
    study = build()
    study.draw(-1)
    study.draw(-1)
    proposal = study.draw(-1)
    drawn, shown = ([values[f"weight_{name}"] for name in SCHEMA.names] for values in (proposal.drawn, proposal.params))
    assert sum(shown) == pytest.approx(2) and drawn != shown and all(0.5 <= weight <= 2 for weight in drawn)
    assert drawn[0] / drawn[1] == pytest.approx(shown[0] / shown[1])


@pytest.mark.slow
def test_what_other_searches_observed_moves_the_sampler_at_once():
    """After the two known configurations TPE draws near the others' best; and a study built again draws the same."""
    observed = observe(30)
    events = run(build(3, observed=observed), 8)
    again = build(3, observed=observed)
    for event in events[:10]:
        again.take(event)
    drawn = [event for event in events if isinstance(event, TrialProposed)]
    assert again.draw(drawn[5].after) == drawn[5]
    assert sum(each.params["lr"] > 1e-3 for each in drawn[2:]) >= 5
    plain = [event for event in run(build(3), 8) if isinstance(event, TrialProposed)]
    assert [each.params for each in plain[:1]] == [each.params for each in drawn[:1]]
    assert [each.params for each in plain[2:]] != [each.params for each in drawn[2:]]


# ---------------------------------------------------------------------------------------- trials that pause and go on


def build_rungs(seed=0, observed=()):
    space = parse_space(SPACE.replace("SAMPLER", "tpe"), "test")
    return RungStudy(space, SCHEMA, space.first_points(SCHEMA), seed=seed, epochs=[1, 3, 9], observed=observed)


def climb(study, events, number, epochs):
    """A trial's next epochs: the higher lr and epoch, the better, but for a last epoch that is worse than all."""
    lr = next(e.params["lr"] for e in events if isinstance(e, TrialProposed) and e.trial == number)
    for epoch in epochs:
        score = 0.1 if epoch == 9 else round(0.3 + 40 * lr + 0.01 * epoch, 4)
        tell(study, events, EpochEnded(trial=number, epoch=epoch, metrics={"val/accuracy": score}))


def tell(study, events, event):
    study.take(event)
    events.append(read_back(event))


def propose(study, events, count):
    for _ in range(count):
        tell(study, events, study.draw(len(events) - 1))


def test_of_paused_trials_optuna_is_told_what_is_comparable():
    study, events = build_rungs(), []
    propose(study, events, ENOUGH + 3)
    for number in range(ENOUGH - 1):
        climb(study, events, number, [1])
    told = study.build().trials
    assert {trial.state for trial in told} == {TrialState.RUNNING}  # too few to compare
    assert told[0].intermediate_values == {1: pytest.approx(0.35)}
    climb(study, events, ENOUGH - 1, [1])
    climb(study, events, 0, [2, 3])
    told = study.build().trials
    assert [trial.state for trial in told] == [TrialState.COMPLETE] * ENOUGH + [TrialState.RUNNING] * 3
    assert told[0].value == pytest.approx(0.35)  # after epoch 1, as the others' are
    assert told[0].intermediate_values == {1: pytest.approx(0.35), 2: pytest.approx(0.36), 3: pytest.approx(0.37)}
    tell(study, events, TrialEnded(trial=ENOUGH, status="diverged", best=0.0))
    tell(study, events, TrialEnded(trial=ENOUGH + 1, status="failed", best=0.9))
    told = study.build().trials
    assert [trial.state for trial in told[ENOUGH:]] == [TrialState.PRUNED, TrialState.FAIL, TrialState.RUNNING]
    assert told[ENOUGH].intermediate_values == {0: 0.0}
    for number in range(1, ENOUGH):
        climb(study, events, number, [2, 3])
    tell(study, events, TrialEnded(trial=ENOUGH + 2, status="stopped", best=0.2, rung=1))
    told = study.build().trials  # the rung has moved up
    assert [trial.value for trial in told[:ENOUGH]] == [
        pytest.approx(trial.intermediate_values[3]) for trial in told[:ENOUGH]
    ]
    assert told[-1].state is TrialState.PRUNED
    for number in range(ENOUGH):
        climb(study, events, number, range(4, 10))
    told = study.build().trials
    assert all(trial.value == trial.intermediate_values[8] for trial in told[:ENOUGH])  # the best until the end


def test_diverged_trials_alone_are_nothing_to_compare():
    study, events = build_rungs(), []
    propose(study, events, 2 * ENOUGH)
    for number in range(ENOUGH):
        climb(study, events, number, [1])
        tell(study, events, TrialEnded(trial=number, status="diverged", best=0.0))
    assert {trial.state for trial in study.build().trials} == {TrialState.RUNNING}


@pytest.mark.slow
def test_a_study_of_paused_trials_built_again_proposes_the_same():
    """After any prefix of the ledger; the rung that counts moves up on the way."""
    study, events = build_rungs(3), []
    for number in range(2 * ENOUGH + 4):
        propose(study, events, 1)
        climb(study, events, number, [1])
        if number % 2:
            climb(study, events, number - 1, [2, 3])
        if number == 5:
            tell(study, events, TrialEnded(trial=5, status="diverged", best=0.0))
    for cut in range(0, len(events), 7):
        again = build_rungs(3)
        for event in events[:cut]:
            again.take(event)
        wanted = next((event for event in events[cut:] if isinstance(event, TrialProposed)), None)
        following = [event for event in events[cut:] if event is not wanted]
        if wanted is not None:
            for event in following[: events[cut:].index(wanted)]:
                again.take(event)
            assert read_back(again.draw(wanted.after)) == wanted


def test_what_other_searches_observed_counts_where_it_is_comparable():
    """Of trials that finished at the end, of those that were stopped at their rung."""
    finished = observe(ENOUGH)
    study = build_rungs(observed=finished)
    assert [trial.state for trial in study.build().trials] == [TrialState.COMPLETE] * ENOUGH
    stopped = [each.model_copy(update={"status": "stopped", "rung": 3}) for each in finished]
    study = build_rungs(observed=[*stopped, *finished[:2]])
    states = [trial.state for trial in study.build().trials]
    assert states == [TrialState.COMPLETE] * ENOUGH  # where the finished two stood after epoch 3 is not known
    study = build_rungs(observed=[*stopped[:3], *finished])
    states = [trial.state for trial in study.build().trials]
    assert states == [TrialState.PRUNED] * 3 + [TrialState.COMPLETE] * ENOUGH
    assert not build_rungs(observed=finished[1:]).build().trials  # too few to compare


def build_lengthened(events, *, promotes=False, observed=()):
    """The study of a search that began with 3 epochs, in a command that gives it 9."""
    space = parse_space(SPACE.replace("SAMPLER", "tpe"), "test")
    if promotes:
        space = replace(space, scheduler=replace(space.scheduler, form="promotion"))
    plan = SimpleNamespace(
        space=space,
        annotations=SimpleNamespace(schema=SCHEMA),
        taken=SimpleNamespace(observed=observed),
        first=space.first_points(SCHEMA),
        options=SimpleNamespace(seed=0),
    )
    study = build_study(plan, events)
    for event in events:
        study.take(event)
    return study


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 2 * ENOUGH))
def test_scores_of_two_lengths_are_never_told_as_alike(seed, longer):
    """In the stopping form: complete are scores until one epoch; and each command tells the same of the same ledger."""
    rng, events = np.random.default_rng(seed), [SearchStarted(name="s", settings={"max_epochs": 3})]
    study = build()

    def train(number, until):
        epoch = 0
        while epoch < until:
            epoch += 1
            score = float(rng.random())
            events.append(EpochEnded(trial=number, epoch=epoch, metrics={"val/accuracy": score}))
            best[number, epoch] = max(score, best.get((number, epoch - 1), 0.0))
            if rng.random() < 0.1:
                break
        status = "finished" if epoch == until else "stopped"
        events.append(TrialEnded(trial=number, status=status, best=best[number, epoch], rung=epoch))

    best: dict[tuple[int, int], float] = {}
    for number in range(ENOUGH + longer):
        events.append(study.draw(0))
        if number == ENOUGH:
            events.append(SearchResumed(trials=40, extended=True, max_epochs=9))
        train(number, 3 if number < ENOUGH else 9)
    study = build_lengthened(events)
    assert isinstance(study, RungStudy)
    told = study.build().trials
    complete = {number for number, trial in enumerate(told) if trial.state is TrialState.COMPLETE}
    rung = choose_rung(study.scores, [1, 3, 9])
    assert complete == {number for number in range(len(told)) if (number, rung) in best}
    assert all(told[number].value == best[number, rung] for number in complete)
    again = build_lengthened(events).build().trials
    assert [(t.state, t.value, t.params) for t in again] == [(t.state, t.value, t.params) for t in told]


@pytest.mark.parametrize("promotes", [False, True])
def test_other_searches_have_the_first_length(promotes):
    events = [SearchStarted(name="s", settings={"max_epochs": 3})]
    study = build_lengthened(events, promotes=promotes, observed=observe(ENOUGH))
    assert [set(scores) for _, scores, _ in study.observed] == [{3}] * ENOUGH
    same = [SearchStarted(name="s", settings={"max_epochs": 9}), SearchResumed(trials=9, extended=True, max_epochs=9)]
    assert isinstance(build_lengthened(same, promotes=promotes), RungStudy) == promotes  # it was not lengthened


def test_optuna_is_told_the_objective():
    space = parse_space("objective: val/class_accuracy\n" + SPACE.replace("SAMPLER", "tpe"), "test")
    study = RungStudy(space, SCHEMA, space.first_points(SCHEMA), seed=0, epochs=[1, 3, 9])
    events = []
    propose(study, events, ENOUGH)
    for number in range(ENOUGH):
        values = {"val/accuracy": 0.9, "val/class_accuracy": 0.1 + number / 100, "val/accuracy/fit": 0.8}
        tell(study, events, EpochEnded(trial=number, epoch=1, metrics=values))
    assert [trial.value for trial in study.build().trials] == [pytest.approx(0.1 + n / 100) for n in range(ENOUGH)]
