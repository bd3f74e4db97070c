"""A plan: what it shows, and weights that cannot be had."""

import pytest
from safetensors.torch import save_file

from fashion_core.errors import WeightsError
from fashion_core.models.backbones import build_backbone
from search.planning.options import SearchOptions
from search.planning.plan import build_plan, render_plan
from search.planning.resources import Machine
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


def plan_with(weights, data, folder):
    (folder / "small.yaml").write_text(SPACE.replace("WEIGHTS", str(weights)))
    options = SearchOptions(data=data, space=str(folder / "small.yaml"), name="one", results=folder)
    return build_plan(options, options.build_layout(), Machine(2, 0))


def test_what_is_shown_is_what_will_be_used(plan):
    space = load_space(plan.options.space)
    assert (plan.settings, plan.probed) == (space.prepare_settings(), space.list_probed())
    assert len(plan.settings) == len(plan.probed) == 2
    shown = dict(render_plan(plan))
    assert shown["trials"] == "12 by tpe, 1 of them known ones"
    assert shown["rungs"] == "1, 3 (of 9 epochs)"
    assert plan.full_epochs == 12 * 9 and 12 < plan.expected_epochs < plan.full_epochs
    assert shown["prepared data"].startswith("32-box, 32-whole: 1 MiB in ")
    assert shown["weights"].endswith("weights.safetensors: all 75 tensors of test_resnet; left out: `fc`")
    assert shown["backbones"] == f"test_resnet ({count('test_resnet', 'pooled') / 1e6:.1f} M)"


def test_a_plan_without_its_weights_is_shown_but_does_not_start(plan, sample_folder, tmp_path):
    plan.check_weights()
    missing = plan_with(tmp_path / "gone.safetensors", sample_folder, tmp_path)
    assert render_plan(missing) == [row for row in render_plan(plan) if row[0] != "weights"]
    with pytest.raises(WeightsError, match=r"gone\.safetensors"):
        missing.check_weights()
