"""What a search space is made of: its parameters and its scheduler, each read from the YAML and checked on its own.

The rules for a value are those of `TrainConfig`: every fixed value, every choice and both ends of every range go
through its own validation, so no rule is written twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fashion_core.config import TrainConfig
from search.space.located import FaultList
from search.space.rungs import expect_epochs, list_rungs

if TYPE_CHECKING:
    from optuna.trial import BaseTrial

from collections.abc import Sequence

import numpy as np

from fashion_core.config import check_field
from search.space.located import Located, check_keys

if TYPE_CHECKING:
    from optuna.trial import BaseTrial

WEIGHT_PREFIX = "weight_"
KINDS = ("choice", "uniform", "loguniform", "int", "proportions")
WEIGHTS = "category_weights"
PROPORTION_LIMITS = (1e-3, 1e3)
# Each value of these is prepared (images) or found (weights) before the search starts, so they have to be countable.
CHOICE_ONLY = ("image_size", "crop", "crop_margin", "backbone", "weights")
SET_ELSEWHERE = {
    "epochs": "the scheduler's `max_epochs` sets it",
    "seed": "the search's --seed and the trial's number set it",
}
Scalar = str | int | float | bool | None


@dataclass(frozen=True)
class Parameter:
    """One searched parameter.

    Args:
        values: the choices; of the other kinds the range's two ends, both included.
        step: of kind int.
        when: (name, values) pairs; it is drawn only where each name was drawn, or is fixed, as one of its values.
    """

    name: str
    kind: str
    values: tuple[Any, ...]
    step: int = 1
    when: tuple[tuple[str, tuple[Scalar, ...]], ...] = ()

    def is_drawn(self, known: dict[str, Any]) -> bool:
        """Whether the conditions hold for the values known so far."""
        return all(name in known and known[name] in allowed for name, allowed in self.when)

    def suggest(self, trial: BaseTrial, name: str) -> Any:
        """Draws a value under ``name``."""
        if self.kind == "choice":
            return trial.suggest_categorical(name, self.values)
        low, high = self.values
        if self.kind == "int":
            return trial.suggest_int(name, low, high, step=self.step)
        return trial.suggest_float(name, low, high, log=self.kind in ("loguniform", "proportions"))

    def list_values(self) -> Sequence[Any]:
        """Every value of a choice or an int."""
        return self.values if self.kind == "choice" else range(self.values[0], self.values[1] + 1, self.step)

    def find_fault(self, value: Any) -> str | None:
        """Why this parameter cannot take the value; None if it can."""
        if self.kind == "choice":
            fits = any(value == item and isinstance(value, bool) == isinstance(item, bool) for item in self.values)
            return None if fits else f"`{self.name}` must be one of {list(self.values)}, but got {value!r}"
        low, high = self.values
        fits = is_number(value, whole=self.kind == "int") and low <= value <= high
        if fits and (self.kind != "int" or (value - low) % self.step == 0):
            return None
        steps = f" in steps of {self.step}" if self.step > 1 else ""
        return f"`{self.name}` must lie in its range {low} to {high}{steps}, but got {value!r}"

    def convert(self, value: Any) -> Any:
        """A value without fault in the type that a drawn one has: 0 is 0.0 in a range of decimals."""
        if self.kind == "choice":
            return self.values[self.values.index(value)]
        return value if self.kind == "int" else float(value)


@dataclass(frozen=True)
class Scheduler:
    """How trials are stopped: ``asha``, or ``none``, where each trains for ``max_epochs``; the rest is None."""

    type: str
    max_epochs: int
    grace_epochs: int | None = None
    reduction_factor: int | None = None

    def rungs(self) -> list[int]:
        """Epochs after which a trial may be stopped, ascending."""
        return list_rungs(self.max_epochs, self.grace_epochs, self.reduction_factor)

    def expect_epochs(self, trials: int, rng: np.random.Generator) -> float:
        """Epochs to expect of so many trials."""
        if self.reduction_factor is None:
            return trials * self.max_epochs
        return expect_epochs(trials, self.max_epochs, self.rungs(), self.reduction_factor, rng)

    def find_faults(self) -> dict[str, str]:
        """What is wrong with the numbers, by name."""
        faults = {}
        if messages := check_value("epochs", self.max_epochs)[1]:
            faults["max_epochs"] = messages[0].replace("`epochs`", "`max_epochs`")
        if self.reduction_factor is not None and self.reduction_factor < 2:
            faults["reduction_factor"] = f"`reduction_factor` must be at least 2, but got {self.reduction_factor}"
        if self.grace_epochs is not None and not 1 <= self.grace_epochs < self.max_epochs:
            faults["grace_epochs"] = (
                f"`grace_epochs` must be at least 1 and below `max_epochs`, {self.max_epochs}, "
                f"but got {self.grace_epochs}; to stop no trial early give `type: none`"
            )
        return faults


def is_number(value: Any, *, whole: bool = False) -> bool:
    """Whether a value is a number (a whole one), which true and false are not."""
    return isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)


def check_value(name: str, value: Any) -> tuple[Any, list[str]]:
    """The value in the type of the `TrainConfig` field ``name``, and what is wrong with it."""
    return check_field(name, value)


def check_name(name: str, line: int, faults: FaultList) -> bool:
    """Whether a space may set the field ``name``."""
    if name in SET_ELSEWHERE:
        faults.add(line, f"`{name}` cannot be given in a space: {SET_ELSEWHERE[name]}; remove it")
    elif name not in TrainConfig.model_fields:
        faults.add(line, check_value(name, None)[1][0])
    else:
        return True
    return False


# ------------------------------------------------------------------------------------------------------ one parameter


def read_parameter(name: str, spec: Located, faults: FaultList) -> Parameter | None:
    """One entry of the section ``search``; None, with the reasons in ``faults``, where it cannot be used."""
    before = len(faults.faults)
    if not check_name(name, spec.line, faults):
        return None
    if isinstance(spec.value, dict):
        check_keys(spec, (*KINDS, "step", "when"), f"the parameter `{name}`", faults)
    kinds = [key for key in spec.value if key in KINDS] if isinstance(spec.value, dict) else []
    if len(kinds) != 1:
        got = " and ".join(kinds) or repr(spec.to_plain())
        faults.add(
            spec.line, f"`{name}` must have one of {', '.join(KINDS)}, but got {got}; a constant belongs under `fixed`"
        )
        return None
    kind, item = kinds[0], spec.value[kinds[0]]
    if (name == WEIGHTS) != (kind == "proportions"):
        faults.add(item.line, f"`{WEIGHTS}` is searched by `proportions`, and nothing else is, but got {name}: {kind}")
        return None
    if name in CHOICE_ONLY and kind != "choice":
        faults.add(
            item.line, f"`{name}` must be a `choice`, because each value is made ready before the start, but got {kind}"
        )
        return None
    step = read_step(kind, spec.value.get("step"), faults)
    values = read_choices(name, item, faults) if kind == "choice" else read_range(name, kind, item, step, faults)
    when = read_when(name, spec.value["when"], faults) if "when" in spec.value else ()
    return Parameter(name, kind, values, step, when) if len(faults.faults) == before else None


def read_step(kind: str, item: Located | None, faults: FaultList) -> int:
    """The step of an int; 1 where none is given."""
    if item is None:
        return 1
    if kind != "int":
        faults.add(item.line, f"`step` belongs to `int`, but stands at {kind}; remove it")
    elif not is_number(item.value, whole=True) or item.value < 1:
        faults.add(item.line, f"`step` must be a whole number of at least 1, but got {item.to_plain()!r}")
    else:
        return item.value
    return 1


def read_choices(name: str, item: Located, faults: FaultList) -> tuple[Any, ...]:
    """The values of a choice, in the field's type."""
    if not isinstance(item.value, list) or not item.value:
        faults.add(item.line, f"`choice` must be a list of values, but `{name}` got {item.to_plain()!r}")
        return ()
    values: list[Any] = []
    for place in item.value:
        value, messages = check_value(name, place.to_plain())
        for message in messages:
            faults.add(place.line, message)
        if value in values:
            faults.add(place.line, f"choices must differ, but `{name}` has {value!r} twice")
        values.append(value)
    return tuple(values)


def read_range(name: str, kind: str, item: Located, step: int, faults: FaultList) -> tuple[Any, ...]:
    """The two ends of a range."""
    ends = item.to_plain()
    if not isinstance(ends, list) or len(ends) != 2 or not all(is_number(end, whole=kind == "int") for end in ends):
        numbers = "whole numbers" if kind == "int" else "numbers"
        faults.add(item.line, f"`{kind}` must be two {numbers}, [low, high], but `{name}` got {ends!r}")
        return ()
    low, high = ends if kind == "int" else map(float, ends)
    smallest, largest = PROPORTION_LIMITS
    if not low < high:
        faults.add(item.line, f"low must be below high, but `{name}` got {ends}; a constant belongs under `fixed`")
    elif kind == "loguniform" and low <= 0:
        faults.add(item.line, f"the low end of `loguniform` must be above 0, but `{name}` got {ends}")
    elif kind == "proportions" and (low < smallest or high > largest):
        faults.add(item.line, f"`proportions` must lie in {smallest:g} to {largest:g}, but got {ends}")
    elif kind == "int" and (high - low) % step:
        faults.add(item.line, f"high must be low plus a multiple of the step, {step}, but `{name}` got {ends}")
    if kind != "proportions":
        for end in (low, high):
            for message in check_value(name, end)[1]:
                faults.add(item.line, message)
    return (low, high)


def read_when(name: str, item: Located, faults: FaultList) -> tuple[tuple[str, tuple[Scalar, ...]], ...]:
    """The conditions of a parameter, not yet compared with the parameters they name."""
    if not isinstance(item.value, dict) or not item.value:
        got = item.to_plain()
        faults.add(item.line, f"`when` must be a mapping, {{name: value or list of values}}, but `{name}` got {got!r}")
        return ()
    conditions = []
    for other, wanted in item.value.items():
        plain = wanted.to_plain()
        allowed = plain if isinstance(plain, list) else [plain]
        if not allowed or not all(isinstance(value, Scalar) for value in allowed):
            faults.add(wanted.line, f"`when` must name single values, but `{other}` got {plain!r}")
        conditions.append((other, tuple(allowed)))
    return tuple(conditions)


# ------------------------------------------------------------------------------------------------------- the scheduler


def read_scheduler(section: Located, faults: FaultList) -> Scheduler | None:
    """The section ``scheduler``; None, with the reasons in ``faults``, where it cannot be used."""
    before = len(faults.faults)
    kind = section.value["type"].to_plain() if "type" in section.value else "asha"
    if kind not in ("asha", "none"):
        faults.add(section.value["type"].line, f"`type` must be asha or none, but got {kind!r}")
        return None
    numbers = {"grace_epochs": 1, "reduction_factor": 3} if kind == "asha" else {}
    names = ("max_epochs", *numbers)
    check_keys(section, ("type", *names), f"a scheduler of type {kind}", faults)
    if "max_epochs" not in section.value:
        faults.add(section.line, "`scheduler` must have `max_epochs`, the epochs of a trial that is not stopped")
    for name in names:
        if name in section.value:
            item = section.value[name]
            if not is_number(item.value, whole=True):
                faults.add(item.line, f"`{name}` must be a whole number, but got {item.to_plain()!r}")
            numbers[name] = item.value
    if len(faults.faults) > before:
        return None
    scheduler = Scheduler(kind, **numbers)
    for name, message in scheduler.find_faults().items():
        faults.add(section.value[name].line if name in section.value else section.line, message)
    return scheduler
