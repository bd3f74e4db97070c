"""Saved models with drawn weights: no training, but answers that depend on the image."""

import torch

from fashion_core.config import TrainConfig
from fashion_core.data.schema import AttributeSchema, Category
from fashion_core.models.network import build_network
from fashion_core.models.saved import SavedModel

SCHEMA = AttributeSchema((Category("pattern", ("floral", "striped", "solid")), Category("fit", ("tight", "loose"))))
SMALL = {"backbone": "test_resnet", "weights": "none", "image_size": 64, "precision": "fp32", "eval_batch_size": 4}
LOGIT_SPREAD = 1.0  # standard deviation over images


def draw_model(seed: int, schema: AttributeSchema = SCHEMA, **config: object) -> SavedModel:
    """The network of a configuration, `SMALL` where nothing else is said, moved away from its start at random."""
    config = TrainConfig(**{**SMALL, **config})
    network = build_network(config, schema.sizes).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            scale = 0.1 if parameter.ndim == 1 else 0.1 * parameter.std()  # some batch norms start as 0
            parameter += scale * torch.randn(parameter.shape, generator=generator)
        for head in network.heads:
            head.weight.copy_(torch.randn(head.weight.shape, generator=generator))
        images = draw_pixels(0, 16, config.image_size).permute(0, 3, 1, 2)
        for head, logits in zip(network.heads, network(images), strict=True):  # answers differ, and none is certain
            head.weight *= LOGIT_SPREAD / logits.std(0)[:, None]
            head.bias -= LOGIT_SPREAD / logits.std(0) * (logits.mean(0) - head.bias) + head.bias
    confusion = [[[seed] * size] * size for size in schema.sizes]
    return SavedModel(network, config, schema, {"val/accuracy": seed / 10}, seed, confusion, f"data {seed}")


def draw_pixels(seed: int, count: int, side: int) -> torch.Tensor:
    """[N, S, S, 3] uint8: a bright rectangle on a dark ground, under noise."""
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 60, (count, side, side, 3), generator=generator, dtype=torch.uint8)
    for image in pixels:
        top, left = torch.randint(0, side // 2, (2,), generator=generator).tolist()
        image[top : top + side // 2, left : left + side // 3] += torch.randint(
            90, 190, (3,), generator=generator, dtype=torch.uint8
        )
    return pixels
