"""Which attributes there are: categories, each with its classes, as the data set's own list names them.

Nothing else in this project knows how many there are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fashion_core.data.lines import is_count, is_whole, read_lines
from fashion_core.errors import DataError, Fault

if TYPE_CHECKING:
    from pathlib import Path

LIST_FILE = "list_attr_cloth.txt"
MAX_BYTES = 1 << 20
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
    rows = [(line, text.split()) for line, text in enumerate(read_lines(path, MAX_BYTES), 1) if text.strip()]
    faults: list[Fault] = []
    announced = rows.pop(0) if rows and is_count(rows[0][1]) else None
    if rows and not any(letter.isdigit() for letter in rows[0][1][-1]):
        rows = rows[1:]  # the header line; with a digit it is a mistyped row
    classes: dict[int, list[str]] = {}
    for line, words in rows:
        name = " ".join(words[:-1])
        if not name or not is_whole(words[-1]):
            message = f"a row must be `name category_number`, but is {' '.join(words)[:60]!r}; correct it"
            faults.append(Fault(file, line, message))
        elif name in classes.setdefault(int(words[-1]), []):
            message = f"the classes of a category must differ, but {name!r} stands twice; rename or remove one"
            faults.append(Fault(file, line, message))
        else:
            classes[int(words[-1])].append(name)
    if announced is not None and int(announced[1][0]) != len(rows):
        message = f"the first line must be the number of classes, {len(rows)}, but is {announced[1][0]}; correct it"
        faults.append(Fault(file, announced[0], message))
    if not rows:
        faults.append(Fault(file, None, "the list must hold at least one category, but is empty; restore it"))
    for number, names in classes.items():
        if len(names) == 1 and not faults:  # else the other class may be one of those at fault
            message = (
                f"a category must have at least two classes, but {number} has only {names[0]!r}; add or remove one"
            )
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
