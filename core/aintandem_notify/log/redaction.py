"""The one place that keeps secrets out of texts.

Every secret of the config is announced with ``hide``; ``redact`` then removes it, and whatever looks like a
token, from any text. Log lines, errors, the store's error texts and rendered notifications all pass through.
"""

import json
import re
import threading
from collections import Counter, deque
from collections.abc import Container, Iterable, Iterator
from functools import lru_cache
from typing import Any, Final
from urllib.parse import quote, quote_plus

HIDDEN: Final = "[redacted]"
SHORTEST_SECRET: Final = 4
"""Shorter ones would turn half of every text into brackets and are no secrets worth the name."""
MOST_ROTATING: Final = 64
"""How many secrets that replace one another are remembered; every one that is hidden costs each text time."""

_SHORT: Final = 128
"""Characters of a text that is remembered with its outcome: names and titles come again and again."""

_lasting: set[str] = set()
_rotating: deque[str] = deque(maxlen=MOST_ROTATING)
_lock = threading.Lock()
_announced: tuple[str, ...] = ()
_announced_also_in_json: tuple[str, ...] = ()
_pattern = re.compile("(?!)")
_announcements = 0


def _token(pattern: str, flags: re.RegexFlag = re.IGNORECASE) -> re.Pattern[str]:
    return re.compile(pattern, flags)


# What must be in the text, in small letters, for the pattern to be worth trying; the pattern, whose first
# group stays; examples are in the tests.
_TOKENS: Final[tuple[tuple[str, re.Pattern[str]], ...]] = (
    ("eyj", _token(r"()eyJ[\w-]{5,}\.[\w-]+\.[\w-]*", re.NOFLAG)),
    ("xox", _token(r"()xox[a-z]-[\w-]{8,}")),
    ("xapp-", _token(r"()xapp-[\w-]{8,}")),
    ("whsec_", _token(r"()whsec_[\w+/=-]{8,}")),
    ("hooks.slack.com", _token(r"(hooks\.slack\.com/)[\w/-]+")),
    (
        "authorization",
        _token(
            r"""(authorization\\*["']?\s*[:=]\s*\\*["']?(?:(?:bearer|basic|token|digest|apikey)\s+)?)[^\s"',\\]+"""
        ),
    ),
    ("bearer ", _token(r"(bearer\s+)[\w.~+/=-]{8,}")),
    ("token=", _token(r"(token=)[^\s&\"'\\]+")),
    ("token", _token(r"""(token\\*["']\s*:\s*\\*["'])[^"'\\]+""")),
    ("://", _token(r"(://[^/\s:@]*:)[^/\s@]+(?=@)")),
)


# None of them holds a character that JSON escapes.
_HINTS: Final = tuple(hint for hint, _ in _TOKENS)


def hide(secret: str, *, rotating: bool = False) -> None:
    """Keep ``secret`` out of every text from now on, also percent-encoded or quoted.

    ``rotating`` is for one that others replace in time, as an access token: only the newest are remembered.
    """
    global _announced, _announced_also_in_json, _pattern, _announcements
    if len(secret) < SHORTEST_SECRET:
        return
    with _lock:
        if rotating:
            if secret not in _rotating:
                _rotating.append(secret)
        else:
            _lasting.add(secret)
        forms = {form for known in (*_lasting, *_rotating) for form in _forms(known)}
        # The longest first, so that one that holds another goes whole.
        longest_first = tuple(sorted(forms, key=len, reverse=True))
        _pattern = re.compile("|".join(map(re.escape, longest_first)))
        _announced = longest_first
        _announced_also_in_json = tuple(forms | {json.dumps(form, ensure_ascii=False)[1:-1] for form in forms})
        _announcements += 1


def _forms(secret: str) -> Iterator[str]:
    """The ways in which ``secret`` turns up in texts."""
    yield secret
    for encoded in (quote(secret, safe=""), quote(secret), quote_plus(secret)):
        yield encoded
        yield re.sub("%..", lambda match: match[0].lower(), encoded)
    yield json.dumps(secret)[1:-1]
    yield json.dumps(secret, ensure_ascii=False)[1:-1]
    yield repr(secret)[1:-1]


def announcements() -> int:
    """How often ``hide`` was called: what was redacted at a lower count may hold what is a secret now."""
    return _announcements


def redact(text: str) -> str:
    """``text`` without announced secrets and without what looks like a token."""
    # The number makes what was remembered before the latest announcement unreachable.
    return _redact_known(text, _announcements) if len(text) <= _SHORT else _redact(text)


@lru_cache(maxsize=4096)
def _redact_known(text: str, _announcements_so_far: int) -> str:
    return _redact(text)


def _redact(text: str) -> str:
    # To look for each costs a tenth of what the pattern does, and hardly any text holds one.
    if _holds_any(text, _announced):
        text = _pattern.sub(HIDDEN, text)
    folded = text.lower()
    if not _holds_any(folded, _HINTS):
        return text
    for hint, pattern in _TOKENS:
        if hint in folded:
            text = pattern.sub(rf"\1{HIDDEN}", text)
    return text


def may_hold_secret(text: str) -> bool:
    """False only if ``redact`` would leave ``text`` as it is, and every text inside it if it is JSON.

    To ask it once for much text costs a fraction of redacting it piece by piece, and hardly any holds one.
    """
    folded = text.lower()
    return _holds_any(folded, _HINTS) or _holds_any(text, _announced_also_in_json)


def _holds_any(text: str, parts: Iterable[str]) -> bool:
    # Asked several times for each event: ``map`` looks without a step of Python for each part.
    return any(map(text.__contains__, parts))


def redact_values(value: Any) -> Any:
    """As ``redact``, for every text inside JSON values, keys included; of keys that become equal, each stays."""
    match value:
        case str():
            return redact(value)
        case dict():
            clean: dict[Any, Any] = {}
            alike: Counter[str] = Counter()
            for key, item in value.items():
                clean[_free(redact(key), clean, alike) if isinstance(key, str) else key] = redact_values(item)
            return clean
        case list() | tuple():
            return [redact_values(item) for item in value]
        case _:
            return value


def _free(key: str, taken: Container[Any], alike: Counter[str]) -> str:
    """``key``, or with a number where that is taken; ``alike`` counts how often that was."""
    free = key
    while free in taken:
        alike[key] += 1
        free = f"{key} ({alike[key] + 1})"
    return free
