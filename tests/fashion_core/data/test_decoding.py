"""Files as people have them -> what a person sees in them; and errors that name the file, the rule and the remedy."""

import io
import os
import struct
import subprocess
import sys
import types
import warnings
from pathlib import Path

import numpy as np
import pytest
from drawn_photographs import (
    CLEAR,
    HEIGHT,
    WIDTH,
    draw_hidden,
    draw_photograph,
    encode,
    encode_turned,
    list_clear,
    list_grey,
    write_png,
    write_profile,
)
from PIL import Image, ImageCms

from fashion_core.data import decoding
from fashion_core.data.annotations import load_annotations
from fashion_core.data.decoding import IMAGE_FORMATS, IMAGE_SUFFIXES, measure_image, open_image
from fashion_core.errors import DataError, ImageError

GREY, CLEAR_FILES = list_grey(), list_clear()
HEIC_HEAD = b"\0\0\0\x1cftypheic\0\0\0\0mif1heicmiaf" + bytes(100)


def see(content: bytes) -> np.ndarray:
    """[H, W, 3] of a file's bytes, whose size is told alike without decoding it whole."""
    image = open_image(io.BytesIO(content))
    assert image.mode == "RGB" and measure_image(io.BytesIO(content)) == image.size
    return np.asarray(image)


def differ(one: np.ndarray, other: np.ndarray) -> int:
    """The largest difference."""
    assert one.shape == other.shape
    return int(np.abs(one.astype(int) - other.astype(int)).max())


# ---------------------------------------------------------------------------------------------------------- orientation


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(("kind", "most"), [("JPEG", 8), ("PNG", 0), ("WEBP", 0), ("TIFF", 0), ("AVIF", 24)])
def test_an_image_is_turned_as_its_exif_says(kind: str, most: int, orientation: int) -> None:
    assert differ(see(encode_turned(kind, orientation)), draw_photograph()) <= most


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize(
    "exif",
    [
        b"",
        b"Exif\0\0",
        b"Exif\0\0nothing of the kind",
        b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x09\0\0",  # 9 is no orientation; and cut off
        b"Exif\0\0II*\0\xff\xff\xff\x7f",
        b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + bytes(range(200)),
    ],
)
def test_a_damaged_exif_is_no_error(kind: str, exif: bytes) -> None:
    options = {} if kind == "JPEG" else {"lossless": True}
    assert differ(see(encode(draw_photograph(), kind, exif=exif, **options)), draw_photograph()) <= 60


def test_a_box_is_in_the_turned_images_pixels(tmp_path: Path) -> None:
    """Told by the check, which knows the size from the file's head."""
    (tmp_path / "a.jpg").write_bytes(encode_turned("JPEG", 6))
    assert Image.open(tmp_path / "a.jpg").size == (HEIGHT, WIDTH)
    assert measure_image(tmp_path / "a.jpg") == open_image(tmp_path / "a.jpg").size == (WIDTH, HEIGHT)


# ---------------------------------------------------------------------------------------------------------------- modes


@pytest.mark.parametrize("name", GREY)
def test_grey_of_any_depth_is_scaled(name: str) -> None:
    content, shows = GREY[name]
    assert differ(see(content), np.dstack([shows] * 3)) == 0


@pytest.mark.parametrize("values", [np.float32([[0.5, np.nan]]), np.float32([[-1, 3]]), np.float32([[0, 1e30]])])
def test_grey_without_a_white_is_refused(values: np.ndarray) -> None:
    with pytest.raises(ImageError, match=r"grey values must be from 0 to 2147483647, but .* 8 or 16 bits"):
        open_image(io.BytesIO(encode(values, "TIFF")))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("bits", [8, 16])
def test_colours_in_planes_are_seen_or_refused(bits: int, order: str) -> None:
    """TIFF 6.0, PlanarConfiguration: of 16 bits Pillow would show noise."""
    shows = draw_photograph()
    height, width = shows.shape[:2]
    plane = height * width * bits // 8
    tags = {256: [width], 257: [height], 258: [bits] * 3, 259: [1], 262: [2], 277: [3], 278: [height]}
    place = 8 + 2 + 12 * 10 + 4  # of what does not fit into a tag: the head, ten tags, the end
    tags |= {273: [place + 30 + plane * k for k in range(3)], 279: [plane] * 3, 284: [2]}
    table, beside = struct.pack(f"{order}H", len(tags)), b""
    for tag, values in sorted(tags.items()):
        kind, letter = (4, "I") if tag in (273, 279) else (3, "H")
        packed = struct.pack(f"{order}{len(values)}{letter}", *values)
        if len(packed) > 4:
            beside, packed = beside + packed, struct.pack(f"{order}I", place + len(beside))
        table += struct.pack(f"{order}HHI", tag, kind, len(values)) + packed.ljust(4, b"\0")
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 8)
    pixels = (shows.astype(int) * (257 if bits == 16 else 1)).astype(f"{order}u{bits // 8}").transpose(2, 0, 1)
    content = head + table + bytes(4) + beside + pixels.tobytes()
    if bits == 8:
        assert differ(see(content), shows) == 0
    else:
        for read in (open_image, measure_image):
            with pytest.raises(ImageError, match=r"must have its colours side by side, but .* save it with 8 bits"):
                read(io.BytesIO(content))


@pytest.mark.parametrize("name", CLEAR_FILES)
def test_transparency_is_laid_on_white(name: str) -> None:
    content, shows = CLEAR_FILES[name]
    assert differ(see(content), shows) == 0


def test_half_transparent_is_half_white() -> None:
    hidden, _ = draw_hidden()
    alpha = np.full((HEIGHT, WIDTH), 100, np.uint8)
    seen = see(encode(Image.fromarray(np.dstack([hidden, alpha])), "PNG"))
    assert differ(seen, np.round(hidden * (100 / 255) + 155)) <= 1


@pytest.mark.parametrize("mode", ["La", "RGBa", "PA", "RGBX", "HSV", "YCbCr", "LAB", "CMYK", "P", "1"])
def test_every_mode_becomes_rgb(mode: str) -> None:
    """Some modes are those of no file that Pillow writes."""
    hidden, seen = draw_hidden()
    alpha = np.full((HEIGHT, WIDTH), 255, np.uint8)
    alpha[CLEAR] = 0
    if mode in ("La", "RGBa", "PA"):
        whole = Image.fromarray(np.dstack([hidden, alpha]))
        image = whole.convert("LA").convert("La") if mode == "La" else whole.convert(mode)
        assert image.mode == mode
        found = np.asarray(decoding.convert_to_rgb(image, "a"))
        assert (found[CLEAR] == 255).all() and (found[30:] != 255).any()
        return
    image = Image.fromarray(seen).convert("RGB")
    found = np.asarray(decoding.convert_to_rgb(image.convert(mode), "a"))
    if mode != "1":
        assert differ(found, seen) <= {"RGBX": 0, "CMYK": 0, "YCbCr": 4, "HSV": 12, "LAB": 24}.get(mode, 60)
    assert found.shape == seen.shape


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk_goes_through_its_profile(kind: str) -> None:
    """By one after which cyan is nearly black and the other inks are not seen."""
    inks = np.zeros((16, 16, 4), np.uint8)
    inks[:8, :, 0] = inks[8:, :, 1] = 255
    image, options = Image.fromarray(inks, "CMYK"), {"quality": 100} if kind == "JPEG" else {}
    plain = see(encode(image, kind, **options))
    assert differ(plain[2:6], np.broadcast_to([0, 255, 255], (4, 16, 3))) <= 3
    assert differ(plain[10:14], np.broadcast_to([255, 0, 255], (4, 16, 3))) <= 3
    by_profile = see(encode(image, kind, icc_profile=write_profile(), **options))
    assert by_profile[2:6].max() < 60 and by_profile[10:14].min() > 250
    for wrong in (b"no profile", ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()):
        assert differ(see(encode(image, kind, icc_profile=wrong, **options)), plain) == 0


def test_rgb_with_a_profile_keeps_its_numbers() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ")).tobytes()
    assert differ(see(encode(draw_photograph(), "PNG", icc_profile=profile)), draw_photograph()) == 0


# -------------------------------------------------------------------------------------------------------------- formats


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "GIF", "TIFF", "AVIF"])
def test_of_several_frames_the_first_is_seen(kind: str) -> None:
    frames = [Image.fromarray(draw_photograph(seed=seed)) for seed in (0, 1, 2)]
    options = {"lossless": True} if kind == "WEBP" else {}
    alone = see(encode(frames[0], kind, **options))
    assert differ(see(encode(frames[0], kind, save_all=True, append_images=frames[1:], **options)), alone) <= 24


def test_the_suffixes_are_those_of_the_formats() -> None:
    Image.init()
    wanted = {suffix for suffix, kind in Image.registered_extensions().items() if kind in (*IMAGE_FORMATS, "MPO")}
    assert set(IMAGE_SUFFIXES) - {".heic", ".heif", ".hif"} == wanted


@pytest.mark.parametrize("kind", ["EPS", "PDF", "PPM", "ICO", "TGA", "PCX", "DDS", "ICNS", "SGI", "JPEG2000"])
def test_other_formats_are_refused_whatever_the_name_says(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(encode(Image.fromarray(draw_photograph()), kind))

    def start(*arguments: object, **options: object) -> None:
        raise AssertionError(f"a program was started: {arguments}")

    monkeypatch.setattr(subprocess, "Popen", start)
    monkeypatch.setattr(os, "system", start)
    for read in (open_image, measure_image):
        with pytest.raises(ImageError, match=r"must be one of JPEG, .*, but photo.jpg is not; restore or convert it$"):
            read(path)


@pytest.mark.parametrize("brands", [b"heic\0\0\0\0mif1heic", b"mif1\0\0\0\0mif1heix", b"msf1\0\0\0\0hevcmsf1"])
def test_heic_without_its_extra_is_told_how(brands: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    content = b"\0\0\0\x18ftyp" + brands + bytes(50)
    with pytest.raises(ImageError, match=r"HEIF \(HEIC\); install .*pip install 'fashion-search\[heif\]'"):
        open_image(io.BytesIO(content))


def test_heic_is_opened_by_the_packages_own_class(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which is a Pillow image; Pillow itself is not told of the format, so no other code opens it unasked."""
    opened = []

    def open_file(stream: io.BytesIO) -> Image.Image:
        opened.append(stream.tell())
        return Image.fromarray(draw_photograph())

    monkeypatch.setitem(sys.modules, "pillow_heif", types.SimpleNamespace(HeifImageFile=open_file))
    assert differ(see(HEIC_HEAD), draw_photograph()) == 0 and set(opened) == {0}


def test_heic_itself() -> None:
    heif = pytest.importorskip("pillow_heif", reason="no pillow-heif: the extra `heif` is not installed")
    for orientation in (1, 6):
        exif = Image.Exif()
        exif[0x0112] = orientation
        stream = io.BytesIO()
        heif.from_pillow(Image.fromarray(draw_photograph(128, 192))).save(stream, quality=95, exif=exif.tobytes())
        found = see(stream.getvalue())
        wanted = draw_photograph(128, 192)
        assert differ(found, wanted if orientation == 1 else np.rot90(wanted, -1)) <= 60


# --------------------------------------------------------------------------------------------------------------- errors

SMALL = encode(draw_photograph(200, 150), "JPEG")
BROKEN = {
    "empty": (b"", r"but a.jpg is empty; restore it"),
    "text": (b"no image, but words", r"must be one of JPEG, .*; restore or convert it"),
    "zeros": (bytes(5000), r"must be one of JPEG"),
    "cut": (SMALL[: len(SMALL) // 2], "must be complete and readable, but a.jpg is .*; restore it"),
    "cut, with an end marker": (SMALL[: len(SMALL) // 2] + b"\xff\xd9", r"but a.jpg is cut off; restore it"),
    "cut, filled with zeros": (SMALL[: len(SMALL) // 2] + bytes(len(SMALL)), "must be complete and readable"),
    "PNG, wrong checksum": (encode(draw_photograph(), "PNG")[:-20] + bytes(20), "must be complete and readable"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_wrong_is_told_in_one_line(name: str, tmp_path: Path) -> None:
    content, message = BROKEN[name]
    (tmp_path / "a.jpg").write_bytes(content)
    for read in (open_image, measure_image):
        with pytest.raises(ImageError, match=message) as caught:
            read(tmp_path / "a.jpg")
        assert "\n" not in str(caught.value) and isinstance(caught.value, DataError)
        with pytest.raises(ImageError, match="but the file given "):
            read(io.BytesIO(content))
        with pytest.raises(ImageError, match="but row 3 "):
            read(io.BytesIO(content), "row 3")


@pytest.mark.parametrize("kind", ["PNG", "GIF", "BMP", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.9])
def test_a_file_of_any_format_that_is_cut_off_is_told(kind: str, share: float) -> None:
    content = encode(draw_photograph(200, 300), kind)
    ends = {"PNG": content[-12:], "GIF": b"\0;"}
    for end in (b"", ends.get(kind, b"")):
        for read in (open_image, measure_image):
            with pytest.raises(ImageError):
                read(io.BytesIO(content[: int(len(content) * share)] + end))


@pytest.mark.parametrize(
    ("side", "message"), [(8000, "has 8000 x 8000; shrink it"), (20000, "has far more; shrink it")]
)
def test_a_bomb_is_refused_before_it_is_decoded(side: int, message: str, tmp_path: Path) -> None:
    row = bytes(-(-side // 8))
    (tmp_path / "a.png").write_bytes(write_png([row] * side, side, 1, 0))
    for action in ("ignore", "error"):  # Pillow warns of some sizes
        with warnings.catch_warnings():
            warnings.simplefilter(action)
            with pytest.raises(ImageError, match=rf"at most 50,000,000 pixels, but a.png {message}"):
                open_image(tmp_path / "a.png")


def test_what_pillow_warns_of_is_said_once_and_by_us(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(write_png([bytes(1250)] * 10_000, 10_000, 1, 0))
    code = "import sys; from pathlib import Path; from fashion_core.data.decoding import open_image as o\n"
    code += "try: o(Path(sys.argv[1]))\nexcept Exception as error: print(error)"
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "a.png"], capture_output=True, text=True)
    assert not done.stderr and done.stdout.count("\n") == 1 and "10000 x 10000" in done.stdout


def test_what_is_no_file_is_told(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    for name in ("pipe.jpg", "absent.jpg", "."):
        with pytest.raises(ImageError, match=r"the image must be a file, but .* is none; restore it"):
            open_image(tmp_path / name)


# ----------------------------------------------------------------------------------------------------- as it was before


def open_as_before(path: Path) -> np.ndarray:
    """What training saw when a file was opened and converted, no more."""
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def test_the_drawn_set_has_the_pixels_it_had(sample_folder: Path) -> None:
    for name in load_annotations(sample_folder).table["image"].to_pylist():
        assert np.array_equal(np.asarray(open_image(sample_folder / name)), open_as_before(sample_folder / name))


@pytest.mark.slow
def test_the_real_set_has_the_pixels_it_had(fashion_data: Path) -> None:
    paths = sorted((fashion_data / "img").iterdir())
    assert len(paths) > 1000
    for path in paths:
        image = open_image(path)
        assert np.array_equal(np.asarray(image), open_as_before(path)) and measure_image(path) == image.size
