"""Pixels and labels in, a trained attribute network out. Knows nothing of Ray, Optuna or MLflow.

One configuration, from a folder in DeepFashion's layout to the attributes of a photograph:

    from fashion_core import TrainConfig, fit, load_annotations, load_model, predict_images, prepare

    config = TrainConfig(backbone="resnet18", epochs=2)
    data = prepare(load_annotations("FashionDataset"), config, "cache")
    for result in fit(config, data):
        file = result.save_best("model")
    print(next(predict_images(load_model(file), ["dress.jpg"])).render())

What is wrong is told as a `FashionError`, in words. Nothing heavy is loaded before it is used.
"""

from typing import TYPE_CHECKING

from fashion_core.lazy import attach

__version__ = "0.2.0"  # of the project

if TYPE_CHECKING:
    from fashion_core.config import TrainConfig
    from fashion_core.data.annotations import load_annotations
    from fashion_core.data.pixels import PrepareSettings
    from fashion_core.data.prepared import PreparedData, prepare, prepare_all
    from fashion_core.data.splits import select_images
    from fashion_core.errors import FashionError
    from fashion_core.hardware.device import choose_device
    from fashion_core.inference.predictor import predict_images
    from fashion_core.models.ensemble import load_saved
    from fashion_core.models.forward import predict_prepared
    from fashion_core.models.saved import load_model, save_model
    from fashion_core.samples.dataset import draw_sample_data
    from fashion_core.training.loop import fit

__all__ = [
    "FashionError",
    "PrepareSettings",
    "PreparedData",
    "TrainConfig",
    "choose_device",
    "draw_sample_data",
    "fit",
    "load_annotations",
    "load_model",
    "load_saved",
    "predict_images",
    "predict_prepared",
    "prepare",
    "prepare_all",
    "save_model",
    "select_images",
]
__getattr__ = attach(
    __name__,
    {
        "config": ["TrainConfig"],
        "data.annotations": ["load_annotations"],
        "data.pixels": ["PrepareSettings"],
        "data.prepared": ["PreparedData", "prepare", "prepare_all"],
        "data.splits": ["select_images"],
        "errors": ["FashionError"],
        "hardware.device": ["choose_device"],
        "inference.predictor": ["predict_images"],
        "models.ensemble": ["load_saved"],
        "models.forward": ["predict_prepared"],
        "models.saved": ["load_model", "save_model"],
        "samples.dataset": ["draw_sample_data"],
        "training.loop": ["fit"],
    },
)
