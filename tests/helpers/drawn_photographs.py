"""Files of one small drawn photograph in the many forms that people have, each with what a person sees in it."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
from PIL import Image

WIDTH, HEIGHT = 40, 56
CLEAR = (slice(8, 24), slice(4, 20))  # rows and columns that are transparent where something is
SECRET = (250, 3, 77)  # what is hidden there


def draw_photograph(width: int = WIDTH, height: int = HEIGHT, seed: int = 0) -> np.ndarray:
    """[height, width, 3] uint8: soft spots of colour, not like their mirror image."""
    spots = np.random.default_rng(seed).integers(0, 256, (7, 5, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(spots).resize((width, height), Image.Resampling.BICUBIC))


def draw_grey(width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """[height, width] uint8, from black to white."""
    values = draw_photograph(width, height)[..., 0].astype(int)
    grey = ((values - values.min()) * 255 // (values.max() - values.min())).astype(np.uint8)
    assert grey.min() == 0 and grey.max() == 255
    return grey


def encode(picture: np.ndarray | Image.Image, kind: str, **options: object) -> bytes:
    """The file of a picture."""
    stream = io.BytesIO()
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    image.save(stream, kind, **options)
    return stream.getvalue()


def store_turned(upright: np.ndarray, orientation: int) -> np.ndarray:
    """The pixels that a camera stores so that EXIF's orientation makes them upright. Source: Exif 2.32, 4.6.4 A."""
    return {
        1: upright,
        2: upright[:, ::-1],  # row 0 is the top, column 0 the right side
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.swapaxes(0, 1),  # row 0 is the left side, column 0 the top
        6: np.rot90(upright, 1),  # row 0 is the right side, column 0 the top
        7: upright[::-1, ::-1].swapaxes(0, 1),
        8: np.rot90(upright, -1),
    }[orientation]


def encode_turned(kind: str, orientation: int) -> bytes:
    """A file whose pixels are turned, and whose EXIF says how."""
    stored = np.ascontiguousarray(store_turned(draw_photograph(), orientation))
    if kind == "TIFF":
        return encode(stored, kind, tiffinfo={274: orientation})
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"JPEG": {"quality": 100, "subsampling": 0}, "WEBP": {"lossless": True}, "AVIF": {"quality": 100}}
    return encode(stored, kind, exif=exif, **options.get(kind, {}))


# ------------------------------------------------------------------------------------------------ files written by hand


def write_png(rows: list[bytes], width: int, bits: int, colour: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG of packed rows. Source: the PNG specification, 11. chunks: those between head and pixels."""
    head = struct.pack(">IIBBBBB", width, len(rows), bits, colour, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row for row in rows))
    content = b"\x89PNG\r\n\x1a\n"
    for name, part in ((b"IHDR", head), *chunks, (b"IDAT", data), (b"IEND", b"")):
        content += struct.pack(">I", len(part)) + name + part + struct.pack(">I", zlib.crc32(name + part))
    return content


def pack_bits(values: np.ndarray, bits: int) -> list[bytes]:
    """Rows of a picture with 1, 2 or 4 bits a pixel. values: [H, W]."""
    single = (values[..., None].astype(np.uint8) >> np.arange(bits - 1, -1, -1, dtype=np.uint8)) & 1
    return [np.packbits(row).tobytes() for row in single.reshape(len(values), -1)]


def write_tiff(data: bytes, width: int, height: int, bits: int, photometric: int, sample_format: int = 1) -> bytes:
    """A TIFF of one grey strip. Source: TIFF 6.0, section 2."""
    tags = {256: width, 257: height, 258: bits, 259: 1, 262: photometric, 273: 8, 277: 1, 278: height, 279: len(data)}
    tags[339] = sample_format
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    place = 8 + len(data) + len(data) % 2
    return (
        struct.pack("<2sHI", b"II", 42, place)
        + data.ljust(place - 8, b"\0")
        + struct.pack("<H", len(tags))
        + entries
        + bytes(4)
    )


def pack_twelve(values: np.ndarray) -> bytes:
    """[H, W], W even, as 12 bits a pixel."""
    first, second = values[:, ::2].astype(int), values[:, 1::2].astype(int)
    return np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], -1).astype(np.uint8).tobytes()


def write_profile() -> bytes:
    """An ICC profile of CMYK: cyan ink is nearly black, and the others are as paper. Source: ICC.1:2001-04, 6."""
    corners = []  # Lab in 8 bits, by the four inks, none or all of each
    for cyan in (0, 1):
        corners += [bytes((40, 128, 128) if cyan else (255, 128, 128))] * 8
    straight = bytes(range(256))
    matrix = struct.pack(">9i", *(65536 * (row == column) for row in range(3) for column in range(3)))
    table = b"mft1" + bytes(4) + bytes((4, 3, 2, 0)) + matrix + straight * 4 + b"".join(corners) + straight * 3
    text = b"desc" + bytes(4) + struct.pack(">I", 5) + b"inks\0" + bytes(78)
    white = b"XYZ " + bytes(4) + struct.pack(">3i", 63190, 65536, 54061)  # D50
    parts = [(b"desc", text), (b"A2B0", table), (b"wtpt", white), (b"cprt", b"text" + bytes(4) + b"none\0")]
    place, entries, body = 128 + 4 + 12 * len(parts), b"", b""
    for name, part in parts:
        entries += name + struct.pack(">II", place + len(body), len(part))
        body += part.ljust(-(-len(part) // 4) * 4, b"\0")
    head = struct.pack(">I4sI4s4s4s", place + len(body), bytes(4), 0x02100000, b"prtr", b"CMYK", b"Lab ")
    head += bytes(12) + b"acsp" + bytes(28) + struct.pack(">3i", 63190, 65536, 54061)
    return head.ljust(128, b"\0") + struct.pack(">I", len(parts)) + entries + body


# ----------------------------------------------------------------------------------------------------------- the forms


def draw_hidden() -> tuple[np.ndarray, np.ndarray]:
    """A photograph with a secret in its clear part, and what is seen once that is laid on white."""
    hidden, seen = draw_photograph().copy(), draw_photograph().copy()
    hidden[CLEAR], seen[CLEAR] = SECRET, 255
    return hidden, seen


def list_grey() -> dict[str, tuple[bytes, np.ndarray]]:
    """Files of more, or fewer, than 8 bits a pixel, and [H, W] uint8 that each shows."""
    grey = draw_grey()
    wide, high = grey.astype(np.uint16) * 257, (grey >= 128).astype(np.uint8)
    size = (WIDTH, HEIGHT)
    files = {
        "PNG of 16 bits": encode(wide, "PNG"),
        "TIFF of 16 bits": encode(wide, "TIFF"),
        "TIFF of 16 bits, big-endian": encode(Image.fromarray(wide.astype(">u2")), "TIFF"),
        "TIFF of 16 bits, black on white": write_tiff((65535 - wide).astype("<u2").tobytes(), *size, 16, 0),
        "TIFF of 12 bits": write_tiff(pack_twelve(np.round(grey / 255 * 4095)), *size, 12, 1),
        "TIFF of 32 bits, to 255": encode(grey.astype(np.int32), "TIFF"),
        "TIFF of 32 bits, to 65535": encode(wide.astype(np.int32), "TIFF"),
        "TIFF of 32 bits, to 2**31": encode(np.round(grey / 255 * (2**31 - 1)).astype(np.int32), "TIFF"),
        "TIFF of floats, to 1": encode((grey / 255).astype(np.float32), "TIFF"),
        "TIFF of floats, to 255": encode(grey.astype(np.float32), "TIFF"),
        "PNG of 8 bits": encode(grey, "PNG"),
        "BMP of 8 bits": encode(grey, "BMP"),
    }
    shown = {name: (content, grey) for name, content in files.items()}
    shown["PNG of 1 bit"] = encode(Image.fromarray(high * 255).convert("1"), "PNG"), high * 255
    shown["TIFF of 1 bit"] = encode(Image.fromarray(high * 255).convert("1"), "TIFF"), high * 255
    return shown


def list_clear() -> dict[str, tuple[bytes, np.ndarray]]:
    """Files with transparency, and [H, W, 3] uint8 that each shows on white."""
    hidden, seen = draw_hidden()
    alpha = np.full((HEIGHT, WIDTH), 255, np.uint8)
    alpha[CLEAR] = 0
    rgba = Image.fromarray(np.dstack([hidden, alpha]))
    grey_seen, grey = draw_grey().copy(), draw_grey().copy()
    grey_seen[CLEAR], grey[CLEAR] = 255, 90
    paired = Image.fromarray(np.dstack([grey, alpha]), "LA")
    few = Image.fromarray(hidden).quantize(16)
    few_seen = np.asarray(few.convert("RGB")).copy()
    index = int(np.asarray(few)[CLEAR][0, 0])
    few_seen[np.asarray(few) == index] = 255
    files = {
        "RGBA PNG": (encode(rgba, "PNG"), seen),
        "RGBA WEBP": (encode(rgba, "WEBP", lossless=True), seen),  # where the file forgets what is hidden, as well
        "RGBA WEBP, exact": (encode(rgba, "WEBP", lossless=True, exact=True), seen),
        "RGBA TIFF": (encode(rgba, "TIFF"), seen),
        "LA PNG": (encode(paired, "PNG"), np.dstack([grey_seen] * 3)),
        "palette PNG, one clear": (encode(few, "PNG", transparency=index), few_seen),
        "palette PNG, alphas": (
            encode(few, "PNG", transparency=bytes(0 if i == index else 255 for i in range(16))),
            few_seen,
        ),
        "palette GIF": (encode(few, "GIF", transparency=index), few_seen),
        "RGB PNG, one colour clear": (encode(hidden, "PNG", transparency=SECRET), seen),
    }
    for bits in (1, 2, 4, 8, 16):
        top = 2**bits - 1
        values, key = np.where(draw_grey() < 100, 0, top).astype(np.uint16), 0
        if bits > 1:
            values[CLEAR] = key = top // 3
        else:
            values[CLEAR] = key
        rows = (
            pack_bits(values, bits)
            if bits < 8
            else [row.tobytes() for row in values.astype(">u2" if bits == 16 else "u1")]
        )
        shows = np.where(values == key, 255, np.round(values / top * 255)).astype(np.uint8)
        content = write_png(rows, WIDTH, bits, 0, (b"tRNS", struct.pack(">H", key)))
        files[f"grey PNG of {bits} bits, one clear"] = content, np.dstack([shows] * 3)
    deep = hidden.astype(np.uint16) * 256 + 17
    rows = [row.astype(">u2").tobytes() for row in deep]
    key = struct.pack(">3H", *(value * 256 + 17 for value in SECRET))
    files["RGB PNG of 16 bits, one colour clear"] = write_png(rows, WIDTH, 16, 2, (b"tRNS", key)), seen
    return files
