"""Files of this project on disk: their names, how one is written whole or not at all, and locks. No torch at import."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from fashion_core.errors import CheckpointError

ENSEMBLE_FILE = "ensemble.json"
MODEL_FILE = "model.safetensors"
TRAINING_FILE = "training.safetensors"
HEADER_KEY = "description"


@contextmanager
def lock(paths: Iterable[Path]) -> Iterator[None]:
    """Hold a lock file beside each path; a second process waits here until the first lets go, or dies.

    In the order of their names: so no two processes wait for each other.
    """
    with ExitStack() as stack:
        for path in sorted(paths):
            fcntl.flock(stack.enter_context(path.with_suffix(".lock").open("w")), fcntl.LOCK_EX)
        yield


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that a reader sees all of it or none."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    temporary.write_bytes(content)
    os.replace(temporary, path)


def write_tensors(path: Path, tensors: dict[str, Tensor], description: dict[str, Any]) -> Path:
    """One safetensors file with a JSON description in its header, complete or absent."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    # save_file takes row-major tensors; a channels_last weight is stored by its logical order.
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    try:
        save_file(plain, temporary, metadata={HEADER_KEY: json.dumps(description)})
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def read_tensors(
    path: Path, wanted_format: str, names: Iterable[str] | None = None
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and description of a file that `write_tensors` wrote. names: of the tensors; None: all.

    Raises:
        CheckpointError: no such file, not safetensors, cut off, or another format.
    """
    if not path.is_file():
        raise CheckpointError(f"a saved model is a {path.name} file, but there is none in {path.parent}")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            description = json.loads(metadata.get(HEADER_KEY, "{}"))
            if description.get("format") != wanted_format:
                raise CheckpointError(
                    f"{path} must have the format {wanted_format}, but has {description.get('format')!r}; "
                    "it was not written by this version of fashion_core"
                )
            names = file.keys() if names is None else names
            return {name: file.get_tensor(name) for name in names}, description
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{path} must be a complete safetensors file, but: {error}") from None
