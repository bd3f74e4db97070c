"""What people write themselves, damaged: search spaces, baselines, and annotations in the challenge's layout."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mutation import DEEP, check_told, damaged_bytes, fuzz, put

import spaces
from fashion_core.config import TrainConfig
from fashion_core.data.annotations import load_annotations
from fashion_core.data.schema import AttributeSchema, Category
from search.promotion.plan import build_baseline
from search.space.reading import load_space

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow
SCHEMA = AttributeSchema((Category("pattern", ("a", "b")), Category("fit", ("c", "d"))))
BASELINE = b"focal_gamma: 0\nlr: 1e-3\noptimizer: sgd\ncategory_weights: {pattern: 1.5, fit: 0.5}\nflip: 0.5\n"
# YAML that stands for more, or for other things, than a space is made of
ODD_YAML = (
    b"!!python/object/apply:os.system [ls]", b"2026-13-45", b"&a [*a, *a]", b"*nothing", b"{? [1, 2] : 3}", b".nan",
    b".inf", b"1e999", b"9" * 400, b"~", b"- - - -", b"? ", b"{", b"[", b"\t", b"---\n", b"<<: {a: 1}", b"'", b"|\n x",
    b"\xff\xfe", b"[" * 40, b"[" * 40 + b"]" * 40, b"{a: " * DEEP, b"!!binary aa", b"!!set {a}", b"null: 1", b"1: 2",
    b"\x00",
)  # fmt: skip


@st.composite
def damaged_yaml(draw, content: bytes) -> bytes:
    """YAML in whose lines odd values stand, or whose lines are left out, repeated, or moved deeper."""
    if draw(st.booleans()):
        return draw(damaged_bytes(content))
    lines = content.splitlines()
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, len(lines) - 1))
        line, odd = lines[place], draw(st.sampled_from(ODD_YAML))
        key = line.split(b":")[0]
        lines[place : place + 1] = draw(
            st.sampled_from(([], [line, line], [b"  " + line], [key + b": " + odd], [odd], [line, odd + b": 1"]))
        )
        lines = lines or [b""]
    return b"\n".join(lines)


@pytest.mark.parametrize("name", ["demo", "weighted_focal"])
@fuzz(40)
@given(data=st.data())
def test_spaces(name: str, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    path = tmp_path_factory.getbasetemp() / "space.yaml"
    put(path, data.draw(damaged_yaml((spaces.FOLDER / f"{name}.yaml").read_bytes())))

    def read() -> None:
        space = load_space(path)
        check_told(lambda: space.check(SCHEMA), lines=True)

    check_told(read, lines=True)


def test_values_in_values_in_values(tmp_path: Path) -> None:
    path = tmp_path / "deep.yaml"
    put(path, b"search: " + b"[" * DEEP + b"]" * DEEP)
    assert not check_told(lambda: load_space(path), lines=True)
    assert not check_told(lambda: build_baseline(str(path), TrainConfig(), SCHEMA))


@fuzz(200)
@given(data=st.data())
def test_baselines(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    path = tmp_path_factory.getbasetemp() / "baseline.yaml"
    put(path, data.draw(damaged_yaml(BASELINE)))
    check_told(lambda: build_baseline(str(path), TrainConfig(), SCHEMA), lines=True)


@pytest.fixture(scope="module")
def data_set(sample_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[Path, bytes]:
    """The annotation files of a copy of the drawn data set, with what they hold."""
    folder = tmp_path_factory.mktemp("annotations")
    shutil.copytree(sample_folder / "split", folder / "split")
    (folder / "img").symlink_to(sample_folder / "img")
    return {path: path.read_bytes() for path in sorted((folder / "split").iterdir())}


@fuzz(40)
@given(data=st.data())
def test_annotations(data_set: dict[Path, bytes], data: st.DataObject) -> None:
    for path, whole in data_set.items():
        put(path, whole)
    path = sorted(data_set)[data.draw(st.integers(0, len(data_set) - 1))]
    put(path, data.draw(damaged_bytes(data_set[path])))
    skip_bad = data.draw(st.booleans())
    check_told(lambda: load_annotations(path.parent.parent, skip_bad=skip_bad, check_images=False), lines=True)
