"""What costs too much is never proposed, whatever draws; and what is proposed instead follows from the ledger."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fashion_core.data.schema import AttributeSchema, Category
from search.records.events import EpochEnded, Observed, TrialEnded, TrialProposed, read_event, write_event
from search.space.reading import parse_space
from search.tune import study as study_module
from search.tune.study import RungStudy, Study

SCHEMA = AttributeSchema((Category("pattern", ("floral", "solid")), Category("fit", ("tight", "loose"))))
SPACE = """
trials: 8
sampler: SAMPLER
fixed: {weights: none, fc_layers: 1}
search:
  lr: {loguniform: [1e-4, 1e-2]}
  backbone: {choice: [resnet18, resnet34, resnet50]}
  image_size: {choice: [64, 96, 128]}
  fc_layers: {int: [0, 3], when: {backbone: resnet18}}
  probe_epochs: {int: [0, 9], when: {backbone: resnet50}}
try_first:
  - {backbone: resnet34, image_size: 64, lr: 1e-3}
  - {backbone: resnet18}
scheduler: {type: asha, max_epochs: 9, grace_epochs: 1, reduction_factor: 3}
"""
EPOCHS = (1, 3, 9)


def parse(sampler="tpe"):
    return parse_space(SPACE.replace("SAMPLER", sampler), "test")


def build(space, seed=0, form="stopping", observed=()):
    known = space.first_points(SCHEMA)
    if form == "stopping":
        return Study(space, SCHEMA, known, seed=seed, observed=observed)
    return RungStudy(space, SCHEMA, known, seed=seed, epochs=EPOCHS, observed=observed)


def run(study, count):
    """Draw and end so many trials, the larger the network the better; gives the ledger."""
    events = []
    for _ in range(count):
        proposal = study.draw(len(events) - 1)
        score = round(0.5 + proposal.params["lr"] + proposal.params["image_size"] / 1000, 4)
        happened = [proposal]
        happened += [EpochEnded(trial=proposal.trial, epoch=epoch, metrics={"val/accuracy": score}) for epoch in EPOCHS]
        happened.append(TrialEnded(trial=proposal.trial, status="finished", best=score, best_epoch=9))
        for event in happened:
            study.take(event)
            events.append(read_event(write_event(event)))
    return events


def list_proposals(events):
    return [event for event in events if isinstance(event, TrialProposed)]


def test_architectures_are_what_conditions_let_them_be():
    found = parse().list_architectures()
    assert len(found) == 3 * (4 + 1 + 2)  # resnet50's are asked in fp32 where all its epochs are probe epochs
    assert {each.fc_layers for each in found if each.backbone != "resnet18"} == {1}
    assert {each.precision for each in found if each.backbone == "resnet50"} == {"auto", "fp32"}


@pytest.mark.slow
@settings(max_examples=12, deadline=None)
@given(st.data())
def test_no_proposal_is_ever_of_an_excluded_architecture(data):
    space = parse(data.draw(st.sampled_from(("tpe", "random"))))
    architectures = space.list_architectures()
    allowed = data.draw(st.sets(st.sampled_from(architectures), min_size=1, max_size=4))
    space = space.excluding(set(architectures) - allowed)
    form, seed = data.draw(st.sampled_from(("stopping", "promotion"))), data.draw(st.integers(0, 2**32 - 1))
    best = {"lr": 1e-2, "backbone": "resnet50", "image_size": 128, "probe_epochs": 3}  # where TPE would go
    other = [Observed(search="other", trial=number, drawn=best, score=0.9) for number in range(3)]
    proposals = list_proposals(run(build(space, seed, form, other), 14))
    assert {space.find_architecture(each.params) for each in proposals} <= allowed
    assert all(space.find_architecture(each.drawn) in allowed for each in proposals)
    known = space.first_points(SCHEMA)
    for point, proposal in zip(known, proposals, strict=False):
        assert proposal.enqueued and point.items() <= proposal.params.items()
    assert not any(each.enqueued for each in proposals[len(known) :])
    assert len({each.params["lr"] for each in proposals[len(known) :]}) == len(proposals) - len(known)


@pytest.mark.slow
@pytest.mark.parametrize("form", ["stopping", "promotion"])
@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_a_study_built_again_proposes_the_same(sampler, form):
    """After any proposal; TPE models from the tenth trial on."""
    space = parse(sampler)
    space = space.excluding([each for each in space.list_architectures() if each.image_size != 64])
    events = run(build(space, 3, form), 14)
    for number, wanted in enumerate(list_proposals(events)):
        study = build(space, 3, form)
        for event in events[: events.index(wanted)]:
            study.take(event)
        assert read_event(write_event(study.draw(wanted.after))) == wanted, number


def test_what_no_draw_has_is_listed(monkeypatch):
    """Of many draws none may be allowed; then what decides is drawn of all that is, and the rest as ever."""
    monkeypatch.setattr(study_module, "MAX_DRAWS", 0)
    space = parse()
    allowed = space.list_architectures()[:2]
    space = space.excluding(set(space.list_architectures()) - set(allowed))
    proposals = list_proposals(run(build(space), 30))
    assert {space.find_architecture(each.params) for each in proposals} == set(allowed)


def test_what_is_allowed_anyway_is_drawn_as_without_limits():
    """A limit that a draw does not break does not change it."""
    space = parse()
    limited = space.excluding([each for each in space.list_architectures() if each.image_size == 128])
    free = list_proposals(run(build(space, 5), 2 + 8))  # Sobol points: each follows from its number alone
    for one, other in zip(free, list_proposals(run(build(limited, 5), 2 + 8)), strict=True):
        assert one == other or one.params["image_size"] == 128


def test_nothing_of_what_was_drawn_in_vain_stays_in_the_study():
    space = parse("random")
    allowed = space.list_architectures()[0]
    study = build(space.excluding(set(space.list_architectures()) - {allowed}))
    events = run(study, 5)
    assert [trial.params for trial in study.study.trials] == [each.drawn for each in list_proposals(events)]


@pytest.mark.parametrize("size", [64, 96])
def test_a_grid_runs_all_but_what_is_excluded(size):
    text = """
sampler: grid
fixed: {weights: none}
search: {backbone: {choice: [resnet18, resnet34]}, image_size: {choice: [64, 96]}, lr: {choice: [0.1, 0.2, 0.3]}}
scheduler: {type: none, max_epochs: 3}
"""
    space = parse_space(text, "test")
    assert space.trials == 12
    space = space.excluding([each for each in space.list_architectures() if each.image_size == size])
    assert space.trials == space.count_grid() == 6
    proposals = list_proposals(run(build(space), 6))
    assert {each.params["image_size"] for each in proposals} == {64, 96} - {size}
    assert len({tuple(each.params.items()) for each in proposals}) == 6
    assert space.prepare_settings() == [each for each in space.prepare_settings() if each.image_size != size]
