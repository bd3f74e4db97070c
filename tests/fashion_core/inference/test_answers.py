"""An answer for a person and for a program says the same."""

import json
from dataclasses import replace

import numpy as np
import pytest
from drawn_models import SCHEMA

from fashion_core.data.schema import AttributeSchema, Category
from fashion_core.errors import ConfigError
from fashion_core.inference.answers import Answer, check_min_confidence


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


def test_what_is_not_sure_enough_is_not_named(answer):
    unsure = replace(answer, min_confidence=0.6)
    assert answer.classes == ("solid", "tight") and unsure.classes == ("unsure", "tight")
    assert replace(answer, min_confidence=0.5).classes == ("solid", "tight")  # as likely is likely enough
    values = unsure.to_dict()["attributes"]["pattern"]
    assert values == {**answer.to_dict()["attributes"]["pattern"], "class": "unsure"}
    _, pattern, fit = unsure.render().splitlines()
    assert pattern.split() == ["pattern", "unsure", "0.50", "perhaps", "solid,", "then", "striped", "0.30"]
    assert fit == answer.render().splitlines()[2]


def test_a_smallest_confidence_is_a_probability():
    for value in (None, 0, 0.8, 1):
        check_min_confidence(value, SCHEMA)
    for value in (-0.1, 1.1, float("nan")):
        with pytest.raises(ConfigError, match="0 to 1"):
            check_min_confidence(value, SCHEMA)
    with pytest.raises(ConfigError, match="mood has a class of that name"):
        check_min_confidence(0.5, AttributeSchema((Category("mood", ("sure", "unsure")),)))


def test_a_warning_is_told_where_there_is_one(answer):
    assert "warning" not in answer.to_dict()
    assert replace(answer, warning="no box").to_dict()["warning"] == "no box"
