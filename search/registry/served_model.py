"""The model that MLflow loads and serves: a promoted model, and the code of `fashion_core` to answer with.

MLflow keeps this file beside the model and runs it when the model is loaded (models from code), so that nothing is
unpickled. It must not need the rest of this project: MLflow puts a copy of `fashion_core` on the path, no more.

A row in is an image, with its box or without; a row out is what the model says of it, or why it says nothing. What
goes in has no schema that MLflow enforces: that would drop columns that it does not name, without a word. So the
columns are read here, and `INPUTS` tells of them.
"""

from __future__ import annotations

import base64
import binascii
import json
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlflow.models
import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.pyfunc.model import PythonModel, PythonModelContext
from mlflow.types.schema import ColSpec, DataType, ParamSchema, ParamSpec, Schema, TensorSpec

from fashion_core.data.spreadsheet import BOX_COLUMNS, plain_name
from fashion_core.errors import ConfigError, DataError, Fault
from fashion_core.hardware.device import choose_device
from fashion_core.inference.predictor import Question, answer_each, read_box
from fashion_core.inference.temperatures import load_temperatures
from fashion_core.models.ensemble import load_saved, set_flip

if TYPE_CHECKING:
    from fashion_core.data.schema import AttributeSchema
    from fashion_core.inference.answers import Answer, Box

IMAGE = "image"  # in: base64 of the bytes of an image's file
BOX = "box"  # in, may be left out: see `INPUTS`
TTA = "tta"  # parameter: average with the mirrored image, or not; None: as the model was evaluated
MIN_CONFIDENCE = "min_confidence"  # parameter: answer `unsure` below it; None: always the likeliest class
ON_ERROR = "on_error"  # parameter: what a faulty row does, one of these
ANSWER, RAISE = "answer", "raise"  # answer for itself; or let all be refused
ALL = "probabilities"  # out: JSON, category -> class -> probability
WARNING = "warning"  # out: what a person must know of the answer
ERROR = "error"  # out: why there is none
FINAL = "final"  # the artifact that holds the model
INPUTS = {
    IMAGE: "base64 of the bytes of an image's file; line breaks, the URL-safe letters and `data:` before it are read",
    BOX: "optional, x1 y1 x2 y2 in pixels of the upright image: text, list, or numbers by name; empty: the whole image",
    "or four columns": "; or ".join(" ".join(names) for names in BOX_COLUMNS),
}
MAX_NAMED = 10  # columns


class ServedModel(PythonModel):
    """Answers a table of images: for each category its class and the probability of it, then all probabilities."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the promoted model from its folder."""
        self.load(Path(context.artifacts[FINAL]))

    def load(self, folder: Path) -> ServedModel:
        """Load a saved model from a folder, with the temperatures beside it."""
        self.saved = load_saved(folder, choose_device(None))
        self.temperatures = load_temperatures(folder, self.saved.schema)
        return self

    def predict(
        self, context: PythonModelContext | None, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """A row an image, in order: see `list_outputs`. A faulty row says so in `error`, and has no answer.

        Args:
            model_input: a table with what `INPUTS` tells; or what MLflow makes of one, see `build_table`.

        Raises:
            MlflowException: there is no column of images, or a parameter is at fault; with `on_error` "raise", some
                row is: lists all of these.
        """
        given = params or {}
        flip, on_error = given.get(TTA), given.get(ON_ERROR) or ANSWER
        saved = self.saved if flip is None else set_flip(self.saved, flip)
        try:
            if on_error not in (ANSWER, RAISE):
                raise ConfigError(
                    f"`{ON_ERROR}` must be {ANSWER!r} or {RAISE!r}, but is {on_error!r:.200}; give one of them"
                )
            table = build_table(model_input)
            check_columns(table)
            questions = read_rows(table)
            answers = list(answer_each(saved, questions, self.temperatures, given.get(MIN_CONFIDENCE)))
            faults = [answer for answer in answers if isinstance(answer, Fault)]
            if faults and on_error == RAISE:
                raise DataError("a row must hold an image, and a box inside it or none:", faults)
        except (DataError, ConfigError) as error:
            raise MlflowException.invalid_parameter_value(str(error)) from None
        unknown = warn_of_unknown(table)
        return fill_table([describe_answer(answer, unknown, saved.schema) for answer in answers], saved.schema)


# -------------------------------------------------------------------------------------------------------- what goes in


def build_table(given: Any) -> pd.DataFrame:
    """A table, of its columns, of its rows, or of the values of one row, as MLflow's server parses each.

    Raises:
        DataError: it is something else.
    """
    if isinstance(given, pd.DataFrame):
        return given
    try:
        if isinstance(given, dict):
            columns = {str(name): make_plain(values) for name, values in given.items()}
            single = not isinstance(columns.get(IMAGE, []), list)
            return pd.DataFrame([columns] if single else columns, dtype=object)
        if isinstance(given, list) and all(isinstance(row, dict) for row in given):
            rows = [{str(name): make_plain(value) for name, value in row.items()} for row in given]
            return pd.DataFrame(rows, dtype=object)
    except ValueError as error:  # columns of different lengths
        raise DataError(f"columns must have a value for each row, but: {error}") from None
    raise DataError(
        f"images must stand in a table with the column `{IMAGE}`, but are a {type(given).__name__}; send "
        f'{{"dataframe_records": [{{"{IMAGE}": ...}}]}}'
    )


def make_plain(value: Any) -> Any:
    """Arrays, which MLflow makes of JSON's lists and values, as lists and values again."""
    return value.tolist() if isinstance(value, np.ndarray) else value


def check_columns(table: pd.DataFrame) -> None:
    """Raises DataError where the table has no images, or a column twice."""
    names = [str(name) for name in table.columns]
    shown = ", ".join(map(repr, names))[:200] or "none"
    if IMAGE not in names and (names or len(table)):
        raise DataError(f"a table must have a column `{IMAGE}`, but its columns are {shown}; rename one")
    if len(set(names)) < len(names):
        raise DataError(f"columns must have different names, but are {shown}; rename one")


def read_rows(table: pd.DataFrame) -> list[Question | Fault]:
    """A question a row, by its number, or what is wrong with it."""
    questions: list[Question | Fault] = []
    for number, row in enumerate(table.to_dict("records")):
        name = f"row {number}"
        try:
            file = BytesIO(decode_image(row[IMAGE]))
            questions.append(Question(name, file, read_row_box(row)))
        except DataError as error:
            questions.append(Fault(name, None, str(error)))
    return questions


def decode_image(text: Any) -> bytes:
    """The bytes of a file from their base64: with line breaks, the letters for addresses, or `data:image/...,` before.

    Raises:
        DataError: it is no base64.
    """
    rule = f"`{IMAGE}` must be base64 of an image's file"
    if not isinstance(text, str):
        raise DataError(f"{rule}, but is {'empty' if is_empty(text) else f'of type {type(text).__name__}'}")
    plain = "".join(text.split())
    if plain[:5].lower() == "data:":
        head, _, plain = plain.partition(",")
        if not head.lower().endswith(";base64"):
            raise DataError(f"{rule}, but is {head[:60]!r} without base64; send `data:image/jpeg;base64,...`")
    plain = plain.replace("-", "+").replace("_", "/").rstrip("=")
    try:
        content = base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, ValueError) as error:  # the second for letters beyond ASCII
        raise DataError(f"{rule}, but: {error}") from None
    if not content:
        raise DataError(f"{rule}, but is empty")
    return content


def read_row_box(row: dict[Any, Any]) -> Box | None:
    """The box of a row, from `box` or from four columns.

    Raises:
        DataError: it is none, or a part of one, or there are two.
    """
    given = make_plain(row.get(BOX))
    boxes = [] if is_empty(given) else [read_box(given)]
    own = {plain_name(str(name)): value for name, value in row.items()}
    parts = []
    for known in BOX_COLUMNS:  # the first set that a row has is its box's, as in a table
        sides = {name: own[name] for name in known if not is_empty(own.get(name))}
        if len(sides) == len(known):
            boxes.append(read_box(sides))
            break
        if len(sides) == len(known) - 1 or (sides and own.keys() >= set(known)):
            parts.append(known)
    if not boxes and parts:
        lacking = [name for name in parts[0] if is_empty(own.get(name))]
        raise DataError(f"a box must have {' '.join(parts[0])}, but {' '.join(lacking)} is lacking; add it")
    if len(set(boxes)) > 1:
        shown = " and ".join(map(str, dict.fromkeys(boxes)))
        raise DataError(f"a row must have one box, in `{BOX}` or in four columns, but has {shown}; leave one out")
    return boxes[0] if boxes else None


def is_empty(value: Any) -> bool:
    """Whether a cell holds nothing: None, NaN or blank text."""
    return value is None or (isinstance(value, str) and not value.strip()) or (np.isscalar(value) and pd.isna(value))


def warn_of_unknown(table: pd.DataFrame) -> str | None:
    """Name the columns that are not read."""
    names = [str(name) for name in table.columns]
    plain = {plain_name(name) for name in names}
    sides = {name for known in BOX_COLUMNS if set(known) <= plain for name in known}
    unknown = [name for name in names if name not in (IMAGE, BOX) and plain_name(name) not in sides]
    if not unknown:
        return None
    shown = ", ".join(map(repr, unknown[:MAX_NAMED])) + (", ..." if len(unknown) > MAX_NAMED else "")
    return f"columns that are not read: {shown[:300]}; read are `{IMAGE}`, `{BOX}` and four columns like x1 y1 x2 y2"


# ------------------------------------------------------------------------------------------------------- what comes out


def describe_answer(answer: Answer | Fault, unknown: str | None, schema: AttributeSchema) -> dict[str, Any]:
    """A row of answers; of a faulty one the error alone. unknown: what is to be said of the columns."""
    if isinstance(answer, Fault):
        return {WARNING: unknown, ERROR: str(answer)}
    said = answer.to_dict()["attributes"]
    row: dict[str, Any] = {}
    for column, values in zip(name_columns(schema), said.values(), strict=True):
        row |= {column: values["class"], name_probability(column): values["probability"]}
    row[ALL] = json.dumps({name: values["probabilities"] for name, values in said.items()})
    return row | {WARNING: "; ".join(filter(None, (answer.warning, unknown))) or None, ERROR: None}


def fill_table(rows: list[dict[str, Any]], schema: AttributeSchema) -> pd.DataFrame:
    """Rows as a table where nothing is None, not NaN, which is no JSON."""
    table = pd.DataFrame(rows, columns=list_outputs(schema))
    for name in table.columns[table.isna().any()]:
        table[name] = table[name].astype(object).where(table[name].notna(), None)
    return table


def name_probability(column: str) -> str:
    """The column of the probability of what a category's column says."""
    return f"{column}_probability"


def name_columns(schema: AttributeSchema) -> list[str]:
    """A column for each category: its name, and `_` behind it where that is the name of another column."""
    columns: list[str] = []
    taken = {ALL, WARNING, ERROR}
    for name in schema.names:
        column, others = name, taken | (set(schema.names) - {name})
        while {column, name_probability(column)} & others:
            column += "_"
        taken |= {column, name_probability(column)}
        columns.append(column)
    return columns


def list_outputs(schema: AttributeSchema) -> list[str]:
    """Columns of the answers: of each category its class and probability; all probabilities; a warning, an error."""
    by_category = [column for name in name_columns(schema) for column in (name, name_probability(name))]
    return [*by_category, ALL, WARNING, ERROR]


def build_signature(schema: AttributeSchema) -> ModelSignature:
    """What comes out, and the parameters, for MLflow to check; what goes in is checked here."""
    kinds = [DataType.string, DataType.double] * len(schema.names) + [DataType.string] * 3
    columns: list[ColSpec | TensorSpec] = [
        ColSpec(kind, name, required=False) for kind, name in zip(kinds, list_outputs(schema), strict=True)
    ]
    params = [
        ParamSpec(TTA, DataType.boolean, None),
        ParamSpec(MIN_CONFIDENCE, DataType.double, None),
        ParamSpec(ON_ERROR, DataType.string, ANSWER),
    ]
    return ModelSignature(outputs=Schema(columns), params=ParamSchema(params))


def build_example(image: bytes) -> pd.DataFrame:
    """One row: an image's file, whole."""
    return pd.DataFrame({IMAGE: [base64.b64encode(image).decode()], BOX: [""]})


mlflow.models.set_model(ServedModel())
