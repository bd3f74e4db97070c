"""The sections of a space's YAML, checked one by one and against each other."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from typing import Any

from search.space.located import FaultList, Located, check_keys, describe_unknown
from search.space.parts import WEIGHTS, Parameter, check_name, check_value, is_number, read_parameter, read_scheduler

SECTIONS = ("description", "sampler", "trials", "fixed", "search", "try_first", "scheduler")
SAMPLERS = ("tpe", "grid", "random")
MAX_TRIALS = 1_000_000


def read_document(document: Located, faults: FaultList) -> dict[str, Any]:
    """Values of a `Space`'s fields, by name; of use only where ``faults`` stays empty. A grid's ``trials`` are 0."""
    if not isinstance(document.value, dict):
        faults.add(document.line, f"a space must be a mapping with {', '.join(SECTIONS)}")
        return {}
    check_keys(document, SECTIONS, "a space", faults)
    for name in ("search", "scheduler"):
        if name not in document.value:
            faults.add(document.line, f"a space must have the section `{name}`")
    sampler = read_sampler(document, faults)
    fixed_section, search_section = read_mapping(document, "fixed", faults), read_mapping(document, "search", faults)
    fixed = read_fixed(fixed_section, faults)
    parameters = read_search(search_section, fixed_section, fixed, faults)
    if "search" in document.value and document.value["search"].value == {}:
        faults.add(search_section.line, "`search` must hold at least one parameter")
    if sampler == "grid":
        check_grid(document, parameters, faults)
    points = read_points(document, parameters, faults)
    scheduler_section = read_mapping(document, "scheduler", faults)
    return {
        "description": read_description(document, faults),
        "sampler": sampler,
        "trials": read_trials(document, sampler, faults),
        "fixed": fixed,
        "parameters": tuple(parameters.values()),
        "try_first": tuple(points),
        "scheduler": read_scheduler(scheduler_section, faults) if "scheduler" in document.value else None,
        "category_lines": tuple(list_categories(fixed_section) + list_tried_categories(document)),
    }


def hash_fields(fields: dict[str, Any]) -> str:
    """sha256 of what a space means: not its description or layout; the order of the search counts, draws follow it."""
    meaning = {name: fields[name] for name in ("sampler", "trials", "fixed", "try_first")}
    meaning["parameters"] = [asdict(parameter) for parameter in fields["parameters"]]
    meaning["scheduler"] = asdict(fields["scheduler"])
    return hashlib.sha256(json.dumps(meaning, sort_keys=True).encode()).hexdigest()


def read_mapping(document: Located, name: str, faults: FaultList) -> Located:
    """A section that is a mapping; an empty one where it is absent or at fault."""
    item = document.value.get(name, Located({}, document.line))
    if isinstance(item.value, dict):
        return item
    if item.value is not None or name != "fixed":  # `fixed:` with nothing under it is null in YAML
        faults.add(item.line, f"`{name}` must be a mapping, but got {item.to_plain()!r}")
    return Located({}, item.line)


def read_description(document: Located, faults: FaultList) -> str:
    item = document.value.get("description", Located("", document.line))
    if not isinstance(item.value, str):
        faults.add(item.line, f"`description` must be text, but got {item.to_plain()!r}")
    return item.value


def read_sampler(document: Located, faults: FaultList) -> str:
    item = document.value.get("sampler", Located("tpe", document.line))
    if item.value not in SAMPLERS:
        faults.add(item.line, f"`sampler` must be one of {', '.join(SAMPLERS)}, but got {item.to_plain()!r}")
    return item.value


def read_trials(document: Located, sampler: str, faults: FaultList) -> int:
    """The default number of trials; 0 for a grid, which knows its own."""
    item = document.value.get("trials")
    if sampler == "grid":
        if item is not None:
            faults.add(item.line, "a grid runs every combination once, so `trials` must be left out; remove it")
        return 0
    if item is None:
        faults.add(document.line, "a space must have `trials`, the default number of trials")
        return 0
    if not is_number(item.value, whole=True) or not 1 <= item.value <= MAX_TRIALS:
        faults.add(item.line, f"`trials` must be a whole number from 1 to {MAX_TRIALS}, but got {item.to_plain()!r}")
    return item.value


def read_fixed(section: Located, faults: FaultList) -> dict[str, Any]:
    """The section ``fixed``, in the types of `TrainConfig`, without what is at fault."""
    fixed: dict[str, Any] = {}
    for name, item in section.value.items():
        if not check_name(name, item.line, faults):
            continue
        value, messages = check_value(name, item.to_plain())
        if name == WEIGHTS and not messages and min(value.values(), default=0) < 0:
            messages = [f"`{WEIGHTS}` must be 0 or more, but got {value}"]
        for message in messages:
            faults.add(item.line, message)
        if not messages:
            fixed[name] = value
    return fixed


def read_search(
    section: Located, fixed_section: Located, fixed: dict[str, Any], faults: FaultList
) -> dict[str, Parameter | None]:
    """The section ``search``, in its order; None for a parameter that is at fault."""
    parameters: dict[str, Parameter | None] = {}
    for name, item in section.value.items():
        parameter = read_parameter(name, item, faults)
        for other, allowed in parameter.when if parameter else ():
            if other in parameters:
                message = find_condition_fault(parameters[other], allowed)
            elif other in section.value:
                message = f"must name a parameter that stands above `{name}`, but got `{other}`; move `{other}` up"
            elif other not in fixed_section.value:
                message = describe_unknown(other, (*parameters, *fixed_section.value), "`search` or `fixed`")
            elif other in fixed and fixed[other] not in allowed:
                message = f"can never hold, because `{other}` is fixed to {fixed[other]!r}; remove `{name}`"
            else:
                message = None
            if message:
                faults.add(item.line, f"`when` of `{name}`: {message}")
        if parameter and name in fixed_section.value and not parameter.when:
            faults.add(
                item.line, f"`{name}` must be either fixed or searched, but is both; only with a `when` can it be"
            )
        parameters[name] = parameter
    return parameters


def find_condition_fault(condition: Parameter | None, allowed: tuple[Any, ...]) -> str | None:
    """Why a condition on a searched parameter cannot hold; None if it can."""
    if condition is None:  # at fault itself, and said so
        return None
    if condition.kind not in ("choice", "int"):
        return f"must name a choice or an int, but `{condition.name}` is {condition.kind}"
    faults = [fault for value in allowed if (fault := condition.find_fault(value))]
    return "; ".join(faults) or None


def check_grid(document: Located, parameters: dict[str, Parameter | None], faults: FaultList) -> None:
    for name, parameter in parameters.items():
        if parameter is not None and parameter.kind != "choice":
            line = document.value["search"].value[name].line
            faults.add(line, f"a grid takes only `choice`, but `{name}` is {parameter.kind}")
    if "try_first" in document.value:
        faults.add(document.value["try_first"].line, "a grid runs every combination, so `try_first` must be left out")


def read_points(document: Located, parameters: dict[str, Parameter | None], faults: FaultList) -> list[dict[str, Any]]:
    """The section ``try_first``."""
    item = document.value.get("try_first", Located([], document.line))
    if not isinstance(item.value, list):
        faults.add(item.line, f"`try_first` must be a list of configurations, but got {item.to_plain()!r}")
        return []
    return [read_point(point, parameters, faults) for point in item.value]


def read_point(section: Located, parameters: dict[str, Parameter | None], faults: FaultList) -> dict[str, Any]:
    """One known configuration: values by parameter; ``category_weights`` a mapping, or one number for all."""
    if not isinstance(section.value, dict):
        faults.add(section.line, f"a configuration to try must be a mapping, but got {section.to_plain()!r}")
        return {}
    check_keys(section, tuple(parameters), "`search`, so it cannot be tried", faults)
    point: dict[str, Any] = {}
    for name, item in section.value.items():
        parameter = parameters.get(name)
        if parameter is None:
            continue
        nested = isinstance(item.value, dict) and name == WEIGHTS
        places = item.value if nested else {name: item}
        found = [(place.line, parameter.find_fault(place.to_plain())) for place in places.values()]
        for line, message in found:
            if message:
                faults.add(line, message)
        if not any(message for _, message in found):
            values = {key: parameter.convert(place.to_plain()) for key, place in places.items()}
            point[name] = values if nested else values[name]
        for other, allowed in parameter.when:
            if other in section.value and (got := section.value[other].to_plain()) not in allowed:
                faults.add(
                    item.line, f"`{name}` is drawn only where `{other}` is one of {list(allowed)}, but it is {got!r}"
                )
    return point


def list_categories(section: Located) -> list[tuple[str, int]]:
    """(category, line) of the category weights in a section."""
    weights = section.value.get(WEIGHTS)
    if weights is None or not isinstance(weights.value, dict):
        return []
    return [(name, item.line) for name, item in weights.value.items()]


def list_tried_categories(document: Located) -> list[tuple[str, int]]:
    """(category, line) of the category weights in ``try_first``."""
    item = document.value.get("try_first")
    points = item.value if item is not None and isinstance(item.value, list) else []
    return [found for point in points if isinstance(point.value, dict) for found in list_categories(point)]
