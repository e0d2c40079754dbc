"""Encodes texts that PostgreSQL cannot store: those with a NUL or a lone surrogate.

A NUL is stored as an escape sequence and read back as a NUL. A lone surrogate has no UTF-8 encoding and is read
back as U+FFFD. This module needs psycopg, so only ``postgres`` imports it.
"""

from typing import Any, Final

from psycopg import Connection
from psycopg.types.string import StrDumperUnknown, TextLoader

ESCAPE: Final = "\uf8f0"
"""The escape character, from the private use area."""

ESCAPED_NUL: Final = f"{ESCAPE}0"
ESCAPED_ESCAPE: Final = f"{ESCAPE}1"


def encode_text(text: str) -> bytes:
    """The bytes to store for ``text``."""
    if ESCAPE in text:
        text = text.replace(ESCAPE, ESCAPED_ESCAPE)
    if "\0" in text:
        text = text.replace("\0", ESCAPED_NUL)
    try:
        return text.encode()
    except UnicodeEncodeError:
        # By way of UTF-16 a lone surrogate becomes U+FFFD, and a pair of them the character that they encode.
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()


def decode_text(stored: bytes) -> str:
    """The original text, except for lone surrogates."""
    text = stored.decode()
    return text.replace(ESCAPED_NUL, "\0").replace(ESCAPED_ESCAPE, ESCAPE) if ESCAPE in text else text


class _Dumper(StrDumperUnknown):
    def dump(self, obj: str) -> bytes:
        return encode_text(obj)


class _Loader(TextLoader):
    def load(self, data: Any) -> str:
        return decode_text(bytes(data))


def register_text_codec(connection: Connection[Any]) -> None:
    """Encodes and decodes every text of this connection."""
    connection.adapters.register_dumper(str, _Dumper)
    for kind in ("text", "varchar", "bpchar"):
        connection.adapters.register_loader(kind, _Loader)
