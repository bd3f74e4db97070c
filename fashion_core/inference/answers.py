"""What a model says of one image, for a person and for a program. K categories, C classes of one category."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fashion_core.errors import ConfigError
from fashion_core.escaping import show_text

if TYPE_CHECKING:
    from fashion_core.data.schema import AttributeSchema

Box = tuple[int, int, int, int]  # x1, y1, x2, y2 in pixels, x2 and y2 excluded
UNSURE = "unsure"  # stands for a class where none is likely enough


@dataclass(frozen=True)
class Answer:
    """The attributes of one image.

    Attributes:
        image: its path, as given.
        box: the box looked at; None for the whole image.
        probabilities: K arrays [C_i] float32, each of sum 1.
        min_confidence: a class less likely than this is not named; None names always the likeliest.
        warning: why the answer may be worth less than others; None where nothing is known against it.
    """

    image: str
    box: Box | None
    schema: AttributeSchema
    probabilities: list[np.ndarray]
    min_confidence: float | None = None
    warning: str | None = None

    @property
    def classes(self) -> tuple[str, ...]:
        """K names: of each category its likeliest class, or `unsure`."""
        pairs = zip(self.schema.categories, self.probabilities, strict=True)
        return tuple(
            UNSURE if is_unsure(values, self.min_confidence) else category.classes[values.argmax()]
            for category, values in pairs
        )

    def to_dict(self) -> dict[str, Any]:
        """All probabilities, by category and class, that of the likeliest first; JSON-able."""
        attributes = {}
        for category, name, values in zip(self.schema.categories, self.classes, self.probabilities, strict=True):
            attributes[category.name] = {
                "class": name,
                "probability": float(values.max()),
                "probabilities": dict(zip(category.classes, values.tolist(), strict=True)),
            }
        content = {"image": self.image, "box": self.box and list(self.box), "attributes": attributes}
        return content if self.warning is None else content | {"warning": self.warning}

    def render(self) -> str:
        """One line a category: class, probability, and the runner-up with its own."""
        lines = [self.image if self.box is None else f"{self.image}, box {','.join(map(str, self.box))}"]
        width = max(map(len, self.schema.names))
        class_width = max(len(name) for category in self.schema.categories for name in category.classes)
        for category, name, values in zip(self.schema.categories, self.classes, self.probabilities, strict=True):
            first, second = np.argsort(-values, kind="stable")[:2]
            perhaps = f"perhaps {category.classes[first]}, " if is_unsure(values, self.min_confidence) else ""
            lines.append(
                f"  {category.name:<{width}}  {name:<{class_width}}  {values[first]:.2f}"
                f"   {perhaps}then {category.classes[second]} {values[second]:.2f}"
            )
        return "\n".join(map(show_text, lines))


def is_unsure(probabilities: np.ndarray, min_confidence: float | None) -> bool:
    """Whether the likeliest class of [C] is not likely enough to be named."""
    return min_confidence is not None and float(probabilities.max()) < min_confidence


def check_min_confidence(value: float | None, schema: AttributeSchema) -> None:
    """Raise ConfigError where it is no probability, or a class has the name that stands for no class."""
    if value is None:
        return
    if not 0 <= value <= 1:  # NaN too
        raise ConfigError(f"a class is named from a probability of 0 to 1, but got {value}; give one like 0.8")
    if named := [category.name for category in schema.categories if UNSURE in category.classes]:
        raise ConfigError(
            f"answers that are not sure enough are called {UNSURE!r}, but {named[0]} has a class of that name; "
            "ask without a smallest confidence"
        )
