"""Where a model looked: Grad-CAM against CAM, a planted patch, and the pictures."""

from pathlib import Path

import numpy as np
import pytest
import torch
from drawn_models import SCHEMA, draw_model, draw_pixels
from PIL import Image
from torch.nn import functional as F

from fashion_core import predict
from fashion_core.config import TrainConfig
from fashion_core.data.pixels import build_settings
from fashion_core.data.schema import AttributeSchema, Category
from fashion_core.errors import ConfigError, DataError
from fashion_core.inference import explain
from fashion_core.models import forward
from fashion_core.models.ensemble import join_models, save_ensemble, save_member, set_flip
from fashion_core.models.network import build_network
from fashion_core.models.saved import SavedModel

SIDE = 96  # three cells a side


def heat_of(saved: SavedModel, pixels: np.ndarray, classes: list[int]) -> np.ndarray:
    view = build_settings(saved.config)
    return explain.explain_views(saved, {view: pixels}, classes)[view]


@pytest.fixture(scope="module")
def model() -> SavedModel:
    return draw_model(1, image_size=SIDE, eval_flip=False)


@pytest.mark.parametrize("classes", [[0, 1], [2, 1]])
def test_heat_is_the_class_activation_map(model, classes):
    """With one linear layer after the average over the map, Grad-CAM is CAM (Zhou et al. 2016): weights times map."""
    pixels = draw_pixels(3, 1, SIDE).numpy()[0]
    backbone = model.network.backbone
    image = torch.from_numpy(pixels).permute(2, 0, 1)[None].float()
    with torch.no_grad():
        features = backbone.network.forward_features((image - backbone.mean) / backbone.std)
        assert features.shape[2:] == (3, 3)
        maps = [
            torch.einsum("f,fhw->hw", head.weight[best], features[0]).relu()
            for head, best in zip(model.network.heads, classes, strict=True)
        ]
        large = F.interpolate(torch.stack(maps)[None], (SIDE, SIDE), mode="bilinear")[0]
    expected = large / large.amax((1, 2), keepdim=True).clamp(min=1e-12)
    assert all(cells.max() > 0 for cells in maps) and not torch.allclose(expected[0], expected[1], atol=0.1)
    np.testing.assert_allclose(heat_of(model, pixels, classes), expected, atol=1e-4)


@pytest.mark.slow
def test_heat_lies_where_a_planted_patch_decides():
    """Trained to tell whether a bright patch is somewhere, the network looks where it is."""
    schema = AttributeSchema((Category("patch", ("absent", "present")),))
    config = TrainConfig(image_size=64, backbone="test_resnet", weights="none", precision="fp32", dropout=0)
    network = build_network(config, schema.sizes)
    generator = torch.Generator().manual_seed(0)

    def draw(place: tuple[int, int] | None) -> torch.Tensor:
        image = torch.randint(60, 120, (3, 64, 64), generator=generator).float()
        if place is not None:
            top, left = (32 * cell + 6 for cell in place)
            image[:, top : top + 20, left : left + 20] = torch.tensor([250.0, 20.0, 20.0])[:, None, None]
        return image

    places = [(0, 0), (0, 1), (1, 0), (1, 1)]
    optimizer = torch.optim.Adam(network.parameters(), 2e-3)
    for _ in range(40):
        present = torch.rand(16, generator=generator) < 0.5
        batch = torch.stack([draw(places[n % 4] if there else None) for n, there in enumerate(present.tolist())])
        optimizer.zero_grad()
        F.cross_entropy(network(batch)[0], present.long()).backward()
        optimizer.step()
    saved = SavedModel(network.eval(), config, schema, {}, 1, [], "")
    for place in places:
        pixels = draw(place).permute(1, 2, 0).to(torch.uint8).numpy()
        assert forward.predict_pixels(saved, pixels[None])[0][0, 1] > 0.7
        (heat,) = heat_of(saved, pixels, [1])
        quarters = heat.reshape(2, 32, 2, 32).mean((1, 3))
        assert np.unravel_index(quarters.argmax(), (2, 2)) == place
        assert quarters.max() > 0.4 * quarters.sum() and heat.max() == pytest.approx(1)


def test_the_mirrored_image_counts_where_the_answer_is_averaged_with_it(model):
    pixels = draw_pixels(4, 1, SIDE).numpy()[0]
    mirrored = np.ascontiguousarray(pixels[:, ::-1])
    one, other = heat_of(model, pixels, [1, 1]), heat_of(model, mirrored, [1, 1])[:, :, ::-1]
    both = set_flip(model, True)
    found = heat_of(both, pixels, [1, 1])
    np.testing.assert_allclose(found, heat_of(both, mirrored, [1, 1])[:, :, ::-1], atol=1e-4)
    assert np.abs(one - other).max() > 0.02 and np.abs(found - one).max() > 0.005


def test_heat_of_an_ensemble_is_averaged_by_view(model):
    members = [model, draw_model(2, image_size=SIDE, eval_flip=False), draw_model(3, crop="whole", eval_flip=False)]
    views = [build_settings(member.config) for member in members]
    images = {view: draw_pixels(5, 1, view.image_size).numpy()[0] for view in views}
    found = explain.explain_views(join_models(members, [3, 1, 2]), images, [0, 1])
    alone = [heat_of(member, images[view], [0, 1]) for member, view in zip(members, views, strict=True)]
    mixed = 3 * alone[0] + alone[1]
    np.testing.assert_allclose(found[views[0]], mixed / mixed.max((1, 2), keepdims=True), atol=1e-5)
    np.testing.assert_allclose(found[views[2]], alone[2], atol=1e-5)


def test_where_nothing_speaks_for_a_class_there_is_no_heat(model):
    saved = draw_model(1, image_size=SIDE)
    with torch.no_grad():
        for head, sign in zip(saved.network.heads, (-1, 1), strict=True):
            head.weight.copy_(sign * head.weight.abs())  # the map is never negative
    heat = heat_of(saved, draw_pixels(6, 1, SIDE).numpy()[0], [1, 0])
    assert not heat[0].any() and heat[1].max() == pytest.approx(1)


@pytest.mark.parametrize("backbone, size", [("test_vit", 64), ("test_resnet", 32)])
def test_a_model_without_a_map_is_refused(backbone, size):
    saved = draw_model(1, backbone=backbone, image_size=size)
    with pytest.raises(ConfigError, match=f"convolutional backbone.*{backbone} at {size} px"):
        heat_of(saved, draw_pixels(0, 1, size).numpy()[0], [0, 0])


# ------------------------------------------------------------------------------------------------------------- pictures


def run_main(*arguments: object) -> None:
    predict.main([str(argument) for argument in (*arguments, "--device", "cpu")])


@pytest.mark.slow
def test_the_command_draws_a_picture_a_category(model, sample_folder, tmp_path, capsys):
    image = sample_folder / "img" / "00000.jpg"
    save_member(tmp_path / "one", model)
    run_main(tmp_path / "one", image, "--box", "10,10,90,120")
    expected = capsys.readouterr().out
    run_main(tmp_path / "one", image, "--box", "10,10,90,120", "--explain", tmp_path / "pictures")
    assert capsys.readouterr().out == expected  # the answer is the same
    paths = sorted((tmp_path / "pictures").iterdir())
    assert [path.name for path in paths] == [f"00000.jpg.{name}.png" for name in sorted(SCHEMA.names)]
    pictures = [np.asarray(Image.open(path).convert("RGB")).astype(int) for path in paths]
    assert np.abs(pictures[0] - pictures[1]).max() > 50

    members = [model, draw_model(2, image_size=64, crop="whole")]
    save_ensemble(tmp_path / "two", join_models(members))
    run_main(tmp_path / "two", image, "--box", "10,10,90,120", "--explain", tmp_path / "both")
    taller = Image.open(tmp_path / "both" / paths[0].name)
    assert taller.height > 1.8 * len(pictures[0]) and len(list((tmp_path / "both").iterdir())) == 2


def test_a_picture_shows_the_image_and_the_heat_on_it(tmp_path):
    pixels = np.full((64, 64, 3), 128, np.uint8)
    pictures = []
    for rows in (32, 1):
        heat = np.zeros((64, 64))
        heat[:rows, :rows] = 1
        explain.draw_heat([(pixels, heat)], "sleeve: sleeveless 0.90", tmp_path / "picture.png")
        pictures.append(np.asarray(Image.open(tmp_path / "picture.png").convert("RGB")).astype(int))
    changed = np.abs(pictures[0] - pictures[1]).max(2) > 20
    rows, columns = np.nonzero(changed)
    height, width = changed.shape
    assert columns.min() > width / 2 and np.ptp(columns) < 0.27 * width and np.ptp(rows) < 0.5 * height
    assert changed.sum() > 0.2 * height * width / 2
    assert (pictures[0] == 128).all(2).sum() > 0.5 * height * width  # all of the left one, most of the right one


def test_two_images_of_one_name_and_a_submission_are_refused(model, sample_folder, tmp_path, capsys):
    save_member(tmp_path, model)
    image = sample_folder / "img" / "00000.jpg"
    (tmp_path / "00000.jpg").write_bytes(image.read_bytes())
    for arguments, message in [
        ((image, tmp_path / "00000.jpg"), "different names"),
        (("--submission", sample_folder), "--explain DIR goes with images"),
    ]:
        with pytest.raises(SystemExit) as stopped:
            run_main(tmp_path, *arguments, "--explain", tmp_path / "pictures")
        output = capsys.readouterr()
        assert stopped.value.code == 2 and message in output.err and not output.out
    assert not (tmp_path / "pictures").exists()
    with pytest.raises(DataError, match="different names"):
        explain.check_picture_names([Path("a/x.jpg"), Path("b/x.jpg")])
    explain.check_picture_names([Path("a/x.jpg"), Path("a/x.png"), Path("a/x.jpg")])
