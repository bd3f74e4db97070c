"""A configuration from elsewhere, a file or another search, as a point of a space: as Optuna would have drawn it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from fashion_core.config import TrainConfig, build_config
from fashion_core.errors import ConfigError
from fashion_core.escaping import show_value
from search.space.weights import WEIGHTS, flatten_weights, normalise_weights

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fashion_core.data.schema import AttributeSchema
    from search.space.space import Parameter, Space

SCALE_TOLERANCE = 1e-9  # by which a rescaled weight may pass its range's end: rounding


def read_point(space: Space, given: Mapping[str, Any], schema: AttributeSchema) -> tuple[dict[str, Any], list[str]]:
    """A configuration that somebody wrote, as a point; what it lacks is left to be drawn.

    Args:
        given: flat, as tables show it; or with ``category_weights``, a mapping or one number for all.

    Returns:
        the point; what is wrong with it, a line a parameter.
    """
    flat = spread_weights(given, schema)
    names = space.weight_names(schema)
    flat |= scale_weights(space, {name: flat[name] for name in names if name in flat})
    searched = {parameter.name: parameter for parameter in space.parameters}
    point: dict[str, Any] = {}
    faults: list[str] = []
    for name, value in flat.items():
        parameter = searched.get(WEIGHTS if name in names else name)
        if parameter is None:
            listed = ", ".join([*(known for known in searched if known != WEIGHTS), *names])
            faults.append(f"`{name}` must be a parameter that {space.name} searches ({listed}), but is none")
        elif fault := parameter.find_fault(value) or find_clash(parameter, space.fixed | flat):
            faults.append(fault.replace(f"`{WEIGHTS}`", f"`{name}`"))
        else:
            point[name] = parameter.convert(value)
    return point, faults


def spread_weights(given: Mapping[str, Any], schema: AttributeSchema) -> dict[str, Any]:
    """The configuration with its category weights under their flat names."""
    flat = dict(given)
    weights = flat.pop(WEIGHTS, {})
    if not isinstance(weights, dict):
        weights = dict.fromkeys(schema.names, weights)
    return flat | flatten_weights(weights)


def scale_weights(space: Space, weights: dict[str, Any]) -> dict[str, Any]:
    """Weights times the one number that brings all into their range, where there is one: their scale means nothing."""
    ranges = [parameter.values for parameter in space.parameters if parameter.name == WEIGHTS]
    values = list(weights.values())
    if not values or not ranges or not all(isinstance(value, (int, float)) and value > 0 for value in values):
        return weights
    low, high = ranges[0][0], ranges[0][-1]
    if low <= min(values) and max(values) <= high:
        return weights
    scale = max(1.0, low / min(values)) if max(values) <= high else high / max(values)
    scaled = {name: value * scale for name, value in weights.items()}
    inside = {name: min(max(value, low), high) for name, value in scaled.items()}
    is_rounding = all(math.isclose(inside[name], scaled[name], rel_tol=SCALE_TOLERANCE) for name in weights)
    return inside if is_rounding else weights


def find_clash(parameter: Parameter, known: Mapping[str, Any]) -> str | None:
    """Why a parameter is not drawn beside these values; None if it is, or if they do not tell."""
    for other, allowed in parameter.when:
        if other in known and known[other] not in allowed:
            return (
                f"`{parameter.name}` is drawn only where `{other}` is one of {list(allowed)}, "
                f"but it is {show_value(known[other])}"
            )
    return None


def project(space: Space, config: TrainConfig, schema: AttributeSchema) -> tuple[dict[str, Any], list[str]]:
    """A whole training as a point: the parameters that the space draws, with the values that it has.

    Returns:
        the point; names of the parameters whose value lies outside their range.
    """
    names = space.weight_names(schema)
    values = config.model_dump()
    values |= scale_weights(space, {flat: config.category_weights.get(name, 1.0) for flat, name in names.items()})
    point: dict[str, Any] = {}
    outside: list[str] = []
    for parameter in space.parameters:
        if parameter.is_drawn(space.fixed | point):
            for name in names if parameter.name == WEIGHTS else [parameter.name]:
                if parameter.find_fault(values[name]):
                    outside.append(name)
                else:
                    point[name] = parameter.convert(values[name])
    return point, outside


def list_differences(ours: TrainConfig, theirs: TrainConfig, schema: AttributeSchema) -> list[str]:
    """Names of the fields, but for the seeds, in which two trainings differ."""
    different = [
        name
        for name in TrainConfig.model_fields
        if name not in (WEIGHTS, "seed", "start_seed") and getattr(ours, name) != getattr(theirs, name)
    ]
    pairs = zip(*(shares(config, schema) for config in (ours, theirs)), strict=True)
    return different + [WEIGHTS] * (not all(math.isclose(one, other) for one, other in pairs))


def shares(config: TrainConfig, schema: AttributeSchema) -> Sequence[float]:
    """Category weights divided by their mean, in the schema's order."""
    return list(normalise_weights({name: config.category_weights.get(name, 1.0) for name in schema.names}).values())


def build_point(space: Space, point: dict[str, Any], schema: AttributeSchema) -> TrainConfig:
    """The training of a point, all of whose parameters are known.

    Raises:
        ConfigError: it is no possible one.
    """
    weights = {name: point[name] for name in space.weight_names(schema) if name in point}
    return build_config(space.build_values(point | normalise_weights(weights), schema))


def find_impossible(space: Space, point: dict[str, Any], schema: AttributeSchema) -> str | None:
    """Why no training has these values, whatever is drawn of the others; None if one has."""
    import optuna  # a third of a second: only where there is a point to look at

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    study.enqueue_trial(point)
    try:
        build_config(space.build_values(space.suggest(study.ask(), schema), schema))
    except ConfigError as error:
        return str(error)
    return None
