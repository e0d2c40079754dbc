"""The one place that removes secrets from texts.

A process has one ``Redactor``, and its methods are the functions of this module. ``register_secret`` takes every
secret of the config; ``redact`` then removes it, and anything that looks like a token, from any text. Log lines,
errors, the store's error texts and rendered notifications all pass through. Texts are also cut here, and pieces of
texts are redacted here, because half a secret is not recognised.
"""

import threading
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
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

_BREAKS: Final = ("\n", "\r")


@dataclass(frozen=True, slots=True)
class RegisteredSecrets:
    """The secrets that a redactor was told: ``permanent`` with their spellings, ``rotating`` the oldest first."""

    permanent: Mapping[str, Spellings] = field(default_factory=dict)
    rotating: tuple[str, ...] = ()

    def plus(self, secret: str, *, rotating: bool) -> "RegisteredSecrets":
        """These and ``secret``; the same object if nothing is new. Of rotating ones only the newest remain."""
        if rotating and secret not in self.rotating:
            return replace(self, rotating=(*self.rotating, secret)[-MAX_ROTATING_SECRETS:])
        if not rotating and secret not in self.permanent:
            return replace(self, permanent={**self.permanent, secret: spellings_of(secret)})
        return self

    def known(self) -> KnownSecrets:
        """All spellings to look for."""
        spellings = list(self.permanent.values())
        for number, secret in enumerate(reversed(self.rotating)):
            spellings.append(spellings_of(secret, encoded=number < MAX_ENCODED_SECRETS))
        return KnownSecrets.of(spellings)


class Redactor:
    """Removes the secrets that it was told, and anything that looks like a token. Any thread may use it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._registered = RegisteredSecrets()
        self._known: KnownSecrets | None = KnownSecrets.of([])
        # Random in part, so that no other process has the same: texts are stored, and read after a restart.
        self._generations = map(f"{token_hex(8)}.{{}}".format, count())
        self._generation = next(self._generations)
        # The generation is part of the cache key: older results become unreachable.
        self._redact_short = lru_cache(maxsize=4096)(lambda text, _at_generation: self._redact(text))
        self._redact_long = lru_cache(maxsize=8)(lambda text, _at_generation: self._redact(text))

    def register_secret(self, secret: str, *, rotating: bool = False) -> None:
        """Remove ``secret`` from every text from now on, also in its encoded and quoted forms.

        ``rotating`` is for secrets that are replaced regularly, as access tokens: only the newest
        ``MAX_ROTATING_SECRETS`` are remembered.
        """
        if len(secret.strip()) < MIN_SECRET_CHARACTERS:
            return
        with self._lock:
            registered = self._registered.plus(secret, rotating=rotating)
            if registered is not self._registered:
                self._replace(registered)

    @property
    def registered(self) -> RegisteredSecrets:
        """All secrets that it removes. Setting them forgets the others."""
        return self._registered

    @registered.setter
    def registered(self, registered: RegisteredSecrets) -> None:
        with self._lock:
            self._replace(registered)

    def _replace(self, registered: RegisteredSecrets) -> None:
        self._registered = registered
        self._known = None
        self._generation = next(self._generations)

    def _all_known(self) -> KnownSecrets:
        if (known := self._known) is None:
            with self._lock:
                known = self._known = self._registered.known()
        return known

    def secrets_generation(self) -> str:
        """Changes with every registered secret. A text redacted at another one may contain a secret."""
        return self._generation

    def redact(self, text: str) -> str:
        """``text`` without registered secrets and without anything that looks like a token."""
        if len(text) <= _MAX_SHORT_CHARACTERS:
            return self._redact_short(text, self._generation)
        if not _may_hold(text, self._all_known()):
            return text
        if len(text) <= _MAX_CACHED_CHARACTERS:
            return self._redact_long(text, self._generation)
        return self._redact(text)

    def _redact(self, text: str) -> str:
        known = self._all_known()
        for _ in range(_MAX_PASSES):
            if not _may_hold(text, known):
                break
            before, text = text, _replace_spans(text, _secret_spans(text, known), 0, len(text))
            if text == before:
                break
        return text

    def redact_start(self, text: str, length: int) -> str:
        """The first ``length`` characters of ``text``, redacted; at most ``length`` characters.

        A secret that the cut would split is removed entirely.
        """
        if len(text) <= length:
            return self.redact(text)[:length]
        return self._redact_within(text[: length + CUT_CONTEXT], 0, length)[:length]

    def redact_end(self, text: str, length: int) -> str:
        """As ``redact_start``, for the last ``length`` characters."""
        if len(text) <= length:
            return self.redact(text)[-length:]
        window = text[-length - CUT_CONTEXT :]
        return self._redact_within(window, len(window) - length, len(window))[-length:]

    def redact_piece(self, text: str, before: str = "") -> str:
        """``text``, redacted as a piece of a longer text: ``before`` precedes it, and more follows.

        A secret that two pieces share is removed from both, except for fewer than four characters at the end of
        the first.
        """
        window = before[-CUT_CONTEXT:]
        if "PRIVATE KEY" not in window and not self.may_be_split(window, text):
            window = window[_token_context_start(window) :]
        whole, begin = window + text, len(window)
        return self._redact_within(whole, begin, len(whole), cut_start=True, cut_end=not text.endswith(_BREAKS))

    def redact_cut(self, text: str, *, start: bool, end: bool = True) -> str:
        """``text``, redacted; more text stood before its ``start``, or follows its ``end``.

        As in ``redact_piece``, no secret continues after a line break.
        """
        return self._redact_within(text, 0, len(text), cut_start=start, cut_end=end and not text.endswith(_BREAKS))

    def may_hold_part(self, text: str, *, start: bool) -> bool:
        """False only if ``redact_cut`` would change nothing in ``text``, in which ``redact`` changes nothing."""
        return self._all_known().may_be_cut(text, cut_start=start, cut_end=not text.endswith(_BREAKS))

    def may_be_split(self, before: str, text: str) -> bool:
        """False only if no secret of eight or more characters begins in ``before`` and ends in ``text``."""
        return self._all_known().may_be_split(before, text)

    def tail_start(self, text: str, index: int) -> int:
        """The first index from ``index`` on at which ``text`` can be cut without splitting a secret."""
        begin = max(0, index - CUT_CONTEXT)
        window = text[begin : index + CUT_CONTEXT]
        known = self._all_known()
        if not _may_hold(window, known):
            return index
        offset = index - begin
        ends = (end for start, end in _secret_spans(window, known) if start < offset < end)
        return begin + max([offset, *ends])

    def may_hold_secret(self, text: str) -> bool:
        """False only if ``redact`` would change neither ``text`` nor, if it is JSON, any text inside it.

        One call for a large text costs a fraction of redacting its pieces, and hardly any text has a secret.
        """
        known, scan = self._all_known(), scan_text(text)
        if _is_suspect(text, scan, known):
            return True
        if "\\" not in text:
            return not scan.all_visible and _may_hold(INVISIBLE.sub("", text), known)
        return not scan.all_visible or _may_hold_in_json(text, known)

    def redact_values(self, value: Any) -> Any:
        """As ``redact``, for every text inside JSON values, keys included. Keys that become equal are numbered.

        A text under a key that names a secret is redacted, and so is a number whose digits are a secret.
        """
        match value:
            case str():
                return self.redact(value)
            case dict():
                return with_unique_keys(
                    (
                        self.redact(key) if isinstance(key, str) else key,
                        REDACTED if is_named_secret(key, item) else self.redact_values(item),
                    )
                    for key, item in value.items()
                )
            case list() | tuple():
                return [self.redact_values(item) for item in value]
            case int() | float() if not isinstance(value, bool):
                return REDACTED if self.redact(str(value)) == REDACTED else value
            case _:
                return value

    def _redact_within(
        self, text: str, begin: int, end: int, *, cut_start: bool = False, cut_end: bool = False
    ) -> str:
        known = self._all_known()
        if not (_may_hold(text, known) or known.may_be_cut(text, cut_start=cut_start, cut_end=cut_end)):
            return text[begin:end]
        spans = _secret_spans(text, known, cut_start=cut_start, cut_end=cut_end)
        return self.redact(_replace_spans(text, spans, begin, end))


def _token_context_start(text: str) -> int:
    """The index from which the last words of ``text`` may mark the following text as a token."""
    latest = max(0, len(text) - _TOKEN_CONTEXT)
    return max(text.rfind(" ", 0, latest), text.rfind("\n", 0, latest), 0)


def tail_prefix(dropped: str) -> str:
    """The prefix that marks the remaining text as a private key if one begins in ``dropped``; else empty."""
    return PRIVATE_KEY_OPENING if ends_inside_private_key(dropped) else ""


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


def _may_hold_in_json(text: str, known: KnownSecrets) -> bool:
    if not known.in_json and text.count("\\") == text.count('\\n"'):
        return False  # the line break at the end of a text, as output has it, splits nothing
    if "\\u00" in text or "\\b" in text or "\\f" in text:
        return True  # invisible characters
    if "\\n" not in text.replace('\\n"', '"') and "\\r" not in text and not known.in_json:
        return False
    flat = text.replace("\\\\", BACKSLASH).replace("\\n", "").replace("\\r", "").replace("\n", "")
    return known.is_in_json(flat, flat.lower(), scan_text(flat).word_mask)


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


PROCESS: Final = Redactor()
"""The redactor of the process: a secret is one for every text, whichever part of the program makes it."""

may_be_split: Final = PROCESS.may_be_split
may_hold_part: Final = PROCESS.may_hold_part
may_hold_secret: Final = PROCESS.may_hold_secret
redact: Final = PROCESS.redact
redact_cut: Final = PROCESS.redact_cut
redact_end: Final = PROCESS.redact_end
redact_piece: Final = PROCESS.redact_piece
redact_start: Final = PROCESS.redact_start
redact_values: Final = PROCESS.redact_values
register_secret: Final = PROCESS.register_secret
secrets_generation: Final = PROCESS.secrets_generation
tail_start: Final = PROCESS.tail_start
