"""Where a model looked for its answer: Grad-CAM (Selvaraju et al. 2017) by captum, as a picture for each category.

S pixels a side, K categories, F channels of the backbone's last feature map, h x w its cells.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from captum.attr import LayerAttribution, LayerGradCam
from matplotlib.figure import Figure
from torch import Tensor, nn

from fashion_core.data.pixels import PrepareSettings, build_settings
from fashion_core.errors import DataError
from fashion_core.escaping import name_file, take_literally
from fashion_core.inference.predictor import read_views
from fashion_core.models.ensemble import Saved, as_ensemble
from fashion_core.models.pooling import compute_map

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fashion_core.inference.answers import Answer
    from fashion_core.models.network import AttributeNet
    from fashion_core.models.saved import SavedModel

PANEL_INCHES, DPI = 3.2, 110
HEAT_COLOURS = "inferno"
MAX_OPACITY = 0.75  # of the heat, where it is greatest: the garment stays visible


class MappedNet(nn.Module):
    """An attribute network with its last feature map as a layer of its own, `feature_map`, for captum to look at.

    Raises, when run:
        ConfigError: see `fashion_core.models.pooling.compute_map`.
    """

    def __init__(self, network: AttributeNet) -> None:
        super().__init__()
        self.network, self.feature_map = network, nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        """images: [B, 3, S, S], pixels 0..255 -> [B, sum of C_i] the logits of all categories, side by side."""
        cells = self.feature_map(compute_map(self.network.backbone, images))
        return torch.cat(self.network.forward_map(cells), 1)


def explain_views(
    saved: Saved, images: Mapping[PrepareSettings, np.ndarray], classes: Sequence[int]
) -> dict[PrepareSettings, np.ndarray]:
    """Heat of one image, by how it was prepared: [K, S, S] float32 in 0..1, 0 where nothing speaks for the class.

    The heat of an ensemble is the average over its members that see the image so.

    Args:
        images: [S, S, 3] uint8, by how they were prepared; each of the ensemble's `views`.
        classes: K class indices to explain, usually those answered.

    Raises:
        ConfigError: see `MappedNet`.
    """
    ensemble = as_ensemble(saved)
    heats = {view: np.zeros((len(classes), view.image_size, view.image_size), np.float32) for view in ensemble.views}
    for member, share in zip(ensemble.members, ensemble.shares, strict=True):
        view = build_settings(member.config)
        heats[view] += share * compute_heat(member, images[view], classes)
    return {view: scale_to_one(heat) for view, heat in heats.items()}


def compute_heat(saved: SavedModel, pixels: np.ndarray, classes: Sequence[int]) -> np.ndarray:
    """Heat of one model, as `explain_views` gives it; averaged with the mirrored image's where its answer is.

    All categories go through the network in one batch, each image of which is explained for another one's class.
    """
    device = next(saved.network.parameters()).device
    image = torch.tensor(pixels, dtype=torch.float32, device=device).permute(2, 0, 1)
    sides = [image, image.flip(2)] if saved.config.eval_flip else [image]
    batch = torch.stack([side for side in sides for _ in classes]).requires_grad_()
    starts = np.cumsum([0, *saved.schema.sizes[:-1]])
    targets = torch.tensor(np.tile(starts + np.asarray(classes), len(sides)), device=device)
    network = MappedNet(saved.network.eval())
    cells = LayerGradCam(network, network.feature_map).attribute(batch, targets, relu_attributions=True)
    heat = LayerAttribution.interpolate(cells.detach(), tuple(image.shape[1:]), "bilinear")[:, 0]
    parts = list(heat.split(len(classes)))
    if saved.config.eval_flip:
        parts[1] = parts[1].flip(2)
    return scale_to_one(sum(parts).cpu().numpy())


def scale_to_one(heat: np.ndarray) -> np.ndarray:
    """Each of [K, S, S] over its own maximum; left where that is 0."""
    top = heat.max((1, 2), keepdims=True)
    scaled: np.ndarray = np.divide(heat, top, out=np.zeros_like(heat), where=top > 0)
    return scaled


# ------------------------------------------------------------------------------------------------------------- pictures


def draw_explanation(saved: Saved, answer: Answer, folder: Path) -> list[Path]:
    """Draw where the model looked for each of its answers: `IMAGE.CATEGORY.png` in the folder, made if needed.

    A picture has a row for each way in which members of an ensemble see the image: as it is, and under the heat.

    Returns:
        K files.

    Raises:
        ConfigError: see `MappedNet`.
        ImageError: the image can no longer be read.
    """
    classes = [int(values.argmax()) for values in answer.probabilities]
    images = read_views(Path(answer.image), answer.box, as_ensemble(saved).views)
    heats = explain_views(saved, images, classes)
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for index, (category, best) in enumerate(zip(answer.schema.categories, classes, strict=True)):
        title = f"{category.name}: {category.classes[best]} {answer.probabilities[index][best]:.2f}"
        paths.append(folder / name_picture(Path(answer.image), category.name))
        draw_heat([(images[view], heats[view][index]) for view in images], title, paths[-1])
    return paths


def draw_heat(panels: Sequence[tuple[np.ndarray, np.ndarray]], title: str, path: Path) -> None:
    """Draw images and their heat. panels: pixels [S, S, 3] uint8 and heat [S, S] in 0..1 each."""
    figure = Figure(figsize=(2 * PANEL_INCHES, len(panels) * PANEL_INCHES + 0.3), dpi=DPI, layout="constrained")
    figure.suptitle(title, fontsize=10)
    for row, (pixels, heat) in enumerate(panels):
        for column in range(2):
            axes = figure.add_subplot(len(panels), 2, 2 * row + column + 1)
            axes.imshow(pixels)
            axes.set_axis_off()
        axes.imshow(heat, cmap=HEAT_COLOURS, vmin=0, vmax=1, alpha=MAX_OPACITY * heat)
        if not heat.any():
            axes.set_title("nothing here speaks for it", fontsize=8)
    take_literally(figure)
    figure.savefig(path)


def name_picture(image: Path, category: str) -> str:
    """The file name of a category's picture."""
    return f"{image.name}.{name_file(category)}.png"


def check_picture_names(images: Sequence[Path]) -> None:
    """Raise DataError where two images would have their pictures in the same files."""
    seen: dict[str, Path] = {}
    for image in images:
        other = seen.setdefault(image.name, image)
        if other != image:
            raise DataError(
                f"images explained into one folder must have different names, but {other} and {image} have the same; "
                "explain them one after the other, into two folders"
            )
