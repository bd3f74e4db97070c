"""What a search began with is other when it goes on: its data, its space, the code."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

from bench import SPACE, Bench, Tried
from judge import DONE, REFUSED
from plans import Row
from processes import ROOT
from tries import Outcome

CASES = ("an image changed", "an image gone", "a label changed", "the space changed", "the code changed")


def play(bench: Bench, case: str, number: int, draws: random.Random) -> Outcome:
    """Going on is refused in one line; once all is as it was, the search goes on to what its twin found."""
    twin, half = bench.twin, bench.half
    with bench.open_try(half) as tried:
        tried.remember()
        undo = change(tried, case, draws)
        try:
            status = tried.run_to_end(tried.go_on(), REFUSED, *([DONE] if case == "the code changed" else []))
        finally:
            undo()
        if status == DONE or tried.finish():
            tried.judge(twin)
        return tried.outcome


def change(tried: Tried, case: str, draws: random.Random):
    """Change something. Returns what makes it as it was."""
    data = tried.bench.data
    if case.startswith("an image"):
        names = (data / "split" / "train.txt").read_text().split()
        path = data / draws.choice(names)
        return change_file(path, None if case.endswith("gone") else change_pixel(path))
    if case == "a label changed":
        path = data / "split" / "train_attr.txt"
        lines = path.read_text().splitlines()
        place = draws.randrange(len(lines))
        first, rest = lines[place].split(" ", 1)
        lines[place] = f"{(int(first) + 1) % 3} {rest}"
        return change_file(path, ("\n".join(lines) + "\n").encode())
    if case == "the space changed":
        return change_file(tried.folder / "tiny.yaml", SPACE.replace("1e-4, 100", "1e-4, 10").encode())
    return change_code(tried)


def change_file(path: Path, content: bytes | None):
    """Give a file another content, or none."""
    before = path.read_bytes()
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)

    def undo() -> None:
        path.write_bytes(before)

    return undo


def change_pixel(path: Path) -> bytes:
    """An image with one corner black."""
    import io

    from PIL import Image

    image = Image.open(path).convert("RGB")
    image.paste((0, 0, 0), (0, 0, 8, 8))
    buffer = io.BytesIO()
    image.save(buffer, "PNG" if path.suffix == ".png" else "JPEG")
    return buffer.getvalue()


def change_code(tried: Tried):
    """Commands run a copy of the sources, in which a comment is added to the training loop."""
    copy = tried.folder / "sources"
    for name in ("fashion_core", "search", "spaces"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    with (copy / "fashion_core" / "training" / "loop.py").open("a") as file:
        file.write("# changed\n")
    before = tried.environment, tried.script
    tried.environment = {**tried.environment, "PYTHONPATH": str(copy)}
    tried.script = str(copy / "search" / "run.py")

    def undo() -> None:
        tried.environment, tried.script = before

    return undo


ROWS = (Row("changes", "data, space, code changed", CASES, 2, play),)
