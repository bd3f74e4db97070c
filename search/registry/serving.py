"""A promoted model in MLflow's format: with the code that answers, so that it loads where this project is not."""

from __future__ import annotations

import json
import tempfile
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import fashion_core
from fashion_core.errors import DataError
from search.registry.access import find_or_none
from search.tracking.store import import_mlflow

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlflow.entities import LoggedModel
    from mlflow.tracking import MlflowClient

VERSIONS_TAG = "mlflow.modelVersions"  # MLflow's own; where a database is used without a server, nobody sets it
SERVED_MODEL = Path(__file__).with_name("served_model.py")
# What its code and that of fashion_core import to answer; and torchvision, which timm asks for: built for this torch.
SERVED_PACKAGES = (
    "mlflow", "numpy", "pandas", "pillow", "pydantic", "safetensors", "timm", "torch", "torchvision",
)  # fmt: skip


def store_served(
    client: MlflowClient, name: str, final: Path, run_id: str, tags: dict[str, str], example_image: bytes
) -> LoggedModel:
    """Store a promoted model's files as an output of its run: see `store_output`.

    Args:
        example_image: see `save_served`, also for what is raised.
    """
    return store_output(
        client, name, run_id, tags, lambda folder, logged: save_served(final, folder, logged, example_image)
    )


def store_output(
    client: MlflowClient,
    name: str,
    run_id: str,
    tags: dict[str, str],
    write: Callable[[Path, LoggedModel], object],
) -> LoggedModel:
    """Store a folder as a model among a run's outputs; goes on where a call with the same tags was cut off.

    Args:
        name: of the output.
        tags: tell it from the run's other outputs.
        write: makes the folder.
    """
    from mlflow.entities import LoggedModelOutput, LoggedModelStatus

    run = client.get_run(run_id)
    outputs = run.outputs.model_outputs if run.outputs else []
    stored = [find_or_none(partial(client.get_logged_model, output.model_id)) for output in outputs]  # none: deleted
    logged = next((model for model in stored if model is not None and tags.items() <= model.tags.items()), None)
    if logged is None:
        logged = client.create_logged_model(run.info.experiment_id, name, run_id, tags)
        client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, 0)])
    if logged.status != LoggedModelStatus.READY:
        with tempfile.TemporaryDirectory(prefix="fashion-") as folder:
            write(Path(folder) / "model", logged)
            client.log_model_artifacts(logged.model_id, str(Path(folder) / "model"))
        client.finalize_logged_model(logged.model_id, LoggedModelStatus.READY)
    return logged


def tell_version(client: MlflowClient, stored: LoggedModel, name: str, number: str) -> None:
    """Tell on a stored model's page which version of a registered model it is, as a server of MLflow does itself."""
    own = {"name": name, "version": str(number)}
    known = json.loads(client.get_logged_model(stored.model_id).tags.get(VERSIONS_TAG, "[]"))
    if own not in known:
        client.set_logged_model_tags(stored.model_id, {VERSIONS_TAG: json.dumps([*known, own])})


def save_served(final: Path, folder: Path, logged: LoggedModel, example_image: bytes) -> None:
    """Write the folder that MLflow loads: the promoted model, code, signature, example, requirements.

    Args:
        logged: the entry in MLflow that it is going to be stored under.
        example_image: bytes of an image's file; it is answered once, to see that the model does.

    Raises:
        CheckpointError: `final` holds no saved model.
        DataError: the example is no image.
    """
    import_mlflow()
    import mlflow.pyfunc
    from mlflow.exceptions import MlflowException
    from mlflow.models import Model

    from search.registry.served_model import FINAL, INPUTS, ON_ERROR, RAISE, ServedModel, build_example, build_signature

    served, example = ServedModel().load(final), build_example(example_image)
    try:
        served.predict(None, example, {ON_ERROR: RAISE})
    except MlflowException as error:
        raise DataError(f"the example of an input must be an image, but: {error.message}; give another") from None
    mlflow.pyfunc.save_model(
        folder,
        python_model=str(SERVED_MODEL),
        artifacts={FINAL: str(final.resolve())},
        code_paths=[str(Path(fashion_core.__file__).parent)],
        signature=build_signature(served.saved.schema),
        metadata={"inputs": INPUTS},
        input_example=example,
        pip_requirements=list_requirements(),
        mlflow_model=Model(
            artifact_path=logged.artifact_location,
            run_id=logged.source_run_id,
            model_id=logged.model_id,
            model_uuid=logged.model_id,
        ),
    )


def list_requirements() -> list[str]:
    """The packages as installed here; without the part of a version that names a build no registry has."""
    return [f"{name}=={version(name).split('+')[0]}" for name in SERVED_PACKAGES]
