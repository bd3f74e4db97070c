"""A weights file as strangers write it -> the tensors of one network, under its own names.

The file holds the network's tensors under any prefix: that of a container (`state_dict`, `model`, `teacher`), of a
wrapper (`module.`, `_orig_mod.`), of a larger network (`backbone.`, `encoder.`), or of several. All of the network
is taken from one place, or none of it.
"""

from __future__ import annotations

import json
import pickle
import re
import sys
import warnings
import zipfile
from collections import Counter, deque
from dataclasses import dataclass, field
from itertools import accumulate, groupby
from typing import TYPE_CHECKING, Any

import torch
from safetensors import safe_open
from torch import Tensor, nn

from fashion_core.errors import WeightsError, first_line
from fashion_core.files import HEADER_KEY, MODEL_FORMAT

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

COUNTER = "num_batches_tracked"  # of batch normalisation: absent from files of old PyTorch versions
# Words in the name of weights that are an average over training, which scores higher
AVERAGED = {"ema", "teacher", "swa", "averaged", "avg"}
WORD = re.compile("[A-Z]+(?![a-z])|[A-Z]?[a-z]+")  # of `state_dict_ema` or `modelEMA`
MAX_NAMED = 3  # names in a message
MAX_SHOWN = 100  # letters of a name
TORCHSCRIPT = "a TorchScript program"
NUMPY = "a file of numpy's arrays"
NORMALISATION = ("backbone.mean", "backbone.std")  # of a model of this project
POSITIONS = ("pos_embed", "relative_position_bias_table")  # a row for each place in an image
HEAD_BYTES = 256  # of a file, which tell its kind
# Objects that training scripts put beside their weights: they are left unread.
BESIDE = (
    "argparse.Namespace",
    "types.SimpleNamespace",
    *(f"datetime.{name}" for name in ("date", "datetime", "time", "timedelta", "timezone")),
    "decimal.Decimal",
    "uuid.UUID",
    "uuid.SafeUUID",
    *(f"pathlib.{name}" for name in ("Path", "PosixPath", "PurePosixPath", "WindowsPath", "PureWindowsPath")),
    *(f"numpy.{core}.multiarray.{name}" for core in ("core", "_core") for name in ("scalar", "_reconstruct")),
    "numpy.dtype",
    "numpy.ndarray",
    *(f"numpy.dtypes.{kind}DType" for kind in ("Bool", "Int32", "Int64", "Float32", "Float64")),
)

Shape = tuple[int, ...]


class Unread:
    """Stands for an object beside the weights: its class is not imported, and none of its code runs."""

    def __init__(self, *parts: object) -> None:
        """Whatever it was made of is dropped."""

    def __setstate__(self, state: object) -> None:
        """Whatever it held is dropped."""


@dataclass(frozen=True)
class WeightsFile:
    """The tensors of a file, none of them read.

    Attributes:
        shapes: by name, the names of the mappings that hold a tensor before its own.
        read: gives some of them by name.
        groups: names of each mapping that holds tensors, in its order; empty where the file does not keep an order.
        description: of a model that this project saved; else empty.
    """

    path: Path
    shapes: Mapping[str, Shape]
    read: Callable[[Collection[str]], dict[str, Tensor]]
    groups: Sequence[Sequence[str]] = ()
    description: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Taken:
    """What a network got of a file.

    Attributes:
        words: what was taken, from where, and what was left out.
        normalisation: mean and std [1, 3, 1, 1] in pixels that belong to these weights, where the file says so.
    """

    words: str
    normalisation: tuple[Tensor, Tensor] | None = None


def load_weights_file(network: nn.Module, name: str, path: Path, known: Mapping[str, Shape]) -> Taken:
    """Put the weights of a file into a network: by name, or in order where names differ but all else agrees.

    Args:
        name: of the backbone.
        known: shapes by name of the network with its classifier, in its order; what the network has not is left out.

    Raises:
        WeightsError: the file cannot be read, or does not hold all of this network in one place.
    """
    file = open_weights(path)
    check_description(file, name)
    own = {key: tuple(tensor.shape) for key, tensor in network.state_dict().items()}
    needed = {key: shape for key, shape in own.items() if not key.endswith(COUNTER)}
    counts = count_prefixes(file.shapes, needed)
    complete = [prefix for prefix, count in counts.items() if count == len(needed)]
    if complete:
        prefix, others = choose_prefix(complete, name, path)
        names = {key: prefix + key for key in own if prefix + key in file.shapes}
        check_others(file, prefix, name, network, known)
        where = describe_place(prefix, others)
    elif found := match_order(file, own, known):
        names, where = found, " in order, under other names"
    else:
        raise WeightsError(describe_lack(file, name, counts, needed))
    check_shapes(path, name, file.shapes, names, own)
    stored = file.read(names.values())
    check_numbers(path, stored)
    tensors = {key: stored[each] for key, each in names.items()}
    if resized := [key for key, tensor in tensors.items() if tuple(tensor.shape) != own[key]]:
        tensors = fit_positions(network, tensors, path, own)
        where += f", {list_names(resized)} resampled to the size of the images"
    network.load_state_dict(tensors, strict=False)
    normalisation = read_normalisation(file)
    rest = list_rest(file.shapes, {*names.values(), *(NORMALISATION if normalisation else ())})
    words = f"all {len(needed)} tensors of {name}{where}"
    return Taken(words + (f"; left out: {list_names(rest)}" if rest else ""), normalisation)


# ----------------------------------------------------------------------------------------------------------- the file


def open_weights(path: Path) -> WeightsFile:
    """The tensors in a file, whatever its ending. Nothing of a pickle runs, and no object but tensors is read.

    Raises:
        WeightsError: it is neither safetensors nor a state dict as `torch.save` writes it, or it is cut off.
    """
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
        if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < path.stat().st_size:
            return open_safetensors(path)
        if head.startswith((b"PK\x03\x04", b"\x80")):
            return open_pickled(path)
    except Exception as error:  # of a stranger's file: torch, pickle, zipfile and safetensors raise a dozen types
        raise WeightsError(
            f"{path.name} must be a readable .safetensors or .pth state dict, but {describe_damage(path, error)}"
        ) from None
    raise WeightsError(
        f"{path.name} must be a readable .safetensors or .pth state dict, but {describe_kind(head)}; fetch it again, "
        "or name another"
    )


def open_safetensors(path: Path) -> WeightsFile:
    """The tensors of a safetensors file. Its order is by size and name, so no network's."""

    def read(names: Collection[str]) -> dict[str, Tensor]:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in names}

    with safe_open(path, framework="pt") as file:
        shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
        return WeightsFile(path, shapes, read, description=read_description(file.metadata()))


def open_pickled(path: Path) -> WeightsFile:
    """The tensors of a file that `torch.save` wrote; of the present form they are read when they are used."""
    is_zip = zipfile.is_zipfile(path)
    if is_zip:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
        if all(entry.filename.endswith(".npy") for entry in entries):
            raise pickle.UnpicklingError(NUMPY)
        if any(entry.filename.endswith("/constants.pkl") for entry in entries):
            raise pickle.UnpicklingError(TORCHSCRIPT)
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            raise pickle.UnpicklingError("it is compressed, as torch.save never does")
    unread: Any = [(Unread, name) for name in BESIDE]
    is_misnamed = path.name.endswith(".safetensors")  # torch goes by a path's name, and maps no open file
    with torch.serialization.safe_globals(unread), warnings.catch_warnings(action="ignore"), path.open("rb") as file:
        source: Any = file if is_misnamed else str(path)
        found = torch.load(source, map_location="cpu", weights_only=True, mmap=is_zip and not is_misnamed)
    groups: list[list[str]] = []
    tensors: dict[str, Tensor] = {}
    for prefix, mapping in walk_mappings(found):
        group = {f"{prefix}{key}": value for key, value in mapping.items() if isinstance(value, Tensor)}
        groups.append(list(group))
        tensors |= group
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    return WeightsFile(path, shapes, lambda names: {name: tensors[name].detach() for name in names}, groups)


def walk_mappings(found: object) -> Iterator[tuple[str, dict[Any, Any]]]:
    """All mappings in a mapping, each once, with the names that lead to it: `state_dict.` and the like.

    A list is a mapping whose names are its numbers.
    """
    waiting, seen = deque([("", found)]), set()
    while waiting:
        prefix, held = waiting.popleft()
        value = dict(enumerate(held)) if isinstance(held, (list, tuple)) else held
        if isinstance(value, dict) and id(held) not in seen:
            seen.add(id(held))
            yield prefix, value
            waiting += [
                (f"{prefix}{key}.", part) for key, part in value.items() if isinstance(part, (dict, list, tuple))
            ]


def read_description(metadata: Mapping[str, str] | None) -> dict[str, Any]:
    """What this project wrote of a model into the header of its file; empty for files of others."""
    try:
        found = json.loads((metadata or {}).get(HEADER_KEY, "{}"))
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) and found.get("format") == MODEL_FORMAT else {}


def read_normalisation(file: WeightsFile) -> tuple[Tensor, Tensor] | None:
    """Mean and std that a model of this project was trained with; None for files of others."""
    if not file.description or any(file.shapes.get(name) != (1, 3, 1, 1) for name in NORMALISATION):
        return None
    mean, std = file.read(NORMALISATION).values()
    return mean, std


def describe_damage(path: Path, error: Exception) -> str:
    """Why a file of the right kind cannot be read, with what helps."""
    text = str(error)
    if found := re.search(r"GLOBAL (\S+)", text):
        load = f"found = torch.load({path.name!r}, weights_only=False)"
        tensors = "getattr(found, 'state_dict', lambda: found['state_dict'])()"  # of a whole model, or a mapping
        return (
            f"it holds {make_printable(found[1])}, which only running code of others can read; if you trust it, keep "
            f"its tensors alone: python -c \"import torch; {load}; torch.save({tensors}, 'weights.pth')\" (or the key "
            "that they stand under)"
        )
    if text == TORCHSCRIPT:
        load = f"torch.jit.load({path.name!r}).state_dict()"
        save = f"torch.save({load}, 'weights.pth')"
        return f'it is {TORCHSCRIPT}; keep its tensors alone: python -c "import torch; {save}"'
    if text == NUMPY:
        save = "torch.save({key: torch.from_numpy(found[key]) for key in found}, 'weights.pth')"
        return (
            f'it is {NUMPY}; make tensors of them: python -c "import numpy, torch; found = numpy.load({path.name!r}); '
            f'{save}"'
        )
    if "Unsupported operand" in text:
        return (
            "it is damaged or cut off, or a pickle that torch.save did not write; fetch it again, or write its tensors "
            "with torch.save"
        )
    line = make_printable(first_line(error))
    return f"it is damaged or cut off ({type(error).__name__}: {line}); fetch it again"


def describe_kind(head: bytes) -> str:
    """What a file is that is no weights file, by how it begins."""
    if not head:
        return "it is empty"
    if head.startswith(b"version https://git-lfs"):
        return "it is the pointer that Git LFS leaves in the place of a file (`git lfs pull` fetches it)"
    try:
        text = head.decode("utf-8", "strict")
    except UnicodeDecodeError as error:
        text = head[: error.start].decode() if error.start > len(head) - 4 else ""  # a letter cut in two
    line = first_line(text)[:40]
    return f"it is text ({line!r})" if line and line.isprintable() else "it is of another kind"


# ------------------------------------------------------------------------------------------------------- where they are


def count_prefixes(names: Iterable[str], wanted: Mapping[str, Shape]) -> Counter[str]:
    """How many of the wanted names stand in a file, by the prefix that they have there."""
    depth = max((name.count(".") + 1 for name in wanted), default=0)
    counts: Counter[str] = Counter()
    for name in names:
        parts = name.rsplit(".", depth)
        for start in range(len(parts)):
            if (end := ".".join(parts[start:])) in wanted:
                counts[name.removesuffix(end)] += 1
    return counts


def choose_prefix(complete: Sequence[str], name: str, path: Path) -> tuple[str, list[str]]:
    """The place to take the weights from, of those that hold all: an average over training before others; and those.

    Raises:
        WeightsError: there is nothing to choose by.
    """

    def is_averaged(prefix: str) -> bool:
        return any(word.lower() in AVERAGED for word in WORD.findall(prefix))

    best = [prefix for prefix in complete if is_averaged(prefix)] or list(complete)
    if len(best) > 1:
        raise WeightsError(
            f"{path.name} must hold the weights of {name} once, but holds them under {list_names(sorted(best))}; save "
            "those that are meant as a file of their own"
        )
    return best[0], [prefix for prefix in complete if prefix != best[0]]


def describe_place(prefix: str, others: Sequence[str]) -> str:
    """Where the weights stood, in words."""
    where = f" under {show_name(prefix)}" if prefix else ""
    return where + (f", an average over training, not those under {list_names(others)}" if others else "")


def list_rest(names: Iterable[str], taken: Collection[str]) -> list[str]:
    """What was not taken: the shortest beginnings of names that no taken one has."""
    begun = {name[:end] for name in taken for end, letter in enumerate(f"{name}.") if letter == "."}
    rest = dict.fromkeys(
        next((start for start in accumulate(name.split("."), "{}.{}".format) if start not in begun), name)
        for name in names
        if name not in taken
    )
    return list(rest)


def match_order(file: WeightsFile, own: Mapping[str, Shape], known: Mapping[str, Shape]) -> dict[str, str] | None:
    """The network's names -> those in the file, where one mapping has the same tensors in the same order.

    The last parts of their names agree, tensors of one module stand together in both, and shapes agree but for a
    classifier that the network has not.
    """
    for group in file.groups:
        has_counters = any(name.endswith(COUNTER) for name in group)
        for model in (known, own):
            names = [name for name in model if has_counters or not name.endswith(COUNTER)]
            if describe_order(names) == describe_order(group) and all(
                file.shapes[stored] == model[name] for name, stored in zip(names, group, strict=True) if name in own
            ):
                return {name: stored for name, stored in zip(names, group, strict=True) if name in own}
    return None


def describe_order(names: Iterable[str]) -> list[list[str]]:
    """The last parts of names, those of one module together."""
    pairs = (name.rpartition(".") for name in names)
    return [[last for _, _, last in group] for _, group in groupby(pairs, key=lambda pair: pair[0])]


# --------------------------------------------------------------------------------------------------------------- checks


def check_description(file: WeightsFile, name: str) -> None:
    """Raise WeightsError where a model of this project has another backbone."""
    config = file.description.get("config")
    found = config.get("backbone") if isinstance(config, dict) else None
    if isinstance(found, str) and found.split(".")[0] != name.split(".")[0]:
        raise WeightsError(
            f"a saved model must have the backbone that starts from it, {name}, but {file.path} has {found}; set "
            f"`backbone` to {found}, or name other `weights`"
        )


def check_others(file: WeightsFile, prefix: str, name: str, network: nn.Module, known: Mapping[str, Shape]) -> None:
    """Raise WeightsError where the modules of the network go on in the file: it is of a larger model."""
    own = {key for key, _ in network.named_buffers()} | known.keys()
    classifier = {key.split(".")[0] for key in known.keys() - network.state_dict().keys()}
    modules = {child for child, _ in network.named_children()} - classifier
    beyond = [
        key
        for stored in file.shapes
        if stored.startswith(prefix)
        and (key := stored.removeprefix(prefix)) not in own
        and key.split(".")[0] in modules
        and not key.endswith(COUNTER)
    ]
    if beyond:
        raise WeightsError(
            f"{file.path.name} does not hold weights of {name}, but of a larger model: it has {list_names(beyond)} "
            "beside; name the backbone that it was made for, or other `weights`"
        )


def check_shapes(
    path: Path, name: str, shapes: Mapping[str, Shape], names: Mapping[str, str], own: Mapping[str, Shape]
) -> None:
    """Raise WeightsError where a tensor has another shape than the network's, but for the number of positions."""

    def is_fit(key: str, found: Shape, wanted: Shape) -> bool:
        is_of_positions = key.endswith(POSITIONS) and len(found) == len(wanted) and found[-1:] == wanted[-1:]
        return found == wanted or is_of_positions

    wrong = [key for key, stored in names.items() if not is_fit(key, shapes[stored], own[key])]
    if wrong:
        stored, more = names[wrong[0]], f" ({len(wrong)} tensors differ)" if len(wrong) > 1 else ""
        raise WeightsError(
            f"{path.name} does not hold weights of {name}: {show_name(stored)} must have the shape "
            f"{list(own[wrong[0]])}, but has {list(shapes[stored])}{more}; give the backbone, `image_size` and "
            "`feature` that it was made for, or other `weights`"
        )


def fit_positions(
    network: nn.Module, tensors: Mapping[str, Tensor], path: Path, own: Mapping[str, Shape]
) -> dict[str, Tensor]:
    """The tensors with the positions of another image size resampled, as timm does it with those of its hub.

    Raises:
        WeightsError: timm cannot.
    """
    fit = getattr(sys.modules[type(network).__module__], "checkpoint_filter_fn", lambda found, _: found)
    try:
        found: dict[str, Tensor] = fit(dict(tensors), network)
    except Exception as error:  # of positions that are no grid: timm's functions raise what they meet
        raise WeightsError(
            f"{path.name} holds the positions of images of another size, which timm cannot resample "
            f"({make_printable(first_line(error))}); give the `image_size` that it was made for, or other `weights`"
        ) from None
    for key, tensor in found.items():
        if tuple(tensor.shape) != own.get(key):
            raise WeightsError(
                f"{path.name} holds the positions of images of another size: {show_name(key)} must have the shape "
                f"{list(own.get(key, ()))}, but has {list(tensor.shape)}; give the `image_size` that it was made for, "
                "or other `weights`"
            )
    return found


def check_numbers(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Raise WeightsError where weights are no plain finite numbers, as those of a quantized model or a diverged one."""
    for name, tensor in tensors.items():
        is_plain = tensor.layout == torch.strided and not tensor.is_quantized and not tensor.is_meta
        is_plain &= tensor.dtype.itemsize > 1 or not tensor.is_floating_point()  # 8 bits have a scale elsewhere
        if not is_plain or not (tensor.is_floating_point() or name.endswith(COUNTER)):
            raise WeightsError(
                f"{path.name} must hold floating-point weights, but {show_name(name)} is {tensor.dtype}"
                f"{'' if is_plain else ' in a form of its own'}; name a file that was not quantized"
            )
        if not tensor.isfinite().all():
            raise WeightsError(
                f"{path.name} must hold finite weights, but {show_name(name)} has some that are none; name a file from "
                "before its training diverged"
            )


def describe_lack(file: WeightsFile, name: str, counts: Counter[str], needed: Mapping[str, Shape]) -> str:
    """Which file does not hold all of which network, in words."""
    start = f"{file.path.name} does not hold weights of {name}"
    ways_out = "give the backbone and `feature` that it was made for, or other `weights`"
    if not counts:
        stored = (
            f"its {len(file.shapes)} are {list_names(list(file.shapes))}"
            if file.shapes
            else "it has none at all, or none that are tensors of torch"
        )
        return f"{start}: none of that backbone's {len(needed)} tensors is there ({stored}); {ways_out}"
    ((prefix, count),) = counts.most_common(1)
    missing = list_names([prefix + key for key in needed if prefix + key not in file.shapes])
    return f"{start}: {count} of that backbone's {len(needed)} tensors are there, but not {missing}; {ways_out}"


def list_names(names: Sequence[str]) -> str:
    """The first of some names, and how many more there are."""
    more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    return ", ".join(map(show_name, names[:MAX_NAMED])) + more


def show_name(name: str) -> str:
    """A name out of a stranger's file, as a message may show it."""
    return f"`{make_printable(name)}`"


def make_printable(text: str, length: int = MAX_SHOWN) -> str:
    """The beginning of a stranger's text, without what would move a terminal's cursor."""
    return "".join(letter if letter.isprintable() else "?" for letter in text[:length])
