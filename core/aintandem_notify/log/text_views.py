"""Views of a text without the characters that could split a secret: colour codes, invisible ones, line breaks.

Each view maps its characters back to their positions in the original text.
"""

import re
from bisect import bisect_right
from dataclasses import dataclass
from typing import Final, NamedTuple

# Terminal sequences (ECMA-48), then control characters except tab and line breaks, then Unicode's invisible
# characters for joining, breaking and direction.
_INVISIBLE: Final = (
    r"\x1b\[[0-?]*+[ -/]*+(?:[@-~]|\Z)|\x9b[0-?]*+[ -/]*+[@-~]|\x1b\][^\x07\x1b\x9c]*+(?:\x07|\x1b\\|\x9c)?+"
    r"|\x1b[PX^_][^\x1b\x9c]*+(?:\x1b\\|\x9c)?+|\x1b[ -/]++[0-~]|\x1b[0-OQ-WYZ\\`-~]"
    r"|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u180e\u200b-\u200f\u2028-\u202e"
    r"\u2060-\u206f\u3164\ufeff\uffa0\ufff0-\ufffb\U000e0000-\U000e00ff]++"
)
INVISIBLE: Final = re.compile(_INVISIBLE)
_INVISIBLE_OR_BREAK: Final = re.compile(rf"{_INVISIBLE}|[\r\n]++")
_BREAK: Final = re.compile(r"[\r\n]++")


@dataclass(frozen=True, slots=True)
class TextView:
    """``text`` is the remaining text, in pieces of the original.

    The pieces begin at ``view_starts`` in ``text``, and at ``original_starts`` in the original.
    """

    text: str
    view_starts: list[int]
    original_starts: list[int]

    def span(self, begin: int, end: int) -> tuple[int, int]:
        """The span in the original text of ``text[begin:end]``, which is at least one character."""
        if len(self.view_starts) == 1:  # nothing was removed
            return begin, end
        return self._original_index(begin), self._original_index(end - 1) + 1

    def _original_index(self, index: int) -> int:
        piece = bisect_right(self.view_starts, index) - 1
        return self.original_starts[piece] + index - self.view_starts[piece]


def views(text: str) -> list[TextView]:
    """The text as it is, and without invisible characters if it has any; line breaks stay in both."""
    whole = TextView(text, [0], [0])
    return [whole] if is_all_visible(text) else [whole, _without(INVISIBLE, text)]


def flat_views(text: str) -> list[TextView]:
    """As ``views``, and without line breaks."""
    whole = _without(_BREAK, text)
    return [whole] if is_all_visible(text) else [whole, _without(_INVISIBLE_OR_BREAK, text)]


def flattened(text: str) -> str:
    """The text without line breaks and invisible characters: that of the last of ``flat_views``."""
    scan = scan_text(text)
    return scan.flat if scan.all_visible else INVISIBLE.sub("", scan.flat)


def is_all_visible(text: str) -> bool:
    """True if the text has no invisible characters except white space."""
    return scan_text(text).all_visible


class TextScan(NamedTuple):
    """A cheap first look at a text.

    ``flat`` is the text without line breaks. ``word_mask`` has an ``x`` for each letter, digit, ``+`` and ``/`` of
    ``flat``, so a long word is a run of ``x``. ``all_visible``: the text has no invisible characters.
    """

    flat: str
    word_mask: bytes
    all_visible: bool


def scan_text(text: str) -> TextScan:
    """Scan ``text``. Runs several times for each event."""
    word_mask = text.encode("utf-8", "surrogatepass").translate(_MASK_TABLE)
    flat = text
    if b"\n" in word_mask:
        flat, word_mask = text.replace("\n", "").replace("\r", ""), word_mask.replace(b"\n", b"")
    all_visible = b"!" not in word_mask if text.isascii() else _has_no_invisible(flat)
    return TextScan(flat, word_mask, all_visible)


_PRINTABLE_INVISIBLE: Final = "\u034f\u115f\u1160\u3164\uffa0"
"""Invisible characters that Python calls printable."""


def _has_no_invisible(flat: str) -> bool:
    if any(map(flat.__contains__, _PRINTABLE_INVISIBLE)):
        return False
    if flat.isprintable() or flat.replace("\t", "").isprintable():
        return True
    return INVISIBLE.search(flat) is None


def _mask_character(byte: int) -> str:
    """The character of a word mask for a byte: ``x`` in a word, ``!`` if invisible."""
    character = chr(byte)
    if byte < 128 and (character.isalnum() or character in "+/"):
        return "x"
    if character in "\r\n":
        return "\n"
    return "!" if (byte < 32 and character != "\t") or byte == 127 else " "


_MASK_TABLE: Final = "".join(map(_mask_character, range(256))).encode("ascii")


def _without(pattern: re.Pattern[str], text: str) -> TextView:
    pieces, view_starts, original_starts = [], [0], [0]
    end = length = 0
    for match in pattern.finditer(text):
        piece = text[end : match.start()]
        pieces.append(piece)
        length += len(piece)
        end = match.end()
        view_starts.append(length)
        original_starts.append(end)
    pieces.append(text[end:])
    return TextView("".join(pieces), view_starts, original_starts)
