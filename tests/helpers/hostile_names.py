"""Names that mean something to terminals, Markdown, HTML, formulas or MLflow; and a drawn data set that has them."""

import shutil
from pathlib import Path

CATEGORIES = ("price $x^$ a/b|<i>`c`[red]:smile:", "ä_*b*", "[link](x)", "..", "C" * 300, "#1 {x} & &lt;")
CLASSES = (
    "under_$5_or_$10",
    "$x^$",
    "a|b<i>",
    "[/red]",
    "`code`",
    "**bold**",
    "_x_",
    "~s~",
    "\\alpha",
    "a\u202eb",
    "-",
)

SPACE = """
trials: 2
fixed: {image_size: 32, backbone: test_resnet, weights: none, batch_size: 16}
search: {lr: {loguniform: [1e-3, 1e-1]}, category_weights: {proportions: [0.5, 2]}}
scheduler: {type: none, max_epochs: 1}
"""


def rename_classes(data: Path, folder: Path) -> Path:
    """A copy of a drawn data set, whose six categories and some of whose classes have these names."""
    shutil.copytree(data, folder)
    attributes = folder / "split" / "list_attr_cloth.txt"
    count, head, *rows = attributes.read_text().splitlines()
    own = iter(CLASSES)
    renamed = [f"{next(own, row.split()[0])} {row.split()[-1]}" for row in rows]
    attributes.write_text("\n".join([count, head, *renamed]) + "\n")
    (folder / "split" / "list_category.txt").write_text("\n".join(CATEGORIES) + "\n")
    return folder
