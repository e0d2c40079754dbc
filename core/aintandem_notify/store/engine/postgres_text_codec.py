"""Texts that PostgreSQL cannot hold as they are: it knows no NUL, and no half of a character.

A NUL comes back as it went in: it is kept as a private character, and that one as two of them. A lone
surrogate comes back as U+FFFD, since no encoding has it. Needs psycopg, so it is imported where that is used.
"""

from typing import Any, Final

from psycopg import Connection
from psycopg.types.string import StrDumperUnknown, TextLoader

ESCAPE: Final = "\uf8f0"
"""Of the private use area; stands before what it changes the meaning of."""

ESCAPED_NUL: Final = f"{ESCAPE}0"
ESCAPED_ESCAPE: Final = f"{ESCAPE}1"


def encode_text(text: str) -> bytes:
    """As it is kept."""
    if ESCAPE in text:
        text = text.replace(ESCAPE, ESCAPED_ESCAPE)
    if "\0" in text:
        text = text.replace("\0", ESCAPED_NUL)
    try:
        return text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()


def decode_text(stored: bytes) -> str:
    """As it was, but for lone surrogates."""
    text = stored.decode()
    return text.replace(ESCAPED_NUL, "\0").replace(ESCAPED_ESCAPE, ESCAPE) if ESCAPE in text else text


class _Dumper(StrDumperUnknown):
    def dump(self, obj: str) -> bytes:
        return encode_text(obj)


class _Loader(TextLoader):
    def load(self, data: Any) -> str:
        return decode_text(bytes(data))


def register_text_codec(connection: Connection[Any]) -> None:
    """Every text of this connection goes through here."""
    connection.adapters.register_dumper(str, _Dumper)
    for kind in ("text", "varchar", "bpchar"):
        connection.adapters.register_loader(kind, _Loader)
