"""Every error this project raises on purpose, as one tree.

    FashionError
    ├── DataError          annotation files or images are at fault; lists every fault
    │   ├── ImageError     one image's file cannot be read
    │   └── RoomError      a disk has not the room for what is to be written
    ├── ConfigError        a training configuration is impossible
    ├── WeightsError       pretrained weights cannot be had
    ├── CheckpointError    a saved model or training state cannot be read
    ├── ExportError        a model cannot be written in another format, or read back from it
    ├── DivergedError      the loss is no longer a number; carries epoch and step
    └── SearchError        a search cannot start, go on, or be found
        └── SpaceError     a search space is at fault; lists every fault

A message states the rule, then the value, then the remedy. The commands print it without a traceback and exit with 2.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fashion_core.escaping import show_text

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_FAULTS_SHOWN = 50
MAX_ALIKE_SHOWN = 5  # faults of one kind in one file: whoever has hundreds has one cause
VALUES = re.compile(
    r"'[^']*'|\"[^\"]*\"|\[[^]]*\]|\S*[0-9/\\.]\S*"
)  # in a message, which differ among faults of one kind


class FashionError(Exception):
    """Base of every error this project raises on purpose."""


@dataclass(frozen=True)
class Fault:
    """One thing wrong with an input file.

    Args:
        file: the file's name as the user knows it.
        line: 1-based line in that file; None where no line can be named.
        message: rule, value, remedy.
    """

    file: str
    line: int | None
    message: str

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        return show_text(f"{place}: {self.message}")


class FaultsError(FashionError):
    """An error made of all the faults found in one reading; ``faults`` holds each of them."""

    def __init__(self, summary: str, faults: Sequence[Fault] = ()) -> None:
        self.summary = summary
        self.faults = tuple(faults)
        super().__init__("\n".join([summary, *(f"  {line}" for line in render_faults(self.faults))]))


class DataError(FaultsError):
    """Annotation files or images are at fault."""


class ImageError(DataError):
    """One image's file cannot be read."""


class RoomError(DataError):
    """A disk has not the room for what is to be written."""


class ConfigError(FashionError):
    """A training configuration is impossible."""


class WeightsError(FashionError):
    """Pretrained weights cannot be had."""


class CheckpointError(FashionError):
    """A saved model or training state cannot be read."""


class ExportError(FashionError):
    """A model cannot be written in another format, or read back from it."""


class DivergedError(FashionError):
    """The training loss is no longer a finite number.

    Args:
        epoch: 1-based epoch in which it happened.
        step: 1-based optimizer step, counted from the start of training.
        loss: the value found.
    """

    def __init__(self, epoch: int, step: int, loss: float) -> None:
        self.epoch, self.step, self.loss = epoch, step, loss
        super().__init__(
            f"training loss must stay finite, but was {loss} in epoch {epoch} at step {step}; "
            "a lower `lr`, a `grad_clip_norm` or precision fp32 usually helps"
        )

    # exceptions with their own signature do not survive pickling otherwise
    def __reduce__(self) -> tuple[type[DivergedError], tuple[int, int, float]]:
        return type(self), (self.epoch, self.step, self.loss)


class SearchError(FashionError):
    """A search cannot start, go on, or be found."""


class RayLostError(SearchError):
    """Ray died under this process, which can start no other.

    Args:
        fault: what died, in words.
        name: of the search.
        way: where it stands, and how to go on.
    """

    def __init__(self, fault: str, name: str, way: str) -> None:
        super().__init__(f"{fault}, and only a new process can start it again; {way}")
        self.fault, self.name = fault, name


class SpaceError(FaultsError, SearchError):
    """A search space is at fault."""


def render_faults(faults: Sequence[Fault]) -> list[str]:
    """The faults as lines, in their order: of one kind in one file the first few, and how many more there are."""
    kinds: dict[tuple[str, str], list[Fault]] = defaultdict(list)
    for fault in faults:
        kinds[fault.file, VALUES.sub("", fault.message)].append(fault)
    more = {}
    shown = set(map(id, faults))
    for (file, _), alike in kinds.items():
        if len(alike) > MAX_ALIKE_SHOWN + 1:
            rest = alike[MAX_ALIKE_SHOWN:]
            shown.difference_update(map(id, rest))
            last = "" if rest[-1].line is None else f", the last in line {rest[-1].line}"
            more[id(alike[MAX_ALIKE_SHOWN - 1])] = f"{file}: ... and {len(rest):,} more like this{last}"
    lines = []
    for fault in faults:
        if id(fault) in shown:
            lines += [str(fault), *([more[id(fault)]] if id(fault) in more else [])]
    hidden = len(lines) - MAX_FAULTS_SHOWN
    return lines if hidden <= 0 else [*lines[:MAX_FAULTS_SHOWN], f"... and {hidden} more"]


def first_line(error: BaseException | str | None) -> str:
    """The first line of an error's message that is not empty, or of a text; of an error without a message its type."""
    lines = "" if error is None else str(error).strip()
    if lines:
        return lines.splitlines()[0]
    return type(error).__name__ if isinstance(error, BaseException) else ""
