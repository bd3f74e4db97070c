"""The configurations that `record_curves.py` records, drawn beforehand: lists, each in order of weight.

python tests/benchmarks/draw_configurations.py --out FOLDER     # writes NAME.json of each

`lite0`: draws from `spaces/record.yaml`, the way a random search draws them. Each has one seed and one `start_seed`,
and runs at 128 px, at 96 px, and at 96 px growing to 128; some run at 128 px with further seeds, for the noise.
`wide`: EfficientNet-Lite1 and Lite2 at 224 px, over what the space has not: margin and number of epochs; three seeds.
`combined`: levers of the recipe `lite_levers` together, which alone seemed to raise its score; two seeds each.
`reproduction`, `levers`: all trainings of `fashion-search reproduce all` and `reproduce levers`, three seeds each. Put
what is recorded of them where these commands look: results/reproduction/NAME.jsonl, and its folder levers/.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import optuna

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY))

from fashion_core.config import build_config  # noqa: E402
from fashion_core.data.schema import KNOWN_CATEGORIES, AttributeSchema, Category  # noqa: E402
from search.reproduction.levers import LEVERS  # noqa: E402
from search.reproduction.options import ALL, ReproductionOptions  # noqa: E402
from search.reproduction.running import plan_work  # noqa: E402
from search.space.reading import load_space  # noqa: E402
from search.space.seeds import draw_seeds  # noqa: E402

SEED = 0
DRAWS, FIRST_DRAWS = 64, 32  # the first have all their runs before the others have one
SMALL_SIZE, EARLY_EPOCHS = 96, 3  # pixels, and epochs at them where a run grows
REPEATED, REPEATS = 12, 4  # draws with further seeds, and how many
WIDE_DRAWS, WIDE_SEEDS = 8, 3  # of each backbone
WIDE_BACKBONES = ("tf_efficientnet_lite1", "tf_efficientnet_lite2")
STUDIES = {"reproduction": ALL, "levers": LEVERS}  # by the name of the list
FIRST_NUMBERS = {ALL: 1000, LEVERS: 2000}  # of the seeds that their trainings draw
# A plain recipe that is known to do well, and what is drawn around it; the first draw is the recipe.
WIDE_FIXED: dict[str, Any] = {
    "image_size": 224,
    "crop": "box_margin",
    "weights": "package",
    "dropout": 0.3,
    "head_lr_factor": 10,
    "weight_decay": 0.02,
    "batch_size": 64,
}
WIDE_CHOICES: dict[str, list[Any]] = {
    "crop_margin": [0.1, 0.3],
    "crop_strength": [0.15, 0.0, 0.3],
    "drop_path": [0.1, 0.0, 0.2],
    "ema_decay": [0.0, 0.99],
    "lr": [7e-4, 4e-4, 1e-3],
    "epochs": [6, 8, 12],
    "focal_gamma": [0.0, 2.0],
}
# Sets of levers, as what they add to the recipe; the first two differ in size and length alone.
GAINED = {"pooling": "attention", "ema_decay": 0.99, "mixup": 0.2}
LARGE = {**GAINED, "image_size": 288, "epochs": 12}
COMBINED: dict[str, dict[str, Any]] = {
    "gained": GAINED,
    "large": LARGE,
    "lite2": {**LARGE, "backbone": WIDE_BACKBONES[1]},
    "sharp": {**LARGE, "sam_rho": 0.05},
    "smooth": {**LARGE, "label_smoothing": 0.1},
}
COMBINED_SEEDS, COMBINED_NUMBER = 2, 3000


def build_run(name: str, group: str, values: dict[str, Any], early: dict[str, int] | None = None) -> dict[str, Any]:
    """A run as `record_curves.py` reads it, with every field of its configuration."""
    return {"name": name, "group": group, "config": build_config(values).model_dump(mode="json"), "early": early}


def draw_lite0() -> list[dict[str, Any]]:
    """Runs of the draws from the space."""
    space = load_space("record")
    schema = AttributeSchema(tuple(Category(name, classes) for name, classes in KNOWN_CATEGORIES.items()))
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=SEED))
    for point in space.first_points(schema):
        study.enqueue_trial(point)
    drawn = [space.build_values(space.suggest(study.ask(), schema), schema) for _ in range(DRAWS)]

    def list_runs(kind: str, numbers: range) -> list[dict[str, Any]]:
        early = {"epochs": EARLY_EPOCHS, "image_size": SMALL_SIZE} if kind == "growing" else None
        size = {"image_size": SMALL_SIZE} if kind == "small" else {}
        return [build_run(f"{n:02d}-{kind}", kind, {**drawn[n], **size, **draw_seeds(SEED, n)}, early) for n in numbers]

    first, others = range(FIRST_DRAWS), range(FIRST_DRAWS, DRAWS)
    repeats = [
        build_run(f"{n:02d}-repeat{repeat}", "repeat", {**drawn[n], **draw_seeds(SEED, n, repeat)})
        for repeat in range(1, 1 + REPEATS)
        for n in range(REPEATED)
    ]
    runs = [*list_runs("full", first), *list_runs("small", first), *repeats, *list_runs("growing", first)]
    for kind in ("full", "small", "growing"):
        runs += list_runs(kind, others)
    return runs


def draw_wide() -> list[dict[str, Any]]:
    """Runs of the larger networks."""
    rng = np.random.default_rng(SEED)
    drawn = [{name: choices[0] for name, choices in WIDE_CHOICES.items()}]
    while len(drawn) < WIDE_DRAWS:
        drawn.append({name: choices[rng.integers(len(choices))] for name, choices in WIDE_CHOICES.items()})
    return [
        build_run(
            f"{backbone.removeprefix('tf_efficientnet_')}-{n}-seed{seed}",
            "wide",
            {"backbone": backbone, **WIDE_FIXED, **drawn[n], **draw_seeds(SEED, DRAWS + n, seed)},
        )
        for seed in range(WIDE_SEEDS)
        for n in range(WIDE_DRAWS)
        for backbone in WIDE_BACKBONES
    ]


def list_trainings(study: str, results: Path) -> list[dict[str, Any]]:
    """Every training of a reproduction, the first seed of all first. results: an empty folder."""
    work = plan_work(study, ReproductionOptions(results=results))
    numbers = {id(arm): number for number, arm in enumerate(work.arms)}
    counts = dict.fromkeys(numbers.values(), 0)
    runs = []
    for order, arm in enumerate(work.missing):
        number = numbers[id(arm)]
        values = {**work.protocol.build_values(arm), **draw_seeds(SEED, FIRST_NUMBERS[study] + order)}
        runs.append(build_run(f"{number:02d}-{counts[number]}", study, values))
        counts[number] += 1
    return runs


def draw_combined() -> list[dict[str, Any]]:
    """Runs of levers together; those that take long first, so that none is alone at the end."""
    recipe = load_space("lite_levers")
    schema = AttributeSchema(tuple(Category(name, classes) for name, classes in KNOWN_CATEGORIES.items()))
    values = {**recipe.build_values({}, schema), "backbone": WIDE_BACKBONES[0]}
    return [
        build_run(f"{name}-{seed}", "combined", {**values, **added, **draw_seeds(SEED, COMBINED_NUMBER + n, seed)})
        for seed in range(COMBINED_SEEDS)
        for n, (name, added) in reversed(list(enumerate(COMBINED.items())))
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder")
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        trainings = {name: list_trainings(study, Path(folder)) for name, study in STUDIES.items()}
    for name, runs in {"lite0": draw_lite0(), "wide": draw_wide(), "combined": draw_combined(), **trainings}.items():
        (options.out / f"{name}.json").write_text(json.dumps({"seed": SEED, "runs": runs}) + "\n")
        print(f"{name}: {len(runs)} runs")


if __name__ == "__main__":
    main()
