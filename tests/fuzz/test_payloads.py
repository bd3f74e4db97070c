"""What is posted to a served model, with odd names and values in it: answered row by row, or refused with a reason."""

from __future__ import annotations

import base64
import json
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pandas as pd
import pytest
from drawn_models import draw_model
from drawn_photographs import draw_photograph, encode
from hypothesis import given
from hypothesis import strategies as st
from mlflow.exceptions import MlflowException
from mlflow.models import Model
from mlflow.pyfunc import PyFuncModel, scoring_server
from mutation import fuzz, no_hang

from fashion_core.models.ensemble import save_member
from search.registry.served_model import ServedModel, build_signature

if TYPE_CHECKING:
    pass

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> PyFuncModel:
    """A model as MLflow's server has it loaded."""
    folder = save_member(tmp_path_factory.mktemp("served"), draw_model(3, image_size=32)).parent
    loaded = ServedModel().load(folder)
    answer = SimpleNamespace(predict=lambda data, params=None: loaded.predict(None, data, params))
    description = Model(signature=build_signature(loaded.saved.schema))
    description.add_flavor("python_function", loader_module="mlflow.pyfunc.model")
    return PyFuncModel(description, answer)


def draw_payloads() -> st.SearchStrategy[bytes]:
    """What is posted: the forms that MLflow parses, with odd names and values in them."""
    image = base64.b64encode(encode(draw_photograph(32, 32), "PNG")).decode()
    plain = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5))
    odd = st.recursive(plain, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner))
    images = st.sampled_from([image, f"data:image/png;base64,{image}", image[:50], "", None])
    boxes = st.one_of(st.sampled_from(["1,2,30,31", [1, 2, 30, 31], {"x": 1, "y": 2, "w": 9, "h": 9}]), odd)
    sides = dict.fromkeys(("x1", "y1", "x2", "y2"), st.one_of(st.integers(0, 40), st.none(), odd))
    row = st.fixed_dictionaries({"image": images}, optional={"box": boxes, "shop": odd, **sides})
    rows = st.lists(st.one_of(row, row, row, st.dictionaries(st.sampled_from(["x1", "image", ""]), odd)), max_size=3)
    tables = st.one_of(
        rows.map(lambda table: {"dataframe_records": table}),
        rows.map(lambda table: {"inputs": table}),
        rows.map(lambda table: {"dataframe_split": pd.DataFrame(table).to_dict("split")}),
        row.map(lambda table: {"inputs": table}),
        st.dictionaries(st.sampled_from(["dataframe_records", "dataframe_split", "inputs", "instances", ""]), odd),
    )
    params = {
        "tta": st.one_of(st.booleans(), odd),
        "min_confidence": st.one_of(st.floats(0, 1), odd),
        "on_error": st.one_of(st.sampled_from(["answer", "raise"]), odd),
    }
    given_params = st.one_of(st.none(), st.just({}), st.fixed_dictionaries({}, optional=params), odd)
    requests = st.builds(lambda table, given: table | {"params": given}, tables, given_params)
    return requests.map(lambda request: json.dumps(request).encode("utf-8", "surrogatepass"))


@fuzz(20)
@given(body=draw_payloads())
def test_payloads(served: PyFuncModel, body: bytes) -> None:
    """Answered, as JSON of every row; or refused by a reason that is no crash."""
    with no_hang():
        try:
            answer = scoring_server.invocations(body, "application/json", served, None)
        except MlflowException as error:
            assert "unexpected error" not in error.message, body
            return
    json.loads(answer.response, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
