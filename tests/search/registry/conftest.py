"""A registry with a champion in it, for all tests of this room."""

from pathlib import Path

import pytest
from drawn_models import draw_model, draw_pixels
from mlflow.tracking import MlflowClient
from PIL import Image

from fashion_core.models.ensemble import join_models, save_ensemble
from search.registry.versions import Registry, Version
from search.tracking.store import open_store


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An MLflow database for all tests; each takes a registered model of its own, since making one takes seconds."""
    folder = tmp_path_factory.mktemp("store")
    client = open_store(f"sqlite:///{folder / 'mlflow.db'}")
    client.create_experiment("promote", (folder / "artifacts").as_uri())
    return client.tracking_uri


@pytest.fixture
def run_id(store: str) -> str:
    client = MlflowClient(store)
    return client.create_run(client.get_experiment_by_name("promote").experiment_id).info.run_id


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("photos")
    paths = [folder / "a.png", folder / "b.jpg", folder / "c.png"]
    for path, pixels in zip(paths, draw_pixels(3, 3, 96).numpy(), strict=True):
        Image.fromarray(pixels).save(path)
    return paths


@pytest.fixture(scope="session")
def final(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ensemble of two small networks that see images differently, with temperatures."""
    folder = tmp_path_factory.mktemp("search") / "final"
    members = [draw_model(1, image_size=32), draw_model(2, image_size=48, crop="whole", eval_flip=False)]
    save_ensemble(folder, join_models(members, [2, 1]))
    (folder / "temperatures.json").write_text('{"pattern": 2.5, "fit": 0.5}')
    (folder / "MODEL_CARD.md").write_text("# A model\n\nOf garments.\n\n## Limits\n\n- Some.\n\n## Data\n\nMuch.\n")
    return folder


@pytest.fixture(scope="session")
def champion(store: str, final: Path, photos: list[Path]) -> Version:
    """A registered and promoted model."""
    client = MlflowClient(store)
    run = client.create_run(client.get_experiment_by_name("promote").experiment_id)
    registry = Registry(store, "served")
    registered = registry.register(
        final, run_id=run.info.run_id, promotion_id="p", tags={}, example_image=photos[0].read_bytes()
    )
    registry.promote(registered, None, {"gate": "passed"})
    return registered
