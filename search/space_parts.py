"""What a search space is made of: its parameters, its known configurations and its scheduler, each read and checked here.

The rules for a value are those of `TrainConfig`: every fixed value, every choice and both ends of every range go through
its own validation, so no rule is written twice.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from fashion_core.config import TrainConfig, describe_faults
from search.space_yaml import FaultList, Located, check_keys

if TYPE_CHECKING:
    from optuna.trial import BaseTrial

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
        when: (name, values) pairs; the parameter is drawn only where each name was drawn, or is fixed, as one of its values.
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
            return trial.suggest_categorical(name, list(self.values))
        if self.kind == "int":
            return trial.suggest_int(name, *self.values, step=self.step)
        return trial.suggest_float(name, *self.values, log=self.kind in ("loguniform", "proportions"))

    def count(self) -> float:
        """Number of values; infinite for a continuous range."""
        if self.kind == "choice":
            return len(self.values)
        return (self.values[1] - self.values[0]) // self.step + 1 if self.kind == "int" else math.inf

    def list_values(self) -> tuple[Any, ...]:
        """Every value of a countable parameter."""
        return self.values if self.kind == "choice" else tuple(range(self.values[0], self.values[1] + 1, self.step))

    def find_fault(self, value: Any) -> str | None:
        """Why this parameter cannot take the value; None if it can."""
        if self.kind == "choice":
            fits = any(value == item and isinstance(value, bool) == isinstance(item, bool) for item in self.values)
            return None if fits else f"`{self.name}` must be one of {list(self.values)}, but got {value!r}"
        low, high = self.values
        if (
            not is_number(value, whole=self.kind == "int")
            or not low <= value <= high
            or self.kind == "int"
            and (value - low) % self.step
        ):
            steps = f" in steps of {self.step}" if self.step > 1 else ""
            return f"`{self.name}` must lie in its range {low} to {high}{steps}, but got {value!r}"
        return None


@dataclass(frozen=True)
class Scheduler:
    """How trials are stopped: ``asha``, or ``none``, where each trains for ``max_epochs`` and the other two are None."""

    type: str
    max_epochs: int
    grace_epochs: int | None = None
    reduction_factor: int | None = None

    def rungs(self) -> list[int]:
        """Epochs after which a trial may be stopped, ascending: grace x factor^k below ``max_epochs``."""
        if self.grace_epochs is None or self.reduction_factor is None:
            return []
        rungs = [self.grace_epochs]
        while rungs[-1] * self.reduction_factor < self.max_epochs:
            rungs.append(rungs[-1] * self.reduction_factor)
        return rungs

    def find_faults(self) -> list[str]:
        """What is wrong with the numbers."""
        faults = check_field("epochs", self.max_epochs)
        faults = [fault.replace("`epochs`", "`max_epochs`") for fault in faults]
        if self.grace_epochs is None or self.reduction_factor is None:
            return faults
        if self.reduction_factor < 2:
            faults.append(f"`reduction_factor` must be at least 2, but got {self.reduction_factor}")
        if not 1 <= self.grace_epochs < self.max_epochs:
            faults.append(
                f"`grace_epochs` must be at least 1 and below `max_epochs`, {self.max_epochs}, but got {self.grace_epochs}; "
                "to stop no trial early give `type: none`"
            )
        return faults


def is_number(value: Any, *, whole: bool = False) -> bool:
    return isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)


def check_field(name: str, value: Any) -> list[str]:
    """What `TrainConfig` says against the value of one field."""
    try:
        TrainConfig.model_validate({name: value}, strict=True)
    except ValidationError as error:
        return [line.strip() for line in describe_faults(error)]
    return []


def _check_name(name: str, line: int, faults: FaultList) -> bool:
    if name in SET_ELSEWHERE:
        faults.add(line, f"`{name}` cannot be given in a space: {SET_ELSEWHERE[name]}; remove it")
        return False
    if name not in TrainConfig.model_fields:
        faults.add(line, check_field(name, None)[0])
        return False
    return True


def read_fixed(section: Located, faults: FaultList) -> dict[str, Any]:
    """Checked values of the section ``fixed``, in the types of `TrainConfig`."""
    fixed: dict[str, Any] = {}
    for name, item in section.value.items():
        if not _check_name(name, item.line, faults):
            continue
        value = item.to_plain()
        messages = check_field(name, value)
        if (
            name == WEIGHTS
            and not messages
            and (any(weight < 0 for weight in value.values()) or not any(value.values()))
        ):
            messages = [f"`{WEIGHTS}` must be 0 or more and not all 0, but got {value}"]
        for message in messages:
            faults.add(item.line, message)
        if not messages:
            fixed[name] = getattr(TrainConfig.model_validate({name: value}), name)
    return fixed


def read_parameter(name: str, spec: Located, faults: FaultList) -> Parameter | None:
    """One entry of the section ``search``; None, with the reasons in ``faults``, where it cannot be used."""
    before = len(faults.faults)
    if not _check_name(name, spec.line, faults):
        return None
    kinds = [key for key in spec.value if key in KINDS] if isinstance(spec.value, dict) else []
    if isinstance(spec.value, dict):
        check_keys(spec, (*KINDS, "step", "when"), f"the parameter `{name}`", faults)
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
    step = _read_step(kind, spec.value.get("step"), faults)
    values = _read_choices(name, item, faults) if kind == "choice" else _read_range(name, kind, item, step, faults)
    when = _read_when(name, spec.value["when"], faults) if "when" in spec.value else ()
    return Parameter(name, kind, values, step, when) if len(faults.faults) == before else None


def _read_step(kind: str, item: Located | None, faults: FaultList) -> int:
    if item is None:
        return 1
    if kind != "int":
        faults.add(item.line, f"`step` belongs to `int`, but stands at {kind}")
    elif not is_number(item.value, whole=True) or item.value < 1:
        faults.add(item.line, f"`step` must be a whole number of at least 1, but got {item.to_plain()!r}")
    else:
        return item.value
    return 1


def _read_choices(name: str, item: Located, faults: FaultList) -> tuple[Any, ...]:
    values = item.to_plain()
    if not isinstance(values, list) or not values or not all(isinstance(value, Scalar) for value in values):
        faults.add(item.line, f"`choice` must be a list of single values, but got {values!r}")
        return ()
    for index, (value, place) in enumerate(zip(values, item.value, strict=True)):
        if value in values[:index]:
            faults.add(place.line, f"choices must differ, but `{name}` has {value!r} twice")
        for message in check_field(name, value):
            faults.add(place.line, message)
    return tuple(values)


def _read_range(name: str, kind: str, item: Located, step: int, faults: FaultList) -> tuple[Any, ...]:
    ends = item.to_plain()
    if not isinstance(ends, list) or len(ends) != 2 or not all(is_number(end, whole=kind == "int") for end in ends):
        numbers = "whole numbers" if kind == "int" else "numbers"
        faults.add(item.line, f"`{kind}` must be two {numbers}, [low, high], but got {ends!r}")
        return ()
    low, high = ends if kind == "int" else map(float, ends)
    if not low < high:
        faults.add(item.line, f"low must be below high, but `{name}` got {ends}; a constant belongs under `fixed`")
    elif kind == "loguniform" and low <= 0:
        faults.add(item.line, f"the low end of `loguniform` must be above 0, but `{name}` got {ends}")
    elif kind == "proportions" and not PROPORTION_LIMITS[0] <= low < high <= PROPORTION_LIMITS[1]:
        faults.add(
            item.line, f"proportions must lie in {PROPORTION_LIMITS[0]} to {PROPORTION_LIMITS[1]:g}, but got {ends}"
        )
    elif kind == "int" and (high - low) % step:
        faults.add(item.line, f"high must be low plus a multiple of the step, {step}, but `{name}` got {ends}")
    if kind != "proportions":
        for message in dict.fromkeys(message for end in (low, high) for message in check_field(name, end)):
            faults.add(item.line, message)
    return (low, high)


def _read_when(name: str, item: Located, faults: FaultList) -> tuple[tuple[str, tuple[Scalar, ...]], ...]:
    if not isinstance(item.value, dict) or not item.value:
        faults.add(
            item.line,
            f"`when` must be a mapping, {{name: value or list of values}}, but `{name}` got {item.to_plain()!r}",
        )
        return ()
    conditions = []
    for other, wanted in item.value.items():
        plain = wanted.to_plain()
        allowed = plain if isinstance(plain, list) else [plain]
        if not allowed or not all(isinstance(value, Scalar) for value in allowed):
            faults.add(wanted.line, f"`when` must name single values, but `{other}` got {plain!r}")
        conditions.append((other, tuple(allowed)))
    return tuple(conditions)


def read_point(section: Located, parameters: dict[str, Parameter], faults: FaultList) -> dict[str, Any]:
    """One known configuration of ``try_first``: values by parameter; ``category_weights`` a mapping or one number for all."""
    if not isinstance(section.value, dict):
        faults.add(section.line, f"a configuration to try must be a mapping, but got {section.to_plain()!r}")
        return {}
    point = section.to_plain()
    for name, item in section.value.items():
        parameter = parameters.get(name)
        if parameter is None:
            check_keys(Located({name: item}, item.line), tuple(parameters), "`search`, so it cannot be tried", faults)
            continue
        nested = name == WEIGHTS and isinstance(item.value, dict)
        for value in item.value.values() if nested else [item]:
            if message := parameter.find_fault(value.to_plain()):
                faults.add(value.line, message)
        for other, allowed in parameter.when:
            if other in point and point[other] not in allowed:
                faults.add(
                    item.line,
                    f"`{name}` is drawn only when `{other}` is one of {list(allowed)}, but it is {point[other]!r} here",
                )
    return point


def read_scheduler(section: Located, faults: FaultList) -> Scheduler | None:
    """The section ``scheduler``; None, with the reasons in ``faults``, where it cannot be used."""
    kind = section.value["type"].to_plain() if "type" in section.value else "asha"
    if kind not in ("asha", "none"):
        faults.add(section.value["type"].line, f"`type` must be asha or none, but got {kind!r}")
        return None
    known = ("type", "max_epochs", "grace_epochs", "reduction_factor") if kind == "asha" else ("type", "max_epochs")
    check_keys(section, known, f"a scheduler of type {kind}", faults)
    numbers = {"grace_epochs": 1, "reduction_factor": 3} if kind == "asha" else {}
    if "max_epochs" not in section.value:
        faults.add(section.line, "`scheduler` must have `max_epochs`, the epochs of a trial that is not stopped")
        return None
    for name in known[1:]:
        if name in section.value:
            item = section.value[name]
            if not is_number(item.value, whole=True):
                faults.add(item.line, f"`{name}` must be a whole number, but got {item.to_plain()!r}")
                return None
            numbers[name] = item.value
    scheduler = Scheduler(kind, **numbers)
    for message in scheduler.find_faults():
        faults.add(section.line, message)
    return scheduler
