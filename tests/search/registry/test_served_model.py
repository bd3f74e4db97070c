"""The model that MLflow serves: answers as `fashion_core.predict` does, and every faulty row for itself."""

import base64
import json
import re
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import numpy as np
import pandas as pd
import pytest
from mlflow.exceptions import MlflowException
from mlflow.pyfunc import scoring_server
from registered_models import (
    BOX,
    ask_core,
    check_table,
    post,
    run_server,
)

from fashion_core.data.schema import AttributeSchema, Category
from fashion_core.inference.answers import Answer
from search.registry.served_model import (
    ServedModel,
    build_example,
    decode_image,
    describe_answer,
    fill_table,
    list_outputs,
)
from search.registry.versions import Version

SIDES = tuple(map(int, BOX.split(",")))
NAMED = dict(zip(("x1", "y1", "x2", "y2"), SIDES, strict=True))
BY_SIZE = {"x": SIDES[0], "y": SIDES[1], "w": SIDES[2] - SIDES[0], "h": SIDES[3] - SIDES[1]}


@pytest.fixture(scope="module")
def loaded(final: Path) -> ServedModel:
    return ServedModel().load(final)


@pytest.fixture(scope="module")
def encoded(photos: list[Path]) -> str:
    return base64.b64encode(photos[0].read_bytes()).decode()


def ask(served: ServedModel, rows: list[dict], **params: Any) -> list[dict]:
    """What it says of rows, as JSON has it: NaN is refused."""
    answered = served.predict(None, pd.DataFrame(rows), params)
    assert list(answered) == list_outputs(served.saved.schema)
    return json.loads(json.dumps(answered.to_dict("records"), allow_nan=False))


@pytest.mark.slow
def test_served_over_http(
    store: str, champion: Version, final: Path, photos: list[Path], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    command = ["models", "serve", "-m", "models:/served@champion", "--env-manager", "local"]
    environment = {"MLFLOW_TRACKING_URI": store, "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"}
    with run_server(command, "ping", tmp_path, **environment) as address:
        rows = [[base64.b64encode(photo.read_bytes()).decode(), BOX] for photo in photos]
        table = {"columns": ["image", "box"], "data": rows}
        answered = post(address, {"dataframe_split": table, "params": {"tta": True}})
        check_table(pd.DataFrame(answered["predictions"]), ask_core(final, photos, capsys, "--box", BOX, "--tta"))
        rows[1][1] = "0,0,4000,9"
        told = post(address, {"dataframe_split": table, "params": {"min_confidence": 1}})["predictions"]
        assert [row["pattern"] for row in told] == ["unsure", None, "unsure"]
        assert re.search(r"row 1: a box must be .* inside the image of 96 x 96", told[1]["error"])
        with pytest.raises(urllib.error.HTTPError) as refused:
            post(address, {"dataframe_split": table, "params": {"on_error": "raise"}})
        assert refused.value.code == 400
        assert re.search(r"row 1: a box must be .* inside the image of 96 x 96", refused.value.read().decode())
        records = [{"image": rows[0][0], "bbox": list(SIDES)}, {"image": rows[0][0]}]
        told = post(address, {"dataframe_records": records})["predictions"]
        assert all("trained on images" in row["warning"] and "'bbox'" in row["warning"] for row in told)


@pytest.mark.slow
def test_every_form_of_a_request(store: str, champion: Version, encoded: str) -> None:
    """MLflow's own parsing before the model, without the wire: no form drops a column, none answers otherwise."""
    mlflow.set_tracking_uri(store)
    served = mlflow.pyfunc.load_model("models:/served@champion")
    row = {"image": encoded, "box": list(SIDES), "shop": "north"}
    requests = [
        {"dataframe_records": [row, row]},
        {"dataframe_split": {"columns": list(row), "data": [list(row.values())] * 2}},
        {"inputs": {name: [value, value] for name, value in row.items()}},
        {"inputs": [row, row]},
        {"instances": [row, row]},
        {"dataframe_records": [{**row, "box": None, **NAMED}] * 2},
        {"inputs": [{**row, "box": NAMED}] * 2},
    ]
    told = []
    for request in requests:
        answer = scoring_server.invocations(json.dumps(request), "application/json", served, None)
        assert answer.status == 200
        told.append(json.loads(answer.response)["predictions"])
    table = pd.DataFrame([{**row, "box": BOX}] * 2).to_csv(index=False)
    told.append(json.loads(scoring_server.invocations(table, "text/csv", served, None).response)["predictions"])
    assert len(told[0]) == 2 and told[0][0]["error"] is None and "'shop'" in told[0][0]["warning"]
    assert all(each == told[0] for each in told)
    single = scoring_server.invocations(json.dumps({"inputs": row}), "application/json", served, None)
    (alone,) = json.loads(single.response)["predictions"]
    assert alone["warning"] == told[0][0]["warning"]
    assert alone["fit_probability"] == pytest.approx(told[0][0]["fit_probability"], abs=1e-5)
    for wrong in ({"inputs": [encoded]}, {"inputs": encoded}, {"dataframe_records": [{"picture": encoded}]}):
        with pytest.raises(MlflowException) as refused:
            scoring_server.invocations(json.dumps(wrong), "application/json", served, None)
        assert refused.value.error_code == "INVALID_PARAMETER_VALUE" and "`image`" in refused.value.message


def test_a_box_in_every_form_is_used(loaded: ServedModel, encoded: str) -> None:
    (whole,), (expected,) = ask(loaded, [{"image": encoded}]), ask(loaded, [{"image": encoded, "box": BOX}])
    assert whole["probabilities"] != expected["probabilities"]
    forms = [SIDES, list(SIDES), np.array(SIDES), f"[{BOX}]", BOX.replace(",", " "), NAMED, BY_SIZE]
    forms += [[float(side) for side in SIDES], [str(side) for side in SIDES]]
    for form in forms:
        assert ask(loaded, [{"image": encoded, "box": form}]) == [expected], form
    for columns in (NAMED, BY_SIZE, {name: float(value) for name, value in NAMED.items()}, {**NAMED, "box": BOX}):
        assert ask(loaded, [{"image": encoded, **columns}]) == [expected], columns
    for nothing in (None, float("nan"), "", " ", pd.NA):
        assert ask(loaded, [{"image": encoded, "box": nothing}]) == [whole]
        assert ask(loaded, [{"image": encoded, **dict.fromkeys(NAMED, nothing)}]) == [whole]
    assert "trained on images" in whole["warning"] and expected["warning"] is None


def test_what_is_no_box_is_refused(loaded: ServedModel, encoded: str) -> None:
    wrong: list[Any] = [5, True, [], [1, 2, 3], "1,2,3", "a,b,c,d", {"x1": 1}, {**NAMED, "z": 1}, [[1, 2], [3, 4]]]
    wrong += ["1.5,2,30,40", [True, False, True, True], [float("inf")] * 4, b"1,2,3,4", "9,9,2,2", [0, 0, 97, 9]]
    rows = ask(loaded, [{"image": encoded, "box": each} for each in wrong])
    for number, row in enumerate(rows):
        assert re.match(rf"row {number}: a box must be .*, but is .*; correct it", row["error"]), wrong[number]
        assert row["pattern"] is None and row["pattern_probability"] is None and row["probabilities"] is None
    (two,) = ask(loaded, [{"image": encoded, "box": "1,2,30,40", **NAMED}])
    assert "one box" in two["error"]
    for part in ({**NAMED, "y2": None}, {**NAMED, "x2": None, "y2": ""}, {"x1": 1, "y1": 2, "x2": 3}):
        half, whole = ask(loaded, [{"image": encoded, **part}, {"image": encoded, "box": BOX}])
        assert re.search(r"a box must have x1 y1 x2 y2, but (x2 )?y2 is lacking", half["error"]) and not whole["error"]


def test_rows_with_boxes_of_different_forms(loaded: ServedModel, encoded: str) -> None:
    """And columns that only look like a part of one, such as an image's size."""
    rows = [{"image": encoded, **NAMED}, {"image": encoded, **BY_SIZE}, {"image": encoded, "box": BOX}]
    told = ask(loaded, rows)
    assert len({row["fit"] for row in told}) == 1 and told[0]["error"] is None
    assert np.ptp([row["fit_probability"] for row in told]) < 1e-5
    size = {"width": 96, "height": 96}
    named, by_size, whole = ask(loaded, [rows[0] | size, rows[1] | size, {"image": encoded}])
    assert named["fit"] == by_size["fit"] == told[0]["fit"] and whole["error"] is None  # the first set is the box's
    (spelt,) = ask(loaded, [{"image": encoded} | {f"bbox_{name}": side for name, side in NAMED.items()}])
    assert spelt["fit_probability"] == pytest.approx(told[0]["fit_probability"], abs=1e-5) and not spelt["warning"]
    (alone,) = ask(loaded, [{"image": encoded} | size])
    assert "trained on images" in alone["warning"] and "not read: 'width', 'height';" in alone["warning"]


def test_base64_as_programs_write_it(photos: list[Path]) -> None:
    content = photos[0].read_bytes() + b"\xfb\xff\xfe"
    plain = base64.b64encode(content).decode()
    urlsafe = base64.urlsafe_b64encode(content).decode()
    assert plain != urlsafe
    lines = base64.encodebytes(content).decode()
    for text in (plain, urlsafe, lines, lines.replace("\n", "\r\n"), urlsafe.rstrip("="), f"  {plain}\n"):
        for head in ("", "data:image/png;base64,", "data:;base64,", "DATA:image/png;charset=x;base64,"):
            assert decode_image(head + text) == content


def test_faulty_rows_answer_for_themselves(loaded: ServedModel, photos: list[Path], encoded: str) -> None:
    text = base64.b64encode(b"not an image").decode()
    faulty: list[tuple[Any, str]] = [
        ("%%", "`image` must be base64"),
        ("A", "`image` must be base64"),
        ("naïve", "`image` must be base64"),
        ("", "but is empty"),
        (None, "but is empty"),
        (5, "of type int"),
        ("data:image/png,abc", "without base64"),
        (text, "must be one of"),
        (encoded[:400], "row"),
    ]
    rows = [row for image, _ in faulty for row in ({"image": image}, {"image": encoded, "box": BOX})]
    told = ask(loaded, rows)
    (alone,) = ask(loaded, [{"image": encoded, "box": BOX}])
    for index, (_, message) in enumerate(faulty):
        bad, good = told[2 * index : 2 * index + 2]
        assert bad["error"].startswith(f"row {2 * index}: ") and message in bad["error"] and bad["fit"] is None
        assert good["error"] is None and good["fit"] == alone["fit"]
        assert good["fit_probability"] == pytest.approx(alone["fit_probability"], abs=1e-5)
    with pytest.raises(MlflowException) as refused:
        ask(loaded, rows, on_error="raise")
    assert refused.value.error_code == "INVALID_PARAMETER_VALUE"
    named = re.findall(r"^  row (\d+): ", refused.value.message, re.MULTILINE)
    assert named == [str(2 * index) for index in range(len(faulty))]
    assert len(loaded.predict(None, build_example(photos[0].read_bytes())[:0])) == 0


@pytest.mark.parametrize(
    ("names", "columns"),
    [
        (("colour", "fit"), ["colour", "fit"]),
        (("error", "warning", "probabilities"), ["error_", "warning_", "probabilities_"]),
        (("fit", "fit_probability"), ["fit_", "fit_probability"]),
        (("fit_probability", "fit"), ["fit_probability", "fit_"]),
    ],
)
def test_a_category_that_is_called_as_another_column_has_its_own(names: tuple[str, ...], columns: list[str]) -> None:
    schema = AttributeSchema(tuple(Category(name, ("red", "blue")) for name in names))
    probabilities = [np.array([0.25, 0.75], np.float32)] * len(names)
    row = describe_answer(Answer("a.jpg", None, schema, probabilities), None, schema)
    (told,) = fill_table([row], schema).to_dict("records")
    assert len(set(list_outputs(schema))) == len(list_outputs(schema)) and told["error"] is None
    assert [told[column] for column in columns] == ["blue"] * len(names)
    assert all(told[f"{column}_probability"] == 0.75 for column in columns)


def test_parameters(loaded: ServedModel, encoded: str) -> None:
    (sure,) = ask(loaded, [{"image": encoded, "box": BOX}], min_confidence=0.0)
    assert sure == ask(loaded, [{"image": encoded, "box": BOX}])[0]
    middle = (sure["pattern_probability"] + sure["fit_probability"]) / 2
    (row,) = ask(loaded, [{"image": encoded, "box": BOX}], min_confidence=middle)
    for name in ("pattern", "fit"):
        assert row[name] == (sure[name] if sure[f"{name}_probability"] >= middle else "unsure")
        assert row[f"{name}_probability"] == sure[f"{name}_probability"]
    assert [row["pattern"], row["fit"]].count("unsure") == 1
    for params, message in (({"min_confidence": 1.5}, "0 to 1"), ({"on_error": "ignore"}, "`on_error` must be")):
        with pytest.raises(MlflowException, match=message):
            ask(loaded, [{"image": encoded}], **params)


@pytest.mark.slow
def test_what_is_registered_can_be_read_by_another_user(store: str, champion: Version) -> None:
    """As the umask of tests allows: a service need not run as who promoted."""
    artifacts = Path(store.removeprefix("sqlite:///")).parent / "artifacts"
    assert any(path.suffix == ".safetensors" for path in artifacts.rglob("*"))
    modes = {path.stat().st_mode & 0o044 for path in artifacts.rglob("*")}
    assert modes == {0o044}
