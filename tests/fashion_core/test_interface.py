"""The library as one uses it: the lines of its own documentation, and what it says of mistakes."""

from __future__ import annotations

import ast
import inspect
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import fashion_core
from fashion_core import FashionError, TrainConfig, fit, load_annotations, load_model, prepare

SMALL = TrainConfig(backbone="test_resnet", weights="none", image_size=64, crop="whole", epochs=1, eval_flip=False)
# Nothing of these needs a network, and the search reads them before it starts any.
LIGHT = ["config", "errors", "files", "metrics", "data.annotations", "data.pixels", "data.schema"]
LIGHT += ["data.audit", "data.prepared", "data.splits", "samples.dataset", "inference.temperatures"]


def read_example() -> str:
    """The block of code in the package's docstring."""
    lines = inspect.cleandoc(fashion_core.__doc__ or "").splitlines()
    return "\n".join(line[4:] for line in lines if line.startswith("    "))


def test_the_lines_of_the_documentation_run(
    sample_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code = read_example()
    own, small = 'backbone="resnet18"', 'backbone="test_resnet", weights="none", image_size=32'
    assert code.count("\n") <= 7 and own in code
    (tmp_path / "FashionDataset").symlink_to(sample_folder)
    shutil.copy(sample_folder / "img" / "00125.jpg", tmp_path / "dress.jpg")
    monkeypatch.chdir(tmp_path)
    exec(code.replace(own, small), {})
    assert (tmp_path / "model" / "model.safetensors").is_file()
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == "dress.jpg" and [line.split()[0] for line in printed[1:]][:2] == ["pattern", "sleeve"]


@pytest.mark.slow
def test_fit_takes_all_labelled_images_unless_told(sample_folder: Path, tmp_path: Path) -> None:
    data = prepare(load_annotations(sample_folder), SMALL, str(tmp_path))
    assert data.settings.image_size == 64 and data.settings.crop == "whole"
    (alone,) = fit(SMALL, data, device="cpu")
    (told,) = fit(SMALL, data, train=np.arange(120), val=np.arange(120, 168), device="cpu")
    assert len(alone.correct) == 48
    for one, other in zip(alone.probabilities, told.probabilities, strict=True):
        np.testing.assert_array_equal(one, other)
    saved = load_model(alone.save_best(str(tmp_path / "model")))
    assert saved.metrics == alone.metrics and saved.config == SMALL


def test_mistakes_are_told_in_words(sample_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(FashionError, match=r"`lr`: .* but got -1\n.*did you mean `dropout`"):
        TrainConfig(lr=-1, dropuot=0.5)  # type: ignore[call-arg]
    with pytest.raises(FashionError, match=r"must be a table .* or a folder with split/"):
        load_annotations(tmp_path)
    with pytest.raises(FashionError, match="there is none in"):
        load_model(tmp_path)
    data = prepare(load_annotations(sample_folder), SMALL, tmp_path)
    with pytest.raises(FashionError, match="prepare the data with these"):
        next(fit(SMALL.model_copy(update={"image_size": 32}), data))
    with pytest.raises(FashionError, match="the device must be one of this machine"):
        next(fit(SMALL, data, device="tpu9"))


def test_the_face_names_what_is_there() -> None:
    assert list(fashion_core.__all__) == sorted(fashion_core.__all__)
    shown = {
        alias.name
        for node in ast.walk(ast.parse(Path(fashion_core.__file__).read_text()))
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("fashion_core.")
        for alias in node.names
    }
    assert shown - {"attach"} == set(fashion_core.__all__)
    for name in fashion_core.__all__:
        assert getattr(fashion_core, name).__doc__, name
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = fashion_core.nothing


def test_what_needs_no_network_loads_no_torch() -> None:
    names = ", ".join(f"fashion_core.{name}" for name in LIGHT)
    code = f"import sys, {names}; print({{'torch', 'timm', 'safetensors.torch'}} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"


@pytest.mark.parametrize("command", ["predict", "audit", "onnx_export", "sample_data"])
def test_help_loads_no_torch(command: str) -> None:
    code = f"import sys; from fashion_core.{command} import main; sys.argv = ['{command}', '--help']\n"
    code += "try: main()\nfinally: print({'torch', 'onnxruntime', 'captum', 'matplotlib'} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0 and result.stdout.splitlines()[-1] == "set()" and "usage:" in result.stdout


def test_what_old_cards_import_is_there() -> None:
    """Cards and models registered by older versions name these places."""
    from fashion_core import attributes, ensemble, onnx_export, predict, temperatures

    for module in (attributes, ensemble, onnx_export, predict, temperatures):
        assert module.__all__
        for name in module.__all__:
            assert getattr(module, name).__module__ not in (module.__name__, None)


def test_pyarrow_waits_for_a_table() -> None:
    code = "import sys, fashion_core.data.annotations; print('pyarrow' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"
