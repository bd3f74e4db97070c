"""Files of this project on disk: their names, how one is written whole or not at all, and locks. No torch at import."""

from __future__ import annotations

import fcntl
import json
import os
import threading
from contextlib import ExitStack, contextmanager
from typing import IO, TYPE_CHECKING, Any, TypeVar

from fashion_core.errors import CheckpointError, FashionError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from torch import Tensor

ENSEMBLE_FILE = "ensemble.json"
MODEL_FILE = "model.safetensors"
MODEL_FORMAT = "fashion-attributes/1"
TRAINING_FILE = "training.safetensors"
HEADER_KEY = "description"

T = TypeVar("T")

# -------------------------------------------------------------------------------------------------------------- locks


@contextmanager
def lock(paths: Iterable[Path]) -> Iterator[None]:
    """Hold a lock file beside each path; a second process waits here until the first lets go, or dies.

    In the order of their names: so no two processes wait for each other.
    """
    with ExitStack() as stack:
        for path in sorted(paths):
            fcntl.flock(stack.enter_context(path.with_suffix(".lock").open("w")), fcntl.LOCK_EX)
        yield


@contextmanager
def hold(path: Path, error: FashionError) -> Iterator[None]:
    """Hold this very file, made if there is none and else left as it is, without waiting.

    Raises:
        FashionError: the error given: another process holds it.
    """
    with path.open("ab") as file:
        if not try_lock(file):
            raise error
        yield


def try_lock(file: IO[Any], *, shared: bool = False) -> bool:
    """Lock an open file until it is closed or the process ends; False, at once, where another process has it locked.

    Args:
        shared: let others that ask for a shared lock have it too.
    """
    try:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


# ------------------------------------------------------------------------------------------------------ whole or absent


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A temporary path beside this one, to be written to: put in its place in the end, removed after an error.

    A reader sees all of a file or none of it.
    """
    temporary = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_whole(path: Path, content: bytes | str) -> None:
    """Write a file so that a reader sees all of it or none. Text is written as UTF-8."""
    with whole(path) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


def open_or_make(paths: Sequence[Path], read: Callable[[Path], T], make: Callable[[list[Path]], None]) -> list[T]:
    """What each of these files holds. Those that are not there or not whole are made first.

    Processes that ask at once wait for one that makes them; what an earlier one left when it was killed is removed.

    Args:
        read: opens a file; raises FashionError where it is not whole.
        make: called at most once, with the paths of the files that are wanted; writes each whole or not at all.
    """

    def is_whole(path: Path) -> bool:
        try:
            read(path)
        except FashionError:
            return False
        return True

    with lock(paths):
        if missing := [path for path in paths if not is_whole(path)]:
            for path in missing:
                for leftover in path.parent.glob(f"{path.name}.*.tmp"):
                    leftover.unlink(missing_ok=True)
            make(missing)
        return [read(path) for path in paths]


# ------------------------------------------------------------------------------------------------------------- tensors


def write_tensors(path: Path, tensors: dict[str, Tensor], description: dict[str, Any]) -> Path:
    """One safetensors file with a JSON description in its header, complete or absent. Its folder is made if needed."""
    from safetensors.torch import save_file

    path.parent.mkdir(parents=True, exist_ok=True)
    # save_file takes row-major tensors; a channels_last weight is stored by its logical order.
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with whole(path) as temporary:
        save_file(plain, temporary, metadata={HEADER_KEY: json.dumps(description)})
    return path


def read_tensors(
    path: Path, wanted_format: str, names: Iterable[str] | None = None
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and description of a file that `write_tensors` wrote. names: of the tensors; None: all.

    Raises:
        CheckpointError: no such file, not safetensors, cut off, or another format.
    """
    from safetensors import SafetensorError, safe_open

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
