"""Texts that PostgreSQL cannot hold as they are: it knows no NUL, and no half of a character.

A NUL comes back as it went in: it is kept as a private character, and that one as two of them. A lone
surrogate comes back as U+FFFD, since no encoding has it. Needs psycopg, so it is imported where that is used.
"""

from typing import Any, Final

from psycopg import Connection
from psycopg.types.string import StrDumperUnknown, TextLoader

MARK: Final = "\uf8f0"
"""Of the private use area; stands before what it changes the meaning of."""

NUL: Final = f"{MARK}0"
ITSELF: Final = f"{MARK}1"


def written(text: str) -> bytes:
    """As it is kept."""
    if MARK in text:
        text = text.replace(MARK, ITSELF)
    if "\0" in text:
        text = text.replace("\0", NUL)
    try:
        return text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()


def read(kept: bytes) -> str:
    """As it was, but for lone surrogates."""
    text = kept.decode()
    return text.replace(NUL, "\0").replace(ITSELF, MARK) if MARK in text else text


class _Dumper(StrDumperUnknown):
    def dump(self, obj: str) -> bytes:
        return written(obj)


class _Loader(TextLoader):
    def load(self, data: Any) -> str:
        return read(bytes(data))


def register(connection: Connection[Any]) -> None:
    """Every text of this connection goes through here."""
    connection.adapters.register_dumper(str, _Dumper)
    for kind in ("text", "varchar", "bpchar"):
        connection.adapters.register_loader(kind, _Loader)
