"""All spellings of a secret in texts: as it is, quoted, and encoded."""

import base64
import html
import json
import re
import shlex
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, quote_plus, unquote

from aintandem_notify.log.text_views import flattened

MIN_SECRET_CHARACTERS: Final = 4
"""Characters of the shortest secret that is redacted. Shorter ones would match in almost every text."""
MIN_LINE_CHARACTERS: Final = 8
"""Characters of the shortest part that is redacted on its own, as a line of a private key."""


@dataclass(frozen=True, slots=True)
class Spellings:
    """The spellings of one secret, flattened: without line breaks and invisible characters.

    ``exact`` are compared as they are, ``folded`` in small letters. ``core`` is the part of base64 that depends on
    the secret alone; the base64 around it is redacted too.
    """

    exact: frozenset[str]
    folded: frozenset[str] = frozenset()
    core: frozenset[str] = frozenset()


def spellings_of(secret: str, *, encoded: bool = True) -> Spellings:
    """All spellings of ``secret``; only the plain ones without ``encoded``. Empty if it is too short."""
    exact, folded, core = set(_plain_forms(secret)), set[str](), set[str]()
    for text in list(exact) if encoded else ():
        exact.update(_quoted(text))
        folded.update(_percent_encoded(text))
        folded.add(text.encode("utf-8", "surrogatepass").hex())
        core.update(_base64_cores(text.encode("utf-8", "surrogatepass")))
    return Spellings(
        _long_enough(exact), _long_enough(spelling.lower() for spelling in folded), _long_enough(core)
    )


def _long_enough(spellings: Iterable[str]) -> frozenset[str]:
    return frozenset(flat for spelling in spellings if len(flat := flattened(spelling)) >= MIN_SECRET_CHARACTERS)


def _plain_forms(secret: str) -> Iterator[str]:
    """The secret as it is, stripped, unquoted, on one line, and its parts; each also in NFC and NFD."""
    for text in (
        secret,
        secret.strip(),
        secret.strip().strip("\"'"),
        " ".join(secret.split()),
        *_parts_of(secret),
    ):
        if len(text) >= MIN_SECRET_CHARACTERS:
            yield text
            if not text.isascii():
                yield unicodedata.normalize("NFC", text)
                yield unicodedata.normalize("NFD", text)


def _parts_of(secret: str) -> Iterator[str]:
    """The parts that are secrets by themselves: lines, a header's credentials, parts of a URL."""
    yield from _lines(secret)
    if (header := _HEADER.match(secret)) is not None:
        yield secret[header.end() :].strip()
    if "://" not in secret:
        return
    authority, slash, path = secret.partition("://")[2].partition("/")
    login, at, _host = authority.rpartition("@")
    if at:
        yield unquote(login.partition(":")[2])
        yield login.partition(":")[2]
    if len(path) >= MIN_LINE_CHARACTERS:
        yield slash + path
    for value in path.partition("?")[2].split("&"):
        if len(value) >= MIN_LINE_CHARACTERS:
            yield value.partition("=")[2]


_HEADER: Final = re.compile(r"(?:bearer|basic|token|digest|apikey)\s+", re.IGNORECASE)


def _lines(secret: str) -> Iterator[str]:
    lines = secret.splitlines()
    for line in lines if len(lines) > 1 else ():
        # The first and the last line of a private key are public.
        if len(line.strip()) >= MIN_LINE_CHARACTERS and not line.startswith("-----"):
            yield line.strip()


def _quoted(text: str) -> Iterator[str]:
    """The text as quoted by JSON, by JSON inside JSON, by Python, by a shell, and as escaped in HTML."""
    for ascii_only in (True, False):
        yield (once := json.dumps(text, ensure_ascii=ascii_only)[1:-1])
        yield json.dumps(once, ensure_ascii=ascii_only)[1:-1]
    yield repr(text)[1:-1]
    yield repr(text.encode("utf-8", "surrogatepass"))[2:-1]
    yield shlex.quote(text).removeprefix("'").removesuffix("'")
    for escaped in (html.escape(text), html.escape(text, quote=False)):
        yield escaped
        yield escaped.replace("&#x27;", "&#39;").replace("&quot;", "&#34;")
        yield escaped.replace("&#x27;", "&apos;")


def _percent_encoded(text: str) -> Iterator[str]:
    raw = text.encode("utf-8", "surrogatepass")
    once = {quote(raw, safe=safe) for safe in ("", "/", "!'()*", "/:@!$&'()*+,;=")} | {quote_plus(raw)}
    for encoded in once:
        if encoded != text:
            yield encoded
            yield quote(encoded, safe="")
    yield "".join(f"%{byte:02x}" for byte in raw)


def _base64_cores(raw: bytes) -> Iterator[str]:
    """For each of the three byte offsets: the base64 characters that depend on ``raw`` alone."""
    for before in range(3):
        first, end = -(-8 * before // 6), 8 * (before + len(raw)) // 6
        core = base64.b64encode(bytes(before) + raw).decode()[first:end]
        yield core
        yield re.sub("[+/]", lambda match: {"+": "-", "/": "_"}[match[0]], core)
