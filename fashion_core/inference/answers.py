"""What a model says of one image, for a person and for a program. K categories, C classes of one category."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fashion_core.escaping import show_text

if TYPE_CHECKING:
    from fashion_core.data.schema import AttributeSchema

Box = tuple[int, int, int, int]  # x1, y1, x2, y2 in pixels, x2 and y2 excluded


@dataclass(frozen=True)
class Answer:
    """The attributes of one image.

    Attributes:
        image: its path, as given.
        box: the garment's box used; None for the whole image.
        probabilities: K arrays [C_i] float32, each of sum 1.
    """

    image: str
    box: Box | None
    schema: AttributeSchema
    probabilities: list[np.ndarray]

    def to_dict(self) -> dict[str, Any]:
        """All probabilities, by category and class; JSON-able."""
        attributes = {}
        for category, values in zip(self.schema.categories, self.probabilities, strict=True):
            best = int(values.argmax())
            attributes[category.name] = {
                "class": category.classes[best],
                "probability": float(values[best]),
                "probabilities": dict(zip(category.classes, values.tolist(), strict=True)),
            }
        return {"image": self.image, "box": self.box and list(self.box), "attributes": attributes}

    def render(self) -> str:
        """One line a category: class, probability, and the runner-up with its own."""
        lines = [self.image if self.box is None else f"{self.image}, box {','.join(map(str, self.box))}"]
        width = max(map(len, self.schema.names))
        class_width = max(len(name) for category in self.schema.categories for name in category.classes)
        for category, values in zip(self.schema.categories, self.probabilities, strict=True):
            first, second = np.argsort(-values, kind="stable")[:2]
            lines.append(
                f"  {category.name:<{width}}  {category.classes[first]:<{class_width}}  {values[first]:.2f}"
                f"   then {category.classes[second]} {values[second]:.2f}"
            )
        return "\n".join(map(show_text, lines))
