"""Files of this project on disk: their names, how one is written whole or not at all, how one is read, and locks.

What is read is checked before it is used: a file may come from a stranger, or be damaged. No torch at import.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import io
import json
import os
import shutil
import threading
import time
import zipfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import cache
from typing import IO, TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError

from fashion_core.errors import CheckpointError, FashionError, RoomError
from fashion_core.escaping import show_value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    import numpy as np
    from torch import Tensor

ENSEMBLE_FILE = "ensemble.json"
MODEL_FILE = "model.safetensors"
MODEL_FORMAT = "fashion-attributes/1"
TRAINING_FILE = "training.safetensors"
HEADER_KEY = "description"
MAX_JSON_BYTES = 1 << 27
FULL = {errno.ENOSPC, errno.EDQUOT}
FULL_WORDS = (*map(os.strerror, sorted(FULL)), "database or disk is full")  # the last: SQLite's
RETRY_SECONDS, WANTED_MB = 1.0, 100  # while a disk is full
BLOCK_BYTES = 1 << 22  # of a checksum
MAX_DEPTH = 20  # of values in values
MAX_REASON = 300  # characters of what is told of a damaged file
MAX_FAULTS = 3  # of a file's values, told in its one line

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

    A reader sees all of a file or none of it. Others may read it as the umask says, whatever writes it.
    """
    temporary = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}.tmp")
    try:
        temporary.touch()
        mode = temporary.stat().st_mode
        yield temporary
        temporary.chmod(mode)  # safetensors writes for the owner alone
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_whole(path: Path, content: bytes | str) -> None:
    """Write a file so that a reader sees all of it or none. Text is written as UTF-8."""
    with whole(path) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


def retry_while_full(
    write: Callable[[], T], folder: Path, tell: Callable[[str], None], check: Callable[[str, float], None] | None = None
) -> T:
    """What `write` gives; while the disk is full it is tried again and again, so that what waits for it pauses.

    Args:
        write: may be called again after an error.
        folder: where it writes.
        tell: called once, with a line on what to do.
        check: called before each pause, with what is full and what to do, and the seconds that this has waited: raises
            what is to end the wait.

    Raises:
        Exception: what `write` raises where the disk is not full, or `check`.
    """
    began: float | None = None
    while True:
        try:
            return write()
        except Exception as error:
            if not is_full(error):
                raise
            is_first = began is None
            began = time.monotonic() if began is None else began
            if check is not None:
                check(describe_room(folder, error), time.monotonic() - began)
            if is_first:
                tell(describe_full(folder, error))
            time.sleep(RETRY_SECONDS)


def is_full(error: BaseException) -> bool:
    """Whether an error says that a disk, or what a person may have of it, is full: the system's, SQLite's, or ours."""
    told = str(error)
    code = error.errno if isinstance(error, OSError) else None
    return code in FULL or isinstance(error, RoomError) or any(words in told for words in FULL_WORDS)


def describe_full(folder: Path, error: BaseException) -> str:
    """A line that says which disk is full, and what to do. folder: on it; error: that it is."""
    told = f"{error}; once there is room" if isinstance(error, RoomError) else describe_room(folder, error)
    return f"waiting: {told} and all goes on, or press Ctrl-C twice and go on later"


def describe_room(folder: Path, error: BaseException) -> str:
    """The same without what goes on: a rule, what is free, and the remedy."""
    if isinstance(error, RoomError):
        return str(error)
    free = measure_free(folder) / 1e6
    return f"the disk of {folder} is full ({free:,.0f} MB free); free {WANTED_MB} MB or more there"


def find_existing(path: Path) -> Path:
    """A path, or the nearest folder above it that is there."""
    return next(each for each in (path.absolute(), *path.absolute().parents) if each.exists())


def measure_free(path: Path) -> int:
    """Bytes that are free where a path is, or will be."""
    return shutil.disk_usage(find_existing(path)).free


def open_or_make(
    paths: Sequence[Path],
    read: Callable[[Path], T],
    make: Callable[[list[Path]], None],
    tell: Callable[[str], None] | None = None,
) -> list[T]:
    """What each of these files holds. Those that are not there, or not as they were written, are made first.

    Processes that ask at once wait for one that makes them; what an earlier one left when it was killed is removed.

    Args:
        read: opens a file; raises FashionError where it is not whole.
        make: called at most once, with the paths of the files that are wanted; writes each whole or not at all.
        tell: called with one line on each file that is there, and is made anew.
    """
    with lock(paths):
        found: dict[Path, T] = {}
        for path in paths:
            try:
                found[path] = read_checked(path, read)
            except FashionError as error:
                if path.exists() and tell is not None:
                    tell(f"{path.name} is made anew: {error}")
        if missing := [path for path in paths if path not in found]:
            for path in missing:
                find_sums(path).unlink(missing_ok=True)
                for leftover in path.parent.glob(f"{path.name}.*.tmp"):
                    leftover.unlink(missing_ok=True)
            make(missing)
            for path in missing:
                found[path] = read(path)
                write_sums(path)
        return [found[path] for path in paths]


# ---------------------------------------------------------------------------------------------------------- checksums


class Sums(BaseModel):
    """What a file was when it was written: its bytes, and the CRC-32 of every block of `BLOCK_BYTES`."""

    size: int
    crc32: list[int]


def find_sums(path: Path) -> Path:
    """Where the checksums of a file stand: beside it."""
    return path.with_suffix(".sums")


def compute_sums(path: Path) -> Sums:
    """Checksums of a file as it is now: about 1 GB/s a core.

    Raises:
        OSError: it cannot be read.
    """

    def compute(start: int) -> int:
        with path.open("rb") as file:
            file.seek(start)
            return zlib.crc32(file.read(BLOCK_BYTES))

    size = path.stat().st_size
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        return Sums(size=size, crc32=list(pool.map(compute, range(0, size, BLOCK_BYTES))))


def write_sums(path: Path) -> None:
    """Write a file's checksums down, when it has just been written."""
    write_whole(find_sums(path), compute_sums(path).model_dump_json())


def check_sums(path: Path) -> None:
    """Raises FashionError where a file is not as it was written, or nothing tells how it was."""
    what, remedy = "be as it was written", "delete it and start again"
    if not path.is_file():
        raise build_damage(path, what, remedy, FashionError, "it is not there")
    try:
        wanted = check_form(parse_json(read_plain(find_sums(path), MAX_JSON_BYTES)), Sums)
    except (OSError, ValueError) as error:
        fault = f"its checksums in {find_sums(path).name} cannot be read ({make_line(error_words(error))})"
        raise build_damage(path, what, remedy, FashionError, fault) from None
    try:
        found = compute_sums(path)
    except OSError as error:
        raise build_damage(path, what, remedy, FashionError, error) from None
    if found.size != wanted.size:
        raise build_damage(path, what, remedy, FashionError, f"it has {found.size:,} bytes, not {wanted.size:,}")
    for block, (now, then) in enumerate(zip(found.crc32, wanted.crc32, strict=False)):
        if now != then:
            fault = f"bytes from {block * BLOCK_BYTES:,} on have changed (checksum)"
            raise build_damage(path, what, remedy, FashionError, fault)


def read_checked(path: Path, read: Callable[[Path], T]) -> T:
    """What a file holds, after a look at all of it.

    Args:
        read: opens it; raises FashionError where it is not whole.

    Raises:
        FashionError: it is not there, not as it was written, or not whole.
    """
    check_sums(path)
    return read(path)


# ---------------------------------------------------------------------------------------------------------------- JSON


def hash_file(path: Path) -> str:
    """SHA-256 of a file's bytes, hex.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def parse_json(text: str | bytes) -> Any:
    """The value of a JSON text in UTF-8.

    Raises:
        ValueError: it is none, it is nested too deep to be ours, or an object of it has a key twice.
    """
    plain = text if isinstance(text, str) else text.decode()
    try:
        values = DECODER.decode(plain)
    except RecursionError:
        raise ValueError("its values are nested too deep") from None
    if plain.count("[") + plain.count("{") > MAX_DEPTH:
        check_depth(values)
    return values


def check_depth(values: Any) -> None:
    """Raises ValueError where values are nested deeper than any file of ours: what works on them calls itself."""
    level = [values]
    for _ in range(MAX_DEPTH):
        boxes = [each for each in level if isinstance(each, dict | list)]
        level = [inner for each in boxes for inner in (each.values() if isinstance(each, dict) else each)]
    if level:
        raise ValueError("its values are nested too deep")


def take_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object, whose keys must differ."""
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(key for number, (key, _) in enumerate(pairs) if key in dict(pairs[:number]))
        raise ValueError(f"the key {show_value(twice)} stands twice in one object")
    return found


DECODER = json.JSONDecoder(object_pairs_hook=take_pairs)


def check_form(values: Any, form: type[T]) -> T:
    """Plain values as a type says, such as a pydantic model: text is no number here, nor is true.

    Raises:
        ValueError: the values are of other types, in one line.
    """
    try:
        found: T = build_adapter(form).validate_python(values, strict=True)  # type: ignore[arg-type]
    except ValidationError as error:
        raise ValueError(describe_faults(error)) from None
    return found


@cache
def build_adapter(form: Any) -> TypeAdapter[Any]:
    """What checks values of a type, made once."""
    return TypeAdapter(form)


def describe_faults(error: ValidationError) -> str:
    """The first faults in one line: where, the rule, the value."""
    faults = error.errors(include_url=False)
    texts = []
    for fault in faults[:MAX_FAULTS]:
        place = ".".join(str(part) for part in fault["loc"])
        rule = fault["msg"].removeprefix("Value error, ")
        texts.append(
            (f"`{place}`: " if place else "") + f"{rule[:1].lower()}{rule[1:]}, but got {fault['input']!r:.60}"
        )
    more = f"; and {len(faults) - MAX_FAULTS} more" if len(faults) > MAX_FAULTS else ""
    return "; ".join(texts) + more


def read_json(path: Path, form: type[T], what: str, remedy: str, error: type[FashionError]) -> T:
    """What a JSON file holds, as a type says: see `check_form`.

    Args:
        what: the file must do, in words. remedy: what to do where it does not.

    Raises:
        FashionError: of the class given: the file cannot be read, or holds something else.
    """
    try:
        return check_form(parse_json(read_plain(path, MAX_JSON_BYTES)), form)
    except (OSError, ValueError) as fault:
        raise build_damage(path, what, remedy, error, fault) from None


def read_if_whole(path: Path, form: type[T]) -> T | None:
    """The same; None where the file is not there, or is damaged: of what can be worked out again."""
    try:
        return check_form(parse_json(read_plain(path, MAX_JSON_BYTES)), form)
    except (OSError, ValueError):
        return None


def read_plain(path: Path, max_bytes: int) -> bytes:
    """The bytes of a plain file.

    Raises:
        OSError: it is not there, or cannot be read.
        ValueError: it is no plain file (reading a pipe might never end), or larger than that.
    """
    if path.exists() and not path.is_file():
        raise ValueError("it is not a plain file")
    with path.open("rb") as file:
        content = file.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise ValueError(f"it has more than {max_bytes:,} bytes")
    return content


def build_damage(
    path: Path, what: str, remedy: str, error: type[FashionError], fault: BaseException | str
) -> FashionError:
    """The error of a damaged file, in one line: see `read_json`."""
    return error(f"{path} must {what}, but: {make_line(error_words(fault))}; {remedy}")


def error_words(fault: BaseException | str) -> object:
    """What is wrong with a file, without its path, which is told already."""
    return getattr(fault, "strerror", None) or fault


def make_line(text: object) -> str:
    """A text, as it stands in a stranger's file, in one line of bounded length without control characters."""
    line = " ".join(str(text).split())
    shown = "".join(letter if letter.isprintable() else "?" for letter in line[:MAX_REASON])
    return shown + ("..." if len(line) > MAX_REASON else "")


# -------------------------------------------------------------------------------------------------------------- arrays


def read_arrays(path: Path, forms: Mapping[str, tuple[str, int]], rest: tuple[str, int] | None = None) -> Any:
    """Arrays of a file that `numpy.savez` wrote, by name. Nothing is unpickled, and no more memory taken than the file
    has bytes.

    Args:
        forms: of each array that must be there: letters of NumPy's kinds of numbers, and the number of dimensions.
        rest: the same, of all others; None: these are left out.

    Raises:
        OSError: there is no such file.
        ValueError: it is damaged, or an array is of another form.
    """
    size = path.stat().st_size
    try:
        with zipfile.ZipFile(io.BytesIO(read_plain(path, size))) as archive:
            members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            if missing := sorted(forms.keys() - members.keys()):
                raise ValueError(f"it must have the arrays {', '.join(missing)}, but lacks them")
            names = members if rest is not None else forms
            if sum(members[name].file_size for name in names) > size:
                raise ValueError("its arrays must stand as they are, but are compressed or overlap")
            arrays = {name: parse_array(archive.read(members[name])) for name in names}
    except ValueError:
        raise
    except Exception as error:  # zipfile and its decoders may raise anything on damaged bytes
        raise ValueError(f"it must be a whole .npz file, but: {error or type(error).__name__}") from None
    for name, array in arrays.items():
        kinds, dimensions = forms.get(name, rest or ("", 0))
        if array.dtype.kind not in kinds or array.ndim != dimensions:
            raise ValueError(
                f"the array {name} must have {dimensions} dimensions of kind {kinds}, but has {array.ndim} of "
                f"{array.dtype}"
            )
    return arrays


def parse_array(content: bytes) -> np.ndarray:
    """The array of an .npy file's bytes, whose header is believed only as far as they go."""
    from numpy.lib import format as npy

    file = io.BytesIO(content)
    version = npy.read_magic(file)
    read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, is_fortran, dtype = read_header(file)
    import numpy as np

    values = np.frombuffer(content, dtype, offset=file.tell())  # raises for objects, and for half an element
    return values.reshape(shape, order="F" if is_fortran else "C").copy("K")


# ------------------------------------------------------------------------------------------------------------- tensors


def write_tensors(path: Path, tensors: dict[str, Tensor], description: dict[str, Any]) -> Path:
    """One safetensors file with a JSON description in its header, complete or absent. Its folder is made if needed.

    Raises:
        OSError: it cannot be written.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    path.parent.mkdir(parents=True, exist_ok=True)
    # save_file takes row-major tensors; a channels_last weight is stored by its logical order.
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with whole(path) as temporary:
        try:
            save_file(plain, temporary, metadata={HEADER_KEY: json.dumps(description)})
        except SafetensorError as error:  # of the system, in other words
            raise OSError(f"{path.name} cannot be written: {make_line(error)}") from None
    return path


def read_tensors(
    path: Path,
    wanted_format: str,
    form: type[T],
    names: Iterable[str] | None = None,
    check: Callable[[T, dict[str, tuple[int, ...]]], None] | None = None,
) -> tuple[dict[str, Tensor], T]:
    """Tensors and description of a file that `write_tensors` wrote.

    Args:
        form: type of the description.
        names: of the tensors; None: all.
        check: called with the description and the shapes of all tensors before one is read.

    Raises:
        CheckpointError: no such file, not safetensors, cut off, another format, or other values than it describes.
    """
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise CheckpointError(f"a saved model is a {path.name} file, but there is none in {path.parent}")
    try:
        with safe_open(path, framework="pt") as file:
            values = parse_json((file.metadata() or {}).get(HEADER_KEY, "{}"))
            found = values.get("format") if isinstance(values, dict) else None
            if found != wanted_format:
                raise CheckpointError(
                    f"{path} must have the format {wanted_format}, but has {make_line(repr(found))}; "
                    "it was not written by this version of fashion_core"
                )
            description = check_form(values, form)
            every = list(file.keys())
            if check is not None:
                check(description, {name: tuple(file.get_slice(name).get_shape()) for name in every})
            return {name: file.get_tensor(name) for name in (every if names is None else names)}, description
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{path} must be a complete safetensors file, but: {make_line(error)}") from None
