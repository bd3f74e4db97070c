"""Answers to many images in one file, in constant memory, that goes on where it was cut off.

Answers are kept a line each in a file beside the one asked for, `NAME.partial`; when all are there, it becomes what was
asked for: `.jsonl` has the lines, `.csv` and `.parquet` a table with a row an image.
"""

from __future__ import annotations

import csv
import json
from contextlib import ExitStack
from itertools import islice
from typing import IO, TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, Field

from fashion_core.errors import DataError, Fault
from fashion_core.escaping import show_value
from fashion_core.files import check_form, hold, parse_json, whole

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from fashion_core.data.schema import AttributeSchema
    from fashion_core.inference.answers import Answer

ENDINGS = (".csv", ".parquet", ".jsonl")
FORMAT = "fashion-answers/1"
GROUP_ROWS = 1000  # of a Parquet file that are held at once
SIDES = ("x1", "y1", "x2", "y2")
Side = Annotated[int, Field(ge=0, le=2**31)]


class KeptCategory(BaseModel):
    """What a kept answer says of a category, checked by types."""

    likeliest: str = Field(alias="class")
    probability: float
    probabilities: dict[str, float]


class KeptAnswer(BaseModel):
    """A line of what is kept, checked by types: see `Answer.to_dict`."""

    image: str
    box: Annotated[list[Side], Field(min_length=4, max_length=4)] | None = None
    attributes: dict[str, KeptCategory] = {}
    warning: str | None = None
    error: str | None = None


class AnswerFile:
    """A file of answers that is being written; to be used in a `with`.

    Attributes:
        done: answers that are kept; faulty: those of them that say why there is none.

    Args:
        path: of the file asked for, with one of `ENDINGS`.
        asked: what the answers depend on, beside their images; JSON-able. What was cut off goes on with the same alone.

    Raises:
        DataError: another ending, or a table that cannot be; or another process writes it, or what was cut off there
            was asked otherwise.
    """

    def __init__(self, path: Path, schema: AttributeSchema, asked: dict[str, Any]) -> None:
        check_ending(path)
        if path.suffix.lower() != ".jsonl":
            list_columns(schema)
        self.path, self.schema = path, schema
        self.partial = path.with_name(f"{path.name}.partial")
        self.asked = json.loads(json.dumps({"format": FORMAT, "categories": schema.to_dict(), **asked}))
        self.done = self.faulty = 0

    def __enter__(self) -> AnswerFile:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            busy = DataError(f"a file of answers is written by one process, but another one writes {self.partial}")
            stack.enter_context(hold(self.partial, busy))
            self.file: IO[bytes] = stack.enter_context(self.partial.open("r+b"))
            self.check_asked()
            self.stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self.stack.close()

    def check_asked(self) -> None:
        """Compare the first line with what is asked; write it where there is none."""
        first = self.file.readline()
        if not first.endswith(b"\n"):  # cut off before anything was answered
            self.file.seek(0)
            self.file.truncate()
            self.write_line(self.asked)
            return
        found = parse_line(first, dict[str, Any])
        differing = [name for name, value in self.asked.items() if found is None or found.get(name) != value]
        if differing:
            raise DataError(
                f"{self.partial} must hold answers to the same question, but differs in {', '.join(differing)}; ask as "
                "before to go on with it, or remove it to begin anew"
            )

    def skip(self, images: Iterable[Path]) -> Iterator[Path]:
        """The images that have no answer yet, of all that are asked, in the same order as before.

        Raises:
            DataError: what was answered is another image.
        """
        waiting = iter(images)
        end = self.file.tell()
        for line in iter(self.file.readline, b""):
            row = parse_line(line, KeptAnswer)
            if row is None or not row.get("attributes", {}).keys() <= set(self.schema.names):
                break
            image = next(waiting, None)
            if row.get("image") != str(image):
                raise DataError(
                    f"{self.partial} must hold answers to the same images, but number {self.done + 1} is "
                    f"{show_value(row.get('image'))} there and {show_value(str(image))} here; remove it to begin anew"
                )
            self.count(row)
            end = self.file.tell()
        self.file.seek(end)
        self.file.truncate()  # half a line, or what no one can read
        return waiting

    def add(self, answer: Answer | Fault) -> None:
        """Keep an answer; of an image at fault why there is none."""
        row = {"image": answer.file, "error": answer.message} if isinstance(answer, Fault) else answer.to_dict()
        self.write_line(row)
        self.count(row)

    def write_line(self, content: dict[str, Any]) -> None:
        """A line, on its way to the disk at once."""
        self.file.write(json.dumps(content).encode() + b"\n")
        self.file.flush()

    def count(self, row: dict[str, Any]) -> None:
        """Count an answer."""
        self.done += 1
        self.faulty += "error" in row

    def finish(self) -> None:
        """Put the file in its place."""
        writers = {".csv": write_csv, ".parquet": write_parquet, ".jsonl": write_json_lines}
        with whole(self.path) as temporary:
            writers[self.path.suffix.lower()](temporary, self.read_rows(), self.schema)
        self.partial.unlink()

    def read_rows(self) -> Iterator[dict[str, Any]]:
        """All answers, one at a time."""
        self.file.seek(0)
        self.file.readline()
        for line in iter(self.file.readline, b""):
            yield json.loads(line)


def check_ending(path: Path) -> None:
    """Raise DataError where the file's ending does not say how it is to be written."""
    if path.suffix.lower() not in ENDINGS:
        raise DataError(f"a file of answers must end in {', '.join(ENDINGS)}, but is {path}; name another")


def parse_line(line: bytes, form: Any) -> dict[str, Any] | None:
    """The object of a line, which must be of a form; None where it was cut off, or is another."""
    if not line.endswith(b"\n"):
        return None
    try:
        found: dict[str, Any] = parse_json(line)
        check_form(found, form)
    except ValueError:
        return None
    return found


# ---------------------------------------------------------------------------------------------------- forms of the file


def list_columns(schema: AttributeSchema) -> dict[str, type]:
    """Columns of a table of answers, and what stands in them.

    Raises:
        DataError: a category is called as one of them.
    """
    by_category: dict[str, type] = {}
    for name in schema.names:
        own: dict[str, type] = {name: str, f"{name}_probability": float}
        if taken := by_category.keys() & own.keys():
            raise DataError(
                f"a table of answers has the columns NAME and NAME_probability of each category, but "
                f"{show_value(sorted(taken)[0])} is both a category and a probability; write .jsonl"
            )
        by_category |= own
    first: dict[str, type] = {"image": str, **dict.fromkeys(SIDES, int)}
    last: dict[str, type] = dict.fromkeys(("probabilities", "warning", "error"), str)
    if taken := by_category.keys() & (first | last).keys():
        raise DataError(
            f"a table of answers has the columns {', '.join(first | last)}, but {show_value(sorted(taken)[0])} is a "
            "category too; write .jsonl"
        )
    return first | by_category | last


def flatten(row: dict[str, Any]) -> dict[str, Any]:
    """An answer as a row of a table; what it lacks is absent."""
    plain: dict[str, Any] = {name: row[name] for name in ("image", "warning", "error") if name in row}
    plain |= dict(zip(SIDES, row.get("box") or (), strict=False))
    said = row.get("attributes", {})
    for name, values in said.items():
        plain |= {name: values["class"], f"{name}_probability": values["probability"]}
    if said:
        plain["probabilities"] = json.dumps({name: values["probabilities"] for name, values in said.items()})
    # the name of a file need not be text
    return {k: v.encode("utf-8", "replace").decode() if isinstance(v, str) else v for k, v in plain.items()}


def write_json_lines(path: Path, rows: Iterator[dict[str, Any]], schema: AttributeSchema) -> None:
    """An object a line."""
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


def write_csv(path: Path, rows: Iterator[dict[str, Any]], schema: AttributeSchema) -> None:
    """A line an image, under the names of the columns; empty where there is nothing."""
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, list(list_columns(schema)))
        table.writeheader()
        table.writerows(map(flatten, rows))


def write_parquet(path: Path, rows: Iterator[dict[str, Any]], schema: AttributeSchema) -> None:
    """The same table with types, some rows at a time."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = {str: pa.string(), float: pa.float64(), int: pa.int64()}
    form = pa.schema([(name, kinds[kind]) for name, kind in list_columns(schema).items()])
    with pq.ParquetWriter(path, form) as file:
        while group := list(islice(rows, GROUP_ROWS)):
            file.write_table(pa.Table.from_pylist([flatten(row) for row in group], form))
