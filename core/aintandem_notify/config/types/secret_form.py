"""The form of secrets and addresses: removes white space at their ends, and refuses it inside where it is wrong.

Editors, shells and clipboards add line breaks, spaces and invisible characters. With one of them a header or an
address fails at every request. Pure; no sentence has a part of the secret.
"""

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final

from aintandem_notify.config.types.outbound import LOGIN_HINT


class Form(Enum):
    """The white space that a secret may have."""

    PASSWORD = "password"  # noqa: S105  # the name of a form
    """Spaces and line breaks may be meant, also at its ends."""
    WORD = "word"
    """An address or a token: none, also inside."""
    DOCUMENT = "document"
    """A key in PEM or JSON: line breaks inside."""
    TEXT = "text"
    """Any other, as the value of a header: spaces inside."""


_ADDRESS: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_FILE_ADDRESS: Final = re.compile(r"(?:sqlite|file)://", re.IGNORECASE)
"""Addresses with a path of the local disk, which may have spaces."""
_PASSWORD_KEY: Final = re.compile(r"passw|passphrase|passcode|(?:^|_)(?:pass|pwd?)(?:_|$)", re.IGNORECASE)
_WORD_KEY: Final = re.compile(r"token|url", re.IGNORECASE)
_DOCUMENT: Final = ("-----BEGIN ", "{", "[")
_LINE_BREAKS: Final = "\n\r\v\f\x85\u2028\u2029"
_QUOTES: Final = "\"'"


@dataclass(frozen=True, slots=True)
class Tidied:
    """A secret as it is used. ``remark`` is the end of a sentence about a form that is rarely meant, or None."""

    text: str
    remark: str | None = None


def form_of(text: str, key: str | None) -> Form:
    """The form of the secret ``text`` under ``key``; the key is None where it is unknown."""
    if key is not None and _PASSWORD_KEY.search(key):
        return Form.PASSWORD
    if _FILE_ADDRESS.match(text):
        return Form.TEXT
    if _ADDRESS.match(text) or (key is not None and _WORD_KEY.search(key)):
        return Form.WORD
    return Form.DOCUMENT if text.startswith(_DOCUMENT) else Form.TEXT


def trim(text: str) -> str:
    """``text`` without white space and invisible characters at its ends."""
    return _trim(text, _is_blank)


def tidy(written: str, key: str | None = None) -> Tidied:
    """The secret or address that ``written`` means; raises ValueError with the end of a sentence, as "is empty".

    Passwords keep white space at their ends, except line breaks, and have a remark instead.
    """
    form = form_of(trim(written), key)
    text = _trim(written, _is_never_meant if form is Form.PASSWORD else _is_blank)
    if not trim(text):
        raise ValueError("is empty")
    if form is Form.PASSWORD:
        return Tidied(text, _password_remark(text))
    if (problem := _problem(text, form)) is not None:
        raise ValueError(problem)
    if text != _trim(written, _is_never_meant):
        return Tidied(text, "begins or ends with white space, which is left out")
    return Tidied(text, _quotes_remark(text))


def _problem(text: str, form: Form) -> str | None:
    """The end of a sentence about characters that a secret of this form cannot have; None if it has none."""
    if form is Form.DOCUMENT:
        return None
    allowed = "" if form is Form.WORD else " \t"
    wrong = next((each for each in text if each not in allowed and _cannot_be_inside(each)), None)
    if wrong is not None:
        return f"has {_describe(wrong)} inside; it should be in one piece"
    if form is Form.WORD and _is_quoted(text):
        return "is in quotes; it should have none"
    if _has_raw_login(text):
        return f"has a login that should be encoded; {LOGIN_HINT}"
    return None


def _has_raw_login(text: str) -> bool:
    """True if an address ends in its own login, at a # or behind a port that is no number."""
    _, _, rest = text.partition("://")
    authority = re.split("[/?#]", rest, maxsplit=1)[0]
    if "@" in authority or "[" in authority or "@" not in rest:
        return False
    port = authority.partition(":")[2]
    return rest[len(authority)] == "#" or bool(port.strip("0123456789"))


def _trim(text: str, is_cut: Callable[[str], bool]) -> str:
    start, end = 0, len(text)
    while start < end and is_cut(text[start]):
        start += 1
    while start < end and is_cut(text[end - 1]):
        end -= 1
    return text[start:end]


def _is_blank(character: str) -> bool:
    return character.isspace() or _is_invisible(character)


def _is_never_meant(character: str) -> bool:
    return character in _LINE_BREAKS or _is_invisible(character)


def _is_invisible(character: str) -> bool:
    return unicodedata.category(character) == "Cf"  # zero-width spaces, byte order marks, marks of direction


def _cannot_be_inside(character: str) -> bool:
    return _is_blank(character) or unicodedata.category(character) == "Cc"


def _describe(character: str) -> str:
    if character in _LINE_BREAKS:
        return "a line break"
    if character in " \t":
        return "a space" if character == " " else "a tab"
    return f"an unusual space or an invisible character (U+{ord(character):04X})"


def _password_remark(text: str) -> str | None:
    if text != text.strip():
        return "begins or ends with white space, which is taken as a part of the secret"
    if any(character in text for character in _LINE_BREAKS):
        return "has several lines, and all of them are the secret"
    return _quotes_remark(text)


def _quotes_remark(text: str) -> str | None:
    return "is in quotes, which are taken as a part of the secret" if _is_quoted(text) else None


def _is_quoted(text: str) -> bool:
    return len(text) > 1 and text[0] == text[-1] and text[0] in _QUOTES
