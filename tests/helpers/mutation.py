"""Files of the product, damaged: their bytes, and their JSON by its structure. For `tests/fuzz/`."""

from __future__ import annotations

import json
import os
import secrets
import signal
import time
from contextlib import contextmanager
from functools import wraps
from itertools import count
from typing import TYPE_CHECKING, Any, TypeVar, cast

from house_rules import by_size
from hypothesis import HealthCheck, seed, settings
from hypothesis import strategies as st

from fashion_core.errors import FashionError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

FACTOR = int(os.environ.get("FASHION_FUZZ", "0"))  # how many times its time a target takes, by other examples; 0: CI's
SHARE = by_size(ci=0.4, whole=1.0)  # of its time, in CI and in a run of all tests
FIRST = secrets.randbits(32) if FACTOR else 0  # seed
ROUND = 25 if FACTOR else by_size(ci=10, whole=25)  # examples of one seed: some seconds at most
Test = TypeVar("Test", bound="Callable[..., None]")
HANG_S = 60  # of one example: far more than any needs on a busy machine
MAX_MESSAGE = 2_000  # characters of a line
DEEP = 4_000
# JSON texts of what a value is not likely to be
ODD = (
    "null", "true", "0", "-1", "1", "0.5", "1e308", "1e999", "NaN", "-Infinity", "9" * 18, "9" * 30, "9" * 5000,
    '""', '"text"', '"1"', '"../../x"', '"a\\u0000b"', '"\\ud800"', '"line\\nline"', '"' + "x" * 5000 + '"',
    "[]", "{}", "[[1]]", '{"a": 1}', "[" * DEEP + "]" * DEEP, '{"a":' * DEEP + "1" + "}" * DEEP,
)  # fmt: skip


def fuzz(seconds: float) -> Callable[[Test], Test]:
    """Draws examples for a target, round after round, until its time is over.

    CI draws the same rounds every time, as many as there is time for: a new fault is found by `make fuzz`, in rounds of
    its own, and not by chance. A fault's seed stands above it.
    """

    def repeat(test: Test) -> Test:
        test = settings(
            max_examples=ROUND, deadline=None, database=None, suppress_health_check=list(HealthCheck), print_blob=True
        )(test)

        @wraps(test)
        def run(*arguments: Any, **fixtures: Any) -> None:
            end = time.monotonic() + seconds * (FACTOR or SHARE)
            for number in count(FIRST):
                print(f"seed {number}")
                seed(number)(test)(*arguments, **fixtures)
                if time.monotonic() >= end:
                    return

        return cast("Test", run)

    return repeat


@contextmanager
def no_hang() -> Iterator[None]:
    """What takes minutes inside is an error."""

    def stop(*_: object) -> None:
        raise AssertionError(f"an example must end, but still runs after {HANG_S} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(HANG_S)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def check_told(read: Callable[[], object], *, lines: bool = False) -> bool:
    """Read something damaged: it may be an error of this project, in one short line, and nothing else may be raised.

    Args:
        lines: it is of the errors that list all faults, a line each.

    Returns:
        Whether it could be read.
    """
    with no_hang():
        try:
            read()
        except FashionError as error:
            text = str(error)
            assert text and (lines or "\n" not in text) and max(map(len, text.splitlines())) < MAX_MESSAGE, text
            return False
    return True


# --------------------------------------------------------------------------------------------------------------- bytes


@st.composite
def damaged_bytes(draw: Any, content: bytes) -> bytes:
    """The content with a few places changed, cut off, left out, repeated; or nothing of it."""
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, max(len(content) - 1, 0)))
        length = draw(st.integers(1, 40))
        match draw(st.sampled_from(("change", "insert", "leave out", "repeat", "cut off", "number", "nothing"))):
            case "change":
                content = content[:place] + draw(st.binary(min_size=1, max_size=8)) + content[place + length :]
            case "insert":
                content = content[:place] + draw(st.binary(min_size=1, max_size=40)) + content[place:]
            case "leave out":
                content = content[:place] + content[place + length :]
            case "repeat":
                content = content[: place + length] + content[place:]
            case "cut off":
                content = content[:place]
            case "number":  # where a file tells a size, a huge one
                size = draw(st.sampled_from((b"\xff" * 8, b"\xff" * 4, b"\x00" * 8, (1 << 40).to_bytes(8, "little"))))
                content = content[:place] + size + content[place + len(size) :]
            case "nothing":
                content = b""
    return content


# ---------------------------------------------------------------------------------------------------------------- JSON


class Raw(str):
    """A JSON text that stands for itself."""


class Pairs(list):
    """A JSON object as (key, value) pairs, which may have a key twice."""


def render(value: Any) -> str:
    """The JSON text of a tree."""
    if isinstance(value, Raw):
        return str(value)
    if isinstance(value, Pairs):
        return "{" + ", ".join(f"{json.dumps(key)}: {render(each)}" for key, each in value) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(render, value)) + "]"
    return json.dumps(value)


def list_boxes(value: Any) -> list[Any]:
    """All objects and lists of a tree that are not empty."""
    if not isinstance(value, list) or not value:
        return []
    inner = [each for _, each in value] if isinstance(value, Pairs) else value
    return [value, *(box for each in inner for box in list_boxes(each))]


@st.composite
def damaged_json(draw: Any, text: str) -> str:
    """A JSON text with a few values of other types, left out, doubled, renamed, or put into another."""
    tree = [json.loads(text, object_pairs_hook=Pairs)]  # in a list: the outermost value can be changed too
    for _ in range(draw(st.integers(1, 3))):
        boxes = list_boxes(tree)
        if not boxes:
            break
        box = draw(st.sampled_from(range(len(boxes))).map(boxes.__getitem__))
        place = draw(st.integers(0, len(box) - 1))
        value = box[place][1] if isinstance(box, Pairs) else box[place]
        choices = ["odd", "odd", "odd", "wrap", *(["remove", "double"] if box is not tree else [])]
        if isinstance(box, Pairs):
            choices += ["rename", "extra"]
        match draw(st.sampled_from(choices)):
            case "odd":
                value = Raw(draw(st.sampled_from(ODD)))
            case "wrap":
                value = [value]
            case "remove":
                del box[place]
                continue
            case "double":
                box.insert(place, box[place])
                continue
            case "rename":
                box[place] = (draw(st.text(max_size=8)), value)
                continue
            case "extra":
                box.append((draw(st.sampled_from(("surprise", "a\nb", ""))), Raw(draw(st.sampled_from(ODD)))))
                continue
        box[place] = (box[place][0], value) if isinstance(box, Pairs) else value
    return render(tree[0]) if tree else ""


def damaged(content: bytes) -> st.SearchStrategy[bytes]:
    """A JSON file, damaged by its structure or in its bytes."""
    by_structure = damaged_json(content.decode()).map(lambda text: text.encode("utf-8", "surrogatepass"))
    return by_structure | damaged_bytes(content)


def put(path: Path, content: bytes) -> None:
    """Write a damaged file."""
    path.write_bytes(content)
