"""ONNX files: the same probabilities in ONNX Runtime as in PyTorch, for any number of images, or no file."""

import json
from pathlib import Path

import numpy as np
import onnx as onnx_package
import onnxruntime
import pytest
import torch
from drawn_models import SCHEMA, draw_model, draw_pixels

from fashion_core import onnx_export
from fashion_core.data.pixels import PrepareSettings
from fashion_core.errors import ExportError
from fashion_core.inference import onnx
from fashion_core.inference.onnx import CalibratedEnsemble, OnnxModel, export_onnx
from fashion_core.inference.temperatures import apply_temperatures
from fashion_core.models.ensemble import SavedEnsemble, join_models, save_member
from fashion_core.models.forward import predict_views

pytestmark = pytest.mark.slow  # each export traces a network


def draw_views(saved: SavedEnsemble, seed: int, count: int) -> dict[PrepareSettings, np.ndarray]:
    return {view: draw_pixels(seed, count, view.image_size).numpy() for view in saved.views}


@pytest.fixture(scope="module")
def ensemble() -> SavedEnsemble:
    """Backbones, sizes and crops differ; one averages with the mirrored image."""
    members = [
        draw_model(1, fc_layers=1),
        draw_model(2, backbone="test_efficientnet", image_size=48, crop="box_margin", eval_flip=False),
    ]
    return join_models(members, [3, 1])


@pytest.fixture(scope="module")
def file(ensemble: SavedEnsemble, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("onnx") / "new" / "model.onnx"
    assert 0 < export_onnx(ensemble, path, draw_views(ensemble, 0, 3)) < 5e-5
    return path


def test_one_file_answers_as_pytorch(ensemble, file):
    """On images the export has not seen, in batches of other sizes, by ONNX Runtime alone."""
    assert [path.name for path in file.parent.iterdir()] == ["model.onnx"]
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    assert [output.name for output in session.get_outputs()] == list(SCHEMA.names)
    description = json.loads(session.get_modelmeta().custom_metadata_map["description"])
    assert description["categories"] == SCHEMA.to_dict()
    assert description["inputs"] == {
        "pixels_0": {"image_size": 64, "crop": "box", "crop_margin": 0.0},
        "pixels_1": {"image_size": 48, "crop": "box_margin", "crop_margin": 0.1},
    }
    for count in (1, 2, 7):
        images = draw_views(ensemble, count, count)
        feed = {
            name: images[PrepareSettings(**view)].transpose(0, 3, 1, 2) for name, view in description["inputs"].items()
        }
        found = session.run(None, feed)
        for values, expected in zip(found, predict_views(ensemble, images), strict=True):
            np.testing.assert_allclose(values, expected, atol=5e-5)
            np.testing.assert_allclose(values.sum(1), 1, atol=1e-5)
    assert max(np.ptp(values, axis=0).max() for values in found) > 0.01  # the answers depend on the image


def test_an_exported_model_is_read_again(ensemble, file):
    model = OnnxModel(file)
    assert model.views == ensemble.views and model.schema == SCHEMA
    images = draw_views(ensemble, 5, 4)
    for values, expected in zip(model.predict(images), predict_views(ensemble, images), strict=True):
        np.testing.assert_allclose(values, expected, atol=5e-5)


def test_the_model_stays_as_it_was(tmp_path):
    """A single model, in another memory format and number format than the file's."""
    model = draw_model(3, precision="bf16", channels_last=True)
    model.network.to(memory_format=torch.channels_last).train()
    before = {name: tensor.clone() for name, tensor in model.network.state_dict().items()}
    images = draw_views(join_models([model]), 0, 2)
    export_onnx(model, tmp_path / "model.onnx", images)
    assert model.network.training and model.config.precision == "bf16"
    for name, tensor in model.network.state_dict().items():
        assert torch.equal(tensor, before[name]) and tensor.stride() == before[name].stride()
    assert OnnxModel(tmp_path / "model.onnx").inputs == ("pixels",)


@pytest.mark.parametrize("wrong", [1e-3, float("nan")])
def test_a_file_that_answers_otherwise_is_not_written(ensemble, tmp_path, monkeypatch, wrong):
    """The weights change between export and check, as if the exporter had got one wrong."""
    write = onnx.write_onnx

    def write_wrongly(right: SavedEnsemble, path: Path, temperatures: None) -> None:
        bias = right.members[0].network.heads[0].bias
        kept = bias.detach().clone()
        bias.data[0] += 10 * wrong
        write(right, path, temperatures)
        bias.data.copy_(kept)

    monkeypatch.setattr(onnx, "write_onnx", write_wrongly)
    (tmp_path / "model.onnx").write_text("an older export")
    single = join_models(ensemble.members[:1])
    with pytest.raises(ExportError, match=r"within 0\.0001 of PyTorch's, but differ by"):
        export_onnx(single, tmp_path / "model.onnx", draw_views(single, 0, 2))
    assert [path.read_text() for path in tmp_path.iterdir()] == ["an older export"]


def test_no_image_and_no_model(ensemble, file, tmp_path):
    with pytest.raises(ExportError, match="at least one image"):
        export_onnx(ensemble, tmp_path / "model.onnx", draw_views(ensemble, 0, 0))
    (tmp_path / "text.onnx").write_text("text")
    cut = tmp_path / "cut.onnx"
    cut.write_bytes(file.read_bytes()[:-1000])
    for path in (tmp_path / "text.onnx", cut, tmp_path / "absent.onnx"):
        with pytest.raises(ExportError, match=path.name):
            OnnxModel(path)
    small = {view: pixels[:, :32] for view, pixels in draw_views(ensemble, 0, 2).items()}
    with pytest.raises(ExportError, match="must run"):
        OnnxModel(file).predict(small)


def test_temperatures_are_inside(ensemble, tmp_path):
    """The file's probabilities are those that all else answers, also where one is all but certain."""
    temperatures, images = (2.5, 0.3), draw_views(ensemble, 3, 5)
    assert export_onnx(ensemble, tmp_path / "model.onnx", images, temperatures) < 5e-5
    model = OnnxModel(tmp_path / "model.onnx")
    assert model.temperatures == temperatures
    plain = predict_views(ensemble, images)
    for found, expected, raw in zip(model.predict(images), apply_temperatures(plain, temperatures), plain, strict=True):
        np.testing.assert_allclose(found, expected, atol=5e-5)
        np.testing.assert_allclose(found.sum(1), 1, atol=1e-5)
        assert np.abs(found - raw).max() > 0.01
    certain = [torch.tensor([[1.0, 0.0, 0.0]]), torch.tensor([[0.5, 0.5]])]
    network = CalibratedEnsemble(lambda _: certain, temperatures)  # type: ignore[arg-type]
    expected = apply_temperatures([values.numpy() for values in certain], temperatures)
    for values, wanted in zip(network([]), expected, strict=True):
        np.testing.assert_allclose(values, wanted, rtol=1e-5)


def test_a_file_of_the_format_before_keeps_its_meaning(file, tmp_path):
    """It has no temperatures inside, and says nothing of them. One of a later format is not read."""
    model = onnx_package.load(file)
    (entry,) = [each for each in model.metadata_props if each.key == "description"]
    description = json.loads(entry.value)
    assert description["format"] == "fashion-onnx/2" and description.pop("temperatures") is None
    for number, is_read in ((1, True), (3, False)):
        entry.value = json.dumps(description | {"format": f"fashion-onnx/{number}"})
        path = tmp_path / f"{number}.onnx"
        onnx_package.save(model, path)
        if is_read:
            assert OnnxModel(path).temperatures is None and OnnxModel(path).schema == SCHEMA
        else:
            with pytest.raises(ExportError, match="fashion-onnx/3"):
                OnnxModel(path)


def test_the_command(sample_folder, tmp_path, capsys):
    save_member(tmp_path, draw_model(1, eval_flip=False))
    (tmp_path / "temperatures.json").write_text('{"pattern": 2, "fit": 0.5}')
    out, image = tmp_path / "out.onnx", sample_folder / "img" / "00000.jpg"
    onnx_export.main([str(part) for part in (tmp_path, image, "--box", "10,10,90,90", "--out", out)])
    assert "1 images" in capsys.readouterr().out and OnnxModel(out).schema == SCHEMA
    assert OnnxModel(out).temperatures == (2, 0.5)
    absent, bad_box = (tmp_path / "absent", image), (tmp_path, image, "--box", "1,2")
    for arguments, message in [(absent, "saved model"), (bad_box, "box")]:
        with pytest.raises(SystemExit) as stopped:
            onnx_export.main([str(part) for part in (*arguments, "--out", tmp_path / "other.onnx")])
        assert stopped.value.code == 2 and message in capsys.readouterr().err
    assert not (tmp_path / "other.onnx").exists()
