"""One result of a promotion: what it says of itself, and what a program gets of it."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from drawn_candidates import draw_candidate
from drawn_results import build_result

from fashion_core.errors import SearchError
from fashion_core.metrics import Measure
from search.promotion.forms import ENSEMBLE, SEEDS, SINGLE, SOUP, Choice
from search.promotion.judgement import Judgement
from search.promotion.result import describe_origin, estimate_scores
from search.registry.versions import Version
from search.statistics.intervals import BOTH, IMAGES


def test_what_passed_is_told_apart_from_what_was_forced(stage):
    result = build_result(stage)
    refused = replace(result.gate, verdict=replace(result.verdict, passed=False))
    forced = replace(build_result(stage, force=True), gate=refused)
    assert (result.passed, result.forced) == (True, False) and (forced.passed, forced.forced) == (True, True)
    assert not replace(result, gate=refused).passed
    assert not result.is_champion
    version = Version("fashion-attributes", 3, "run", aliases=("champion",))
    assert replace(result, version=version).is_champion
    assert not replace(result, version=replace(version, aliases=("previous",))).is_champion


def test_its_dictionary_is_json_and_has_every_figure(stage, single):
    result = replace(build_result(stage), shipped=single, version=Version("fashion-attributes", 3, "run"))
    found = json.loads(json.dumps(result.to_dict()))
    low, high = result.score.compute_interval()
    assert (found["score"]["value"], found["score"]["low"], found["score"]["high"]) == (result.score.value, low, high)
    assert list(found["categories"]) == list(stage.prepared.schema.names)
    assert found["version"] == 3 and found["passed"] and not found["champion"]
    assert [each["candidate"] for each in found["candidates"]] == [row.candidate.label for row in result.judgement.rows]
    assert found["gate"]["reasons"] == list(result.verdict.reasons)
    assert found["gate"]["p_value"] == result.verdict.difference.mean.p_value
    assert found["model"] == str(single.layout.folder) and Path(found["report"]).name == "PROMOTION.md"


def test_its_model_is_the_one_that_was_shipped(stage, single):
    result = build_result(stage)
    with pytest.raises(SearchError, match="but it did not let that of drawn"):
        result.model()
    model = replace(result, shipped=single).model(device="cpu")
    assert model.temperatures == single.temperatures
    index = stage.prepared.indices("val")[0]
    (answer,) = model.predict([stage.source.data / stage.prepared.names[index]])
    assert set(answer.to_dict()["attributes"]) == set(stage.prepared.schema.names)


def test_mlflow_gets_every_category(stage):
    result = build_result(stage)
    assert result.metrics["promotion/score"] == result.score.value
    for name, each in zip(result.category_names, result.categories, strict=True):
        assert result.metrics[f"promotion/score/{name}"] == each.value


def test_scores_cover_seeds_where_there_are_several():
    answers = (np.random.default_rng(0).random((3, 40, 2)) < 0.7).astype(float)
    judgement = Judgement((), None, (answers,))
    over_both, categories = estimate_scores(answers, judgement, Measure())
    assert over_both.covers == BOTH and over_both.value == pytest.approx(answers.mean())
    assert [each.value for each in categories] == pytest.approx(answers.mean((0, 1)).tolist())
    assert estimate_scores(answers[:1], judgement, Measure())[0].covers == IMAGES


def test_origins_in_words():
    candidates = [draw_candidate(4, 0.5), draw_candidate(9, 0.5)]

    def describe(form, *networks, fit_on="train"):
        return describe_origin(Choice(form, networks, []), candidates, fit_on)

    assert describe(SINGLE, (1, 0)) == "Trial 9, trained again with a fresh seed on train."
    again = "trained again with fresh seeds on train"
    soup, seeds, ensemble = (
        describe(SOUP, (0, 0), (1, 1)),
        describe(SEEDS, (0, 0), (0, 1)),
        describe(ENSEMBLE, (0, 0), (0, 0), (1, 0)),
    )
    assert soup == f"The average of the weights of 2 networks: trial 4 and trial 9, {again}."
    assert seeds == f"An ensemble of 2 networks, the seeds of one candidate: trial 4, {again}."
    assert ensemble == f"An ensemble of 2 networks: trial 4 and trial 9, {again}."
    assert describe(SINGLE, (0, 0), fit_on="train+val").endswith("on train and val.")
