"""Makes untrusted text safe to print. All text that is printed passes through here. Pure.

Names, errors, output and close reasons are written by others. Printed as they came, they could steer the terminal,
forge lines, or read backwards. These characters are unprintable:

- C0, DEL and C1 controls: every escape sequence of a terminal begins with one
- U+2028 and U+2029, which end lines
- marks that change the direction of reading: embeddings, overrides, isolates and the three direction marks
- characters without width, which hide differences: zero-width spaces, soft hyphens, fillers, tags, BOMs
- lone surrogates (in file names that are not UTF-8) and noncharacters

Letters of every script stay, also right to left, and so do combining marks, emoji and private characters of fonts.
The two joiners stay behind a character that they can join: Persian and Indic words and composed emoji need them.
"""

import re
from typing import Final

_INVISIBLE: Final = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0"
    "\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e00ff"
)
_NO_CHARACTERS: Final = "\ud800-\udfff\ufdd0-\ufdef" + "".join(
    f"{chr(plane + 0xFFFE)}{chr(plane + 0xFFFF)}" for plane in range(0, 0x110000, 0x10000)
)
# A joiner joins nothing behind a Latin letter, a sign of ASCII, a space, or a character that is removed itself.
_JOINER: Final = f"(?<![^\x00-\u02ff\u2000-\u206f{_INVISIBLE}{_NO_CHARACTERS}])[\u200c\u200d]"
_UNPRINTABLE: Final = re.compile(f"[\x00-\x1f\x7f-\x9f{_INVISIBLE}{_NO_CHARACTERS}]|{_JOINER}")
_UNPRINTABLE_IN_TEXT: Final = re.compile(f"[\x00-\x08\x0b-\x1f\x7f-\x9f{_INVISIBLE}{_NO_CHARACTERS}]|{_JOINER}")
"""As ``_UNPRINTABLE``, without line breaks and tabs."""

# Escape sequences of terminals (ECMA-48): colours and cursor movements, then titles, links and other strings up to
# their end on the same line. Of a string without an end only the introducer is removed: otherwise the rest of an
# error would vanish. For the same reason the 8-bit form is left alone: its introducers are often quotation marks
# that were read in a wrong encoding.
_SEQUENCE: Final = re.compile(
    r"\x1b(?:\[[0-?]*+[ -/]*+[@-~]|[\]PX^_][^\x07\x1b\n]*+(?:\x07|\x1b\\)|[ -/]++[0-~])"
    r"|\x1b[^\n\t\r]?"
)
_SHORT_ESCAPES: Final = {"\t": "\\t", "\n": "\\n", "\r": "\\r"}


def escape(text: str, *, keep: str = "") -> str:
    r"""``text`` on one line: unprintable characters as Python writes them (``\x1b``), except those in ``keep``."""
    if text.isascii() and text.isprintable():  # nearly always, and a hundred times as fast to check
        return text
    return _UNPRINTABLE.sub(lambda match: match[0] if match[0] in keep else _escaped(match[0]), text)


def escape_lines(text: str) -> str:
    """As ``escape``, for a text of several lines: line breaks and tabs stay."""
    return _UNPRINTABLE_IN_TEXT.sub(lambda match: _escaped(match[0]), text)


def escape_json(json_text: str) -> str:
    r"""The same JSON, with unprintable characters as ``\u001b``: parsers get the same values.

    Line breaks between tokens stay; JSON has none inside of strings.
    """
    if json_text.isascii() and "\x7f" not in json_text:
        return json_text
    return _UNPRINTABLE_IN_TEXT.sub(lambda match: _escaped_in_json(match[0]), json_text)


def strip(text: str) -> str:
    """``text`` without escape sequences and unprintable characters; a line that a bar redrew appears once.

    Line breaks and tabs stay. For running text. Use ``escape`` for names and other texts that people compare: it
    hides nothing.
    """
    # Nearly every text is clean, and this check costs a fraction of the search for each kind of character.
    if text.isascii() and (text.isprintable() or text.replace("\n", "").replace("\t", "").isprintable()):
        return text
    text = _SEQUENCE.sub("", text)
    if "\r" in text:
        text = "\n".join(line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n"))
    return _UNPRINTABLE_IN_TEXT.sub("", text)


def _escaped(character: str) -> str:
    number = ord(character)
    if number < 0x100:
        return _SHORT_ESCAPES.get(character) or f"\\x{number:02x}"
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def _escaped_in_json(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[start : start + 4]}" for start in range(0, len(units), 4))
