"""The model that MLflow loads and serves: a promoted model, and the code of `fashion_core` to answer with.

MLflow keeps this file beside the model and runs it when the model is loaded (models from code), so that nothing is
unpickled. It must not need the rest of this project: MLflow puts a copy of `fashion_core` on the path, no more.

A row in is an image; a row out is what the model says of it.
"""

from __future__ import annotations

import base64
import json
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlflow.models
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.pyfunc.model import PythonModel, PythonModelContext
from mlflow.types.schema import ColSpec, DataType, ParamSchema, ParamSpec, Schema, TensorSpec

from fashion_core.errors import DataError, FashionError, Fault
from fashion_core.hardware.device import choose_device
from fashion_core.inference.predictor import Question, answer_questions, parse_box
from fashion_core.inference.temperatures import load_temperatures
from fashion_core.models.ensemble import load_saved, set_flip

if TYPE_CHECKING:
    from fashion_core.data.schema import AttributeSchema

IMAGE = "image"  # in: base64 of the bytes of an image's file
BOX = "box"  # in, may be left out: `x1,y1,x2,y2`; empty for the whole image
TTA = "tta"  # parameter: average with the mirrored image, or not; None: as the model was evaluated
ALL = "probabilities"  # out: JSON, category -> class -> probability
FINAL = "final"  # the artifact that holds the model


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
        """A row an image, in order: see `build_signature`.

        Raises:
            MlflowException: some image cannot be read or does not hold its box; lists all of them by their row.
        """
        flip = (params or {}).get(TTA)
        saved = self.saved if flip is None else set_flip(self.saved, flip)
        try:
            answers = list(answer_questions(saved, read_rows(model_input), self.temperatures))
        except FashionError as error:
            raise MlflowException.invalid_parameter_value(str(error)) from None
        rows = []
        for answer in answers:
            said = answer.to_dict()["attributes"]
            row: dict[str, Any] = {}
            for name, values in said.items():
                row |= {name: values["class"], name_probability(name): values["probability"]}
            rows.append(row | {ALL: json.dumps({name: values["probabilities"] for name, values in said.items()})})
        return pd.DataFrame(rows, columns=list_outputs(saved.schema))


def read_rows(table: pd.DataFrame) -> list[Question]:
    """A question a row, by its number.

    Raises:
        DataError: lists every row whose image is no base64 or whose box is no box.
    """
    questions, faults = [], []
    boxes = table[BOX] if BOX in table else [None] * len(table)
    for number, (text, box) in enumerate(zip(table[IMAGE], boxes, strict=True)):
        name = f"row {number}"
        try:
            content = base64.b64decode(text, validate=True)
            given = parse_box(box) if isinstance(box, str) and box.strip() else None
            questions.append(Question(name, BytesIO(content), given))
        except (ValueError, TypeError) as error:
            faults.append(Fault(name, None, f"`{IMAGE}` must be base64 of an image's file, but: {error}"))
        except DataError as error:
            faults.append(Fault(name, None, str(error)))
    if faults:
        raise DataError(f"a row must hold an image, and a box or none (`{IMAGE}`, `{BOX}`):", faults)
    return questions


def name_probability(category: str) -> str:
    """The column of the probability of a category's answer."""
    return f"{category}_probability"


def list_outputs(schema: AttributeSchema) -> list[str]:
    """Columns of the answers: of each category its class and probability, then all probabilities."""
    return [column for name in schema.names for column in (name, name_probability(name))] + [ALL]


def build_signature(schema: AttributeSchema) -> ModelSignature:
    """What goes in and comes out, for MLflow to check."""
    kinds = [DataType.string, DataType.double] * len(schema.names) + [DataType.string]
    columns: list[ColSpec | TensorSpec] = [
        ColSpec(kind, name) for kind, name in zip(kinds, list_outputs(schema), strict=True)
    ]
    return ModelSignature(
        inputs=Schema([ColSpec(DataType.string, IMAGE), ColSpec(DataType.string, BOX, required=False)]),
        outputs=Schema(columns),
        params=ParamSchema([ParamSpec(TTA, DataType.boolean, None)]),
    )


def build_example(image: bytes) -> pd.DataFrame:
    """One row: an image's file, whole."""
    return pd.DataFrame({IMAGE: [base64.b64encode(image).decode()], BOX: [""]})


mlflow.models.set_model(ServedModel())
