"""What candidates must beat: the report's recipe in their protocol or in its own, and what is said of it."""

import pytest

from fashion_core.config import TrainConfig
from fashion_core.data.schema import KNOWN_CATEGORIES, AttributeSchema
from fashion_core.errors import ConfigError, SearchError
from search.promotion import baseline
from search.promotion.baseline import CATEGORY_WEIGHTS, PROTOCOL, RECIPE, build_baseline, describe_baseline, is_alike
from search.space.reading import load_space

BEST = TrainConfig(
    backbone="test_resnet",
    weights="none",
    image_size=96,
    epochs=6,
    lr=3e-3,
    focal_gamma=0.5,
    fc_layers=2,
    eval_flip=True,
)


def build_schema(names=tuple(CATEGORY_WEIGHTS)):
    return AttributeSchema.from_dict({name: ["one", "two"] for name in names})


def test_by_default_it_is_the_reports_recipe_on_the_best_candidates_network():
    config, notes = build_baseline("report", BEST, build_schema())
    assert (config.optimizer, config.lr, config.focal_gamma, config.schedule) == ("adam", 1e-3, 2, "constant")
    assert list(config.category_weights.values()) == [0.95, 0.85, 0.85, 0.9, 1, 0.9] and not notes
    assert (config.backbone, config.image_size, config.epochs) == ("test_resnet", 96, 6) and is_alike(config, BEST)
    assert describe_baseline("report", config, BEST, "trial 12", notes) == (
        "the report's recipe; it has the protocol of trial 12: network, images and epochs."
    )


def test_its_own_protocol_is_that_of_the_reports_space():
    """The first point of `weighted_focal`: the report's best, without a backbone of another name."""
    space = load_space("weighted_focal")
    known = {**space.fixed, **space.try_first[0], "epochs": space.scheduler.max_epochs}
    assert {name: known[name] for name in PROTOCOL if name != "precision"} == {
        name: value for name, value in PROTOCOL.items() if name != "precision"
    }
    assert all(known[name] == value for name, value in RECIPE.items() if name in known)


def test_where_its_backbone_cannot_be_had_all_else_is_its_own(monkeypatch):
    """The hub is away: only what needs it is the best candidate's, and it is said."""
    monkeypatch.setitem(PROTOCOL, "weights", "package")  # no package carries this backbone
    config, notes = build_baseline("own", BEST, build_schema())
    assert (config.backbone, config.weights) == ("test_resnet", "none") and not is_alike(config, BEST)
    assert (config.image_size, config.epochs, config.feature, config.eval_flip) == (224, 29, "logits", False)
    assert (config.optimizer, config.lr, config.category_weights) == ("adam", 1e-3, CATEGORY_WEIGHTS)
    (note,) = notes
    assert note.startswith(
        "Its own backbone 'legacy_seresnext50_32x4d.in1k', weights 'package' could not be run here ("
    )
    assert note.endswith("; it has backbone 'test_resnet', weights 'none' of the best candidate.")
    text = describe_baseline("own", config, BEST, "trial 12", notes)
    assert "image_size 224, not 96; " in text and "epochs 29, not 6" in text and text.endswith(note)


def test_what_cannot_run_is_the_best_candidates_step_by_step(monkeypatch):
    """The report's backbone fails, then its 1000 logits, then its size."""
    tried = []

    def find_fault(config):
        tried.append((config.backbone, config.feature, config.image_size))
        return None if config.image_size == 96 else "it does not run"

    monkeypatch.setattr(baseline, "find_fault", find_fault)
    config, notes = build_baseline("own", BEST, build_schema())
    own = PROTOCOL["backbone"]
    wanted = [(own, "logits", 224), ("test_resnet", "logits", 224), ("test_resnet", "pooled", 224)]
    assert tried == [*wanted, ("test_resnet", "pooled", 96)] and len(notes) == 3 and config.epochs == 29
    monkeypatch.setattr(baseline, "find_fault", lambda config: "it does not run")
    with pytest.raises(ConfigError, match="but it does not run; take --baseline report"):
        build_baseline("own", BEST, build_schema())


def test_the_reports_weights_are_for_its_own_categories():
    """Other ones have none of their own."""
    turned, _ = build_baseline("report", BEST, build_schema(reversed(CATEGORY_WEIGHTS)))
    assert turned.category_weights == CATEGORY_WEIGHTS
    others, _ = build_baseline("report", BEST, build_schema(["a", "b"]))
    assert not others.category_weights and set(KNOWN_CATEGORIES) == set(CATEGORY_WEIGHTS)


def test_another_baseline(tmp_path):
    assert build_baseline("none", BEST, build_schema()) == (None, ())
    path = tmp_path / "mine.yaml"
    path.write_text("{focal_gamma: 0, image_size: 64}")
    config, notes = build_baseline(str(path), BEST, build_schema())
    assert (config.focal_gamma, config.image_size, config.lr, config.epochs) == (0, 64, 1e-3, 6)
    assert describe_baseline(str(path), config, BEST, "trial 12", notes) == (
        "that of mine.yaml, and the report's recipe in all else; its protocol differs from that of trial 12: "
        "image_size 64, not 96."
    )
    path.write_text("focal_gama: 0")
    with pytest.raises(ConfigError, match="focal_gamma"):
        build_baseline(str(path), BEST, build_schema())
    with pytest.raises(SearchError, match=r"no\.yaml' cannot be read \(.*No such file"):
        build_baseline("no.yaml", BEST, build_schema())
    for text in ("- 1", "{"):
        path.write_text(text)
        with pytest.raises(SearchError, match=r"mine\.yaml"):
            build_baseline(str(path), BEST, build_schema())
