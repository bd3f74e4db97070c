"""Text from outside, such as the names of classes, files and models, or a library's error, shown as it is.

What it says can then be no command to a terminal, and no mark-up of a document.
"""

from __future__ import annotations

import re
import unicodedata
import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Unicode's control and half characters, ends of lines and paragraphs, and what is unseen but turns letters about
UNSEEN = ("Cc", "Cf", "Cs", "Zl", "Zp")
MAX_SHOWN = 200  # letters of a value
MAX_FILE_BYTES = 160  # of a part: file systems allow 255 for the whole
JOINERS = "\u200c\u200d"  # unseen too, but parts of words in Persian or Hindi, and of emoji
CODE = re.compile(r"(?<!`)(`[^`]+`)(?!`)")  # spans in which Markdown takes all as it is
# What is mark-up in a line of Markdown: at its beginning; anywhere; an underscore beside a word; entities; links
MARK = re.compile(r"^(?:[#+-](?=[\s#]|$)|>)|[\\`*<$~]|(?<![^\W_])_|_(?![^\W_])|&(?=#?\w+;)|\](?=[(\[:]|$)|!(?=\[)")


def show_text(text: str) -> str:
    r"""The text on one line of a terminal: line ends, escapes and what reverses letters as `\n`, `\x1b`, `\u202e`."""
    if text.isprintable():
        return text
    return "".join(letter.encode("unicode_escape").decode() if is_unseen(letter) else letter for letter in text)


def show_value(value: object) -> str:
    """A value within a message, as Python writes it; the beginning of a long one."""
    text = repr(value)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."


def show_lines(text: str) -> str:
    """The same of a text of several lines, which it keeps."""
    return "\n".join(map(show_text, text.split("\n")))


def is_unseen(letter: str) -> bool:
    """Whether a character does something, or nothing, instead of being seen."""
    return unicodedata.category(letter) in UNSEEN and letter not in JOINERS


def escape_markdown(text: str) -> str:
    """A sentence within a line of Markdown, as typed; its code spans stay, and in tables `render_table` sees to `|`.

    By HTML's numbers of characters, which every kind of Markdown reads, also those that know no backslash.
    """
    pieces = CODE.split(show_text(text))  # every other one is a code span
    return "".join(
        piece if place % 2 else MARK.sub(lambda match: f"&#{ord(match[0])};", piece)
        for place, piece in enumerate(pieces)
    )


def write_name(name: str) -> str:
    """A name within a line of Markdown: as it is, as code where any of it would be mark-up."""
    return name if "`" not in name and escape_markdown(name) == name else write_code(name)


def write_code(text: str) -> str:
    """A text within a line of Markdown as code: a span whose fence is longer than any within."""
    shown = show_text(text)
    fence = "`" * (max(map(len, re.findall("`+", shown)), default=0) + 1)
    pad = " " if shown[:1] in ("`", " ") or shown[-1:] in ("`", " ") else ""  # one blank on each side is not shown
    return f"{fence}{pad}{shown}{pad}{fence}" if shown.strip() else shown


def take_literally(figure: Figure) -> None:
    """Have matplotlib draw all text of a picture as it is: else what stands between two `$` is a formula."""
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        text.set_parse_math(False)


def name_file(name: str) -> str:
    """A part of a file's name that stands for a name: what is no letter, digit, `.`, `_` or `-` as `=` and its code.

    In Markdown and URLs it needs no escaping. One that is long ends with a number in its place.
    """
    quoted = re.sub(r"[^\w.-]", lambda match: write_bytes(match[0], "="), name)
    if len(encode(quoted)) <= MAX_FILE_BYTES:
        return quoted
    return f"{quoted[: MAX_FILE_BYTES // 4]}={zlib.crc32(encode(name)):08X}"


def write_bytes(text: str, mark: str) -> str:
    """The text's bytes as two digits each, behind a mark: `=C3=A9`."""
    return "".join(f"{mark}{byte:02X}" for byte in encode(text))


def encode(text: str) -> bytes:
    """UTF-8, also of half characters."""
    return text.encode(errors="surrogatepass")
