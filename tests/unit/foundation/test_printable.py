"""Untrusted text made safe to print: it cannot steer a terminal, forge a line, hide text or turn its direction."""

import json
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aintandem_notify.foundation.printable import escape, escape_json, escape_lines, strip

ANY_TEXT = st.text(st.characters(codec=None) | st.sampled_from("\n\t\r\x1b[]m;\x07\u202e\x9b\u200d\u200c\ufeff"))

READABLE = {
    "ASCII": "plain ~text~",
    "umlauts": "häßlich",
    "combining": "cafe\u0301",
    "Hebrew": "שלום",
    "Arabic": "مرحبا",
    "Persian with a joiner": "می\u200cخواهم",
    "Malayalam with a joiner at its end": "അവന\u0d4d\u200d",
    "ideographic space": "日本\u3000語",
    "emoji": "🎉",
    "family": "👩\u200d👩\u200d👧",
    "heart on fire": "❤\ufe0f\u200d🔥",
    "not yet in Unicode": "\U0001faf9",
    "an icon of a font": "\ue0b0",
    "no-break space": "10\xa0km",
}
"""Nobody is to lose their name."""

UNPRINTABLE = {
    "NUL": "\x00",
    "bell": "\x07",
    "vertical tab": "\x0b",
    "carriage return": "\r",
    "escape": "\x1b",
    "file separator": "\x1c",
    "DEL": "\x7f",
    "next line": "\x85",
    "CSI": "\x9b",
    "OSC": "\x9d",
    "soft hyphen": "\xad",
    "grapheme joiner": "\u034f",
    "Arabic letter mark": "\u061c",
    "zero-width space": "\u200b",
    "left-to-right mark": "\u200e",
    "right-to-left mark": "\u200f",
    "line separator": "\u2028",
    "paragraph separator": "\u2029",
    "embedding": "\u202a",
    "override": "\u202e",
    "word joiner": "\u2060",
    "isolate": "\u2066",
    "end of isolate": "\u2069",
    "Hangul filler": "\u3164",
    "byte order mark": "\ufeff",
    "annotation": "\ufff9",
    "no character": "\ufffe",
    "another": "\uffff",
    "a third": "\ufdd0",
    "half a character": "\ud83d",
    "a byte of a file name": "\udcff",
    "tag": "\U000e0041",
    "no character far out": "\U0010ffff",
}


@pytest.mark.parametrize("text", READABLE.values(), ids=READABLE)
def test_ordinary_text_stays_unchanged(text: str) -> None:
    assert escape(text) == escape_lines(text) == escape_json(text) == strip(text) == text


@pytest.mark.parametrize("character", UNPRINTABLE.values(), ids=UNPRINTABLE)
def test_unprintable_characters_are_escaped_or_removed(character: str) -> None:
    escaped = repr(character)[1:-1] if not character.isprintable() else f"\\u{ord(character):04x}"
    assert escape(f"a{character}b") == escape_lines(f"a{character}b") == f"a{escaped}b"
    assert character not in strip(f"a{character}b")


def test_a_joiner_with_nothing_to_join_is_unprintable() -> None:
    assert escape("pay\u200dpal é\u200c \u200d") == r"pay\u200dpal é\u200c \u200d"
    assert escape("👩\u200d\u200d👧") == "👩\u200d" + r"\u200d👧"


def test_line_breaks_and_tabs_stay_where_lines_are_wanted() -> None:
    assert escape("a\n\tb") == r"a\n\tb"
    assert escape("a\n\tb\r", keep="\n") == "a\n" + r"\tb\r"
    assert escape_lines("a\n\tb\r\n") == "a\n\tb\\r\n"


@given(ANY_TEXT)
def test_nothing_unprintable_passes(text: str) -> None:
    for result, allowed in ((escape(text), ""), (escape_lines(text), "\n\t"), (strip(text), "\n\t")):
        remaining = {
            c for c in result if unicodedata.category(c) in {"Cc", "Cf", "Cs", "Zl", "Zp"} and c not in allowed
        }
        assert remaining <= {"\u200c", "\u200d", *FORMATS_OF_SCRIPTS}


FORMATS_OF_SCRIPTS = (
    {
        chr(number)
        for number in range(sys.maxunicode)
        if unicodedata.category(chr(number)) == "Cf" and "ARABIC" in unicodedata.name(chr(number), "")
    }
    | {"\u070f", "\u08e2", "\U000110bd", "\U000110cd"}
    | set(map(chr, range(0x13430, 0x13440)))
)
"""Signs that are seen, around numbers for one; Unicode counts them among the formats."""


@given(st.recursive(ANY_TEXT | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(ANY_TEXT, inner)))
def test_json_reads_as_before(value: object) -> None:
    for indent in (None, 2):
        text = json.dumps(value, ensure_ascii=False, indent=indent)
        assert json.loads(escape_json(text)) == value
        assert escape_lines(escape_json(text)) == escape_json(text)


def test_characters_beyond_the_bmp_are_two_escapes_in_json() -> None:
    assert escape_json('"\U000e0041\x7f\u202e\udcff"') == r'"\udb40\udc41\u007f\u202e\udcff"'


@pytest.mark.parametrize(
    ("text", "stripped"),
    [
        ("plain ä 🎉\n\tnext", "plain ä 🎉\n\tnext"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b[1;38;5;196mred\x1b[K", "red"),
        ("\x1b]0;title\x07text", "text"),
        ("quo\x93ted\x94 \x9b30%\x9d and\x9c on", "quoted 30% and on"),
        ("\x1b]8;;https://evil\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1bPdevice\x1b\\text", "text"),
        ("\x1b(Btext", "text"),
        ("a\r\nb", "a\nb"),
        ("10%\r50%\r100%\ndone", "100%\ndone"),
        ("a\x00b\x07c\x7f", "abc"),
        ("user\u202egpj.exe", "usergpj.exe"),
        ("\x1b", ""),
        ("\x1b\nerror", "\nerror"),
    ],
)
def test_output_of_terminals_becomes_text(text: str, stripped: str) -> None:
    assert strip(text) == stripped


def test_a_title_that_never_ends_takes_no_error_along() -> None:
    assert strip("\x1b]0;x\nValueError: no such file") == "0;x\nValueError: no such file"
    assert strip("\x1bPValueError: no such file") == "ValueError: no such file"


@given(ANY_TEXT)
def test_to_strip_twice_is_to_strip_once(text: str) -> None:
    assert strip(strip(text)) == strip(text)


def test_no_text_takes_long() -> None:
    # each of these takes minutes with a pattern that backtracks
    hard = (
        "x" * 300_000 + "\r",
        *(start * 100_000 for start in ("\x1bP", "\x1b]", "\x1b[", "\x1b[0", "x\r")),
    )
    for text in (*hard, "\x1b[" + "0" * 300_000, "\x1b " * 100_000, "\u05d0\u200d" * 100_000):
        assert len(strip(text)) <= len(text)
        assert escape(text)
