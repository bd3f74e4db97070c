"""Registered models as the start of a search: named by an alias, kept as they were when it began."""

import io
import json
import shutil

import pytest
import torch
from drawn_models import draw_model
from rich.console import Console

from fashion_core.data.schema import AttributeSchema
from fashion_core.errors import SearchError, WeightsError
from fashion_core.files import MODEL_FILE
from fashion_core.models.backbones import build_backbone
from fashion_core.models.ensemble import join_models, save_ensemble, save_member
from search.experiment import starts
from search.experiment.beginning import describe_start, prepare
from search.experiment.replay import replay_trial
from search.experiment.search import plan_search, run_search
from search.experiment.starts import fetch_start, keep_starts, plan_with_starts
from search.planning.options import SearchOptions
from search.planning.plan import render_plan
from search.planning.resources import Machine
from search.promotion.plan import build_shortlist
from search.records.layout import SearchLayout
from search.registry.versions import Registry, default_registry
from search.reporting.report import describe_run
from search.tracking.store import open_store

NAMES = ("models:/m@champion", "models:/a b%é/3")
SPACE = """
sampler: grid
fixed: {image_size: 32, backbone: test_resnet, batch_size: 16, precision: fp32, eval_flip: false}
search:
  weights: {choice: [none, WEIGHTS]}
  probe_epochs: {choice: [1], when: {weights: WEIGHTS}}
scheduler: {type: none, max_epochs: 2}
"""


def build_options(folder, data, weights=NAMES[0]):
    (folder / "start.yaml").write_text(SPACE.replace("WEIGHTS", json.dumps(weights)))
    return SearchOptions(data=data, space=str(folder / "start.yaml"), name="next", results=folder / "results")


@pytest.fixture
def registered(tmp_path, monkeypatch):
    """Folders of models by name, as a registry would give them."""
    found = {}
    for number, name in enumerate(NAMES):
        found[name] = save_member(tmp_path / f"version-{number}", draw_model(number)).parent
    monkeypatch.setattr(starts, "find_model", lambda name, results, uri: found[name])
    return found


@pytest.mark.parametrize("name", NAMES)
def test_a_plan_takes_the_registered_model_and_keeps_nothing(registered, sample_folder, tmp_path, name):
    options = build_options(tmp_path, sample_folder, name)
    plan = plan_with_starts(options, options.build_layout(), Machine(2, 0), begun=False)
    assert plan.missing is None and plan.space.starts == {name: str(registered[name])}
    assert [config.weights for config in plan.probed] == [str(registered[name])]
    words = f"{name}: all 75 tensors of test_resnet under `backbone.network.`; left out: `heads`"
    assert dict(render_plan(plan))["weights"] == words
    assert not plan.layout.folder.exists()
    # what is drawn keeps the name, what is trained has the folder
    drawn = plan.space.build_values({"weights": name, "probe_epochs": 1}, plan.annotations.schema)
    assert drawn["weights"] == str(registered[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_what_was_kept_stays_though_the_alias_moves(registered, sample_folder, tmp_path, name):
    options = build_options(tmp_path, sample_folder, name)
    layout = options.build_layout()
    plan = keep_starts(plan_with_starts(options, layout, Machine(2, 0), begun=False))
    kept = layout.start_folder(name)
    assert layout.list_starts() == plan.space.starts == {name: str(kept.resolve())}
    assert [config.weights for config in plan.probed] == [str(kept.resolve())]
    content = (registered[name] / MODEL_FILE).read_bytes()
    assert [path.name for path in kept.iterdir()] == [MODEL_FILE] and (kept / MODEL_FILE).read_bytes() == content
    save_member(registered[name], draw_model(7))
    again = plan_with_starts(options, layout, Machine(2, 0), begun=True)
    assert again.space.starts == plan.space.starts and again.probed == plan.probed
    anew = plan_with_starts(options, layout, Machine(2, 0), begun=False)
    assert anew.space.starts == {name: str(registered[name])}


def test_an_ensemble_is_refused_by_its_name(tmp_path, monkeypatch):
    save_ensemble(tmp_path / "final", join_models([draw_model(1), draw_model(2)]))
    monkeypatch.setattr(starts, "find_model", lambda *_: tmp_path / "final")
    with pytest.raises(WeightsError, match="those of one network, but models:/m@champion is an ensemble"):
        fetch_start(NAMES[0], tmp_path, None)


def test_a_version_that_is_not_there(sample_folder, tmp_path):
    for name, message in (("models:/m@champion", "must be in the registry"), ("models:/m", "a registered model is")):
        with pytest.raises(SearchError, match=message):
            plan_search(build_options(tmp_path, sample_folder, name), machine=Machine(2, 0))


def register(results, model, photo):
    """A new champion."""
    uri = default_registry(results)
    client = open_store(uri)
    experiment = client.get_experiment_by_name("drawn")
    place = (results / "artifacts").absolute().as_uri()
    number = experiment.experiment_id if experiment else client.create_experiment("drawn", place)
    run = client.create_run(number)
    folder = save_member(results / "drawn" / "final", model).parent
    (folder / "MODEL_CARD.md").write_text("# A model\n\nOf garments.\n\n## Limits\n\n- Some.\n")
    registry = Registry(uri, "m")
    version = registry.register(
        folder, run_id=run.info.run_id, promotion_id=run.info.run_id, tags={}, example_image=photo.read_bytes()
    )
    registry.promote(version, registry.find("champion"), {})
    shutil.rmtree(folder)


@pytest.mark.slow
def test_a_search_from_a_champion(sample_folder, tmp_path):
    """Whole: from the registry to trained networks, their replay and their promotion, though the champion changes."""
    photo = next((sample_folder / "img").glob("*.jpg"))
    options = build_options(tmp_path, sample_folder)
    register(options.results, champion := draw_model(1), photo)
    result = run_search(options, machine=Machine(2, 0))
    layout = result.layout
    assert sorted(str(trial.params["weights"]) for trial in result.record.trials.values()) == [NAMES[0], "none"]
    assert all(trial.status == "finished" for trial in result.record.trials.values())
    started = next(trial for trial in result.record.trials.values() if trial.params["weights"] != "none")
    register(options.results, draw_model(2), photo)  # another champion

    kept = build_backbone("test_resnet", weights=layout.list_starts()[NAMES[0]])
    for key, value in champion.network.backbone.state_dict().items():
        assert torch.equal(kept.state_dict()[key], value), key
    console = Console(file=io.StringIO(), width=200)
    replay_trial(layout, started.number, console)
    shown = console.file.getvalue()
    scores = [line.split("val/accuracy ")[1] for line in shown.splitlines() if "val/accuracy" in line]
    assert len(scores) == 2 and all(score.split()[0] == score.split("search: ")[1].split(")")[0] for score in scores)
    schema = AttributeSchema.from_dict(result.record.begun.categories)
    shortlist = build_shortlist(result.record, schema, 9, layout.list_starts())
    assert {each.config.weights for each in shortlist} == {"none", layout.list_starts()[NAMES[0]]}


@pytest.mark.slow
def test_a_start_that_has_seen_what_scores_are_compared_on(registered, sample_folder, tmp_path):
    options = build_options(tmp_path, sample_folder)
    layout = options.build_layout()
    plan = plan_with_starts(options, layout, Machine(2, 0), begun=False)
    console = Console(file=io.StringIO(), width=200)
    prepared = prepare(plan, console)
    assert prepared.seen == {} and "note" not in console.file.getvalue()
    digests = [prepared.data.sha256[index] for index in prepared.selection.select]
    content = {"digests": [*digests[:5], "0" * 64]}
    (registered[NAMES[0]] / "trained_on.json").write_text(json.dumps(content))
    plan = keep_starts(plan)  # what tells it is kept too
    prepared = prepare(plan, console)
    assert prepared.seen == {NAMES[0]: 5}
    told = " ".join(console.file.getvalue().split())
    assert f"{NAMES[0]} was trained on 5 of the {len(digests)} images that scores are compared on" in told
    start = describe_start(plan, prepared.data, prepared.selection, ["python"], prepared.seen)
    assert start.selection["seen_by_starts"] == {NAMES[0]: 5}
    assert "was trained on 5 of them" in dict(describe_run(start, ""))["selected on"]


def test_a_layout_without_starts(tmp_path):
    layout = SearchLayout(tmp_path, "one")
    assert layout.list_starts() == {}
