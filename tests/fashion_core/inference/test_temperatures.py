"""Temperatures beside a saved model change how sure its answers are, and nothing else."""

import json
from pathlib import Path

import numpy as np
import pytest
from drawn_models import SCHEMA, draw_model, draw_pixels
from PIL import Image

from fashion_core import predict
from fashion_core.errors import CheckpointError
from fashion_core.inference.temperatures import TEMPERATURES_FILE, load_temperatures
from fashion_core.models.ensemble import save_member


def test_an_answer_is_tempered_where_temperatures_stand_beside_the_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = save_member(tmp_path, draw_model(1))
    Image.fromarray(draw_pixels(0, 1, 64)[0].numpy()).save(tmp_path / "a.png")

    def ask(model: Path) -> dict:
        predict.main([str(model), str(tmp_path / "a.png"), "--json", "--device", "cpu"])
        return json.loads(capsys.readouterr().out)["attributes"]

    plain = ask(file)
    (tmp_path / TEMPERATURES_FILE).write_text('{"fit": 0.5, "pattern": 3}')
    tempered = ask(file)
    assert tempered == ask(tmp_path)
    for name, temperature in (("pattern", 3), ("fit", 0.5)):
        powers = {word: value ** (1 / temperature) for word, value in plain[name]["probabilities"].items()}
        total = sum(powers.values())
        expected = {word: value / total for word, value in powers.items()}
        assert tempered[name]["probabilities"] == pytest.approx(expected, abs=1e-6)
        assert tempered[name]["class"] == plain[name]["class"]
        assert np.sign(plain[name]["probability"] - tempered[name]["probability"]) == np.sign(temperature - 1)


def test_none_and_faulty_ones(tmp_path: Path) -> None:
    assert load_temperatures(tmp_path, SCHEMA) is None
    for text in (
        "{",
        "[1, 2]",
        '{"pattern": 1}',
        '{"pattern": 1, "fit": 0}',
        '{"pattern": 1, "fit": NaN}',
        '{"pattern": 1, "fit": null}',
        '{"pattern": 1, "fit": 1, "sleeve": 1}',
    ):
        (tmp_path / TEMPERATURES_FILE).write_text(text)
        with pytest.raises(CheckpointError, match="a positive number for each of pattern, fit"):
            load_temperatures(tmp_path, SCHEMA)
