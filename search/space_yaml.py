"""YAML in which every value knows its line: what the checks of a search space read.

Only what a space needs is read: mappings with text keys, lists, text, whole numbers, decimals, true/false and null. So a
file from a stranger can neither build an object nor grow (aliases count as what they repeat).
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

import yaml

from fashion_core.errors import Fault

MAX_BYTES = 256 * 1024
MAX_VALUES = 10_000  # a space has some hundred; an alias bomb millions
MAX_DEPTH = 12  # a space is five deep
_PREFIX = "tag:yaml.org,2002:"


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


class _Loader(yaml.SafeLoader):
    """Composes nodes only. Its own plain-scalar rules: `1e-4` is a number, `no` and `2001-01-01` are text, `010` is ten."""

    yaml_implicit_resolvers: dict = {}


for _kind, _pattern, _first in (
    ("null", r"^(?:~|null|)$", ["~", "n", ""]),
    ("bool", r"^(?:true|false)$", list("tf")),
    ("int", r"^[-+]?[0-9]+$", list("-+0123456789")),
    ("float", r"^[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?$", list("-+.0123456789")),
):
    _Loader.add_implicit_resolver(_PREFIX + _kind, re.compile(_pattern), _first)


def read_located(text: str, faults: FaultList) -> Located | None:
    """The one document of a YAML text, as `Located`; None, with the reason in ``faults``, where it cannot be read."""
    if len(text) > MAX_BYTES:
        faults.add(None, f"a space must be at most {MAX_BYTES} characters, but has {len(text)}")
        return None
    try:
        node = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        faults.add(mark.line + 1 if mark else None, f"this is not YAML: {error.problem or error.context}")
        return None
    except yaml.YAMLError as error:
        faults.add(None, f"this is not YAML: {' '.join(str(error).split())}")
        return None
    except RecursionError:
        faults.add(None, f"values must be nested at most {MAX_DEPTH} deep")
        return None
    if node is None:
        faults.add(None, "the file is empty; a space needs at least `search`, `trials` and `scheduler`")
        return None
    before = len(faults.faults)
    try:
        located = _Converter(faults).convert(node, node.start_mark.line + 1, depth=0)
    except _TooLarge as error:
        faults.add(None, str(error))
        return None
    return located if len(faults.faults) == before or isinstance(located.value, dict) else None


class _TooLarge(Exception):
    pass


class _Converter:
    def __init__(self, faults: FaultList) -> None:
        self.faults, self.count = faults, 0

    def convert(self, node: yaml.Node, line: int, depth: int) -> Located:
        self.count += 1
        if self.count > MAX_VALUES:
            raise _TooLarge(f"a space must hold at most {MAX_VALUES} values, aliases counted as what they repeat")
        if depth > MAX_DEPTH:  # also what ends an alias to itself
            raise _TooLarge(f"values must be nested at most {MAX_DEPTH} deep, and an alias may not contain itself")
        if isinstance(node, yaml.MappingNode) and node.tag == _PREFIX + "map":
            return Located(self._convert_mapping(node, depth), line)
        if isinstance(node, yaml.SequenceNode) and node.tag == _PREFIX + "seq":
            return Located([self.convert(item, item.start_mark.line + 1, depth + 1) for item in node.value], line)
        if isinstance(node, yaml.ScalarNode):
            return Located(self._convert_scalar(node), line)
        self._reject_tag(node)
        return Located(None, line)

    def _convert_mapping(self, node: yaml.MappingNode, depth: int) -> dict[str, Located]:
        items: dict[str, Located] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                self.faults.add(line, "a key must be a word, but is a list or a mapping")
            elif key_node.value in items:
                first = items[key_node.value].line
                self.faults.add(line, f"a key may be given once, but `{key_node.value}` already stands in line {first}")
            else:
                items[key_node.value] = self.convert(value_node, line, depth + 1)
        return items

    def _convert_scalar(self, node: yaml.ScalarNode) -> str | int | float | bool | None:
        kind, text = node.tag.removeprefix(_PREFIX), node.value
        value: Any = text
        try:
            if kind == "int":
                value = int(text)
            elif kind == "float":
                value = float(text)
            elif kind == "bool":
                value = {"true": True, "false": False}[text]
            elif kind == "null":
                value = None
            elif kind != "str":
                self._reject_tag(node)
        except (ValueError, KeyError):
            self.faults.add(node.start_mark.line + 1, f"`{text[:40]}` is not of the type its tag names, {kind}")
            return None
        if isinstance(value, float) and not math.isfinite(value) or isinstance(value, int) and abs(value) >= 2**63:
            self.faults.add(node.start_mark.line + 1, f"a number must fit 64 bits, but got {text[:40]}")
            return None
        return value

    def _reject_tag(self, node: yaml.Node) -> None:
        self.faults.add(node.start_mark.line + 1, f"tags are not used in a space, but got `{node.tag}`; remove it")


def check_keys(mapping: Located, known: tuple[str, ...], place: str, faults: FaultList) -> None:
    """Adds a fault for every key that is not known, with the nearest known name."""
    for key, item in mapping.value.items():
        if key not in known:
            close = get_close_matches(key, known, n=1)
            remedy = f"did you mean `{close[0]}`?" if close else f"known are {', '.join(known)}"
            faults.add(item.line, f"`{key}` is not a key of {place}; {remedy}")
