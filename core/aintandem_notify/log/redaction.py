"""The one place that removes secrets from texts.

``register_secret`` takes every secret of the config; ``redact`` then removes it, and anything that looks like a
token, from any text. Log lines, errors, the store's error texts and rendered notifications all pass through.
Texts are also cut here, and pieces of texts are redacted here, because half a secret is not recognised.
"""

import threading
from collections import Counter, deque
from collections.abc import Iterable
from functools import lru_cache
from itertools import count
from secrets import token_hex
from typing import Any, Final

from aintandem_notify.log.known_secrets import BACKSLASH, KnownSecrets
from aintandem_notify.log.secret_encodings import MIN_SECRET_CHARACTERS, Spellings, spellings_of
from aintandem_notify.log.secret_patterns import (
    PRIVATE_KEY_OPENING,
    Span,
    ends_inside_private_key,
    has_hint,
    is_secret_key,
    token_spans,
)
from aintandem_notify.log.text_views import INVISIBLE, TextScan, scan_text, views

REDACTED: Final = "[redacted]"
MAX_ROTATING_SECRETS: Final = 64
"""Rotating secrets that are remembered; each one costs time for every text."""
MAX_ENCODED_SECRETS: Final = 4
"""The newest rotating secrets, also searched for in base64 and the like: two access and two refresh tokens."""
CUT_CONTEXT: Final = 4096
"""Characters examined beyond a cut; no part of a secret longer than this is recognised there."""

_TOKEN_CONTEXT: Final = 200
"""Characters before a piece that may mark it as a token: ``Authorization: Bearer``, a login."""
_MAX_SHORT_CHARACTERS: Final = 128
"""Characters of a short text. Thousands of these are cached, because names and titles repeat."""
_MAX_CACHED_CHARACTERS: Final = 300_000
"""Characters of a longer text. A few of these are cached, because an event is redacted for each rule."""
_MAX_PASSES: Final = 3
"""Passes over one text: removing one secret may expose another."""

_permanent: dict[str, Spellings] = {}
_rotating: deque[str] = deque(maxlen=MAX_ROTATING_SECRETS)
_lock = threading.Lock()
_known: KnownSecrets | None = KnownSecrets.of([])
_numbers = count()
_process: Final = token_hex(8)


def _next_generation() -> str:
    return f"{_process}.{next(_numbers)}"


_generation = _next_generation()


def register_secret(secret: str, *, rotating: bool = False) -> None:
    """Remove ``secret`` from every text from now on, also in its encoded and quoted forms.

    ``rotating`` is for secrets that are replaced regularly, as access tokens: only the newest
    ``MAX_ROTATING_SECRETS`` are remembered.
    """
    global _known, _generation
    if len(secret.strip()) < MIN_SECRET_CHARACTERS:
        return
    with _lock:
        if rotating:
            if secret in _rotating:
                return
            _rotating.append(secret)
        elif secret in _permanent:
            return
        else:
            _permanent[secret] = spellings_of(secret)
        _known = None
        _generation = _next_generation()


def _all_known() -> KnownSecrets:
    global _known
    if (known := _known) is None:
        with _lock:
            newest = list(_rotating)
            spellings = list(_permanent.values())
            for number, secret in enumerate(reversed(newest)):
                spellings.append(spellings_of(secret, encoded=number < MAX_ENCODED_SECRETS))
            known = _known = KnownSecrets.of(spellings)
    return known


def secrets_generation() -> str:
    """Changes with every registered secret. A text redacted at another one may contain a secret.

    It is random in part, so that no other process has the same: texts are stored, and read after a restart.
    """
    return _generation


def redact(text: str) -> str:
    """``text`` without registered secrets and without anything that looks like a token."""
    # The generation is part of the cache key: older results become unreachable.
    if len(text) <= _MAX_SHORT_CHARACTERS:
        return _redact_short(text, _generation)
    if not _may_hold(text, _all_known()):
        return text
    return _redact_long(text, _generation) if len(text) <= _MAX_CACHED_CHARACTERS else _redact(text)


@lru_cache(maxsize=4096)
def _redact_short(text: str, _at_generation: str) -> str:
    return _redact(text)


@lru_cache(maxsize=8)
def _redact_long(text: str, _at_generation: str) -> str:
    return _redact(text)


def _redact(text: str) -> str:
    known = _all_known()
    for _ in range(_MAX_PASSES):
        if not _may_hold(text, known):
            break
        before, text = text, _replace_spans(text, _secret_spans(text, known), 0, len(text))
        if text == before:
            break
    return text


def redact_start(text: str, length: int) -> str:
    """The first ``length`` characters of ``text``, redacted; at most ``length`` characters.

    A secret that the cut would split is removed entirely.
    """
    whole = redact(text) if len(text) <= length else _redact_within(text[: length + CUT_CONTEXT], 0, length)
    return whole[:length]


def redact_end(text: str, length: int) -> str:
    """As ``redact_start``, for the last ``length`` characters."""
    if len(text) <= length:
        return redact(text)[-length:]
    window = text[-length - CUT_CONTEXT :]
    return _redact_within(window, len(window) - length, len(window))[-length:]


def redact_piece(text: str, before: str = "") -> str:
    """``text``, redacted as a piece of a longer text: ``before`` precedes it, and more follows.

    A secret that two pieces share is removed from both, except for fewer than four characters at the end of the
    first.
    """
    window = before[-CUT_CONTEXT:]
    if "PRIVATE KEY" not in window and not may_be_split(window, text):
        window = window[_token_context_start(window) :]
    whole, begin = window + text, len(window)
    return _redact_within(whole, begin, len(whole), cut_start=True, cut_end=not text.endswith(_BREAKS))


def _token_context_start(text: str) -> int:
    """The index from which the last words of ``text`` may mark the following text as a token."""
    latest = max(0, len(text) - _TOKEN_CONTEXT)
    return max(text.rfind(" ", 0, latest), text.rfind("\n", 0, latest), 0)


def redact_cut(text: str, *, start: bool, end: bool = True) -> str:
    """``text``, redacted; more text stood before its ``start``, or follows its ``end``.

    As in ``redact_piece``, no secret continues after a line break.
    """
    return _redact_within(text, 0, len(text), cut_start=start, cut_end=end and not text.endswith(_BREAKS))


def may_hold_part(text: str, *, start: bool) -> bool:
    """False only if ``redact_cut`` would change nothing in ``text``, in which ``redact`` changes nothing."""
    return _all_known().may_be_cut(text, cut_start=start, cut_end=not text.endswith(_BREAKS))


def may_be_split(before: str, text: str) -> bool:
    """False only if no secret of eight or more characters begins in ``before`` and ends in ``text``."""
    return _all_known().may_be_split(before, text)


def tail_start(text: str, index: int) -> int:
    """The first index from ``index`` on at which ``text`` can be cut without splitting a secret."""
    begin = max(0, index - CUT_CONTEXT)
    window = text[begin : index + CUT_CONTEXT]
    known = _all_known()
    if not _may_hold(window, known):
        return index
    offset = index - begin
    return begin + max([offset, *(end for start, end in _secret_spans(window, known) if start < offset < end)])


def tail_prefix(dropped: str) -> str:
    """The prefix that marks the remaining text as a private key if one begins in ``dropped``; else empty."""
    return PRIVATE_KEY_OPENING if ends_inside_private_key(dropped) else ""


_BREAKS: Final = ("\n", "\r")


def _redact_within(text: str, begin: int, end: int, *, cut_start: bool = False, cut_end: bool = False) -> str:
    known = _all_known()
    if not (_may_hold(text, known) or known.may_be_cut(text, cut_start=cut_start, cut_end=cut_end)):
        return text[begin:end]
    return redact(
        _replace_spans(text, _secret_spans(text, known, cut_start=cut_start, cut_end=cut_end), begin, end)
    )


def _secret_spans(text: str, known: KnownSecrets, *, cut_start: bool = False, cut_end: bool = False) -> list[Span]:
    """The spans to redact, in order; overlapping ones are merged."""
    spans = known.spans(text, cut_start=cut_start, cut_end=cut_end)
    spans += (view.span(*token) for view in views(text) for token in token_spans(view.text))
    merged: list[Span] = []
    for begin, end in sorted(spans):
        if merged and begin < merged[-1][1]:
            merged[-1] = merged[-1][0], max(end, merged[-1][1])
        else:
            merged.append((begin, end))
    return merged


def _replace_spans(text: str, spans: Iterable[Span], begin: int, end: int) -> str:
    """``text[begin:end]`` with ``REDACTED`` for each span that reaches into it."""
    pieces: list[str] = []
    at = begin
    for first, last in spans:
        if last > begin and first < end:
            pieces += (text[at : max(at, first)], REDACTED)
            at = last
    pieces.append(text[at:end])
    return "".join(pieces)


def _may_hold(text: str, known: KnownSecrets) -> bool:
    """False only if there is nothing to redact. A tenth of the cost of redacting, and enough for most texts."""
    scan = scan_text(text)
    if _is_suspect(text, scan, known):
        return True
    if scan.all_visible:
        return False
    visible = INVISIBLE.sub("", text)
    return _is_suspect(visible, scan_text(visible), known)


def _is_suspect(text: str, scan: TextScan, known: KnownSecrets) -> bool:
    # A hint that is only there without line breaks costs a closer look, and no more.
    lowered = scan.flat.lower()
    return has_hint(text, lowered, scan.word_mask) or known.is_in(scan.flat, lowered, scan.word_mask)


def may_hold_secret(text: str) -> bool:
    """False only if ``redact`` would change neither ``text`` nor, if it is JSON, any text inside it.

    One call for a large text costs a fraction of redacting its pieces, and hardly any text has a secret.
    """
    known, scan = _all_known(), scan_text(text)
    if _is_suspect(text, scan, known):
        return True
    if "\\" not in text:
        return not scan.all_visible and _may_hold(INVISIBLE.sub("", text), known)
    return not scan.all_visible or _may_hold_in_json(text, known)


def _may_hold_in_json(text: str, known: KnownSecrets) -> bool:
    if not known.in_json and text.count("\\") == text.count('\\n"'):
        return False  # the line break at the end of a text, as output has it, splits nothing
    if "\\u00" in text or "\\b" in text or "\\f" in text:
        return True  # invisible characters
    if "\\n" not in text.replace('\\n"', '"') and "\\r" not in text and not known.in_json:
        return False
    flat = text.replace("\\\\", BACKSLASH).replace("\\n", "").replace("\\r", "").replace("\n", "")
    return known.is_in_json(flat, flat.lower(), scan_text(flat).word_mask)


def redact_values(value: Any) -> Any:
    """As ``redact``, for every text inside JSON values, keys included. Keys that become equal are numbered.

    A text under a key that names a secret is redacted, and so is a number whose digits are a secret.
    """
    match value:
        case str():
            return redact(value)
        case dict():
            return with_unique_keys(
                (
                    redact(key) if isinstance(key, str) else key,
                    REDACTED if is_named_secret(key, item) else redact_values(item),
                )
                for key, item in value.items()
            )
        case list() | tuple():
            return [redact_values(item) for item in value]
        case int() | float() if not isinstance(value, bool):
            return REDACTED if redact(str(value)) == REDACTED else value
        case _:
            return value


def is_named_secret(key: object, value: object) -> bool:
    """True if ``value`` is a text, and ``key`` is a name for secrets."""
    return isinstance(value, str) and value != "" and isinstance(key, str) and is_secret_key(key)


def with_unique_keys(items: Iterable[tuple[Any, Any]]) -> dict[Any, Any]:
    """All items under their keys; repeated keys are numbered: ``[redacted] (2)``."""
    unique: dict[Any, Any] = {}
    repeats: Counter[str] = Counter()
    for key, value in items:
        unique_key = key
        while unique_key in unique:
            repeats[key] += 1
            unique_key = f"{key} ({repeats[key] + 1})"
        unique[unique_key] = value
    return unique
