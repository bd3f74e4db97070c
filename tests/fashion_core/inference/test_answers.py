"""An answer for a person and for a program says the same."""

import json

import numpy as np
import pytest
from drawn_models import SCHEMA

from fashion_core.inference.answers import Answer


@pytest.fixture
def answer() -> Answer:
    probabilities = [np.array([0.2, 0.3, 0.5], np.float32), np.array([0.9, 0.1], np.float32)]
    return Answer("shop/a.jpg", (1, 2, 30, 40), SCHEMA, probabilities)


def test_a_person_reads_the_best_and_the_runner_up(answer):
    first, pattern, fit = answer.render().splitlines()
    assert first == "shop/a.jpg, box 1,2,30,40"
    assert pattern.split() == ["pattern", "solid", "0.50", "then", "striped", "0.30"]
    assert fit.split() == ["fit", "tight", "0.90", "then", "loose", "0.10"]
    assert pattern.index("0.50") == fit.index("0.90")  # in columns


def test_a_program_reads_all(answer):
    values = json.loads(json.dumps(answer.to_dict()))
    assert values["image"] == "shop/a.jpg" and values["box"] == [1, 2, 30, 40]
    assert values["attributes"]["pattern"]["class"] == "solid"
    assert values["attributes"]["fit"]["probabilities"] == pytest.approx({"tight": 0.9, "loose": 0.1})
    whole = Answer("a.jpg", None, SCHEMA, answer.probabilities)
    assert whole.to_dict()["box"] is None and whole.render().splitlines()[0] == "a.jpg"
