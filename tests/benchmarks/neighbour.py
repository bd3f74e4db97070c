"""Row 9: a training beside other work. How long its threads wait for each other before they sleep decides it.

OpenMP's threads meet at the end of every loop. One that spins there while a neighbour has the core of the other wastes
what the neighbour would have given back; one that sleeps at once pays for being woken, many hundred times a step.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from harness import Goal, Measure, Row

if TYPE_CHECKING:
    from collections.abc import Iterator

# No import of ours at the top, as in every row.

REPOSITORY = Path(__file__).resolve().parents[2]
THREADS = 2
ALONE, BESIDE = "alone", "beside a neighbour"
SMALL, LARGE = (96, 16), (160, 32)  # side of the images in pixels, batch
STEPS, QUICK_STEPS = (2, 12), (1, 3)  # to warm up, and timed
WAITING = {
    "library": {},
    "passive": {"OMP_WAIT_POLICY": "passive"},
    "spin_1000": {"GOMP_SPINCOUNT": "1000"},
    "spin_10000": {"GOMP_SPINCOUNT": "10000"},
    "spin_100000": {"GOMP_SPINCOUNT": "100000"},
}
NEIGHBOUR = f"""
import torch
torch.set_num_threads({THREADS})
layer, images = torch.nn.Conv2d(32, 32, 3, padding=1), torch.randn(8, 32, 64, 64)
print("begun", flush=True)
while True:
    layer(images).sum().backward()
"""


def run(variant: str, case: str, folder: Path, repeat: int, quick: bool) -> dict[str, float]:
    """One way of waiting: each training in a process of its own, for OpenMP reads its variables once."""
    warm_up, timed = QUICK_STEPS if quick else STEPS
    values = {}
    with plant_neighbour() if case == BESIDE else nullcontext():
        for name, (size, batch) in (("small", SMALL), ("large", LARGE)):
            words = [sys.executable, __file__, *map(str, (size, batch, warm_up, timed)), str(folder / name)]
            told = subprocess.run(words, env=build_environment(variant), check=True, stdout=subprocess.PIPE, text=True)
            values[name] = 1000 * json.loads(told.stdout.splitlines()[-1])
    return values


def build_environment(variant: str) -> dict[str, str]:
    """Of a training's process: of ours as Ray hands it to a search's workers."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_"))}
    plain["PYTHONPATH"] = os.pathsep.join([str(REPOSITORY), str(Path(__file__).parent)])
    if variant == "ours":
        sys.path.insert(0, str(REPOSITORY))
        from search.jobs.cluster import OF_WORKERS

        return plain | OF_WORKERS
    return plain | WAITING[variant]


@contextmanager
def plant_neighbour() -> Iterator[None]:
    """A process that keeps two threads busy, and waits as its library does."""
    process = subprocess.Popen([sys.executable, "-c", NEIGHBOUR], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        yield
    finally:
        process.kill()
        process.wait()


def time_training(size: int, batch: int, warm_up: int, timed: int, folder: Path) -> float:
    """Median seconds of a training step."""
    import torch
    import training_step

    torch.set_num_threads(THREADS)
    training_step.BATCH_SIZE = batch
    step = training_step.build_our_step("tf_efficientnet_lite0", size, folder)
    return training_step.time_steps(step, warm_up, timed)


ROW = Row(
    number=9,
    name="neighbour",
    title="A training beside other work",
    workload=f"""
A training step of EfficientNet-Lite0 with {THREADS} threads: at {SMALL[0]} px with {SMALL[1]} images (small), and at
{LARGE[0]} px with {LARGE[1]} (large); alone, and beside a process that keeps {THREADS} threads busy.
""",
    variants={
        "ours": "as the workers of a search wait",
        "library": "as OpenMP's library (libgomp) waits where nothing is said: 300,000 turns, then it sleeps",
        "passive": "`OMP_WAIT_POLICY=passive`: it sleeps at once",
        **{name: f"`GOMP_SPINCOUNT={name.removeprefix('spin_')}`" for name in WAITING if name.startswith("spin_")},
    },
    measures={
        "small": Measure("ms a small step", ".0f"),
        "large": Measure("ms a large step", ".0f"),
    },
    goals=(
        Goal("small steps alone, times the library's", "small", 1.1, at_most=True, over="library", case=ALONE),
        Goal(
            "small steps beside a neighbour, of the library's", "small", 0.6, at_most=True, over="library", case=BESIDE
        ),
        Goal("large steps alone, times the library's", "large", 1.05, at_most=True, over="library", case=ALONE),
    ),
    run=run,
    cases=(ALONE, BESIDE),
    quick_peers=("library",),
)

if __name__ == "__main__":
    *numbers, place = sys.argv[1:]
    size, batch, warm_up, timed = map(int, numbers)
    print(json.dumps(time_training(size, batch, warm_up, timed, Path(place))))
