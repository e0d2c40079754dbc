"""The ways in which a configured secret turns up in texts: as it is, and as others encode it."""

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
"""Shorter ones would turn half of every text into brackets and are no secrets worth the name."""
MIN_LINE_CHARACTERS: Final = 8
"""Characters of a line of a secret that is recognised without the others, as those of a private key are."""


@dataclass(frozen=True, slots=True)
class Spellings:
    """``exact`` as they stand in a text that was flattened, ``folded`` in one in small letters as well.

    ``core``: the part of some base64 that only the secret decides; what stands around it belongs to it, too.
    """

    exact: frozenset[str]
    folded: frozenset[str] = frozenset()
    core: frozenset[str] = frozenset()


def spellings_of(secret: str, *, encoded: bool = True) -> Spellings:
    """All that are looked for; without ``encoded`` only as it is. Empty for one that is too short."""
    exact, folded, core = set(_plain_forms(secret)), set[str](), set[str]()
    for text in list(exact) if encoded else ():
        exact.update(_quoted(text))
        folded.update(_percent_encoded(text))
        folded.add(text.encode("utf-8", "surrogatepass").hex())
        core.update(_base64_cores(text.encode("utf-8", "surrogatepass")))
    return Spellings(_long_enough(exact), _long_enough(one.lower() for one in folded), _long_enough(core))


def _long_enough(spellings: Iterable[str]) -> frozenset[str]:
    return frozenset(flat for one in spellings if len(flat := flattened(one)) >= MIN_SECRET_CHARACTERS)


def _plain_forms(secret: str) -> Iterator[str]:
    """The secret, without white space or quotes at its ends, on one line, and its lines; composed and not."""
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
    """What is a secret by itself: each line, what a header says after its scheme, parts of an address."""
    yield from _lines(secret)
    if (header := _HEADER.match(secret)) is not None:
        yield secret[header.end() :].strip()
    if "://" not in secret:
        return
    rest = secret.partition("://")[2]
    place, slash, path = rest.partition("/")
    login, at, _host = place.rpartition("@")
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
        # The first and last line of a private key are no secret.
        if len(line.strip()) >= MIN_LINE_CHARACTERS and not line.startswith("-----"):
            yield line.strip()


def _quoted(text: str) -> Iterator[str]:
    """Between the quotes of JSON, also of JSON in JSON, of Python and of a shell, and in HTML."""
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
    """For each place that the first byte may have among three: the characters that nothing else decides."""
    for before in range(3):
        first, end = -(-8 * before // 6), 8 * (before + len(raw)) // 6
        core = base64.b64encode(bytes(before) + raw).decode()[first:end]
        yield core
        yield re.sub("[+/]", lambda found: {"+": "-", "/": "_"}[found[0]], core)
