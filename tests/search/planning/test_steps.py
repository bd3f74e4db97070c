"""How long a training step takes here."""

from fashion_core.config import TrainConfig
from fashion_core.data.schema import AttributeSchema, Category
from search.planning.steps import time_step

SCHEMA = AttributeSchema((Category("sleeve", ("long", "short")),))


def test_a_step_takes_time_and_a_larger_one_more() -> None:
    """Four times the images, each of nine times the pixels."""
    config = TrainConfig(backbone="test_resnet", weights="none", image_size=32, batch_size=4, precision="fp32")
    larger = config.model_copy(update={"image_size": 96, "batch_size": 16})
    assert 0 < time_step(config, SCHEMA) < time_step(larger, SCHEMA)
