"""A plan: what it shows, and weights that cannot be had."""

import csv
from dataclasses import replace

import pyarrow as pa
import pytest
from missing_labels import blank_folder
from other_layouts import COLUMNS, write_table
from PIL import Image
from safetensors.torch import save_file

from fashion_core.data.pixels import PrepareSettings
from fashion_core.errors import ConfigError, DataError, SearchError, WeightsError
from fashion_core.models.backbones import build_backbone
from search.planning.options import SearchOptions
from search.planning.plan import build_plan, render_plan
from search.planning.resources import Machine, Node
from search.space.reading import load_space

SPACE = """
trials: 12
fixed: {backbone: test_resnet, image_size: 32, weights: WEIGHTS}
search:
  probe_epochs: {choice: [0, 1]}
  crop: {choice: [box, whole]}
  lr: {loguniform: [1e-4, 1e-2]}
try_first: [{probe_epochs: 0, crop: box, lr: 1e-3}]
scheduler: {max_epochs: 9, grace_epochs: 1, reduction_factor: 3}
"""


def count(name, feature):
    return sum(parameter.numel() for parameter in build_backbone(name, weights="none", feature=feature).parameters())


@pytest.fixture
def plan(sample_folder, tmp_path):
    weights = tmp_path / "weights.safetensors"
    save_file(build_backbone("test_resnet", weights="none", feature="logits").network.state_dict(), weights)
    return plan_with(weights, sample_folder, tmp_path)


def plan_with(weights, data, folder, machine=Machine(2, 0), **options):
    (folder / "small.yaml").write_text(SPACE.replace("WEIGHTS", str(weights)))
    options = SearchOptions(data=data, space=str(folder / "small.yaml"), name="one", results=folder, **options)
    return build_plan(options, options.build_layout(), machine)


@pytest.mark.parametrize("limit", [{"budget_gpu_hours": 5}, {"budget_cost": 20, "price_per_gpu_hour": 2.5}])
def test_gpu_hours_are_limited_where_trials_have_gpus(limit, sample_folder, tmp_path):
    weights = tmp_path / "weights.safetensors"
    save_file(build_backbone("test_resnet", weights="none", feature="logits").network.state_dict(), weights)
    option = "--" + next(iter(limit)).replace("_", "-")
    with pytest.raises(SearchError, match=f"{option} counts the GPUs of trials, but each has 0; give --time-budget"):
        plan_with(weights, sample_folder, tmp_path, **limit)
    shown = dict(render_plan(plan_with(weights, sample_folder, tmp_path, Machine(2, 1), **limit)))
    assert "GPU hours" in shown["ends early"]


def test_nodes_what_travels_and_what_it_costs_are_shown(sample_folder, tmp_path):
    weights = tmp_path / "weights.safetensors"
    save_file(build_backbone("test_resnet", weights="none", feature="logits").network.state_dict(), weights)
    nodes = (Node("10.0.0.1", 8, 1, "a"), Node("10.0.0.2", 8, 1, "b"), Node("10.0.0.3", 4, 0, "c"))
    cluster = Machine(20, 2, nodes)
    given = {"address": "auto", "price_per_gpu_hour": 1.5}
    stored = given | {"storage": "s3://searches?scheme=http", "budget_cost": 30.0, "time_budget_s": 7200.0}
    shown = dict(render_plan(plan_with(weights, sample_folder, tmp_path, cluster, **stored)))
    assert shown["nodes"] == "3 nodes to train on: 2 with 8 CPU cores and 1 GPU, 1 with 4 CPU cores"
    assert shown["travels"].startswith("the code, and") and "once to each node by s3://searches" in shown["travels"]
    assert shown["costs"] == "2 GPU hours an hour, 3.00 at 1.5 a GPU hour; at most 4 GPU hours, 6.00"
    shown = dict(render_plan(plan_with(weights, sample_folder, tmp_path, cluster, **given)))
    assert "each node must see the prepared data" in shown["travels"]
    assert shown["costs"].endswith("without a limit, such as --budget-gpu-hours")
    shown = dict(render_plan(plan_with(weights, sample_folder, tmp_path)))
    assert not {"nodes", "travels", "costs"} & set(shown)


def test_what_is_shown_is_what_will_be_used(plan):
    space = load_space(plan.options.space)
    assert (plan.settings, plan.probed) == (space.prepare_settings(), space.list_probed())
    assert len(plan.settings) == len(plan.probed) == 2
    shown = dict(render_plan(plan))
    assert shown["layout"] == "the challenge's layout, split/" and "unlabelled" not in shown
    assert shown["categories"].startswith("pattern (7), sleeve (3)") and "note" not in shown
    assert shown["trials"] == "12: 1 known, 11 drawn by tpe"
    assert shown["rungs"] == "1, 3 (of 9 epochs); a trial that is not among the best 1/3 there is stopped"
    assert plan.full_epochs == 12 * 9 and 12 < plan.expected_epochs < plan.full_epochs
    assert shown["prepared data"].startswith("32-box, 32-whole: 1 MiB in ")
    assert shown["weights"].endswith("weights.safetensors: all 75 tensors of test_resnet; left out: `fc`")
    assert shown["backbones"] == f"test_resnet ({count('test_resnet', 'pooled') / 1e6:.1f} M parameters)"


def test_an_objective_is_shown_where_it_is_not_the_usual_one(plan):
    assert "objective" not in dict(render_plan(plan))
    shown = dict(render_plan(replace(plan, space=replace(plan.space, objective="val/accuracy/fit"))))
    assert shown["objective"] == "val/accuracy/fit, the accuracy of fit"


def test_a_class_that_train_lacks_is_said(plan, tmp_path):
    """The plan names every category, for a table's column may be taken for one; and what can never be learned."""
    for i in range(12):
        Image.new("RGB", (40, 40), (20 * i, 0, 0)).save(tmp_path / f"{i}.png")
    rows = [f"{i}.png,{('train', 'val')[i % 2]},{('red', 'gold' if i == 5 else 'blue')[i % 4 > 0]}" for i in range(12)]
    (tmp_path / "labels.csv").write_text("\n".join(["image,split,colour", *rows]))
    plan = plan_with(next(iter(plan.origins)), tmp_path / "labels.csv", tmp_path)
    assert ("categories", "colour (3)") in render_plan(plan)
    assert ("note", "no image of train has colour: gold: it can never be answered") in render_plan(plan)
    note = ("note", "one image of val has colour: gold: no promotion can judge val/class_accuracy on it")
    changed = replace(plan, space=replace(plan.space, objective="val/class_accuracy"))
    assert note in render_plan(changed) and note not in render_plan(plan)


def test_a_plan_without_its_weights_is_shown_but_does_not_start(plan, sample_folder, tmp_path):
    plan.check_weights()
    missing = plan_with(tmp_path / "gone.safetensors", sample_folder, tmp_path)
    assert render_plan(missing) == [row for row in render_plan(plan) if row[0] != "weights"]
    with pytest.raises(WeightsError, match=r"gone\.safetensors"):
        missing.check_weights()


def test_a_category_without_labels_is_told_before_anything_is_prepared(sample_folder, tmp_path):
    rates = dict.fromkeys(("pattern", "sleeve", "length", "neckline", "material", "fit"), 0.3)
    folder = blank_folder(sample_folder, tmp_path / "data", list((rates | {"material": 1.0}).values()))
    with pytest.raises(DataError, match="images in train, but material has none; label some, or leave the category"):
        plan_with("none", folder, tmp_path)


def test_gaps_and_large_sets_are_told(plan):
    table, labels = plan.annotations.table, plan.annotations.labels().copy()
    labels[:7, 1] = -1
    column = pa.FixedSizeListArray.from_arrays(pa.array(labels.reshape(-1)), labels.shape[1])
    holey = table.set_column(table.schema.get_field_index("labels"), "labels", column)
    many = pa.concat_tables([holey] * 1507)  # 289,344 rows, about those of the official download
    annotations = replace(plan.annotations, table=many, remarks=("what was decided",))
    shown = dict(render_plan(replace(plan, annotations=annotations, settings=[PrepareSettings(224)])))
    assert shown["unlabelled"] == f"{7 * 1507:,} in {plan.annotations.schema.names[1]}"
    assert shown["note"] == "what was decided"
    assert shown["prepared data"].startswith("224-box: 44 GB in ")  # 289,344 * 224 * 224 * 3 = 43.6e9


@pytest.mark.slow
def test_without_boxes_whole_images_are_looked_at(plan, sample_folder, tmp_path):
    table = write_table(sample_folder, tmp_path / "boxless")
    rows = list(csv.DictReader(table.open()))
    with table.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["image", *COLUMNS.values()], extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    boxless = plan_with(tmp_path / "weights.safetensors", table, tmp_path)
    assert boxless.settings == [PrepareSettings(32, "whole")] and {each.crop for each in boxless.probed} == {"whole"}
    values = boxless.space.build_values({"lr": 1e-3, "probe_epochs": 0, "crop": "box"}, boxless.annotations.schema)
    assert values["crop"] == "whole"
    notes = [text for topic, text in render_plan(boxless) if topic == "note"]
    assert any("names no boxes" in note for note in notes)
    assert plan.annotations.has_boxes and not any("no boxes" in text for _, text in render_plan(plan))


@pytest.mark.slow
def test_stochastic_depth_is_tried_on_the_backbones_that_can_have_it(sample_folder, tmp_path):
    space = tmp_path / "depth.yaml"
    text = """
trials: 4
fixed: {image_size: 32, weights: none}
search: {backbone: {choice: [test_efficientnet, legacy_seresnet18]}, drop_path: {uniform: [0, 0.3]WHEN}}
scheduler: {max_epochs: 2}
"""
    options = SearchOptions(data=sample_folder, space=str(space), name="one", results=tmp_path)
    space.write_text(text.replace("WHEN", ", when: {backbone: test_efficientnet}"))
    build_plan(options, options.build_layout(), Machine(2, 0))
    space.write_text(text.replace("WHEN", ""))
    with pytest.raises(ConfigError, match="`drop_path` must be 0 for legacy_seresnet18"):
        build_plan(options, options.build_layout(), Machine(2, 0))


MIXED = """
trials: 4
fixed: {{image_size: 160, weights: none, {fixed}}}
search: {{backbone: {{choice: [test_resnet, test_vit]}}, {searched}{when}}}
scheduler: {{max_epochs: 2}}
"""


@pytest.mark.parametrize(
    ("fixed", "searched", "message"),
    [
        ("early_size: 0.5", "early_share: {uniform: [0.1, 0.9]", "`early_share` must be 0 for test_vit"),
        ("lr: 0.1", "pooling: {choice: [average, attention]", "`pooling: attention`, need a convolutional"),
    ],
)
def test_what_some_backbones_cannot_have_is_refused_unless_it_is_searched_for_the_others(
    fixed, searched, message, sample_folder, tmp_path
):
    space = tmp_path / "mixed.yaml"
    options = SearchOptions(data=sample_folder, space=str(space), name="one", results=tmp_path)
    space.write_text(MIXED.format(fixed=fixed, searched=searched, when=", when: {backbone: test_resnet}}"))
    build_plan(options, options.build_layout(), Machine(2, 0))
    space.write_text(MIXED.format(fixed=fixed, searched=searched, when="}"))
    with pytest.raises(ConfigError, match=message):
        build_plan(options, options.build_layout(), Machine(2, 0))


def test_a_category_with_few_labels_is_named(plan, sample_folder, tmp_path):
    weights = tmp_path / "weights.safetensors"
    assert "note" not in dict(render_plan(plan))  # 48 images of val
    folder = blank_folder(sample_folder, tmp_path / "blank", rates=[0.0] * 6)
    path = folder / "split" / "val_attr.txt"
    lines = path.read_text().splitlines()
    path.write_text("".join(f"-1{line[line.index(' ') :]}\n" for line in lines[:40]) + "\n".join(lines[40:]) + "\n")
    shown = dict(render_plan(plan_with(weights, folder, tmp_path)))
    assert shown["note"].startswith("pattern has 8 labelled images to compare scores on")
