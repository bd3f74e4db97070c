"""Which attributes there are: categories, each with its classes, as the data set's own list names them.

Nothing else in this project knows how many there are.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fashion_core.errors import DataError, Fault

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
    def from_dict(cls, values: dict[str, Any]) -> AttributeSchema:
        """What `to_dict` gave."""
        return cls(tuple(Category(name, tuple(classes)) for name, classes in values.items()))


def load_schema(path: Path) -> AttributeSchema:
    """Read `list_attr_cloth.txt`: the number of classes, a header line, then a class name and its category's number a line.

    Both leading lines may be absent.

    Raises:
        DataError: lists every fault with its line.
    """
    file = f"{path.parent.name}/{path.name}"
    try:
        content = path.read_bytes()[: MAX_BYTES + 1]
        lines = content.decode("utf-8-sig").splitlines()
    except OSError as error:
        raise DataError(f"the list of attributes must be readable, but {file} is not: {error.strerror}") from None
    except UnicodeDecodeError:
        raise DataError(f"the list of attributes must be UTF-8 text, but {file} is not") from None
    if len(content) > MAX_BYTES:
        raise DataError(f"the list of attributes must be at most {MAX_BYTES} bytes, but {file} is larger")
    faults: list[Fault] = []
    classes: dict[int, list[str]] = {}
    announced = None
    for number, line in enumerate(lines, 1):
        words = line.split()
        if not words or (number <= 2 and len(words) == 2 and not words[1].isdecimal()):
            continue  # the header line
        if number == 1 and len(words) == 1 and words[0].isdecimal():
            announced = int(words[0])
        elif len(words) != 2 or not words[1].isdecimal():
            faults.append(Fault(file, number, f"a line must be `name category_number`, but is {line[:60]!r}"))
        elif words[0] in classes.setdefault(int(words[1]), []):
            faults.append(Fault(file, number, f"class names of a category must differ, but {words[0]!r} stands twice"))
        else:
            classes[int(words[1])].append(words[0])
    found = sum(map(len, classes.values()))
    if announced is not None and announced != found and not faults:
        faults.append(Fault(file, 1, f"the first line announces {announced} classes, but {found} follow"))
    if not found and not faults:
        faults.append(Fault(file, None, "the list must hold at least one class, but is empty"))
    for number, names in classes.items():
        if len(names) == 1:
            faults.append(Fault(file, None, f"a category must have at least two classes, but {number} has one, {names[0]}"))
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
