"""The card's code sees what the project sees, in files of every form but those that it says it does not read."""

import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drawn_photographs import draw_photograph, encode, encode_turned, list_clear, list_grey, write_profile
from PIL import Image

from fashion_core.data.decoding import open_image
from fashion_core.data.pixels import PrepareSettings, crop_and_resize
from search.promotion.recipe import ANSWERING, DECODING, IMPORTS, render_recipe

LEFT_OUT = re.compile(r"12 bits|black on white|grey PNG of (1|2|4|16) bits, one clear|RGB PNG of 16 bits")
VIEWS = [
    PrepareSettings(24),
    PrepareSettings(16, "box_margin", 0.25),
    PrepareSettings(18, "box_square", 0.1),
    PrepareSettings(20, "whole"),
]


def list_files() -> dict[str, bytes]:
    files = {
        f"{kind} turned {turn}": encode_turned(kind, turn) for kind in ("JPEG", "PNG", "TIFF") for turn in range(1, 9)
    }
    files |= {name: content for name, (content, _) in (list_grey() | list_clear()).items()}
    picture = Image.fromarray(draw_photograph())
    for mode in ("CMYK", "YCbCr", "LAB", "L", "1"):
        files[f"TIFF of {mode}"] = encode(picture.convert(mode), "TIFF")
    for name, options in (("", {}), (" with a profile", {"icc_profile": write_profile()})):
        files[f"CMYK JPEG{name}"] = encode(picture.convert("CMYK"), "JPEG", **options)
    return {name: content for name, content in files.items() if not LEFT_OUT.search(name)}


FILES = list_files()


def run(code: str, **names: Any) -> dict[str, Any]:
    exec(code, names)
    return names


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], Path]:
    """Puts a file where the code looks for it."""
    monkeypatch.chdir(tmp_path)

    def write(content: bytes) -> Path:
        Path("photo.jpg").write_bytes(content)
        return Path("photo.jpg")

    return write


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_seen_as_the_project_sees_it(name: str, place: Callable[[bytes], Path]) -> None:
    path = place(FILES[name])
    photo = run(IMPORTS + DECODING)["photo"]
    assert photo.mode == "RGB" and np.array_equal(np.asarray(photo), np.asarray(open_image(path)))


@pytest.mark.parametrize("box", [None, (3, 5, 30, 47), (0, 0, 40, 56)])
def test_it_is_cropped_and_resized_as_in_training(box: tuple[int, ...] | None) -> None:
    photo = open_image(io.BytesIO(FILES["PNG turned 6"]))
    prepare = run(IMPORTS + ANSWERING.split("\nsession")[0], photo=photo, box=box)["prepare"]
    for view in VIEWS:
        found = prepare(view.image_size, view.crop, view.crop_margin)
        assert np.array_equal(found[0].transpose(1, 2, 0), crop_and_resize(photo, box, view))


def test_it_needs_nothing_of_this_project() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", render_recipe(True), re.DOTALL)
    words = set(re.findall(r"^(?:import|from) (.*?)(?: import.*)?$", code, re.MULTILINE))
    assert words == {"io, json", "numpy as np, onnxruntime", "PIL"} and code.count("\n") < 40
    assert "box = None\n" in render_recipe(False) and "box = (62, 62, 165, 300)" in code
