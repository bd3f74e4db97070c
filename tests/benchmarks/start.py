"""Row 8: from Enter to the first training step. This search, and Ray Tune as its documentation shows it.

The images are prepared beforehand, as they are from a user's second search on: the same command runs once before. The
first step's time is when the first epoch ended, less what its training and evaluation took. Stock Ray Tune writes its
first step's time down itself, before it asks its loader for images.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from harness import Goal, Measure, Row

# No import of ours at the top, as in every row.

REPOSITORY = Path(__file__).resolve().parents[2]
COUNTS = (120, 48, 24)  # images of the drawn data set: train, val, test
SIZE, BATCH = 64, 32
SPACE = f"""
trials: 2
fixed: {{backbone: tf_efficientnet_lite0, image_size: {SIZE}, weights: package, batch_size: {BATCH}}}
search: {{lr: {{loguniform: [1e-5, 1e-3]}}}}
scheduler: {{type: none, max_epochs: 1}}
"""
FIRST_STEP = "first_step.txt"


def run_ours(data: Path, folder: Path) -> float:
    """Returns: seconds from the process's start to the first training step."""
    from fashion_core import metrics
    from search.records.events import EpochEnded
    from search.records.ledger import read_events

    (folder / "start.yaml").write_text(SPACE)
    command = [sys.executable, str(REPOSITORY / "search" / "run.py"), "--data", str(data), "--space", "start.yaml"]
    for name in ("prepares", "measured"):
        began = time.time()
        subprocess.run([*command, "--name", name], cwd=folder, check=True)
    events = read_events(folder / "results" / "measured" / "ledger.jsonl")
    epochs = [event for event in events if isinstance(event, EpochEnded)]
    spent = [each.metrics[metrics.TRAIN_SECONDS] + each.metrics[metrics.VAL_SECONDS] for each in epochs]
    return min(each.time - seconds for each, seconds in zip(epochs, spent, strict=True)) - began


def run_stock(data: Path, folder: Path) -> float:
    """Returns: the same."""
    began = time.time()
    subprocess.run([sys.executable, __file__, str(data)], cwd=folder, check=True)
    return min(float(path.read_text()) for path in folder.glob(f"*{FIRST_STEP}")) - began


def search_as_documented(data: Path) -> None:
    """Two trials of one epoch, as Ray Tune's documentation puts them together."""
    import ray
    from ray import tune
    from ray.air.integrations.mlflow import MLflowLoggerCallback
    from ray.tune.search.optuna import OptunaSearch

    here = Path.cwd()
    cores = len(os.sched_getaffinity(0))

    def train(config: dict[str, Any]) -> None:
        sys.path.insert(0, str(Path(__file__).parent))
        import torch
        from stock import StockTrial

        torch.set_num_threads(max(cores // 2, 1))
        params = {"dropout": 0.1, "focal_gamma": 0, "fc_layers": 0} | {f"weight_{each}": 1 for each in range(1, 7)}
        trial = StockTrial(data, params | config, size=SIZE, batch_size=BATCH, epochs=1, workers=0)
        (here / f"{os.getpid()}-{FIRST_STEP}").write_text(repr(time.time()))
        tune.report({"score": trial.run_epoch()[1]})

    ray.init(address="local", include_dashboard=False)
    tune.Tuner(
        tune.with_resources(train, {"cpu": max(cores // 2, 1)}),
        param_space={"lr": tune.loguniform(1e-5, 1e-3)},
        tune_config=tune.TuneConfig(metric="score", mode="max", search_alg=OptunaSearch(), num_samples=2),
        run_config=tune.RunConfig(
            name="start",
            storage_path=str(here / "ray"),
            callbacks=[MLflowLoggerCallback(tracking_uri=f"sqlite:///{here / 'mlflow.db'}", experiment_name="start")],
        ),
    ).fit()


def run(variant: str, case: str, folder: Path, repeat: int, quick: bool) -> dict[str, float]:
    """One variant."""
    counts = [f"--{split}={count}" for split, count in zip(("train", "val", "test"), COUNTS, strict=True)]
    data = folder / "data"
    subprocess.run([sys.executable, "-m", "fashion_core.sample_data", str(data), *counts], cwd=REPOSITORY, check=True)
    return {"seconds": (run_ours if variant == "ours" else run_stock)(data, folder)}


ROW = Row(
    number=8,
    name="start",
    title="Start",
    workload=f"""
From Enter to the first training step of a search on {COUNTS[0]} drawn images, prepared already: EfficientNet-Lite0 at
{SIZE} px, two trials, as many at once as the machine has room for, MLflow on a SQLite file.
""",
    variants={
        "ours": "the command, its second run: the plan with every image and the backbone checked, MLflow, ledger",
        "stock": "Ray Tune: function trainable, `OptunaSearch`, `MLflowLoggerCallback`, nothing checked beforehand; to "
        "the moment before its loader is asked for the first images",
    },
    measures={"seconds": Measure("s to the first step", ".1f")},
    goals=(
        Goal("seconds to the first step", "seconds", 8, at_most=True),
        Goal("stock Ray Tune, times ours", "seconds", 1, variant="stock", over="ours"),
    ),
    run=run,
)

if __name__ == "__main__":
    search_as_documented(Path(sys.argv[1]))
