"""Whether a JPEG's file ends early, also where an end marker stands: decoders fill the rest with grey and say nothing.

Source: ITU-T T.81, annex B (markers), and G.1 (progressive scans).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image

START, END, SCAN = 0xD8, 0xD9, 0xDA
FRAMES = {0xC0 + kind for kind in range(16)} - {0xC4, 0xC8, 0xCC}  # SOF0 to SOF15; the three are tables
PROGRESSIVE = (0xC2, 0xC6, 0xCA, 0xCE)
ARITHMETIC = range(0xC9, 0xD0)
MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")  # not a stuffed byte, nor a restart, which stand inside a scan
COEFFICIENTS = 64  # of a block
RESTART, RESTARTS = 0xD0, 8  # the first of them, and how many take turns
RUN = bytes(range(254, 0, -1))  # of coded data, any
FILLED_GREY, GREY_TOLERANCE = 128, 2  # of a decoder; neighbours' colours touch it
LUMA = np.array([0.299, 0.587, 0.114])  # of JFIF
TAIL_BYTES = 64
SMALL_PIXELS = 128 * 128  # here the last block, which may end early without being grey, is a part that counts


@dataclass
class Structure:
    """What a JPEG's markers say.

    Attributes:
        end: where the end marker stands, in bytes; None if there is none.
        last_scan: where the last scan's data begin.
        frame: the marker of the kind of coding.
        scans: how many there are.
        missing: by component, the coefficients that no scan has brought in full.
    """

    end: int | None = None
    last_scan: int = 0
    frame: int = 0
    scans: int = 0
    missing: dict[int, set[int]] = field(default_factory=dict)


def ends_early(content: bytes, image: Image.Image, pixels: int) -> bool:
    """Whether pixels are missing at the end of a JPEG's file.

    Exact but for the last block of a large image that is coded in one scan, which may lack some bytes; an image coded
    arithmetically, whose files may end early by their standard, is judged by its markers alone.

    Args:
        content: of the file. What stands behind the first end marker does not matter.
        image: decoded from it, in any size.
        pixels: how many the file has.
    """
    if looks_whole(content, image, pixels):
        return False
    structure = read_structure(content)
    if structure.end is None or any(structure.missing.values()):
        return True
    if structure.frame in ARITHMETIC:
        return False
    return decode_filled(content, structure, b"") != decode_filled(content, structure, build_filler(content, structure))


def looks_whole(content: bytes, image: Image.Image, pixels: int) -> bool:
    """What most whole files are, told in a moment: one scan, an end marker, and a last pixel that was not filled in."""
    if "progressive" in image.info or image.mode not in ("L", "RGB") or pixels <= SMALL_PIXELS:
        return False
    if content.count(bytes((0xFF, SCAN))) != 1 or content.rfind(bytes((0xFF, END)), -TAIL_BYTES) < 0:
        return False
    last: Any = image.getpixel((image.width - 1, image.height - 1))
    grey = last if isinstance(last, int) else LUMA @ last
    return bool(abs(grey - FILLED_GREY) > GREY_TOLERANCE)


def build_filler(content: bytes, structure: Structure) -> bytes:
    """What is skipped by a decoder that has all it wants, and decoded by one that wants more, or the next restart."""
    restarts = re.findall(rb"\xff([\xd0-\xd7])", content[structure.last_scan : structure.end])
    following = ord(restarts[-1]) - RESTART + 1 if restarts else 0
    markers = (bytes((0xFF, RESTART + (following + turn) % RESTARTS)) for turn in range(RESTARTS))
    return RUN + b"".join(marker + RUN for marker in markers)


def decode_filled(content: bytes, structure: Structure, filler: bytes) -> bytes:
    """The pixels of a JPEG with other data put before its end marker."""
    start = content[: structure.end].rstrip(b"\xff")  # else the filler's first byte would end a marker
    with Image.open(BytesIO(start + filler + bytes((0xFF, END))), formats=("JPEG",)) as image:
        return image.tobytes()


def read_structure(content: bytes) -> Structure:
    """Walk along the markers up to the first end marker."""
    structure, position = Structure(), 0
    while match := MARKER.search(content, position):
        marker, position = match[0][-1], match.end()
        if marker == END:
            structure.end = match.start()
            break
        if marker in (START, 0x01):  # these have no segment
            continue
        length = int.from_bytes(content[position : position + 2])
        segment = content[position + 2 : position + length]
        position += length
        if marker in FRAMES:
            structure.frame = marker
            structure.missing = {component: set(range(COEFFICIENTS)) for component in segment[6::3]}
        elif marker == SCAN:
            note_scan(structure, segment)
            structure.last_scan = position
    return structure


def note_scan(structure: Structure, segment: bytes) -> None:
    """Take what a scan brings from what is missing. segment: its head, without the length."""
    structure.scans += 1
    components, (first, last, bits) = segment[1:-3:2], segment[-3:]
    if structure.frame not in PROGRESSIVE:  # one scan brings all, whatever some encoders write here
        first, last, bits = 0, COEFFICIENTS - 1, 0
    if bits & 0x0F == 0:  # none of the low bits is left for a later scan
        for component in components:
            structure.missing.get(component, set()).difference_update(range(first, last + 1))
