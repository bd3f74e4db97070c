"""JPEGs cut anywhere, with an end marker put behind, are told; whole ones of every kind are not."""

import io

import numpy as np
import pytest
from drawn_photographs import draw_photograph, encode
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fashion_core.data.jpeg import build_filler, decode_filled, ends_early, read_structure

END = b"\xff\xd9"
KINDS = {
    "sequential": {},
    "optimised": {"optimize": True},
    "4:4:4": {"subsampling": 0},
    "progressive": {"progressive": True},
    "restarts": {"restart_marker_blocks": 3},
    "restarts, progressive": {"restart_marker_rows": 1, "progressive": True},
    "thumbnail": {"exif": b"Exif\0\0" + b"\xff\xd8 a thumbnail \xff\xd9"},
}


def find(content: bytes) -> bool:
    """Whether a file that Pillow decodes without a word ends early, told in full and in small alike."""
    told = []
    for scale in (1, 8):
        with Image.open(io.BytesIO(content)) as image:
            pixels = image.width * image.height
            image.draft("L" if scale > 1 else None, (image.width // scale, image.height // scale))
            image.load()
            told.append(ends_early(content, image, pixels))
    assert told[0] == told[1]
    return told[0]


def decode(content: bytes) -> bytes:
    with Image.open(io.BytesIO(content)) as image:
        return image.tobytes()


def encode_kind(kind: str, mode: str = "RGB", size: tuple[int, int] = (230, 170)) -> bytes:
    return encode(Image.fromarray(draw_photograph(*size)).convert(mode), "JPEG", **KINDS[kind])


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("kind", KINDS)
def test_cut_with_an_end_marker(kind: str, mode: str) -> None:
    content = encode_kind(kind, mode)
    assert not find(content) and not find(content + b"\0" * 300 + END)
    start = content.index(b"\xff\xda") + 30
    for cut in range(start, len(content) - 150, (len(content) - start) // 12):
        assert find_or_refused(content[:cut] + END), cut


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_of_a_small_image_every_byte_counts(kind: str) -> None:
    content = encode_kind(kind, size=(90, 70))
    start = content.index(b"\xff\xda") + 30
    missed = [cut for cut in range(start, len(content) - 2, 3) if not find_or_refused(content[:cut] + END)]
    # bits that fill a last byte, or end a scan, may be missing: then the pixels are the whole file's
    assert all(decode(content[:cut] + END) == decode(content) for cut in missed) and len(missed) < 10


def find_or_refused(content: bytes) -> bool:
    """A progressive file that is cut in a table is an error of Pillow's own."""
    try:
        return find(content)
    except OSError:
        return True


def test_without_an_end_marker() -> None:
    content = encode_kind("sequential")
    with Image.open(io.BytesIO(content)) as image:
        image.load()
        assert ends_early(content[:-2] + bytes(500), image, image.width * image.height)


def test_what_a_decoder_fills_may_be_what_an_image_shows() -> None:
    """An image of the very grey is whole."""
    picture = np.full((200, 200, 3), 128, np.uint8)
    content = encode(picture, "JPEG")
    assert not find(content) and (np.asarray(Image.open(io.BytesIO(content))) == 128).all()
    picture[:150] = draw_photograph(200, 150)
    assert not find(encode(picture, "JPEG")) and not find(encode(picture, "JPEG", progressive=True))


def test_a_scan_that_is_not_there() -> None:
    """Cut between two scans, a progressive file is in order but for what it does not bring."""
    content = encode_kind("progressive")
    places = [place for place in range(len(content)) if content[place : place + 2] == b"\xff\xda"]
    assert read_structure(content).scans == len(places) > 5
    for place in places[1:]:
        tables = content.rindex(b"\xff\xc4", 0, place)  # of the scan, before it
        assert find(content[:tables] + END)


def test_pictures_behind_the_first_do_not_matter() -> None:
    frames = [Image.fromarray(draw_photograph(200, 150, seed)) for seed in (0, 1)]
    content = encode(frames[0], "MPO", save_all=True, append_images=frames[1:])
    with Image.open(io.BytesIO(content)) as image:
        image.load()
        assert image.format == "MPO" and not find(content)
        end = read_structure(content).end
        assert end is not None and end < len(content) // 2 + 500
        assert find(content[: end // 2] + content[end:])


@settings(max_examples=40)
@given(
    st.integers(1, 90),
    st.integers(1, 90),
    st.integers(0, 5),
    st.integers(1, 100),
    st.sampled_from([0, 1, 2]),
    st.booleans(),
    st.sampled_from(["RGB", "L", "CMYK"]),
)
def test_a_whole_file_is_never_told(
    width: int, height: int, seed: int, quality: int, subsampling: int, progressive: bool, mode: str
) -> None:
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    picture = Image.fromarray(noise if seed % 2 else draw_photograph(width, height, seed)).convert(mode)
    content = encode(picture, "JPEG", quality=quality, subsampling=subsampling, progressive=progressive)
    with Image.open(io.BytesIO(content)) as image:
        image.load()
        assert not ends_early(content, image, width * height)


@pytest.mark.slow
def test_no_real_image_is_told_by_the_exact_rule(fashion_data) -> None:
    """Not even where the last pixel is not that grey, which is asked first."""
    paths = sorted((fashion_data / "img").iterdir())
    for path in paths:
        content = path.read_bytes()
        structure = read_structure(content)
        assert structure.end is not None and not any(structure.missing.values())
        filler = build_filler(content, structure)
        assert decode_filled(content, structure, filler) == decode(content), path.name
    for path in paths[::50]:
        content = path.read_bytes()
        assert all(find(content[: len(content) * share // 100] + END) for share in (33, 50, 80, 95)), path.name
