"""Row 4: what it costs to bring images to two trials at once. This project, and the stock ways with a `DataLoader`.

All three deliver the same: float batches [64, 3, 224, 224] of the garments' boxes, augmented, and normalised for
ImageNet's weights. Two trials run at once, a process each, on two cores; images, annotations and libraries are in
memory before the clock starts. The rate is that of the second epoch, in which nothing has to start any more.

Ours decodes once, before the trials; the peers decode whenever an image is delivered. So a rate with that time in it
stands beside, for two epochs of two trials. Each peer runs with `num_workers` 0 and 1, and the better one counts.

Every epoch must deliver each image once, and the first batch of the case `flip` must show what Pillow makes of its
files. Else the benchmark fails.

The photographs are those of the folder FASHION_DATA, else of `../shared/data/FashionDataset` beside the repository;
where neither is, as many are drawn, and the report says so.
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import OUR_PACKAGES, OURS, Goal, Measure, Row

# No import of ours at the top: the peers run this file too, and must not pay for it.

REPOSITORY = Path(__file__).resolve().parents[2]
TRIALS, EPOCHS = 2, 2
SIDE, BATCH_SIZE = 224, 64
COUNTS = {"train": 5000, "val": 1000, "test": 1000}
PEER_IMAGES = 640  # of an epoch of the peers: at their rate, all 7,000 would take ten minutes a repeat
QUICK_IMAGES, QUICK_PEER_IMAGES = 768, 192
WORKERS = (0, 1)  # of a `DataLoader`; more would have no core to run on
FLIP, CROP_STRENGTH, JITTER = 0.5, 0.3, 0.2
PLAIN, FULL = "flip", "flip, crop, jitter"
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet
MAX_DIFFERENCE = 0.1  # mean, in units of STD, of a delivered image and Pillow's: resizing differs in roundings

Timing = tuple[float, float]


@dataclass(frozen=True)
class Images:
    """Files and boxes, as the annotation files list them."""

    files: list[str]
    boxes: list[tuple[int, ...]]


def find_folder(quick: bool) -> Path:
    """The data set; drawn where there is none, once for all variants."""
    folder = Path(os.environ.get("FASHION_DATA", REPOSITORY / "../shared/data/FashionDataset")).resolve()
    if (folder / "split").is_dir():
        return folder
    folder = Path(tempfile.gettempdir()) / f"bench-data-{'quick' if quick else 'whole'}"
    print(f"no photographs in FASHION_DATA: drawing them into {folder}")
    counts = [f"--{split}={count // (8 if quick else 1)}" for split, count in COUNTS.items()]
    subprocess.run([sys.executable, "-m", "fashion_core.sample_data", str(folder), *counts], check=True)
    return folder


def list_images(folder: Path) -> Images:
    """Every image of every split; each is read once, so that no variant waits for the disk."""
    files, boxes = [], []
    for split in COUNTS:
        files += [str(folder / line.strip()) for line in (folder / "split" / f"{split}.txt").read_text().splitlines()]
        lines = (folder / "split" / f"{split}_bbox.txt").read_text().splitlines()
        boxes += [tuple(int(word) for word in line.split()) for line in lines]
    if len(files) != len(boxes):
        raise RuntimeError(f"every image must have a box, but there are {len(files)} images and {len(boxes)} boxes")
    for file in files:
        Path(file).read_bytes()
    return Images(files, boxes)


# ------------------------------------------------------------------------------------------------ two trials at once


def run_trials(target: Callable[..., Any], *arguments: Any) -> list[Any]:
    """Run `target(number, barrier, *arguments)` in `TRIALS` processes at once; what each returns."""
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(TRIALS, timeout=600)
    pipes = [context.Pipe(duplex=False) for _ in range(TRIALS)]
    processes = [
        context.Process(target=run_trial, args=(target, number, barrier, sender, arguments))
        for number, (_, sender) in enumerate(pipes)
    ]
    for process in processes:
        process.start()
    for _, sender in pipes:
        sender.close()  # else the end of a trial that dies would not be seen
    try:
        return [receiver.recv() for receiver, _ in pipes]
    finally:
        for process in processes:
            process.join()


def run_trial(target: Callable[..., Any], number: int, barrier: Any, sender: Any, arguments: tuple[Any, ...]) -> None:
    try:
        sender.send(target(number, barrier, *arguments))
    except BaseException:
        barrier.abort()  # the other trial shall not wait
        raise


def deliver(
    number: int, barrier: Any, variant: str, case: str, images: Images, workers: int, path: str
) -> list[Timing]:
    """One trial: begin and end of each of its epochs, by a clock that all processes share."""
    import torch

    torch.set_num_threads(1)
    epochs = (
        deliver_ours(number, case, path) if variant == OURS else deliver_peer(variant, number, case, images, workers)
    )
    timings = []
    for epoch, batches in enumerate(epochs):
        barrier.wait()
        began, seen, first = time.monotonic(), [], None
        for pixels, positions in batches:
            if pixels.shape != (len(positions), 3, SIDE, SIDE) or pixels.dtype != torch.float32:
                raise RuntimeError(f"{variant} must deliver float32, but got {pixels.dtype} {tuple(pixels.shape)}")
            seen += positions.tolist()
            first = first or (pixels, positions)
        timings.append((began, time.monotonic()))
        if sorted(seen) != list(range(len(images.files))):
            raise RuntimeError(f"{variant} must deliver each of {len(images.files)} images once, but did not")
        assert first is not None
        if epoch == 0 and case == PLAIN:
            check_pixels(*first, images)
    if variant != OURS and (ours := OUR_PACKAGES & sys.modules.keys()):
        raise RuntimeError(f"a peer must import none of our code, but {variant} imports {', '.join(sorted(ours))}")
    return timings


def check_pixels(pixels: Any, positions: Any, images: Images) -> None:
    """Compare some delivered images, mirrored or not, with what Pillow makes of their files."""
    import torch
    from PIL import Image
    from torchvision.transforms import functional as F

    for delivered, position in list(zip(pixels, positions.tolist(), strict=True))[:8]:
        with Image.open(images.files[position]) as image:
            part = image.convert("RGB").crop(images.boxes[position]).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
        wanted = F.normalize(F.to_tensor(part), MEAN, STD)
        difference = min(float((delivered - other).abs().mean()) for other in (wanted, torch.flip(wanted, [2])))
        if difference > MAX_DIFFERENCE:
            raise RuntimeError(f"{images.files[position]} must be delivered as it is, but differs by {difference:.2f}")


def measure_rate(trials: list[list[Timing]], epoch: int, images: int) -> float:
    """Images a second and core, from the first trial's begin to the last one's end."""
    seconds = max(timings[epoch][1] for timings in trials) - min(timings[epoch][0] for timings in trials)
    return TRIALS * images / seconds / TRIALS


# ------------------------------------------------------------------------------------------------ the variants


def deliver_ours(number: int, case: str, path: str) -> Iterator[Iterator[tuple[Any, Any]]]:
    """Batches as `fit` makes them, up to where the backbone's network begins."""
    import numpy as np
    import torch

    from fashion_core.data.prepared import PreparedData
    from fashion_core.hardware.allocator import keep_freed_memory
    from fashion_core.loading.augment import Augmentation
    from fashion_core.loading.batches import BatchSource
    from fashion_core.models.backbones import Backbone

    keep_freed_memory()
    data = PreparedData.open(Path(path))
    source = BatchSource(data, np.arange(len(data)), torch.device("cpu"))
    generator = torch.Generator().manual_seed(number)
    augmentation = Augmentation(FLIP) if case == PLAIN else Augmentation(FLIP, CROP_STRENGTH, JITTER)
    network = torch.nn.Identity()
    network.pretrained_cfg = {"mean": MEAN, "std": STD}
    backbone = Backbone("normalisation alone", network, 3)

    def run_epoch() -> Iterator[tuple[Any, Any]]:
        for positions in torch.randperm(len(source), generator=generator).split(BATCH_SIZE):
            images, _ = source.batch(positions)
            yield backbone(augmentation(images, generator)), positions

    for _ in range(EPOCHS):
        yield run_epoch()


def deliver_peer(variant: str, number: int, case: str, images: Images, workers: int) -> Iterator[Any]:
    """A `DataLoader` over a data set that decodes, crops and augments an image at a time."""
    import torch
    from torch.utils.data import DataLoader

    loader = DataLoader(
        DATASETS[variant](images, case),
        BATCH_SIZE,
        shuffle=True,
        num_workers=workers,
        persistent_workers=workers > 0,
        generator=torch.Generator().manual_seed(number),
    )
    for _ in range(EPOCHS):
        yield loader


class PillowDataset:
    """Pillow decodes; torchvision's transforms of Pillow images."""

    def __init__(self, images: Images, case: str) -> None:
        from torchvision import transforms

        area = (1 - CROP_STRENGTH, 1.0)
        steps = (
            [transforms.Resize((SIDE, SIDE)), transforms.RandomHorizontalFlip(FLIP)]
            if case == PLAIN
            else [
                transforms.RandomResizedCrop(SIDE, scale=area),
                transforms.RandomHorizontalFlip(FLIP),
                transforms.ColorJitter(JITTER, JITTER, JITTER),
            ]
        )
        self.images = images
        self.transform = transforms.Compose([*steps, transforms.ToTensor(), transforms.Normalize(MEAN, STD)])

    def __len__(self) -> int:
        return len(self.images.files)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        from PIL import Image

        with Image.open(self.images.files[index]) as image:
            part = image.convert("RGB").crop(self.images.boxes[index])
        return self.transform(part), index


class TensorDataset:
    """torchvision decodes into tensors; its second transforms on these."""

    def __init__(self, images: Images, case: str) -> None:
        import torch
        from torchvision.transforms import v2

        area = (1 - CROP_STRENGTH, 1.0)
        steps = (
            [v2.Resize((SIDE, SIDE), antialias=True), v2.RandomHorizontalFlip(FLIP)]
            if case == PLAIN
            else [
                v2.RandomResizedCrop(SIDE, scale=area, antialias=True),
                v2.RandomHorizontalFlip(FLIP),
                v2.ColorJitter(JITTER, JITTER, JITTER),
            ]
        )
        self.images = images
        self.transform = v2.Compose([*steps, v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)])

    def __len__(self) -> int:
        return len(self.images.files)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        from torchvision.io import ImageReadMode, decode_jpeg, read_file

        x1, y1, x2, y2 = self.images.boxes[index]
        image = decode_jpeg(read_file(self.images.files[index]), mode=ImageReadMode.RGB)
        return self.transform(image[:, y1:y2, x1:x2]), index


DATASETS: dict[str, type] = {"pil": PillowDataset, "torchvision_v2": TensorDataset}


def run_peer(variant: str, case: str, images: Images, count: int) -> dict[str, float]:
    """The better of the numbers of workers, on some of the images."""
    import random

    chosen = sorted(random.Random(0).sample(range(len(images.files)), count))
    part = Images([images.files[i] for i in chosen], [images.boxes[i] for i in chosen])
    rates = {
        workers: measure_rate(run_trials(deliver, variant, case, part, workers, ""), -1, count) for workers in WORKERS
    }
    workers = max(rates, key=lambda key: rates[key])
    return {"rate": rates[workers], "whole_rate": rates[workers], "workers": workers}


def run_ours(case: str, root: Path, folder: Path, images: Images) -> dict[str, float]:
    """Prepare, deliver, and (in the case `flip`) count what a further search and a further trial cost."""
    from fashion_core.data.pixels import PrepareSettings
    from fashion_core.data.prepared import prepare_all
    from search.space.reading import load_space

    count, settings = len(images.files), [PrepareSettings(SIDE)]
    decodes = DecodeCount()
    began = time.monotonic()
    ((_, prepared),) = prepare_all(load_some(root, count), settings, folder / "prepared").items()
    path = prepared.path
    prepare_seconds = time.monotonic() - began
    values: dict[str, float] = {"prepare_seconds": prepare_seconds, "decodes": decodes.take() / count}
    trials = run_trials(deliver, OURS, case, images, 0, str(path))
    values["rate"] = measure_rate(trials, -1, count)
    seconds = sum(count / measure_rate(trials, epoch, count) for epoch in range(EPOCHS))
    values["whole_rate"] = EPOCHS * count / (seconds + prepare_seconds)
    if case == PLAIN:
        prepare_all(load_some(root, count), settings, folder / "prepared")  # as the next search does
        values["decodes_next"] = decodes.take() / count
        values["memory_mb"] = measure_memory(path)
        space = load_space(str(REPOSITORY / "spaces" / "lite_cpu.yaml"))
        settings = space.prepare_settings()
        if len(settings) < 2:
            raise RuntimeError(f"lite_cpu must have several sizes, but has {settings}")
        prepare_all(load_some(root, count), settings, folder / "sizes")
        values["decodes_sizes"] = decodes.take() / count
    return values


def load_some(root: Path, count: int) -> Any:
    """The annotations of the first images."""
    from dataclasses import replace

    from fashion_core.data.annotations import load_annotations

    annotations = load_annotations(root)
    return replace(annotations, table=annotations.table.slice(0, count))


class DecodeCount:
    """Counts the images that Pillow decodes in this process: a decoder is made for each."""

    def __init__(self) -> None:
        from PIL import Image

        self.decoded: list[None] = []  # appending is safe among threads
        build_decoder = Image._getdecoder

        def build(*arguments: Any) -> Any:
            self.decoded.append(None)
            return build_decoder(*arguments)

        Image._getdecoder = build

    def take(self) -> int:
        """How many since it was last asked."""
        count = len(self.decoded)
        self.decoded.clear()
        return count


def measure_memory(path: Path) -> float:
    """MiB (proportional set size, both processes) that a second trial's data adds to the first one's."""
    before, after = zip(*run_trials(pass_data, str(path)), strict=True)
    return (sum(after) - sum(before)) / 2**20


def pass_data(number: int, barrier: Any, path: str) -> Timing:
    """Bytes before and after the second trial opens the data and takes every image once; the first did before that."""
    import numpy as np
    import torch

    from fashion_core.data.prepared import PreparedData
    from fashion_core.loading.batches import BatchSource

    def take_all() -> BatchSource:
        data = PreparedData.open(Path(path))
        source = BatchSource(data, np.arange(len(data)), torch.device("cpu"))
        for positions in torch.arange(len(source)).split(BATCH_SIZE):
            source.batch(positions)
        return source

    source = take_all() if number == 0 else None
    barrier.wait()
    before = read_memory()
    barrier.wait()
    source = source or take_all()
    barrier.wait()
    after = read_memory()
    barrier.wait()  # the data stays until the other has looked
    return before, after


def read_memory() -> float:
    """Proportional set size of this process, in bytes."""
    for line in Path("/proc/self/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return 1024 * float(line.split()[1])
    raise RuntimeError("the kernel tells no proportional set size")


def run(variant: str, case: str, folder: Path, repeat: int, quick: bool) -> dict[str, float]:
    """One variant on two cores."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:TRIALS])
    root = find_folder(quick)
    images = list_images(root)
    if quick:
        images = Images(images.files[:QUICK_IMAGES], images.boxes[:QUICK_IMAGES])
    if variant == OURS:
        values = run_ours(case, root, folder, images)
    else:
        values = run_peer(variant, case, images, QUICK_PEER_IMAGES if quick else PEER_IMAGES)
    return {**values, "drawn": float((root / "sample.json").is_file())}


ROW = Row(
    number=4,
    name="data",
    title="Data",
    workload=f"""
7,000 photographs (JPEG), the garment's box of each at {SIDE} px, delivered to two trials at once (two processes, two
cores) in normalised float batches of {BATCH_SIZE}; in the case `{PLAIN}` mirrored at random, in `{FULL}` also cut to
{1 - CROP_STRENGTH:.0%} to 100% of the area and jittered by {JITTER:.0%} in brightness, contrast and saturation. Rates
are those of the second epoch; the peers' are of {PEER_IMAGES:,} of the images, as an image costs them the same however
many there are. With preparing: for ours {EPOCHS} epochs of {TRIALS} trials and what comes before them; the peers have
nothing to prepare.
""",
    variants={
        "ours": "prepared once into a memory-mapped file; batches gathered, augmented and normalised whole",
        "pil": "`DataLoader` over Pillow images, `torchvision.transforms`",
        "torchvision_v2": "`DataLoader` over `torchvision.io.decode_jpeg`, `torchvision.transforms.v2` on tensors",
    },
    measures={
        "rate": Measure("images a second and core", ".0f"),
        "whole_rate": Measure("the same with preparing, two epochs of two trials", ".0f"),
        "prepare_seconds": Measure("s to check the annotations and prepare, two cores", ".1f"),
        "workers": Measure("workers of a `DataLoader`, the better of 0 and 1", ".0f"),
        "decodes": Measure("decodings an image in a search", ".3f"),
        "decodes_sizes": Measure("decodings an image in a search over two image sizes (`lite_cpu`)", ".3f"),
        "decodes_next": Measure("decodings an image in the next search", ".3f"),
        "drawn": Measure("drawn pictures in the place of photographs (1: yes)", ".0f"),
        "memory_mb": Measure("MiB that a further trial's data takes", ".1f"),
    },
    goals=(
        Goal("images a second and core, flip: times Pillow's", "rate", 5, over="pil", case=PLAIN),
        Goal("images a second and core, flip, crop, jitter: times Pillow's", "rate", 3, over="pil", case=FULL),
        Goal("decodings an image in a search", "decodes", 1, at_most=True, case=PLAIN),
        Goal("decodings an image in a search over two sizes", "decodes_sizes", 1, at_most=True, case=PLAIN),
        Goal("decodings an image in the next search", "decodes_next", 0, at_most=True, case=PLAIN),
        Goal("MiB that a further trial's data takes", "memory_mb", 50, at_most=True, case=PLAIN),
    ),
    run=run,
    cases=(PLAIN, FULL),
    quick_cases=(PLAIN,),
    quick_peers=("pil",),
    timeout_s=900,
)
