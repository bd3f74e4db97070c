"""Which attributes there are: categories, each with its classes, as the data set's own list names them.

Nothing else in this project knows how many there are.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fashion_core.data.lines import TextRow, is_count, is_whole, read_lines
from fashion_core.errors import DataError, Fault
from fashion_core.escaping import show_value

if TYPE_CHECKING:
    from pathlib import Path

LIST_FILE = "list_attr_cloth.txt"
NAMES_FILE = "list_category.txt"
MAX_BYTES = 1 << 20
NO_TEXT = ("Cc", "Cs", "Zl", "Zp")  # Unicode's control characters, half characters, ends of lines and paragraphs
# The list numbers its categories. These are the usual names of DeepFashion's, told by the classes they hold.
KNOWN_CATEGORIES = {
    "pattern": ("floral", "graphic", "striped", "embroidered", "pleated", "solid", "lattice"),
    "sleeve": ("long_sleeve", "short_sleeve", "sleeveless"),
    "length": ("maxi_length", "mini_length", "no_dress"),
    "neckline": ("crew_neckline", "v_neckline", "square_neckline", "no_neckline"),
    "material": ("denim", "chiffon", "cotton", "leather", "faux", "knit"),
    "fit": ("tight", "loose", "conventional"),
}


@dataclass(frozen=True)
class Category:
    """One category: exactly one of its classes holds for an image; a label is the class's position."""

    name: str
    classes: tuple[str, ...]


@dataclass(frozen=True)
class AttributeSchema:
    """All categories, in label order."""

    categories: tuple[Category, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Name of each category."""
        return tuple(category.name for category in self.categories)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of classes of each category."""
        return tuple(len(category.classes) for category in self.categories)

    def to_dict(self) -> dict[str, Any]:
        """Category name -> class names, in order; JSON-able."""
        return {category.name: list(category.classes) for category in self.categories}

    @classmethod
    def from_dict(cls, values: Any) -> AttributeSchema:
        """What `to_dict` gave.

        Raises:
            DataError: it is something else.
        """
        if not isinstance(values, dict) or not values or not all(map(is_category, values.items())):
            raise DataError("categories must be one or more names, each with two or more classes that differ")
        return cls(tuple(Category(name, tuple(classes)) for name, classes in values.items()))


def is_category(item: tuple[Any, Any]) -> bool:
    """Whether a name and classes, as read from a file, are those of a category."""
    name, classes = item
    if not isinstance(name, str) or not isinstance(classes, list | tuple) or len(classes) < 2:
        return False
    return all(isinstance(each, str) for each in classes) and len(set(classes)) == len(classes)


def load_schema(path: Path) -> AttributeSchema:
    """Read `list_attr_cloth.txt`: the number of classes, a header, then a class name and its category's number a line.

    Both leading lines may be absent; a class name may hold spaces.

    Raises:
        DataError: lists every fault with its line.
    """
    file = f"{path.parent.name}/{path.name}"
    faults: list[Fault] = []
    rows = read_names(path, faults, "classes")
    classes: dict[int, list[str]] = {}
    for line, words in rows:
        name = " ".join(words[:-1])
        if not name or not is_whole(words[-1]):
            message = f"a row must be `name category_number`, but is {' '.join(words)[:60]!r}; correct it"
            faults.append(Fault(file, line, message))
        elif not is_printable(name):
            faults.append(Fault(file, line, explain_unprintable(name)))
        elif name in classes.setdefault(int(words[-1]), []):
            message = (
                f"the classes of a category must differ, but {show_value(name)} stands twice; rename or remove one"
            )
            faults.append(Fault(file, line, message))
        else:
            classes[int(words[-1])].append(name)
    if not rows:
        faults.append(Fault(file, None, "the list must hold at least one category, but is empty; restore it"))
    for number, names in classes.items():
        if len(names) == 1 and not faults:  # else the other class may be one of those at fault
            only = show_value(names[0])
            message = f"a category must have at least two classes, but {number} has only {only}; add or remove one"
            faults.append(Fault(file, None, message))
    if faults:
        raise DataError("the list of attributes is at fault:", faults)
    usual = {number: name_category(number, names) for number, names in classes.items()}
    if len(set(usual.values())) < len(usual):  # two categories that hold one's known classes
        usual = {number: f"category_{number}" for number in classes}
    return AttributeSchema(tuple(Category(usual[number], tuple(names)) for number, names in sorted(classes.items())))


def name_category(number: int, classes: list[str]) -> str:
    """DeepFashion's usual name where most classes are those of one of its categories, else `category_<number>`."""
    for name, known in KNOWN_CATEGORIES.items():
        if len(set(classes) & set(known)) * 2 > len(classes):
            return name
    return f"category_{number}"


def read_names(path: Path, faults: list[Fault], what: str) -> list[TextRow]:
    """The rows `name number` of a list, without the count and the header line that may stand before them.

    Args:
        faults: gets a count that does not hold; what: it counts.

    Raises:
        DataError: the list cannot be read.
    """
    rows = [TextRow(line, text.split()) for line, text in enumerate(read_lines(path, MAX_BYTES), 1) if text.strip()]
    announced = rows.pop(0) if rows and is_count(rows[0].words) else None
    if rows and not any(letter.isdigit() for letter in rows[0].words[-1]):
        rows = rows[1:]  # the header line; with a digit it is a mistyped row
    if announced is not None and int(announced.words[0]) != len(rows):
        message = f"the first line must be the number of {what}, {len(rows)}, but is {announced.words[0]}; correct it"
        faults.append(Fault(f"{path.parent.name}/{path.name}", announced.line, message))
    return rows


def rename_categories(schema: AttributeSchema, path: Path) -> AttributeSchema:
    """The schema with the names that a list has for its categories.

    A name stands in a line, alone and in the order of the categories' numbers, or with its category's number behind
    it. A header, with a count before it, may stand first.

    Raises:
        DataError: lists every fault with its line.
    """
    file = f"{path.parent.name}/{path.name}"
    rows = [TextRow(line, text.split()) for line, text in enumerate(read_lines(path, MAX_BYTES), 1) if text.strip()]
    if rows and is_count(rows[0].words):
        rows = rows[2:]  # a count stands before a header
    elif len(rows) > 1 and not is_numbered(rows[0]) and all(map(is_numbered, rows[1:])):
        rows = rows[1:]
    if all(len(row.words) > 1 and is_whole(row.words[0]) for row in rows) and not all(map(is_numbered, rows)):
        rows = [TextRow(row.line, [*row.words[1:], row.words[0]]) for row in rows]  # the number stands first
    if all(map(is_numbered, rows)):
        rows = [TextRow(row.line, row.words[:-1]) for row in sorted(rows, key=lambda row: int(row.words[-1]))]
    names = [" ".join(row.words) for row in rows]
    faults = [
        Fault(file, row.line, explain_unprintable(name))
        for row, name in zip(rows, names, strict=True)
        if not is_printable(name)
    ]
    if len(names) != len(schema.categories) or len(set(names)) < len(names):
        message = (
            f"it must be {len(schema.categories)} different names, one a line in the order of the categories' numbers, "
            f"but has {len(names)}, {len(set(names))} of them different; correct it"
        )
        faults.append(Fault(file, None, message))
    if faults:
        raise DataError("the list of categories is at fault:", faults)
    return AttributeSchema(
        tuple(Category(name, category.classes) for name, category in zip(names, schema.categories, strict=True))
    )


def is_numbered(row: TextRow) -> bool:
    """Whether a row is a name with a whole number behind it."""
    return len(row.words) > 1 and is_whole(row.words[-1])


def is_printable(name: str) -> bool:
    """Whether a name is one line of text without control characters; it may hold anything else."""
    return name.isprintable() or not any(unicodedata.category(letter) in NO_TEXT for letter in name)


def explain_unprintable(name: str) -> str:
    """What is wrong with a name that is not."""
    return f"a name must be one line of text without control characters, but is {name[:60]!r}; rename it"
