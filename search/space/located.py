"""YAML in which every value knows its line: what the checks of a search space read.

Only what a space needs is read: mappings with text keys, lists, text, whole numbers, decimals, true/false and null. So
a file from a stranger can neither build an object nor grow (aliases count as what they repeat).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

import yaml

from fashion_core.errors import Fault

MAX_SIZE = 256 * 1024  # characters
MAX_VALUES = 10_000  # a space has some hundred; an alias bomb millions
MAX_DEPTH = 12  # a space is five deep
TAG = "tag:yaml.org,2002:"  # prefix of YAML's own types


@dataclass(frozen=True)
class Located:
    """A value and its 1-based line (that of its key, where it has one); inside a dict or list, again ``Located``."""

    value: Any
    line: int

    def to_plain(self) -> Any:
        """The value without lines."""
        if isinstance(self.value, dict):
            return {key: item.to_plain() for key, item in self.value.items()}
        if isinstance(self.value, list):
            return [item.to_plain() for item in self.value]
        return self.value


@dataclass
class FaultList:
    """Collects the faults of one file, so that all can be told at once."""

    file: str
    faults: list[Fault] = field(default_factory=list)

    def add(self, line: int | None, message: str) -> None:
        self.faults.append(Fault(self.file, line, message))


def check_keys(mapping: Located, known: tuple[str, ...], place: str, faults: FaultList) -> None:
    """Adds a fault for every key that is not known."""
    for key, item in mapping.value.items():
        if key not in known:
            faults.add(item.line, describe_unknown(key, known, place))


def describe_unknown(name: str, known: tuple[str, ...], place: str) -> str:
    """Says that a name is unknown, with the nearest known one."""
    close = get_close_matches(name, known, n=1)
    remedy = f"did you mean `{close[0]}`?" if close else f"known are {', '.join(known)}"
    return f"`{name}` is not a key of {place}; {remedy}"


class PlainLoader(yaml.SafeLoader):
    """Composes nodes only, with the plain words of YAML 1.2: `1e-4` is a number, `no` is text, `010` is ten."""

    yaml_implicit_resolvers: dict = {}  # noqa: RUF012 (as the base class declares it)


for kind, pattern, first in (
    ("null", r"^(?:~|null|Null|NULL|)$", ["~", "n", "N", ""]),
    ("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", list("tTfF")),
    ("int", r"^[-+]?[0-9]+$", list("-+0123456789")),
    ("float", r"^[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?$", list("-+.0123456789")),
):
    PlainLoader.add_implicit_resolver(TAG + kind, re.compile(pattern), first)


def read_located(text: str, faults: FaultList) -> Located | None:
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


class Converter:
    """Turns YAML's nodes into `Located` values; what cannot be one becomes None, with the reason in ``faults``."""

    def __init__(self, faults: FaultList) -> None:
        self.faults, self.count = faults, 0

    def convert(self, node: yaml.Node, line: int, depth: int) -> Located:
        self.count += 1
        if self.count > MAX_VALUES:
            raise TooLarge(f"a space must hold at most {MAX_VALUES} values, aliases counted as what they repeat")
        if depth > MAX_DEPTH:  # also what ends an alias to itself
            raise TooLarge(f"values must be nested at most {MAX_DEPTH} deep, and an alias may not contain itself")
        if isinstance(node, yaml.MappingNode) and node.tag == TAG + "map":
            return Located(self.convert_mapping(node, depth), line)
        if isinstance(node, yaml.SequenceNode) and node.tag == TAG + "seq":
            return Located([self.convert(item, item.start_mark.line + 1, depth + 1) for item in node.value], line)
        if isinstance(node, yaml.ScalarNode) and node.tag in (TAG + kind for kind in CONVERTERS):
            return Located(self.convert_scalar(node), line)
        self.faults.add(node.start_mark.line + 1, f"tags are not used in a space, but got `{node.tag}`; remove it")
        return Located(None, line)

    def convert_mapping(self, node: yaml.MappingNode, depth: int) -> dict[str, Located]:
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

    def convert_scalar(self, node: yaml.ScalarNode) -> str | int | float | bool | None:
        kind, line = node.tag.removeprefix(TAG), node.start_mark.line + 1
        try:
            value = CONVERTERS[kind](node.value)
        except (ValueError, KeyError):  # only where a tag was written out, as in `!!int x`
            self.faults.add(line, f"a value must be of the type its tag names, {kind}, but got `{node.value[:40]}`")
            return None
        if (isinstance(value, float) and not math.isfinite(value)) or (isinstance(value, int) and abs(value) >= 2**63):
            self.faults.add(line, f"a number must fit 64 bits, but got `{node.value[:40]}`")
            return None
        return value


CONVERTERS: dict[str, Callable[[str], Any]] = {
    "str": str,
    "int": int,
    "float": float,
    "bool": lambda text: {"true": True, "false": False}[text.lower()],
    "null": lambda text: None,
}
