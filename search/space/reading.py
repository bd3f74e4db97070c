"""From a YAML text to a checked `Space`, in one way down: values with their lines, sections, parameters, the space.

Only what a space needs is read: mappings with text keys, lists, text, whole numbers, decimals, true/false and null. So
a file from a stranger can neither build an object nor grow (aliases count as what they repeat).

The rules for a value are those of `TrainConfig`: every fixed value, every choice and both ends of every range go
through its own validation, so no rule is written twice. All faults are told at once, and one mistake is one fault:
nothing more is said of a value that is at fault, nor of a name after it was told once.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from dataclasses import asdict, dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

import spaces
from fashion_core.config import TrainConfig, check_field, find_field, suggest_name
from fashion_core.errors import Fault, SpaceError
from fashion_core.escaping import show_value
from fashion_core.metrics import ACCURACY, CLASS_ACCURACY, Objective
from fashion_core.models.cost import MAX_MS, MAX_PARAMS, UNLIMITED, Cost
from search.space.architectures import build_limit, write_limit
from search.space.rungs import FORMS, PROMOTION, STOPPING, Scheduler
from search.space.space import Parameter, Scalar, Space, is_number
from search.space.weights import WEIGHTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

SECTIONS = (
    "description",
    "objective",
    "sampler",
    "trials",
    "fixed",
    "search",
    "try_first",
    "constraints",
    "scheduler",
)
SAMPLERS = ("tpe", "grid", "random")
KINDS = ("choice", "uniform", "loguniform", "int", "proportions")
MAX_TRIALS = 1_000_000
CONSTRAINTS = {"max_ms": (1e-3, MAX_MS), "max_params": (1, MAX_PARAMS)}  # what they may be
PROPORTION_LIMITS = (1e-3, 1e3)
# Each value of these is prepared (images) or found (weights) before the search starts, so they have to be countable.
CHOICE_ONLY = ("image_size", "crop", "crop_margin", "backbone", "weights")
SET_ELSEWHERE = {
    "epochs": "the scheduler's `max_epochs` sets it",
    "objective": "it stands beside them, one for all trials",
    "seed": "the search's --seed and the trial's number set it",
    "start_seed": "the search's --seed and the trial's number set it",
}
MAX_SIZE = 256 * 1024  # characters
MAX_VALUES = 10_000  # a space has some hundred; an alias bomb millions
MAX_DEPTH = 12  # a space is five deep
TAG = "tag:yaml.org,2002:"  # prefix of YAML's own types


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
        raise SpaceError(f"no space can be read from {show_value(str(path_or_name))} ({error}); {remedy}") from None
    return parse_space(text, path.stem, str(path_or_name))


def parse_space(text: str, name: str, file: str | None = None) -> Space:
    """The space of a YAML text.

    Raises:
        SpaceError: lists every fault with its line.
    """
    faults = FaultList(file or name)
    document = read_yaml(text, faults)
    fields = read_document(document, faults) if document is not None else {}
    if not faults.found:
        space = Space(name=name, text=text, hash=hash_fields(fields), file=file or name, **fields)
        try:  # all are asked for before every search: too many is a fault of the file
            space.prepare_settings(), space.backbones(), space.list_probed()
            return replace(space, trials=space.count_grid()) if space.sampler == "grid" else space
        except SpaceError as error:
            faults.add(None, str(error))
    ordered = sorted(faults.found, key=lambda fault: fault.line or 0)
    raise SpaceError(f"the search space {name} cannot be used:", ordered)


def hash_fields(fields: dict[str, Any]) -> str:
    """sha256 of what a space means: not its description or layout; the order of the search counts, draws follow it.

    The stopping form, the default objective, and that there are no constraints, are not told: spaces of before keep
    their hash.
    """
    meaning = {name: fields[name] for name in ("sampler", "trials", "fixed", "try_first")}
    meaning["parameters"] = [asdict(parameter) for parameter in fields["parameters"]]
    meaning["scheduler"] = {name: value for name, value in asdict(fields["scheduler"]).items() if value != STOPPING}
    if fields["limit"] != UNLIMITED:
        meaning["constraints"] = write_limit(fields["limit"])
    if not Objective(fields["objective"]).is_default:
        meaning["objective"] = fields["objective"]
    return hashlib.sha256(json.dumps(meaning, sort_keys=True).encode()).hexdigest()


# -------------------------------------------------------------------------------------------------- values and faults


@dataclass(frozen=True, eq=False)
class Located:
    """A value and its 1-based line (that of its key, where it has one).

    Args:
        value: inside a dict or list, again ``Located``.
        plain: the same without lines.
    """

    value: Any
    line: int
    plain: Any


@dataclass
class FaultList:
    """Collects the faults of one file, so that all can be told at once, and each once.

    Args:
        found: the faults.
        told: the values at fault.
        unsure: names that are wrong, or whose parameter is at fault; nothing more is said where they are used.
    """

    file: str
    found: list[Fault] = field(default_factory=list)
    told: set[Located] = field(default_factory=set)
    unsure: set[str] = field(default_factory=set)

    def add(self, place: Located | int | None, message: str) -> None:
        """Tells a fault of a value, unless one is told of it or in it; of a line; or of the whole file."""
        if isinstance(place, Located):
            if self.concern(place):
                return
            self.told.add(place)
        self.found.append(Fault(self.file, place.line if isinstance(place, Located) else place, message))

    def concern(self, item: Located) -> bool:
        """Whether a fault of a value is told, or of one inside it."""
        inside: Iterable[Located] = ()
        if isinstance(item.value, dict | list):
            inside = item.value.values() if isinstance(item.value, dict) else item.value
        return item in self.told or any(map(self.concern, inside))

    def add_unknown(self, name: str, item: Located, known: Iterable[str], place: str) -> str | None:
        """Tells that the name of a value is unknown, once, and returns the known one that was likely meant."""
        known = tuple(known)
        meant = find_field(name)
        if meant not in known:
            meant = next(iter(get_close_matches(name, known, n=1)), None)
        if name not in self.unsure:
            remedy = f"did you mean `{meant}`?" if meant else f"known are {', '.join(known)}"
            self.add(item, f"`{name}` is not a key of {place}; {remedy}")
        self.unsure.add(name)
        return meant


# --------------------------------------------------------------------------------------------------------------- YAML


class PlainLoader(yaml.SafeLoader):
    """Composes nodes only, with the plain words of YAML 1.2: `1e-4` is a number, `no` is text, `010` is ten."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 (as the base class declares it)


for kind, pattern, first in (
    ("null", r"^(?:~|null|Null|NULL|)$", ["~", "n", "N", ""]),
    ("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", list("tTfF")),
    ("int", r"^[-+]?[0-9]+$", list("-+0123456789")),
    ("float", r"^[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?$", list("-+.0123456789")),
):
    PlainLoader.add_implicit_resolver(TAG + kind, re.compile(pattern), first)

CONVERTERS: dict[str, Callable[[str], Any]] = {
    "str": str,
    "int": int,
    "float": float,
    "bool": lambda text: {"true": True, "false": False}[text.lower()],
    "null": lambda text: None,
}


def read_yaml(text: str, faults: FaultList) -> Located | None:
    """The one document of a YAML text; None, with the reason in ``faults``, where it cannot be read."""
    if len(text) > MAX_SIZE:
        faults.add(None, f"a space must have at most {MAX_SIZE} characters, but has {len(text)}")
        return None
    try:
        node = yaml.compose(text, Loader=PlainLoader)
        if node is None:
            faults.add(None, "a space must have the sections `search`, `trials` and `scheduler`, but the file is empty")
            return None
        return Converter(faults).convert(node, node.start_mark.line + 1, depth=0)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        faults.add(mark.line + 1 if mark else None, f"a space must be YAML, but: {error.problem or error.context}")
    except yaml.YAMLError as error:
        faults.add(None, f"a space must be YAML, but: {' '.join(str(error).split())}")
    except RecursionError:  # of the YAML parser, long before our own limit is asked
        faults.add(None, f"values must be nested at most {MAX_DEPTH} deep")
    except TooLarge as error:
        faults.add(None, str(error))
    return None


class TooLarge(Exception):
    """The document holds more than a space can."""


@dataclass
class Converter:
    """Turns YAML's nodes into `Located` values; what cannot be one becomes None, with the reason in ``faults``."""

    faults: FaultList
    count: int = 0

    def convert(self, node: yaml.Node, line: int, depth: int) -> Located:
        """The value of a node.

        Raises:
            TooLarge: the values so far are too many, or nested too deep.
        """
        self.count += 1
        if self.count > MAX_VALUES:
            raise TooLarge(f"a space must hold at most {MAX_VALUES} values, aliases counted as what they repeat")
        if depth > MAX_DEPTH:  # also what ends an alias to itself
            raise TooLarge(f"values must be nested at most {MAX_DEPTH} deep, and an alias may not contain itself")
        if isinstance(node, yaml.MappingNode) and node.tag == TAG + "map":
            items = self.convert_mapping(node, depth)
            return Located(items, line, {key: item.plain for key, item in items.items()})
        if isinstance(node, yaml.SequenceNode) and node.tag == TAG + "seq":
            values = [self.convert(item, item.start_mark.line + 1, depth + 1) for item in node.value]
            return Located(values, line, [item.plain for item in values])
        if isinstance(node, yaml.ScalarNode) and node.tag in (TAG + kind for kind in CONVERTERS):
            return self.convert_scalar(node, line)
        return self.refuse(node, line, f"tags are not used in a space, but got `{node.tag}`; remove it")

    def convert_mapping(self, node: yaml.MappingNode, depth: int) -> dict[str, Located]:
        """The values of a mapping by key; the first of those with the same key."""
        items: dict[str, Located] = {}
        for key_node, value_node in node.value:
            key, line = key_node.value, key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                self.faults.add(line, "a key must be a word, but is a list or a mapping")
            elif key in items:
                self.faults.add(
                    line, f"a key may be given once, but `{key}` already stands in line {items[key].line}; remove one"
                )
            else:
                items[key] = self.convert(value_node, line, depth + 1)
        return items

    def convert_scalar(self, node: yaml.ScalarNode, line: int) -> Located:
        """Text, a number, true, false or null."""
        kind = node.tag.removeprefix(TAG)
        try:
            value = CONVERTERS[kind](node.value)
        except (ValueError, KeyError):  # only where a tag was written out, as in `!!int x`
            message = f"a value must be of the type its tag names, {kind}, but got `{node.value[:40]}`"
            return self.refuse(node, line, message)
        if (isinstance(value, float) and not math.isfinite(value)) or (isinstance(value, int) and abs(value) >= 2**63):
            return self.refuse(node, line, f"a number must fit 64 bits, but got `{node.value[:40]}`")
        return Located(value, line, value)

    def refuse(self, node: yaml.Node, line: int, message: str) -> Located:
        """A value at fault, and told so, where it stands."""
        item = Located(None, line, None)
        self.faults.told.add(item)
        self.faults.add(node.start_mark.line + 1, message)
        return item


# ----------------------------------------------------------------------------------------------------------- sections


def read_document(document: Located, faults: FaultList) -> dict[str, Any]:
    """Values of a `Space`'s fields, by name; of use only where ``faults`` stays empty. A grid's ``trials`` are 0."""
    if not isinstance(document.value, dict):
        faults.add(document, f"a space must be a mapping with {', '.join(SECTIONS)}")
        return {}
    sections = read_keys(document, SECTIONS, "a space", faults)
    for name in ("search", "scheduler"):
        if name not in sections:
            faults.add(document.line, f"a space must have the section `{name}`")
    sampler = read_sampler(sections.get("sampler"), faults)
    trials = read_trials(sections.get("trials"), document.line, sampler, faults)
    fixed_items = read_mapping("fixed", sections.get("fixed"), faults)
    search_items = read_mapping("search", sections.get("search"), faults)
    check_names(fixed_items, {*fixed_items, *search_items}, faults)
    check_names(search_items, {*fixed_items, *search_items}, faults)
    fixed = read_fixed(fixed_items, faults)
    parameters = read_search(search_items, fixed_items, fixed, faults)
    if sampler == "grid":
        check_grid(parameters, search_items, sections.get("try_first"), faults)
    tried = [] if sampler == "grid" else read_list("try_first", sections.get("try_first"), faults)
    points = [read_point(point, parameters, search_items, faults) for point in tried]
    objective = read_objective(sections.get("objective"), faults)
    categories = list_categories([fixed_items, *(point.value for point in tried)])
    if (category := Objective(objective).category) is not None:
        categories.insert(0, (category, sections["objective"].line))
    return {
        "description": read_description(sections.get("description"), faults),
        "sampler": sampler,
        "trials": trials,
        "fixed": fixed,
        "parameters": tuple(parameters.values()),
        "try_first": tuple(points),
        "limit": read_constraints(sections.get("constraints"), faults),
        "scheduler": read_scheduler(sections["scheduler"], faults) if "scheduler" in sections else None,
        "objective": objective,
        "category_lines": tuple(categories),
    }


def read_keys(section: Located, known: tuple[str, ...], place: str, faults: FaultList) -> dict[str, Located]:
    """The values of a mapping by known key; a value under a misspelt key stands under the key that was meant."""
    items: dict[str, Located] = {}
    for key, item in section.value.items():
        meant = key if key in known else faults.add_unknown(key, item, known, place)
        if meant is not None and (meant == key or meant not in section.value):
            items.setdefault(meant, item)
    return items


def read_mapping(name: str, section: Located | None, faults: FaultList) -> dict[str, Located]:
    """The values of a section by name; none where it is absent or at fault."""
    if section is None or (name == "fixed" and section.value is None):  # with nothing under it, null in YAML
        return {}
    if not isinstance(section.value, dict):
        faults.add(section, f"`{name}` must be a mapping, but got {show_value(section.plain)}")
        return {}
    if name == "search" and not section.value:
        faults.add(section, "`search` must hold at least one parameter")
    return section.value


def read_list(name: str, section: Located | None, faults: FaultList) -> list[Located]:
    """The values of a section that is a list; none where it is absent or at fault."""
    if section is None:
        return []
    if not isinstance(section.value, list):
        faults.add(section, f"`{name}` must be a list of configurations, but got {show_value(section.plain)}")
        return []
    return section.value


def read_description(item: Located | None, faults: FaultList) -> str:
    """The description; the empty text where there is none."""
    if item is None:
        return ""
    if not isinstance(item.value, str):
        faults.add(item, f"`description` must be text, but got {show_value(item.plain)}")
    return str(item.value)


def read_objective(item: Located | None, faults: FaultList) -> str:
    """The name of the objective; the default where it is at fault."""
    if item is None:
        return ACCURACY
    value, messages = check_field("objective", item.plain)
    if not messages:
        return str(value)
    faults.add(
        item,
        f"`objective` must be a score, the greater the better: {ACCURACY}, {CLASS_ACCURACY} or {ACCURACY}/CATEGORY, "
        f"but got {show_value(item.plain)}",
    )
    return ACCURACY


def read_sampler(item: Located | None, faults: FaultList) -> str | None:
    """The sampler; None where it is at fault."""
    if item is None:
        return "tpe"
    if item.value not in SAMPLERS:
        faults.add(item, f"`sampler` must be one of {', '.join(SAMPLERS)}, but got {show_value(item.plain)}")
        return None
    return str(item.value)


def read_trials(item: Located | None, line: int, sampler: str | None, faults: FaultList) -> int:
    """The default number of trials; 0 for a grid, which knows its own.

    Args:
        line: of the space, which is named where the number is missing.
    """
    if sampler == "grid":
        if item is not None:
            faults.add(item, "a grid runs every combination once, so `trials` must be left out; remove it")
    elif item is None:
        if sampler is not None:  # else it may have been meant to be a grid
            faults.add(line, "a space must have `trials`, the default number of trials")
    elif is_number(item.value, whole=True) and 1 <= item.value <= MAX_TRIALS:
        return int(item.value)
    else:
        faults.add(item, f"`trials` must be a whole number from 1 to {MAX_TRIALS}, but got {show_value(item.plain)}")
    return 0


def read_constraints(section: Located | None, faults: FaultList) -> Cost:
    """What a network may cost; no limit where none is given, or it is at fault."""
    if section is None:
        return UNLIMITED
    if not isinstance(section.value, dict) or not section.value:
        known = " and ".join(CONSTRAINTS)
        faults.add(section, f"`constraints` must be a mapping of {known}, but got {show_value(section.plain)}")
        return UNLIMITED
    limits = {}
    for name, item in read_keys(section, tuple(CONSTRAINTS), "the constraints", faults).items():
        low, high = CONSTRAINTS[name]
        if is_number(item.value) and low <= item.value <= high:
            limits[name] = item.value
        else:
            faults.add(item, f"`{name}` must be a number from {low:g} to {high:g}, but got {show_value(item.plain)}")
    return build_limit(limits.get("max_ms"), limits.get("max_params"))


def check_names(items: dict[str, Located], given: set[str], faults: FaultList) -> None:
    """Tells which fields a space may not set.

    Args:
        given: all names that stand under `fixed` or `search`.
    """
    for name, item in items.items():
        meant = name if name in TrainConfig.model_fields else find_field(name)
        if meant in SET_ELSEWHERE:
            faults.add(item, f"`{name}` cannot be given under `fixed` or `search`: {SET_ELSEWHERE[meant]}; remove it")
        elif meant != name:
            faults.add(item, f"`{name}` is not a field of TrainConfig{suggest_name(name)}")
        else:
            continue
        faults.unsure.add(name)
        if meant is not None and meant not in given:
            faults.unsure.add(meant)


def read_fixed(items: dict[str, Located], faults: FaultList) -> dict[str, Any]:
    """The section ``fixed``, in the types of `TrainConfig`, without what is at fault."""
    fixed: dict[str, Any] = {}
    for name, item in items.items():
        if name in faults.unsure:
            continue
        value, messages = check_field(name, item.plain)
        if name == WEIGHTS and not messages and min(value.values(), default=0) < 0:
            messages = [f"`{WEIGHTS}` must be 0 or more, but got {value}"]
        if messages:
            faults.add(item, "; ".join(messages))
        else:
            fixed[name] = value
    return fixed


def read_search(
    items: dict[str, Located], fixed_items: dict[str, Located], fixed: dict[str, Any], faults: FaultList
) -> dict[str, Parameter]:
    """The section ``search``, in its order, without what is at fault."""
    parameters: dict[str, Parameter] = {}
    for name, item in items.items():
        if name in faults.unsure:
            continue
        parameter = read_parameter(name, item, faults)
        for other, allowed in parameter.when if parameter else ():
            place = item.value["when"].value[other]
            if other in faults.unsure:
                continue
            if other in parameters:
                message = find_condition_fault(parameters[other], allowed)
            elif other in items:
                message = f"must name a parameter that stands above `{name}`, but got `{other}`; move `{other}` up"
            elif other not in fixed_items:
                known = tuple(each for each in (*parameters, *fixed_items) if each not in faults.unsure)
                faults.add_unknown(other, place, known, f"`search` or `fixed`, but stands in `when` of `{name}`")
                continue
            elif other in fixed and fixed[other] not in allowed:
                message = f"can never hold, because `{other}` is fixed to {show_value(fixed[other])}; remove `{name}`"
            else:
                message = None
            if message:
                faults.add(place, f"`when` of `{name}`: {message}")
        if parameter and name in fixed_items and not parameter.when:
            faults.add(item, f"`{name}` must be either fixed or searched, but is both; only with a `when` can it be")
        if parameter is None or faults.concern(item):
            faults.unsure.add(name)
        else:
            parameters[name] = parameter
    return parameters


def find_condition_fault(condition: Parameter, allowed: tuple[Any, ...]) -> str | None:
    """Why a condition on a searched parameter cannot hold; None if it can."""
    if condition.kind not in ("choice", "int"):
        return f"must name a choice or an int, but `{condition.name}` is {condition.kind}"
    faults = [fault for value in allowed if (fault := condition.find_fault(value))]
    return "; ".join(faults) or None


def check_grid(
    parameters: dict[str, Parameter], items: dict[str, Located], tried: Located | None, faults: FaultList
) -> None:
    """Tells what a grid cannot have."""
    for name, parameter in parameters.items():
        if parameter.kind != "choice":
            faults.add(items[name], f"a grid takes only `choice`, but `{name}` is {parameter.kind}")
    if tried is not None:
        faults.add(tried, "a grid runs every combination, so `try_first` must be left out")


def read_point(
    section: Located, parameters: dict[str, Parameter], items: dict[str, Located], faults: FaultList
) -> dict[str, Any]:
    """One known configuration: values by parameter; ``category_weights`` a mapping, or one number for all."""
    if not isinstance(section.value, dict):
        faults.add(section, f"a configuration to try must be a mapping, but got {show_value(section.plain)}")
        return {}
    point: dict[str, Any] = {}
    for name, item in section.value.items():
        if name in faults.unsure or not items:  # where all of `search` is at fault, no more can be said
            continue
        if name not in items:
            faults.add_unknown(name, item, items, "`search`, so it cannot be tried")
            continue
        parameter = parameters[name]
        nested = isinstance(item.value, dict) and name == WEIGHTS
        places: dict[str, Located] = item.value if nested else {name: item}
        for place in places.values():
            if message := parameter.find_fault(place.plain):
                faults.add(place, message)
        if not faults.concern(item):
            values = {key: parameter.convert(place.plain) for key, place in places.items()}
            point[name] = values if nested else values[name]
        for other, allowed in parameter.when:
            if other not in section.value or faults.concern(section.value[other]):
                continue
            if (got := section.value[other].plain) not in allowed:
                message = (
                    f"`{name}` is drawn only where `{other}` is one of {list(allowed)}, but it is {show_value(got)}"
                )
                faults.add(item, message)
    return point


def list_categories(sections: Iterable[Any]) -> list[tuple[str, int]]:
    """(category, line) of the category weights in some mappings."""
    found = [section.get(WEIGHTS) for section in sections if isinstance(section, dict)]
    weights = [item.value for item in found if item is not None and isinstance(item.value, dict)]
    return [(name, item.line) for values in weights for name, item in values.items()]


# ------------------------------------------------------------------------------------------------------ one parameter


def read_parameter(name: str, spec: Located, faults: FaultList) -> Parameter | None:
    """One entry of the section ``search``; None, with the reasons in ``faults``, where it cannot be used."""
    known = (*KINDS, "step", "when")
    items = read_keys(spec, known, f"the parameter `{name}`", faults) if isinstance(spec.value, dict) else {}
    kinds = [key for key in items if key in KINDS]
    if len(kinds) != 1:
        got = " and ".join(kinds) or repr(spec.plain)
        faults.add(
            spec, f"`{name}` must have one of {', '.join(KINDS)}, but got {got}; a constant belongs under `fixed`"
        )
        return None
    kind, item = kinds[0], items[kinds[0]]
    if (name == WEIGHTS) != (kind == "proportions"):
        faults.add(spec, f"`{WEIGHTS}` is searched by `proportions`, and nothing else is, but got {name}: {kind}")
        return None
    if name in CHOICE_ONLY and kind != "choice":
        faults.add(
            spec, f"`{name}` must be a `choice`, because each value is made ready before the start, but got {kind}"
        )
        return None
    step = read_step(kind, items.get("step"), faults)
    values = read_choices(name, item, faults) if kind == "choice" else read_range(name, kind, item, step, faults)
    when = read_when(name, items["when"], faults) if "when" in items else ()
    return None if faults.concern(spec) else Parameter(name, kind, values, step or 1, when)


def read_step(kind: str, item: Located | None, faults: FaultList) -> int | None:
    """The step of an int, 1 where none is given; None where it is at fault."""
    if item is None:
        return 1
    if kind != "int":
        faults.add(item, f"`step` belongs to `int`, but stands at {kind}; remove it")
    elif not is_number(item.value, whole=True) or item.value < 1:
        faults.add(item, f"`step` must be a whole number of at least 1, but got {show_value(item.plain)}")
    else:
        return int(item.value)
    return None


def read_choices(name: str, item: Located, faults: FaultList) -> tuple[Any, ...]:
    """The values of a choice, in the field's type."""
    if not isinstance(item.value, list) or not item.value:
        faults.add(item, f"`choice` must be a list of values, but `{name}` got {show_value(item.plain)}")
        return ()
    values: list[Any] = []
    for place in item.value:
        value, messages = check_field(name, place.plain)
        if value in values:
            faults.add(place, f"choices must differ, but `{name}` has {show_value(value)} twice")
        elif messages:
            faults.add(place, "; ".join(messages))
        values.append(value)
    return tuple(values)


def read_range(name: str, kind: str, item: Located, step: int | None, faults: FaultList) -> tuple[Any, ...]:
    """The two ends of a range."""
    ends = item.plain
    if not isinstance(ends, list) or len(ends) != 2 or not all(is_number(end, whole=kind == "int") for end in ends):
        numbers = "whole numbers" if kind == "int" else "numbers"
        faults.add(item, f"`{kind}` must be two {numbers}, [low, high], but `{name}` got {show_value(ends)}")
        return ()
    low, high = ends if kind == "int" else map(float, ends)
    smallest, largest = PROPORTION_LIMITS
    if not low < high:
        faults.add(item, f"low must be below high, but `{name}` got {ends}; a constant belongs under `fixed`")
    elif kind == "loguniform" and low <= 0:
        faults.add(item, f"the low end of `loguniform` must be above 0, but `{name}` got {ends}")
    elif kind == "proportions" and (low < smallest or high > largest):
        faults.add(item, f"`proportions` must lie in {smallest:g} to {largest:g}, but got {ends}")
    elif kind != "proportions" and (messages := [*check_field(name, low)[1], *check_field(name, high)[1]]):
        faults.add(item, "; ".join(messages))
    elif kind == "int" and step is not None and (high - low) % step:
        faults.add(item, f"high must be low plus a multiple of the step, {step}, but `{name}` got {ends}")
    return (low, high)


def read_when(name: str, item: Located, faults: FaultList) -> tuple[tuple[str, tuple[Scalar, ...]], ...]:
    """The conditions of a parameter, not yet compared with the parameters they name."""
    if not isinstance(item.value, dict) or not item.value:
        got = item.plain
        faults.add(
            item, f"`when` must be a mapping, {{name: value or list of values}}, but `{name}` got {show_value(got)}"
        )
        return ()
    conditions = []
    for other, wanted in item.value.items():
        allowed = wanted.plain if isinstance(wanted.plain, list) else [wanted.plain]
        if not allowed or not all(isinstance(value, Scalar) for value in allowed):
            faults.add(wanted, f"`when` must name single values, but `{other}` got {show_value(wanted.plain)}")
        conditions.append((other, tuple(allowed)))
    return tuple(conditions)


# ------------------------------------------------------------------------------------------------------- the scheduler


def read_scheduler(section: Located, faults: FaultList) -> Scheduler | None:
    """The section ``scheduler``; None, with the reasons in ``faults``, where it cannot be used."""
    if not isinstance(section.value, dict):
        faults.add(section, f"`scheduler` must be a mapping, but got {show_value(section.plain)}")
        return None
    kind = section.value["type"].plain if "type" in section.value else "asha"
    if kind not in ("asha", "none"):
        faults.add(section.value["type"], f"`type` must be asha or none, but got {show_value(kind)}")
        return None
    form = section.value["form"].plain if kind == "asha" and "form" in section.value else STOPPING
    if form not in FORMS:
        faults.add(section.value["form"], f"`form` must be {' or '.join(FORMS)}, but got {show_value(form)}")
        return None
    numbers = {"grace_epochs": 1, "reduction_factor": 3} if kind == "asha" else {}
    names = ("max_epochs", *numbers)
    keys = ("type", *names, *(["form"] if kind == "asha" else []))
    items = read_keys(section, keys, f"a scheduler of type {kind}", faults)
    if form == PROMOTION:
        del numbers["grace_epochs"]  # the first rung comes after the warm-up: see `Scheduler.place`
    if "max_epochs" not in items:
        faults.add(section.line, "`scheduler` must have `max_epochs`, the epochs of a trial that is not stopped")
    for name in names:
        if name in items:
            if not is_number(items[name].value, whole=True):
                faults.add(items[name], f"`{name}` must be a whole number, but got {show_value(items[name].plain)}")
            numbers[name] = items[name].value
    if "max_epochs" not in items or faults.concern(section):
        return None
    scheduler = Scheduler(kind, form=form, **numbers)
    for name, message in scheduler.find_faults().items():
        faults.add(items.get(name, section), message)
    return scheduler
