"""A promoted model in MLflow's format: loads without this project, and is stored whole."""

import ast
import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pandas as pd
import pytest
from registered_models import (
    BOX,
    REPOSITORY,
    ask_core,
    check_table,
)

from fashion_core.errors import CheckpointError
from search.registry.served_model import build_example
from search.registry.serving import SERVED_PACKAGES
from search.registry.versions import Registry, Version


def test_what_cannot_be_asked_is_not_registered(store: str, final: Path, run_id: str, tmp_path: Path) -> None:
    registry = Registry(store, "refused")
    (tmp_path / "final").mkdir()
    with pytest.raises(CheckpointError, match="saved model"):
        registry.register(tmp_path / "final", run_id=run_id, promotion_id="a", tags={}, example_image=b"")
    with pytest.raises(Exception, match=r"example.*must be an image"):
        registry.register(final, run_id=run_id, promotion_id="a", tags={}, example_image=b"no image")
    assert registry.list_versions() == []


LOAD = """
import json, sys
repository = sys.argv.pop()
sys.path[:] = [path for path in sys.path if path not in ("", repository)]
sys.meta_path[:] = [finder for finder in sys.meta_path if "editable" not in repr(finder)]
import mlflow, pandas
model = mlflow.pyfunc.load_model(sys.argv[1])
table = pandas.read_json(sys.stdin, dtype=False)
import fashion_core
files = [module.__file__ for name, module in sys.modules.items() if name.split(".")[0] == "fashion_core"]
json.dump({"files": files, "search": "search" in sys.modules, "answers": model.predict(table).to_dict("records"),
    "flipped": model.predict(table, params={"tta": True}).to_dict("records"),
    "plain": model.predict(table[["image"]], params={"tta": False}).to_dict("records")}, sys.stdout)
"""


@pytest.mark.slow
def test_loads_without_this_project_and_without_pickle(
    store: str, champion: Version, final: Path, photos: list[Path], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    table = pd.concat([build_example(photo.read_bytes()) for photo in photos], ignore_index=True)
    table["box"] = BOX
    result = subprocess.run(
        [sys.executable, "-c", LOAD, "models:/served@champion", str(REPOSITORY)],
        input=table.to_json(),
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={
            **os.environ,
            "MLFLOW_TRACKING_URI": store,
            "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
            "PYTHONDONTWRITEBYTECODE": "1",  # what it reads from is looked at below
        },
    )
    assert result.returncode == 0, result.stderr
    loaded = json.loads(result.stdout)
    folder = Registry(store, "served").download(champion).parent.parent
    assert not loaded["search"] and all(folder in Path(file).parents for file in loaded["files"])
    assert not [path for path in folder.rglob("*") if path.suffix in (".pkl", ".pickle", ".pyc")]
    assert "cloudpickle" not in (folder / "requirements.txt").read_text()
    check_table(pd.DataFrame(loaded["answers"]), ask_core(final, photos, capsys, "--box", BOX))
    check_table(pd.DataFrame(loaded["flipped"]), ask_core(final, photos, capsys, "--box", BOX, "--tta"))
    check_table(pd.DataFrame(loaded["plain"]), ask_core(final, photos, capsys, "--no-tta"))
    assert len({json.dumps(loaded[name]) for name in ("answers", "flipped", "plain")}) == 3

    pins = dict(line.split("==") for line in (folder / "requirements.txt").read_text().split())
    assert pins == {name: version(name).split("+")[0] for name in SERVED_PACKAGES}
    imported = set()
    for path in [*map(Path, loaded["files"]), folder / "served_model.py"]:
        for node in ast.parse(path.read_text()).body:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) else []
            imported |= {name.split(".")[0] for name in names}
    third_party = imported - set(sys.stdlib_module_names) - {"fashion_core", "pydantic_core"}
    assert {name.replace("PIL", "pillow") for name in third_party} | {"torchvision"} == set(pins)
