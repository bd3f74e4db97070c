"""A search space: a checked YAML file -> what Optuna draws -> the values of a `TrainConfig`.

A parameter's flat name is what Optuna, the ledger and MLflow show: a field of `TrainConfig`, or ``weight_<category>`` for
the category weights. Optuna draws those raw, each log-uniformly; their scale means nothing, so all else sees them divided
by their mean.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

import spaces
from fashion_core.config import TrainConfig
from fashion_core.errors import Fault, SearchError, SpaceError
from search.space_document import hash_fields, read_document
from search.space_parts import WEIGHTS, Parameter, Scheduler
from search.space_yaml import MAX_BYTES, FaultList, read_located

if TYPE_CHECKING:
    from optuna.trial import BaseTrial

    from fashion_core.attributes import AttributeSchema

WEIGHT_PREFIX = "weight_"
MAX_COMBINATIONS = 10_000


@dataclass(frozen=True)
class Space:
    """A checked search space.

    Args:
        text: the YAML as read; `parse_space` of it gives this space again.
        hash: sha256 of what the text means: comments, description and layout do not count, order of the search does.
        fixed: values of `TrainConfig` fields that every trial has.
        parameters: the searched ones, a condition's parameter before those that depend on it.
        try_first: known configurations, parameter -> value; ``category_weights`` a mapping, or one number for all.
        category_lines: (category, line) of every category the text names.
    """

    name: str
    text: str
    hash: str
    description: str
    sampler: str
    trials: int
    fixed: dict[str, Any]
    parameters: tuple[Parameter, ...]
    try_first: tuple[dict[str, Any], ...]
    scheduler: Scheduler
    category_lines: tuple[tuple[str, int], ...] = ()
    file: str = field(default="", compare=False)

    def check_schema(self, schema: AttributeSchema) -> None:
        """Raises `SpaceError` where the space names a category the data does not have, or weights would shadow a field."""
        faults = FaultList(self.file or self.name)
        for category, line in self.category_lines:
            if category not in schema.names:
                faults.add(
                    line, f"categories must be the data's, {', '.join(schema.names)}, but got `{category}`; remove it"
                )
        for category in schema.names if self._searches_weights() else ():
            if (flat := WEIGHT_PREFIX + category) in TrainConfig.model_fields:
                faults.add(None, f"the weight of category `{category}` cannot be searched, because `{flat}` is a field")
        if faults.faults:
            raise SpaceError(f"the space {self.name} does not fit the data:", faults.faults)

    def suggest(self, trial: BaseTrial, schema: AttributeSchema) -> dict[str, Any]:
        """Draws every searched parameter whose conditions hold: flat name -> value, category weights raw."""
        drawn: dict[str, Any] = {}
        for parameter in self.parameters:
            if parameter.is_drawn(self.fixed | drawn):
                for name in self._flat_names(parameter, schema):
                    drawn[name] = parameter.suggest(trial, name)
        return drawn

    def build_values(self, params: dict[str, Any], schema: AttributeSchema) -> dict[str, Any]:
        """Values of a `TrainConfig` from flat parameters (raw or normalised weights), the fixed ones and the scheduler's epochs.

        Raises:
            SearchError: a parameter is not of this space.
        """
        known = {name for parameter in self.parameters for name in self._flat_names(parameter, schema)}
        if unknown := sorted(set(params) - known):
            raise SearchError(f"parameters must be searched by the space {self.name}, but got {', '.join(unknown)}")
        flat = self.flat_parameters(params, schema)
        values = {**self.fixed, "epochs": self.scheduler.max_epochs}
        weight_names = (
            {WEIGHT_PREFIX + category: category for category in schema.names} if self._searches_weights() else {}
        )
        values.update((name, value) for name, value in flat.items() if name not in weight_names)
        weights = {weight_names[name]: value for name, value in flat.items() if name in weight_names}
        if weights:
            values[WEIGHTS] = weights
        elif WEIGHTS in self.fixed and self.fixed.get("normalise_weights", True):
            values[WEIGHTS] = _normalise({name: self.fixed[WEIGHTS].get(name, 1.0) for name in schema.names})
        return values

    def flat_parameters(self, params: dict[str, Any], schema: AttributeSchema) -> dict[str, Any]:
        """The drawn parameters as shown in tables and MLflow: ``weight_<category>`` divided by their mean."""
        if not self._searches_weights():
            return dict(params)
        names = [WEIGHT_PREFIX + category for category in schema.names]
        return {**params, **_normalise({name: params[name] for name in names if name in params})}

    def first_points(self, schema: AttributeSchema) -> list[dict[str, Any]]:
        """What Optuna is to run first, as flat parameters: for a grid all of it, else ``try_first`` (missing ones are drawn)."""
        if self.sampler == "grid":
            return self._combinations([parameter.name for parameter in self.parameters])
        points = []
        for known in self.try_first:
            point = {name: value for name, value in known.items() if name != WEIGHTS}
            weights = known.get(WEIGHTS, {})
            for category in schema.names:
                if not isinstance(weights, dict) or category in weights:
                    point[WEIGHT_PREFIX + category] = float(weights[category] if isinstance(weights, dict) else weights)
            points.append(point)
        return points

    def count_grid(self) -> int:
        """Number of combinations of a grid.

        Raises:
            SearchError: the space is no grid.
        """
        if self.sampler != "grid":
            raise SearchError(f"only a grid can be counted, but the sampler of {self.name} is {self.sampler}")
        return len(self._combinations([parameter.name for parameter in self.parameters]))

    def rungs(self) -> list[int]:
        """Epochs after which a trial may be stopped, ascending."""
        return self.scheduler.rungs()

    def prepare_settings(self) -> list[tuple[int, str, float]]:
        """Distinct (image_size, crop, crop_margin) that trials can have; the margin is 0 unless crop is box_margin."""
        found = []
        for size, crop, margin in self._occurring("image_size", "crop", "crop_margin"):
            found.append((size, crop, float(margin) if crop == "box_margin" else 0.0))
        return list(dict.fromkeys(found))

    def backbones(self) -> list[tuple[str, str]]:
        """Distinct (backbone, weights) that trials can have."""
        return self._occurring("backbone", "weights")

    def with_scheduler(self, **changes: int | None) -> Space:
        """This space with other ``max_epochs``, ``grace_epochs`` or ``reduction_factor``; None leaves one as it is.

        Raises:
            SpaceError: the numbers do not go together.
        """
        given = {name: value for name, value in changes.items() if value is not None}
        if self.scheduler.type == "none" and given.keys() - {"max_epochs"}:
            raise SpaceError(
                f"the scheduler of {self.name} stops no trial, so only max_epochs can be set, but got {given}"
            )
        scheduler = replace(self.scheduler, **given)
        if faults := scheduler.find_faults():
            raise SpaceError("the scheduler is impossible:", [Fault(self.name, None, fault) for fault in faults])
        return replace(self, scheduler=scheduler)

    def _searches_weights(self) -> bool:
        return any(parameter.name == WEIGHTS for parameter in self.parameters)

    def _flat_names(self, parameter: Parameter, schema: AttributeSchema) -> list[str]:
        if parameter.name != WEIGHTS:
            return [parameter.name]
        return [WEIGHT_PREFIX + category for category in schema.names]

    def _occurring(self, *names: str) -> list[Any]:
        searched = {parameter.name for parameter in self.parameters}
        fixed = {name: self.fixed.get(name, TrainConfig.model_fields[name].default) for name in names}
        combinations = self._combinations([name for name in names if name in searched])
        return list(dict.fromkeys(tuple((fixed | combination)[name] for name in names) for combination in combinations))

    def _combinations(self, names: Iterable[str]) -> list[dict[str, Any]]:
        """Every combination that can be drawn of the named parameters and those their conditions name."""
        wanted = set(names)
        for parameter in reversed(self.parameters):
            if parameter.name in wanted:
                wanted.update(name for name, _ in parameter.when)
        chosen = [parameter for parameter in self.parameters if parameter.name in wanted]
        if (count := math.prod(parameter.count() for parameter in chosen)) > MAX_COMBINATIONS:
            listed = ", ".join(parameter.name for parameter in chosen)
            raise SpaceError(
                f"{listed} must have at most {MAX_COMBINATIONS} combinations, but have {count}; give fewer choices"
            )
        found: list[dict[str, Any]] = [{}]
        for parameter in chosen:
            found = [
                {**known, **extra}
                for known in found
                for extra in (
                    [{parameter.name: value} for value in parameter.list_values()]
                    if parameter.is_drawn(self.fixed | known)
                    else [{}]
                )
            ]
        return found


def _normalise(weights: dict[str, float]) -> dict[str, float]:
    mean = sum(weights.values()) / max(1, len(weights))
    return {name: value / mean for name, value in weights.items()}


def load_space(path_or_name: str | Path) -> Space:
    """The space in a file, or the shipped one of a bare name (``lite_cpu``).

    Raises:
        SpaceError: there is no such file, or it is at fault: all faults, each with its line.
    """
    path = Path(path_or_name)
    try:
        if not path.is_file() and path.parent == Path() and path.name in spaces.list_spaces():
            path = spaces.FOLDER / f"{path.name}.yaml"
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)  # the bound keeps a file that is no space from filling the memory
        return parse_space(content.decode("utf-8-sig"), path.stem, str(path_or_name))
    except UnicodeDecodeError as error:
        raise SpaceError(f"a space must be UTF-8 text, but {path_or_name} is not: {error.reason}") from None
    except (OSError, ValueError) as error:
        close = get_close_matches(path.stem, spaces.list_spaces(), n=1)
        remedy = f"did you mean {close[0]}?" if close else f"shipped are {', '.join(spaces.list_spaces())}"
        raise SpaceError(f"no space can be read from {str(path_or_name)!r} ({error}); {remedy}") from None


def parse_space(text: str, name: str, file: str | None = None) -> Space:
    """The space of a YAML text.

    Raises:
        SpaceError: lists every fault with its line.
    """
    faults = FaultList(file or name)
    document = read_located(text, faults)
    fields = read_document(document, faults) if document is not None else {}
    if not faults.faults:
        try:
            return _build_space(fields, text, name, file)
        except SearchError as error:  # too many combinations
            faults.add(None, str(error))
    raise SpaceError(
        f"the search space {name} cannot be used:", sorted(faults.faults, key=lambda fault: fault.line or 0)
    )


def _build_space(fields: dict[str, Any], text: str, name: str, file: str | None) -> Space:
    digest = hash_fields(fields)
    trials = fields.pop("trials")
    space = Space(name=name, text=text, hash=digest, trials=trials or 1, file=file or name, **fields)
    space.prepare_settings(), space.backbones()  # both raise where there are too many to make ready
    return space if trials else replace(space, trials=space.count_grid())
