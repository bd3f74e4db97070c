"""The sections of a space's YAML, checked one by one and against each other."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, replace
from typing import Any

from search.space_parts import (
    WEIGHTS,
    Parameter,
    is_number,
    read_fixed,
    read_parameter,
    read_point,
    read_scheduler,
)
from search.space_yaml import FaultList, Located, check_keys

SECTIONS = ("description", "sampler", "trials", "fixed", "search", "try_first", "scheduler")
SAMPLERS = ("tpe", "grid", "random")
MAX_TRIALS = 1_000_000


def read_document(document: Located, faults: FaultList) -> dict[str, Any]:
    """Values of a `Space`'s fields, by name; to be used only where ``faults`` stays empty. ``trials`` is None if left to a grid."""
    if not isinstance(document.value, dict):
        faults.add(document.line, f"a space must be a mapping with {', '.join(SECTIONS)}")
        return {}
    check_keys(document, SECTIONS, "a space", faults)
    fixed_section, search_section, scheduler_section = (
        _read_mapping(document, key, faults) for key in ("fixed", "search", "scheduler")
    )
    sampler = _read_sampler(document, faults)
    fixed = read_fixed(fixed_section, faults)
    parameters = [read_parameter(name, item, faults) for name, item in search_section.value.items()]
    searched = {parameter.name: parameter for parameter in parameters if parameter is not None}
    complete = len(searched) == len(search_section.value)
    for name in fixed_section.value.keys() & search_section.value.keys():
        faults.add(search_section.value[name].line, f"`{name}` must be either fixed or searched, but is both")
    if "search" in document.value and not search_section.value:
        faults.add(search_section.line, "`search` must hold at least one parameter")
    if complete:  # else a condition on a faulty parameter would be called unknown
        searched = _sort_parameters(searched, fixed, search_section, faults)
    if sampler == "grid":
        _check_grid(searched, document, search_section, faults)
    points = _read_points(document, searched if complete else None, faults)
    fields = {
        "description": _read_description(document, faults),
        "sampler": sampler,
        "trials": _read_trials(document, sampler, faults),
        "fixed": fixed,
        "parameters": tuple(searched.values()),
        "try_first": tuple(points),
        "scheduler": read_scheduler(scheduler_section, faults),
    }
    lines = [*_list_categories(fixed_section), *_list_try_categories(document)]
    return {**fields, "category_lines": tuple(lines)} if not faults.faults else {}


def hash_fields(fields: dict[str, Any]) -> str:
    """sha256 of what a space means: not its description, nor its layout; the order of the search counts, draws follow it."""
    meaning = {name: fields[name] for name in ("sampler", "trials", "fixed", "try_first")}
    meaning["parameters"] = [asdict(parameter) for parameter in fields["parameters"]]
    meaning["scheduler"] = asdict(fields["scheduler"])
    return hashlib.sha256(json.dumps(meaning, sort_keys=True).encode()).hexdigest()


def _read_mapping(document: Located, key: str, faults: FaultList) -> Located:
    item = document.value.get(key)
    if item is None:
        if key != "fixed":
            faults.add(document.line, f"a space must have the section `{key}`")
    elif isinstance(item.value, dict):
        return item
    elif item.value is not None or key != "fixed":  # `fixed:` with nothing under it is null in YAML
        faults.add(item.line, f"`{key}` must be a mapping, but got {item.to_plain()!r}")
    return Located({}, item.line if item else document.line)


def _read_description(document: Located, faults: FaultList) -> str:
    item = document.value.get("description")
    if item is not None and not isinstance(item.value, str):
        faults.add(item.line, f"`description` must be text, but got {item.to_plain()!r}")
    return item.value if item is not None else ""


def _read_sampler(document: Located, faults: FaultList) -> str:
    item = document.value.get("sampler")
    if item is not None and item.to_plain() not in SAMPLERS:
        faults.add(item.line, f"`sampler` must be one of {', '.join(SAMPLERS)}, but got {item.to_plain()!r}")
    return item.value if item is not None else "tpe"


def _read_trials(document: Located, sampler: str, faults: FaultList) -> int | None:
    item = document.value.get("trials")
    if item is None:
        if sampler != "grid":
            faults.add(document.line, "a space must have `trials`, the default number of trials")
        return None
    if sampler == "grid":
        faults.add(item.line, "a grid runs every combination once, so `trials` must be left out; remove it")
    elif not is_number(item.value, whole=True) or not 1 <= item.value <= MAX_TRIALS:
        faults.add(item.line, f"`trials` must be a whole number from 1 to {MAX_TRIALS}, but got {item.to_plain()!r}")
    return item.value


def _check_grid(searched: dict[str, Parameter], document: Located, search: Located, faults: FaultList) -> None:
    for name, parameter in searched.items():
        if parameter.kind != "choice":
            faults.add(search.value[name].line, f"a grid takes only `choice`, but `{name}` is {parameter.kind}")
    if "try_first" in document.value:
        faults.add(document.value["try_first"].line, "a grid runs every combination, so `try_first` must be left out")


def _read_points(document: Located, searched: dict[str, Parameter] | None, faults: FaultList) -> list[dict[str, Any]]:
    item = document.value.get("try_first")
    if item is None or item.value is None:
        return []
    if not isinstance(item.value, list):
        faults.add(item.line, f"`try_first` must be a list of configurations, but got {item.to_plain()!r}")
        return []
    return [read_point(point, searched, faults) for point in item.value] if searched is not None else []


def _sort_parameters(
    searched: dict[str, Parameter], fixed: dict[str, Any], section: Located, faults: FaultList
) -> dict[str, Parameter]:
    """The parameters in the file's order, but each after those its conditions name; conditions on fixed values are checked."""
    for parameter in searched.values():
        line = section.value[parameter.name].line
        for other, allowed in parameter.when:
            for message in _find_condition_faults(parameter, other, allowed, searched, fixed):
                faults.add(line, message)
    waiting, ordered = dict(searched), dict[str, Parameter]()
    while waiting:
        ready = next((p for p in waiting.values() if not any(other in waiting for other, _ in p.when)), None)
        if ready is None:
            line = section.value[next(iter(waiting))].line
            faults.add(line, f"`when` must not run in a circle, but {', '.join(waiting)} wait for each other")
            return searched
        ordered[ready.name] = waiting.pop(ready.name)
    return ordered


def _find_condition_faults(
    parameter: Parameter, other: str, allowed: tuple, searched: dict[str, Parameter], fixed: dict[str, Any]
) -> list[str]:
    place = f"`when` of `{parameter.name}`"
    if other in searched:
        condition = searched[other]
        if condition.kind not in ("choice", "int"):
            return [f"{place} must name a `choice` or an `int`, but `{other}` is {condition.kind}"]
        return [f"{place} can never hold: {fault}" for value in allowed if (fault := condition.find_fault(value))]
    if other not in fixed:
        return [f"{place} must name a parameter that is searched or fixed here, but got `{other}`"]
    if fixed[other] not in allowed:
        return [
            f"{place} can never hold, because `{other}` is fixed to {fixed[other]!r}, not {list(allowed)}; remove `{parameter.name}`"
        ]
    return []


def _list_categories(section: Located) -> list[tuple[str, int]]:
    weights = section.value.get(WEIGHTS)
    return (
        [(name, item.line) for name, item in weights.value.items()]
        if weights and isinstance(weights.value, dict)
        else []
    )


def _list_try_categories(document: Located) -> list[tuple[str, int]]:
    item = document.value.get("try_first")
    points = item.value if item is not None and isinstance(item.value, list) else []
    return [found for point in points if isinstance(point.value, dict) for found in _list_categories(point)]
