"""An image's file -> an upright RGB image: the one way from bytes to pixels, in training and in all answers."""

from __future__ import annotations

import importlib
import os
import warnings
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from PIL import ExifTags, Image, ImageCms, UnidentifiedImageError

from fashion_core.data.jpeg import ends_early
from fashion_core.errors import ImageError, first_line

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_PIXELS = 50_000_000  # of one image: more is a bomb, or no photograph of a garment
MAX_JPEG_BYTES = 1 << 28  # that are searched for a JPEG's end
MAX_REASON = 160  # characters of what a decoder says
# Pillow decodes these in this process; to read some others it starts programs, whatever the file's name says.
IMAGE_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "AVIF")
HEIF = "HEIF"  # by an extra
IMAGE_SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".webp", ".bmp", ".gif", ".tif", ".tiff"),
    *(".avif", ".avifs", ".heic", ".heif", ".hif"),
)  # those looked for in a folder; a file named may have any
HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}  # ISO/IEC 23008-12, annex B
AVIF_BRANDS = {b"avif", b"avis"}
HEAD_BYTES = 64  # hold the brands
JPEG_FORMATS = ("JPEG", "MPO")  # MPO: a JPEG with further pictures behind it, as some cameras write them
CHECK_SCALE = 8  # a JPEG is decoded to this part of its size in a third of the time
# EXIF's orientation -> what makes it upright; 1 is.
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
SIDEWAYS = (5, 6, 7, 8)  # width and height change places
# The transparent colour of a PNG is told in the file's bits; Pillow's pixels have 8. By Pillow's raw mode.
KEY_SCALES = {"L;2": 85.0, "L;4": 17.0, "RGB;16B": 1 / 256}
BITS_PER_SAMPLE, PHOTOMETRIC, WHITE_IS_ZERO, PLANAR, IN_PLANES = 258, 262, 0, 284, 2  # of TIFF
WHITES = (1, 255, 65535, 2**31 - 1)  # of 32-bit grey, whose files do not tell: the least that holds all values

# What Pillow warns of is an error here (a bomb), or none (a damaged EXIF).
warnings.filterwarnings("ignore", module=r"PIL\.")


def open_image(file: Path | BinaryIO, name: str | None = None) -> Image.Image:
    """An image, decoded whole, as a person sees it: RGB, 8 bits, upright; of several frames the first.

    EXIF's orientation is applied, so width, height and boxes are those of the turned image. Transparency is laid on
    white. Grey of more bits is scaled to 8. CMYK goes through its embedded profile to sRGB; an RGB or grey image with
    a profile keeps its numbers, as networks were trained on them.

    Args:
        name: what an error calls it; default: its file name.

    Raises:
        ImageError: it is none of `IMAGE_FORMATS`, too large, cut off or damaged.
    """
    name = name_file(file, name)
    with telling(name), open_stream(file, name) as stream:
        image = open_header(stream, name)
        scale_key(image)
        image.load()
        check_whole(stream, image, name, image.width * image.height)
        turn = TURNS.get(read_orientation(image))
        image = convert_to_rgb(image, name)
        return image if turn is None else image.transpose(turn)


def measure_image(file: Path | BinaryIO, name: str | None = None) -> tuple[int, int]:
    """Width and height of an image as `open_image` gives it, and as sure to be whole.

    A JPEG, which most are, is decoded at an eighth of its size.

    Raises:
        ImageError: as `open_image`.
    """
    name = name_file(file, name)
    with telling(name), open_stream(file, name) as stream:
        image = open_header(stream, name)
        if image.format not in JPEG_FORMATS:
            return open_image(stream, name).size
        width, height = image.size
        image.draft("L", (max(width // CHECK_SCALE, 1), max(height // CHECK_SCALE, 1)))
        image.load()
        check_whole(stream, image, name, width * height)
        return (height, width) if read_orientation(image) in SIDEWAYS else (width, height)


# -------------------------------------------------------------------------------------------------------------- opening


def name_file(file: Path | BinaryIO, name: str | None) -> str:
    """What an error calls a file."""
    if name is not None:
        return name
    return file.name if isinstance(file, Path) else "the file given"


@contextmanager
def open_stream(file: Path | BinaryIO, name: str) -> Iterator[BinaryIO]:
    """A file by its path, or an open one from its beginning."""
    if not isinstance(file, Path):
        file.seek(0)
        yield file
        return
    if not file.is_file():  # opening a pipe would wait for ever
        raise ImageError(f"the image must be a file, but {name} is none; restore it")
    with file.open("rb") as stream:
        yield stream


@contextmanager
def telling(name: str) -> Iterator[None]:
    """What decoders raise, as an ImageError."""
    try:
        yield
    except ImageError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise ImageError(
            f"an image must have at most {MAX_PIXELS:,} pixels, but {name} has far more; shrink it and its box"
        ) from None
    except UnidentifiedImageError:
        raise ImageError(
            f"the image must be one of {', '.join((*IMAGE_FORMATS, HEIF))}, but {name} is not; restore or convert it"
        ) from None
    except Exception as error:  # a decoder may raise anything on bytes made to break it
        reason = first_line(getattr(error, "strerror", None) or error)[:MAX_REASON]
        raise ImageError(f"the image must be complete and readable, but {name} is not ({reason}); restore it") from None


def open_header(stream: BinaryIO, name: str) -> Image.Image:
    """An image that is not yet decoded, and not too large to be."""
    head = stream.read(HEAD_BYTES)
    if not head:
        raise ImageError(f"the image must be complete and readable, but {name} is empty; restore it")
    stream.seek(0)
    image = open_heif(stream, name) if is_heif(head) else Image.open(stream, formats=IMAGE_FORMATS)
    if image.width * image.height > MAX_PIXELS:
        raise ImageError(
            f"an image must have at most {MAX_PIXELS:,} pixels, but {name} has {image.width} x {image.height}; "
            "shrink it and its box"
        )
    tags: Any = getattr(image, "tag_v2", {})
    bits = tags.get(BITS_PER_SAMPLE, ())
    if tags.get(PLANAR) == IN_PLANES and len(bits) > 1 and max(bits) > 8:  # Pillow takes each byte for a pixel
        raise ImageError(
            f"an image of {max(bits)} bits must have its colours side by side, but {name} has them in planes; save it "
            "with 8 bits"
        )
    return image


def is_heif(head: bytes) -> bool:
    """Whether a file's first bytes are those of HEIC or HEIF, and not of AVIF, which shares brands with them."""
    if head[4:8] != b"ftyp":
        return False
    length = min(int.from_bytes(head[:4]), len(head))
    brands = {head[8:12], *(head[place : place + 4] for place in range(16, length, 4))}
    return bool(brands & HEIF_BRANDS) and not brands & AVIF_BRANDS


def open_heif(stream: BinaryIO, name: str) -> Image.Image:
    """As `open_header`, by the package of the extra `heif`."""
    try:
        heif: Any = importlib.import_module("pillow_heif")
    except ImportError:
        raise ImageError(
            f"the image must be one of {', '.join(IMAGE_FORMATS)}, but {name} is in {HEIF} (HEIC); install what reads "
            "it by `pip install 'fashion-search[heif]'` (the package pillow-heif), or convert it"
        ) from None
    image: Image.Image = heif.HeifImageFile(stream)
    return image


def check_whole(stream: BinaryIO, image: Image.Image, name: str, pixels: int) -> None:
    """Raise where pixels are missing that a decoder has filled without a word. pixels: how many the file has."""
    if image.format in JPEG_FORMATS:
        length = min(stream.seek(0, os.SEEK_END), MAX_JPEG_BYTES)  # asking for more than there is takes memory
        stream.seek(0)
        if ends_early(stream.read(length), image, pixels):
            raise ImageError(f"the image must be complete and readable, but {name} is cut off; restore it")
    if image.format == "PNG":
        stream.seek(0)
        Image.open(stream, formats=("PNG",)).verify()  # by its checksums


def read_orientation(image: Image.Image) -> int:
    """EXIF's orientation; 1, upright, where there is none or it cannot be read."""
    try:
        orientation: int = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # Pillow raises many kinds of errors on a damaged EXIF
        return 1
    return orientation


# ------------------------------------------------------------------------------------------------------------ to colour


def scale_key(image: Image.Image) -> None:
    """Bring the transparent colour of a PNG that is not yet decoded to the bits that its pixels will have."""
    key = image.info.get("transparency")
    tiles = getattr(image, "tile", [])
    scale = KEY_SCALES.get(tiles[0].args if tiles and isinstance(tiles[0].args, str) else "")
    if key is not None and scale is not None:
        values = tuple(int(value * scale) for value in (key if isinstance(key, tuple) else (key,)))
        image.info["transparency"] = values if isinstance(key, tuple) else values[0]


def convert_to_rgb(image: Image.Image, name: str) -> Image.Image:
    """An image of any mode as RGB: see `open_image`."""
    if image.mode.startswith("I") or image.mode == "F":
        image = scale_grey(image, name)
    elif image.mode == "CMYK":
        image = convert_cmyk(image)
    elif image.mode == "La":
        image = image.convert("LA")
    if not image.has_transparency_data:
        return image if image.mode == "RGB" else image.convert("RGB")
    image = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")


def scale_grey(image: Image.Image, name: str) -> Image.Image:
    """Grey of 12, 16 or 32 bits as 8 bits, L, or LA where one of its values is transparent.

    Raises:
        ImageError: a value is below 0, or no number.
    """
    values = np.asarray(image).astype(np.float32)
    top = float(values.max())
    if not (values.min() >= 0 and top <= WHITES[-1] + 1):  # NaN is neither; float32 rounds the last up
        raise ImageError(
            f"grey values must be from 0 to {WHITES[-1]}, but {name} has {values.min():g} to {top:g}; "
            "save it with 8 or 16 bits"
        )
    tags = getattr(image, "tag_v2", {})
    if image.mode.startswith("I;16"):
        white = 4095 if tags.get(BITS_PER_SAMPLE) == (12,) else 65535
    else:
        white = next((white for white in WHITES if top <= white), WHITES[-1])
    scaled = np.minimum(values * (255 / white) + 0.5, 255).astype(np.uint8)
    grey = Image.fromarray(255 - scaled if tags.get(PHOTOMETRIC) == WHITE_IS_ZERO else scaled)
    if (key := image.info.get("transparency")) is not None:
        grey.putalpha(Image.fromarray(np.where(values == key, 0, 255).astype(np.uint8)))
    return grey


def convert_cmyk(image: Image.Image) -> Image.Image:
    """Through the embedded profile to sRGB; by Pillow's plain formula where there is none that fits."""
    if profile := image.info.get("icc_profile"):
        try:
            source, target = ImageCms.ImageCmsProfile(BytesIO(profile)), ImageCms.createProfile("sRGB")
            converted = ImageCms.profileToProfile(image, source, target, outputMode="RGB")
        except (ImageCms.PyCMSError, OSError):  # it is damaged, or of other colours than CMYK
            return image.convert("RGB")
        assert converted is not None  # it is None for a change in place alone
        return converted
    return image.convert("RGB")
