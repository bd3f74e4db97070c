"""A search space: its parameters, what Optuna draws of it, and the `TrainConfig` that this makes.

A parameter's flat name is what Optuna, the ledger and MLflow show: a field of `TrainConfig`, or ``weight_<category>``
for the category weights.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fashion_core.config import FEATURE_FIELDS, WEIGHT_WORDS, TrainConfig, build_config
from fashion_core.data.pixels import WHOLE, PrepareSettings
from fashion_core.errors import ConfigError, Fault, SearchError, SpaceError
from fashion_core.escaping import show_value
from fashion_core.metrics import ACCURACY
from fashion_core.models.cost import UNLIMITED, Cost
from search.space.architectures import WHAT_DECIDES, Architecture, find_architecture
from search.space.rungs import Scheduler
from search.space.weights import WEIGHT_PREFIX, WEIGHTS, normalise_weights

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from optuna.trial import BaseTrial

    from fashion_core.config import Feature
    from fashion_core.data.schema import AttributeSchema

PREPARE_FIELDS = ("image_size", "crop", "crop_margin")
MAX_COMBINATIONS = 10_000
CHECKED_DRAWS = 100  # of a space, looked at before the start
MAX_CHECKED_POINTS = 50  # so many of them its known configurations; the others are drawn
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
            return None if fits else f"`{self.name}` must be one of {list(self.values)}, but got {show_value(value)}"
        low, high = self.values
        fits = is_number(value, whole=self.kind == "int") and low <= value <= high
        if fits and (self.kind != "int" or (value - low) % self.step == 0):
            return None
        steps = f" in steps of {self.step}" if self.step > 1 else ""
        return f"`{self.name}` must lie in its range {low} to {high}{steps}, but got {show_value(value)}"

    def convert(self, value: Any) -> Any:
        """A value without fault in the type that a drawn one has: 0 is 0.0 in a range of decimals."""
        if self.kind == "choice":
            return self.values[self.values.index(value)]
        return value if self.kind == "int" else float(value)


def agrees(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two configurations have the same values where both have one."""
    return all(other.get(name, value) == value for name, value in one.items())


def is_number(value: Any, *, whole: bool = False) -> bool:
    """Whether a value is a number (a whole one), which true and false are not."""
    return isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)


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
        objective: the score that the search maximises, see `fashion_core.metrics.Objective`.
        category_lines: (category, line) of every category the text names.
        starts: paths of the files and models that weights name, by these names: trials get the path, see `with_starts`.
        has_boxes: whether the data set names boxes; without, whatever crop is asked for is the whole image.
        limit: what a network may cost.
        excluded: architectures that no trial has, because they cost more: see `excluding`.
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
    objective: str = ACCURACY
    category_lines: tuple[tuple[str, int], ...] = ()
    file: str = field(default="", compare=False)
    starts: Mapping[str, str] = field(default_factory=dict)
    has_boxes: bool = True
    limit: Cost = UNLIMITED
    excluded: frozenset[Architecture] = frozenset()

    def check(self, schema: AttributeSchema) -> list[TrainConfig]:
        """Find what would stop its trials: categories that the data has not, and fields that do not go together.

        Returns:
            configurations that it can draw: the known ones, and some at random.

        Raises:
            SpaceError: the space does not fit the data's categories, or one of some draws is no possible configuration.
        """
        import optuna  # a third of a second, and reading a space needs none of it

        self.check_schema(schema)
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
        for point in self.first_points(schema)[:MAX_CHECKED_POINTS]:
            study.enqueue_trial(point)
        drawn = []
        for _ in range(CHECKED_DRAWS):
            values = self.build_values(self.suggest(study.ask(), schema), schema)
            try:
                drawn.append(build_config(values))
            except ConfigError as error:
                raise SpaceError(f"a space must draw possible configurations, but of {self.name} {error}") from None
        return drawn

    def check_schema(self, schema: AttributeSchema) -> None:
        """Raises `SpaceError` where the space does not fit the data's categories."""
        known = ", ".join(schema.names)
        strange: dict[int, list[str]] = defaultdict(list)
        for category, line in self.category_lines:
            if category not in schema.names:
                strange[line].append(f"`{category}`")
        found: list[tuple[int | None, str]] = [
            (
                line,
                f"categories must be the data's, {known}, but got {', '.join(names)}; remove what the data has not, or "
                "take a space that names no category, such as lite_cpu",
            )
            for line, names in strange.items()
        ]
        weights = self.fixed.get(WEIGHTS, {})
        if not any(weights.get(category, 1) for category in schema.names):
            found.append((None, f"`{WEIGHTS}` must not all be 0, but got {weights}"))
        for flat, category in self.weight_names(schema).items():
            if flat in TrainConfig.model_fields:
                message = f"the weight of category `{category}` cannot be searched, because `{flat}` is a field"
                found.append((None, message))
        if found:
            faults = [Fault(self.file or self.name, line, message) for line, message in found]
            raise SpaceError(f"the space {self.name} does not fit the data:", faults)

    def suggest(self, trial: BaseTrial, schema: AttributeSchema) -> dict[str, Any]:
        """Draws every searched parameter whose conditions hold, and gives them as tables and MLflow show them.

        Returns:
            flat name -> value, the category weights divided by their mean; ``trial.params`` keeps them as drawn.
        """
        weight_names = self.weight_names(schema)
        drawn: dict[str, Any] = {}
        for parameter in self.parameters:
            if parameter.is_drawn(self.fixed | drawn):
                for name in weight_names if parameter.name == WEIGHTS else [parameter.name]:
                    drawn[name] = parameter.suggest(trial, name)
        return drawn | normalise_weights({name: drawn[name] for name in weight_names if name in drawn})

    def build_values(self, params: dict[str, Any], schema: AttributeSchema) -> dict[str, Any]:
        """Values of a `TrainConfig`, all but the seed, from the flat parameters that `suggest` gave.

        Raises:
            SearchError: a parameter is not of this space.
        """
        weight_names = self.weight_names(schema)
        known = {parameter.name for parameter in self.parameters if parameter.name != WEIGHTS} | weight_names.keys()
        if unknown := sorted(params.keys() - known):
            raise SearchError(f"parameters must be searched by the space {self.name}, but got {', '.join(unknown)}")
        values = {name: value for name, value in params.items() if name not in weight_names}
        if weights := {category: params[flat] for flat, category in weight_names.items() if flat in params}:
            values[WEIGHTS] = weights
        return self.locate({**self.fixed, **values, "epochs": self.scheduler.max_epochs, "objective": self.objective})

    def first_points(self, schema: AttributeSchema) -> list[dict[str, Any]]:
        """What Optuna is to run first, as flat parameters: all of a grid, or ``try_first``; what one lacks is drawn.

        Those that only excluded architectures could have are left out.
        """
        if self.sampler == "grid":
            return self.combine_allowed(*(parameter.name for parameter in self.parameters))
        points = []
        for known in self.try_first:
            weights = known.get(WEIGHTS, {})
            if not isinstance(weights, dict):
                weights = dict.fromkeys(schema.names, weights)
            given = {
                name: weights[category] for name, category in self.weight_names(schema).items() if category in weights
            }
            points.append({name: value for name, value in known.items() if name != WEIGHTS} | given)
        return [point for point in points if self.can_have(point)]

    def count_grid(self) -> int:
        """Number of combinations of a grid.

        Raises:
            SearchError: the space is no grid.
        """
        if self.sampler != "grid":
            raise SearchError(f"only a grid can be counted, but the sampler of {self.name} is {self.sampler}")
        return len(self.combine_allowed(*(parameter.name for parameter in self.parameters)))

    def prepare_settings(self) -> list[PrepareSettings]:
        """All ways in which trials can want their images prepared."""
        return list(dict.fromkeys(PrepareSettings(*found) for found in self.list_settings(*PREPARE_FIELDS)))

    def backbones(self) -> list[tuple[str, str, Feature, int]]:
        """Distinct (backbone, weights, feature, image_size) that trials can have."""
        return self.list_settings("backbone", "weights", "feature", "image_size")

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

    def with_rungs(self) -> Space:
        """This space with its first rung placed after the longest warm-up of its trials, where none is given."""
        longest = {name: self.find_largest(name) for name in ("warmup_fraction", "probe_epochs")}
        return replace(self, scheduler=self.scheduler.place(**longest))

    def find_largest(self, name: str) -> Any:
        """The largest value that trials can have of a field that is a number."""
        usual = self.fixed.get(name, TrainConfig.model_fields[name].default)
        drawn = [value for parameter in self.parameters if parameter.name == name for value in parameter.values]
        is_always = any(parameter.name == name and not parameter.when for parameter in self.parameters)
        return max(drawn) if is_always else max([usual, *drawn])

    def with_starts(self, folders: Mapping[str, str]) -> Space:
        """This space with absolute paths for the files that weights name, since workers run in folders of their own.

        Args:
            folders: of registered models, by their names.
        """
        names = [name for (name,) in replace(self, starts={}).list_settings("weights") if name not in WEIGHT_WORDS]
        paths = {name: Path(name).expanduser().absolute() for name in names}
        local = {name: str(path) for name, path in paths.items() if str(path) != name and path.exists()}
        return replace(self, starts=local | dict(folders))

    def list_names(self, schema: AttributeSchema) -> list[str]:
        """Flat names of all parameters, whether their conditions hold or not."""
        weight_names = self.weight_names(schema)
        grouped = [weight_names if each.name == WEIGHTS else [each.name] for each in self.parameters]
        return [name for names in grouped for name in names]

    def weight_names(self, schema: AttributeSchema) -> dict[str, str]:
        """Flat name -> category of the weights; empty where the space does not search them."""
        if not any(parameter.name == WEIGHTS for parameter in self.parameters):
            return {}
        return {WEIGHT_PREFIX + category: category for category in schema.names}

    def list_settings(self, *names: str) -> list[Any]:
        """Distinct values that trials can have of some fields together, each a tuple in the order of ``names``."""
        defaults = {name: TrainConfig.model_fields[name].default for name in names} | self.fixed
        found = [self.locate(defaults | combination) for combination in self.combine_allowed(*names)]
        return list(dict.fromkeys(tuple(values[name] for name in names) for values in found))

    def locate(self, values: dict[str, Any]) -> dict[str, Any]:
        """Values of some fields as trials get them: the path of a file or a registered model in the place of its name,
        and the whole image in the place of a box that the data set does not name.
        """
        path = self.starts.get(values.get("weights", ""))
        values = values if path is None else values | {"weights": path}
        return values if self.has_boxes else values | {"crop": WHOLE}

    # ------------------------------------------------------------------------------------------------- architectures

    def find_architecture(self, params: Mapping[str, Any]) -> Architecture:
        """The architecture of a trial. params: flat, as drawn."""
        return find_architecture({**self.fixed, **params, "epochs": self.scheduler.max_epochs})

    def list_architectures(self, point: Mapping[str, Any] | None = None) -> list[Architecture]:
        """All that trials can have, the excluded too. point: only those that can have these parameters."""
        combinations = self.combine(WHAT_DECIDES)
        fitting = [each for each in combinations if agrees(each, point or {})]
        return list(dict.fromkeys(map(self.find_architecture, fitting)))

    def excluding(self, excluded: Collection[Architecture]) -> Space:
        """This space without trials of some architectures; a grid has fewer combinations then."""
        space = replace(self, excluded=frozenset(excluded))
        return replace(space, trials=space.count_grid()) if space.sampler == "grid" else space

    def allows(self, params: Mapping[str, Any]) -> bool:
        """Whether a trial may have these parameters."""
        return not self.excluded or self.find_architecture(params) not in self.excluded

    def can_have(self, point: Mapping[str, Any]) -> bool:
        """Whether a trial may have these parameters, for some values of the others."""
        return not self.excluded or bool(self.list_allowed(point))

    def list_allowed(self, point: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The parameters that decide about architectures, in every way in which trials may have them beside others."""
        return [each for each in self.combine_allowed() if agrees(each, point)]

    def combine_allowed(self, *names: str) -> list[dict[str, Any]]:
        """`combine`, without what excluded architectures have; with the parameters that decide about these, if any."""
        if not self.excluded:
            return self.combine(names)
        return [each for each in self.combine((*names, *WHAT_DECIDES)) if self.allows(each)]

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
