r"""Encodes text for streams of any encoding: every character is written, if need be as ``\u00e4``.

``PYTHONIOENCODING``, ``LANG`` and Windows choose encodings that lack most characters. The escapes are those of
JSON: a line of JSON stays one, and has the same values.
"""

import codecs
from typing import Final

ESCAPE: Final = "aintandem_notify.escape"
"""The name of the error handler for streams; registered when this module is imported."""


def _escape(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    units = error.object[error.start : error.end].encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[start : start + 4]}" for start in range(0, len(units), 4)), error.end


codecs.register_error(ESCAPE, _escape)


def encode(text: str, encoding: str | None) -> bytes:
    """``text`` for a stream of this encoding; None means UTF-8."""
    return text.encode(encoding or "utf-8", ESCAPE)


def encode_json(json_text: str, encoding: str | None) -> bytes:
    """As ``encode``, for JSON: in ASCII unless the encoding is UTF-8, because readers of JSON expect UTF-8."""
    return encode(json_text, "utf-8" if is_utf8(encoding) else "ascii")


def is_utf8(encoding: str | None) -> bool:
    """True if a stream of this encoding carries UTF-8; None means UTF-8."""
    return encoding is None or codecs.lookup(encoding).name in ("utf-8", "utf-8-sig")
