"""A saved model or ensemble as one ONNX file, checked against PyTorch, and that file asked for attributes.

The file takes pixels and gives probabilities: normalisation, mirrored images, averaging and temperatures are inside.
Its metadata say how to crop and resize, what the classes are, and which temperatures were applied; files of the format
before, `fashion-onnx/1`, have none inside. N images, S pixels a side, K categories, C classes of one category.
"""

from __future__ import annotations

import copy
import json
import warnings
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import numpy as np
import onnxruntime
import torch
from pydantic import BaseModel
from torch import Tensor, nn

from fashion_core.data.pixels import PrepareSettings
from fashion_core.data.prepared import SettingsDescription
from fashion_core.data.schema import AttributeSchema
from fashion_core.errors import ExportError, first_line
from fashion_core.files import check_form, parse_json, whole
from fashion_core.inference.temperatures import SMALLEST, apply_temperatures
from fashion_core.models.ensemble import AttributeEnsemble, Saved, SavedEnsemble, as_ensemble
from fashion_core.models.forward import predict_views

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

MAX_DIFFERENCE = 1e-4  # of probabilities; float32 sums in another order differ by 1e-6
METADATA_KEY = "description"
ONNX_FORMAT = "fashion-onnx/2"
ONNX_FORMATS = ("fashion-onnx/1", ONNX_FORMAT)
ERRORS_ONLY = 3  # ONNX Runtime's log severity


class OnnxDescription(BaseModel):
    """What the metadata of an exported model tell, checked by types."""

    format: str
    categories: dict[str, list[str]]
    inputs: dict[str, SettingsDescription]
    temperatures: dict[str, float] | None = None


class OnnxModel:
    """An exported model, run by ONNX Runtime on the CPU.

    Attributes:
        views: how its images are prepared; an input each, in this order.
        temperatures: K, inside its probabilities; None where these are as the network gives them.

    Raises:
        ExportError: it is not an ONNX file of this project.
    """

    def __init__(self, path: Path) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = ERRORS_ONLY
        try:
            self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
            found = parse_json(self.session.get_modelmeta().custom_metadata_map[METADATA_KEY])
            description = check_form(found, OnnxDescription)
            if description.format not in ONNX_FORMATS:
                raise ValueError(f"its format is {description.format!r:.60}")
            self.schema = AttributeSchema.from_dict(description.categories)
            applied = description.temperatures
            self.temperatures = None if applied is None else tuple(applied[name] for name in self.schema.names)
        except Exception as error:  # ONNX Runtime's errors have no common base of their own
            raise ExportError(
                f"an exported model must be an ONNX file that this project wrote, but {path} is not "
                f"({first_line(error)}); export it again"
            ) from None
        self.views = tuple(PrepareSettings(**view.model_dump()) for view in description.inputs.values())
        self.inputs = tuple(description.inputs)

    def predict(self, images: Mapping[PrepareSettings, np.ndarray]) -> list[np.ndarray]:
        """Probabilities: K arrays [N, C_i] float32.

        Args:
            images: [N, S, S, 3] uint8, by how they were prepared; each of `views`.

        Raises:
            ExportError: ONNX Runtime cannot run the model on them.
        """
        feed = {
            name: np.ascontiguousarray(images[view].transpose(0, 3, 1, 2))
            for name, view in zip(self.inputs, self.views, strict=True)
        }
        try:
            probabilities: list[np.ndarray] = self.session.run(None, feed)
        except Exception as error:  # as above
            raise ExportError(
                f"an exported model must run in ONNX Runtime {onnxruntime.__version__} for any number of images, but: "
                f"{first_line(error)}; use the saved model, or export with another version of PyTorch"
            ) from None
        return probabilities


class CalibratedEnsemble(nn.Module):
    """An ensemble whose probabilities p are p^(1/T), of sum 1, with a temperature T for each category."""

    def __init__(self, ensemble: AttributeEnsemble, temperatures: Sequence[float]) -> None:
        super().__init__()
        self.ensemble, self.temperatures = ensemble, tuple(temperatures)

    def forward(self, images: list[Tensor]) -> tuple[Tensor, ...]:
        """images: see `AttributeEnsemble` -> K tensors [B, C_i]."""
        pairs = zip(self.ensemble(images), self.temperatures, strict=True)
        return tuple((values.clamp_min(SMALLEST).log() / temperature).softmax(1) for values, temperature in pairs)


def export_onnx(
    saved: Saved,
    path: Path,
    images: Mapping[PrepareSettings, np.ndarray],
    temperatures: Sequence[float] | None = None,
) -> float:
    """Write the model as an ONNX file, if it answers these images as PyTorch does.

    Inputs: `pixels` [B, 3, S, S] uint8 for any B; `pixels_0`, `pixels_1`, ... where members of an ensemble want their
    images prepared in different ways. Outputs: the probabilities [B, C] of each category, by its name.

    Args:
        images: [N, S, S, 3] uint8, by how they were prepared; each of the ensemble's `views`. The more like those
            that will be asked about, the more the check is worth.
        temperatures: of the categories, applied to the probabilities; None leaves them as they are.

    Returns:
        The largest difference of probabilities found.

    Raises:
        ExportError: a difference is larger than 1e-4, or it does not run, or there is no image; no file is written.
    """
    ensemble = move_to_cpu(as_ensemble(saved))
    count = min(len(pixels) for pixels in images.values())
    if not count:
        raise ExportError("an export is checked on at least one image, but got 0; name one")
    expected = predict_views(ensemble, images)
    if temperatures is not None:
        expected = apply_temperatures(expected, temperatures)
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as temporary:
        write_onnx(ensemble, temporary, temperatures)
        model = OnnxModel(temporary)
        alone = model.predict({view: pixels[:1] for view, pixels in images.items()})  # another batch size
        together = model.predict(images)
        difference = max(compute_difference(together, expected), compute_difference(alone, [v[:1] for v in expected]))
        if not difference <= MAX_DIFFERENCE:
            raise ExportError(
                f"an exported model's probabilities must be within {MAX_DIFFERENCE:g} of PyTorch's, but differ by "
                f"{difference:.3g} on {count} images; use the saved model, or export with another version of PyTorch"
            )
    return difference


def compute_difference(answers: Sequence[np.ndarray], expected: Sequence[np.ndarray]) -> float:
    """Largest absolute difference; NaN where one is no number."""
    return float(np.max([np.abs(a - b).max() for a, b in zip(answers, expected, strict=True)]))


def move_to_cpu(ensemble: SavedEnsemble) -> SavedEnsemble:
    """A copy on the CPU, in float32 and row-major."""
    members = []
    for member in ensemble.members:
        network = copy.deepcopy(member.network).cpu().float().to(memory_format=torch.contiguous_format).eval()
        config = member.config.model_copy(update={"precision": "fp32", "channels_last": False})
        members.append(replace(member, network=network, config=config))
    return replace(ensemble, members=tuple(members))


def write_onnx(ensemble: SavedEnsemble, path: Path, temperatures: Sequence[float] | None = None) -> None:
    """Write the ensemble's network, with its temperatures, and its description, unchecked.

    With PyTorch's exporter by `torch.export`: that by TorchScript, which goes away, takes a tenth of the time, but its
    graph of EfficientNet-Lite0 has four times the nodes and is a fifth slower in ONNX Runtime.
    """
    views = ensemble.views
    names = ["pixels"] if len(views) == 1 else [f"pixels_{number}" for number in range(len(views))]
    images = [torch.zeros(2, 3, view.image_size, view.image_size, dtype=torch.uint8) for view in views]
    plain = AttributeEnsemble(ensemble)
    network = plain if temperatures is None else CalibratedEnsemble(plain, temperatures)
    batch = torch.export.Dim("batch")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*The axis name: batch will not be used")  # of the second input
        program = torch.onnx.export(
            network.eval(),
            (images,),
            dynamo=True,
            dynamic_shapes=([{0: batch} for _ in views],),
            input_names=names,
            output_names=list(ensemble.schema.names),
            verbose=False,
        )
    assert program is not None  # it is None for the old exporter alone
    description = {
        "format": ONNX_FORMAT,
        "categories": ensemble.schema.to_dict(),
        "inputs": {name: asdict(view) for name, view in zip(names, views, strict=True)},
        "temperatures": None
        if temperatures is None
        else dict(zip(ensemble.schema.names, map(float, temperatures), strict=True)),
    }
    program.model.metadata_props[METADATA_KEY] = json.dumps(description)
    program.save(path, external_data=False)
