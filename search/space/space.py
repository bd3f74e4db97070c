"""A search space: a checked YAML file -> what Optuna draws -> the values of a `TrainConfig`.

A parameter's flat name is what Optuna, the ledger and MLflow show: a field of `TrainConfig`, or ``weight_<category>``
for the category weights. Optuna draws those raw, each log-uniformly; their scale means nothing, so all else sees them
divided by their mean.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

import spaces
from fashion_core.config import FEATURE_FIELDS, TrainConfig, build_config
from fashion_core.data.pixels import PrepareSettings
from fashion_core.errors import Fault, SearchError, SpaceError
from search.space.document import hash_fields, read_document
from search.space.located import MAX_SIZE, FaultList, read_located
from search.space.parts import WEIGHT_PREFIX, WEIGHTS, Parameter, Scheduler

if TYPE_CHECKING:
    from optuna.trial import BaseTrial

    from fashion_core.data.schema import AttributeSchema

PREPARE_FIELDS = ("image_size", "crop", "crop_margin")
MAX_COMBINATIONS = 10_000
MEAN_TOLERANCE = 1e-9  # of weights that are normalised already: rounding leaves 1e-16


@dataclass(frozen=True)
class Space:
    """A checked search space.

    Args:
        text: the YAML as read; `parse_space` of it gives this space again.
        hash: sha256 of what the text means: comments, description and layout do not count, order of the search does.
        sampler: tpe, random or grid.
        trials: the default number of trials; of a grid, all its combinations.
        fixed: values of `TrainConfig` fields that every trial has, unless it draws that parameter.
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
        """Raises `SpaceError` where the space does not fit the data's categories."""
        faults = FaultList(self.file or self.name)
        for category, line in self.category_lines:
            if category not in schema.names:
                known = ", ".join(schema.names)
                faults.add(line, f"categories must be the data's, {known}, but got `{category}`; remove it")
        weights = self.fixed.get(WEIGHTS, {})
        if not any(weights.get(category, 1) for category in schema.names):
            faults.add(None, f"`{WEIGHTS}` must not all be 0, but got {weights}")
        for flat, category in self.weight_names(schema).items():
            if flat in TrainConfig.model_fields:
                faults.add(None, f"the weight of category `{category}` cannot be searched, because `{flat}` is a field")
        if faults.faults:
            raise SpaceError(f"the space {self.name} does not fit the data:", faults.faults)

    def suggest(self, trial: BaseTrial, schema: AttributeSchema) -> dict[str, Any]:
        """Draws every searched parameter whose conditions hold: flat name -> value, category weights raw."""
        drawn: dict[str, Any] = {}
        for parameter in self.parameters:
            if parameter.is_drawn(self.fixed | drawn):
                for name in self.weight_names(schema) if parameter.name == WEIGHTS else [parameter.name]:
                    drawn[name] = parameter.suggest(trial, name)
        return drawn

    def build_values(self, params: dict[str, Any], schema: AttributeSchema) -> dict[str, Any]:
        """Values of a `TrainConfig`, all but the seed, from flat parameters, their weights raw or normalised.

        Raises:
            SearchError: a parameter is not of this space.
        """
        weight_names = self.weight_names(schema)
        known = {parameter.name for parameter in self.parameters if parameter.name != WEIGHTS} | weight_names.keys()
        if unknown := sorted(params.keys() - known):
            raise SearchError(f"parameters must be searched by the space {self.name}, but got {', '.join(unknown)}")
        flat = self.flat_parameters(params, schema)
        values = {name: value for name, value in flat.items() if name not in weight_names}
        if weights := {category: flat[name] for name, category in weight_names.items() if name in flat}:
            values[WEIGHTS] = weights
        return {**self.fixed, **values, "epochs": self.scheduler.max_epochs}

    def flat_parameters(self, params: dict[str, Any], schema: AttributeSchema) -> dict[str, Any]:
        """The drawn parameters as shown in tables and MLflow: ``weight_<category>`` divided by their mean."""
        weights = {name: params[name] for name in self.weight_names(schema) if name in params}
        return {**params, **normalise_weights(weights)}

    def first_points(self, schema: AttributeSchema) -> list[dict[str, Any]]:
        """What Optuna is to run first, as flat parameters: all of a grid, or ``try_first``; what one lacks is drawn."""
        if self.sampler == "grid":
            return self.combine([parameter.name for parameter in self.parameters])
        points = []
        for known in self.try_first:
            point = {name: value for name, value in known.items() if name != WEIGHTS}
            weights = known.get(WEIGHTS, {})
            for flat, category in self.weight_names(schema).items():
                if not isinstance(weights, dict):
                    point[flat] = weights
                elif category in weights:
                    point[flat] = weights[category]
            points.append(point)
        return points

    def count_grid(self) -> int:
        """Number of combinations of a grid.

        Raises:
            SearchError: the space is no grid.
        """
        if self.sampler != "grid":
            raise SearchError(f"only a grid can be counted, but the sampler of {self.name} is {self.sampler}")
        return len(self.combine([parameter.name for parameter in self.parameters]))

    def prepare_settings(self) -> list[PrepareSettings]:
        """All ways in which trials can want their images prepared."""
        return list(dict.fromkeys(PrepareSettings(*found) for found in self.list_settings(*PREPARE_FIELDS)))

    def backbones(self) -> list[tuple[str, str]]:
        """Distinct (backbone, weights) that trials can have."""
        return self.list_settings("backbone", "weights")

    def list_probed(self) -> list[TrainConfig]:
        """A configuration for every distinct set of features that trials with probe epochs can need."""
        found = self.list_settings("probe_epochs", *FEATURE_FIELDS)
        wanted = dict.fromkeys(tuple(values) for probe_epochs, *values in found if probe_epochs)
        return [build_config(dict(zip(FEATURE_FIELDS, values, strict=True))) for values in wanted]

    def with_scheduler(self, **changes: int | None) -> Space:
        """This space with other ``max_epochs``, ``grace_epochs`` or ``reduction_factor``; None leaves one as it is.

        ``max_epochs`` alone, at or below the space's grace, makes the scheduler ``none``: no trial is stopped.

        Raises:
            SpaceError: the numbers do not go together.
        """
        given = {name: value for name, value in changes.items() if value is not None}
        stopping = given.keys() - {"max_epochs"}
        if self.scheduler.type == "none" and stopping:
            got = ", ".join(sorted(stopping))
            raise SpaceError(
                f"the scheduler of {self.name} stops no trial, so only max_epochs can be set, but got {got}"
            )
        scheduler = Scheduler(**{**asdict(self.scheduler), **given})
        if not stopping and scheduler.max_epochs <= (scheduler.grace_epochs or 0):
            scheduler = Scheduler("none", scheduler.max_epochs)
        if faults := scheduler.find_faults():
            raise SpaceError(
                "the scheduler is impossible:", [Fault(self.name, None, fault) for fault in faults.values()]
            )
        return replace(self, scheduler=scheduler)

    def weight_names(self, schema: AttributeSchema) -> dict[str, str]:
        """Flat name -> category of the weights; empty where the space does not search them."""
        if not any(parameter.name == WEIGHTS for parameter in self.parameters):
            return {}
        return {WEIGHT_PREFIX + category: category for category in schema.names}

    def list_settings(self, *names: str) -> list[Any]:
        """Distinct values that trials can have of some fields together, each a tuple in the order of ``names``."""
        defaults = {name: TrainConfig.model_fields[name].default for name in names} | self.fixed
        found = [defaults | combination for combination in self.combine(names)]
        return list(dict.fromkeys(tuple(values[name] for name in names) for values in found))

    def combine(self, names: tuple[str, ...] | list[str]) -> list[dict[str, Any]]:
        """Every combination of some parameters and those their conditions name, as drawn; the last varies fastest.

        Raises:
            SpaceError: there are more than `MAX_COMBINATIONS`.
        """
        wanted = set(names)
        for parameter in reversed(self.parameters):
            if parameter.name in wanted:
                wanted.update(name for name, _ in parameter.when)
        chosen = [parameter for parameter in self.parameters if parameter.name in wanted]
        if (count := math.prod(len(parameter.list_values()) for parameter in chosen)) > MAX_COMBINATIONS:
            listed = ", ".join(parameter.name for parameter in chosen)
            raise SpaceError(
                f"{listed} must have at most {MAX_COMBINATIONS} combinations, but have {count}; give fewer choices"
            )
        found: list[dict[str, Any]] = [{}]
        for parameter in chosen:
            longer: list[dict[str, Any]] = []
            for known in found:
                if parameter.is_drawn(self.fixed | known):
                    longer.extend({**known, parameter.name: value} for value in parameter.list_values())
                else:
                    longer.append(known)
            found = longer
        return found


def normalise_weights(weights: dict[str, float]) -> dict[str, float]:
    """Weights divided by their mean; those whose mean is 1 already come back bit for bit, so that twice is once."""
    mean = sum(weights.values()) / max(1, len(weights))
    return weights if abs(mean - 1) < MEAN_TOLERANCE else {name: value / mean for name, value in weights.items()}


def load_space(path_or_name: str | Path) -> Space:
    """The space in a file, or the shipped one of a bare name (``lite_cpu``).

    Raises:
        SpaceError: there is no such file, or it is at fault: all faults, each with its line.
    """
    path = Path(path_or_name)
    try:
        if not path.is_file() and str(path_or_name) in spaces.list_spaces():
            path = spaces.FOLDER / f"{path_or_name}.yaml"
        with path.open("rb") as file:
            content = file.read(MAX_SIZE + 1)  # the bound keeps a file that is no space from filling the memory
        if len(content) > MAX_SIZE:
            raise SpaceError(f"a space must have at most {MAX_SIZE} bytes, but {path_or_name} has more")
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SpaceError(f"a space must be UTF-8 text, but {path_or_name} is not: {error.reason}") from None
    except (OSError, ValueError) as error:  # ValueError: a path with a null character
        close = get_close_matches(path.stem, spaces.list_spaces(), n=1)
        remedy = f"did you mean {close[0]}?" if close else f"shipped are {', '.join(spaces.list_spaces())}"
        raise SpaceError(f"no space can be read from {str(path_or_name)!r} ({error}); {remedy}") from None
    return parse_space(text, path.stem, str(path_or_name))


def parse_space(text: str, name: str, file: str | None = None) -> Space:
    """The space of a YAML text.

    Raises:
        SpaceError: lists every fault with its line.
    """
    faults = FaultList(file or name)
    document = read_located(text, faults)
    fields = read_document(document, faults) if document is not None else {}
    if not faults.faults:
        space = Space(name=name, text=text, hash=hash_fields(fields), file=file or name, **fields)
        try:  # both are asked for before every search: too many is a fault of the file
            space.prepare_settings(), space.backbones(), space.list_probed()
            return replace(space, trials=space.count_grid()) if space.sampler == "grid" else space
        except SpaceError as error:
            faults.add(None, str(error))
    ordered = sorted(faults.faults, key=lambda fault: fault.line or 0)
    raise SpaceError(f"the search space {name} cannot be used:", ordered)
