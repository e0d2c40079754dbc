"""Patterns of secrets of any origin: tokens, logins in URLs, private keys.

Texts come from outside, so no pattern may take more than a few steps for each character: every repetition is
possessive, and no match can start again inside text that a failed attempt has read.
"""

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

Span = tuple[int, int]
"""Start and end index in a text; the end is exclusive."""


class TokenPattern(NamedTuple):
    """A kind of token. Every text with such a token contains one of ``hints``, in small letters.

    The first group of ``pattern`` is kept; the remainder of the match is redacted.
    """

    hints: tuple[str, ...]
    pattern: re.Pattern[str]


def _pattern(hints: str, pattern: str, flags: re.RegexFlag = re.IGNORECASE) -> TokenPattern:
    return TokenPattern(tuple(hints.split()), re.compile(pattern, flags | re.ASCII))


_KEY_NAME: Final = r"(?:api|access|account|auth|private|secret)[-_]?key"
_SECRET_NAME: Final = rf"(?:token|password|passwd|passphrase|secret|{_KEY_NAME})"
_PEM: Final = r"[A-Z0-9 ]{0,60}PRIVATE KEY(?: BLOCK)?-----"
_PEM_BODY: Final = r"(?:[A-Za-z0-9+/=\s\\:,.]++|-(?!-{4}))*+"

# Examples are in the tests.
TOKEN_PATTERNS: Final = (
    # Matches only at the start of a word with two dots: else each ``eyJ`` in it would read to its end.
    _pattern(
        "eyj",
        r"(?<![\w-])(?=[\w-]++\.[\w-]++\.)([\w-]*?)eyJ[\w-]{5,}+\.[\w-]++\.[\w-]*+(?:\.[\w-]++){0,2}+",
        re.NOFLAG,
    ),
    _pattern("xox", r"()xox[a-z](?:\.xox[a-z])?+-[\w-]{8,}+"),
    _pattern("xapp-", r"()xapp-[\w-]{8,}+"),
    _pattern("whsec_", r"()whsec_[\w+/=-]{8,}+"),
    _pattern("hooks.slack.com", r"(hooks\.slack\.com/)[\w/-]++"),
    _pattern(
        "authorization",
        r"""(authorization\\*+["']?+\s*+[:=]\s*+\\*+["']?+(?:(?:bearer|basic|token|digest|apikey)\s++)?+)"""
        r"""[^\s"',\\]++""",
    ),
    TokenPattern(("bearer ",), re.compile(r"(bearer\s++)[\w.~+/=-]{8,}+", re.IGNORECASE | re.ASCII)),
    _pattern("key:", rf"({_KEY_NAME}:\s*+)[^\s\"'\\]++"),
    _pattern(
        "token= password= passwd= passphrase= secret= key=", rf"({_SECRET_NAME}=(?!=)\\*+[\"']?+)[^\s&\"'\\]++"
    ),
    _pattern(
        "token passw passphrase secret key\" key' key\\",
        rf"""({_SECRET_NAME}\\*+["']\s*+:\s*+\\*+["'])(?:(?<=[^\\]")(?:[^"\\]++|\\.)++|(?<=[^\\]')(?:[^'\\]++|\\.)++"""
        r"""|(?<=\\["'])[^"'\\]++)""",
    ),
    _pattern("://", r"(://[^/\s:@]*+:)[^/\s@]++(?:@[^/\s@]++(?=@))*+(?=@)"),
    _pattern("sig= signature=", r"((?:[?&;]|u0026)(?:sig|[\w-]{0,20}signature)=)[^\s&\"'\\#]++"),
    _pattern("akia", r"()(?<![A-Z0-9])AKIA[A-Z0-9]{16}(?![A-Z0-9])", re.NOFLAG),
    _pattern("ghp_ gho_ ghu_ ghs_ ghr_", r"()gh[pousr]_[A-Za-z0-9]{20,}+", re.NOFLAG),
    _pattern("github_pat_", r"()github_pat_[A-Za-z0-9]{20,}+\w*+", re.NOFLAG),
    # Ids of tasks contain its beginning, too: "task-4711". A literal at the front makes the search fast.
    _pattern("sk-", r"()sk-(?<![\w-]sk-)(?=[A-Za-z_-]*+[0-9])[\w-]{20,}+"),
    TokenPattern(
        ("private key",),
        re.compile(rf"(-----BEGIN {_PEM}){_PEM_BODY}(?:-----END {_PEM})?+", re.ASCII),
    ),
)

# Every text is searched for these words, so they are few. The common ones (pass, key, sig) get a second check.
_HINT_WORDS: Final = (
    *("xox", "xapp-", "whsec_", "hooks.slack.com", "authorization", "bearer "),
    *("token", "secret", "://", "private key"),
)
_PASSWORD: Final = re.compile(r"pass(?:word|wd|phrase)")
_KEY_VALUE: Final = re.compile(r"key\\*[\"':=]")
_SIGNATURE: Final = re.compile(r"sig(?:nature)?=")
_HINTS_IN_LONG_WORDS: Final = ("eyj", "akia", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_")
"""Each of these is part of a word of sixteen letters and digits, which hardly any other text has."""
_LONG_WORD: Final = b"x" * 16
# Ids of tasks end like the beginning of this token, so it gets a second check of its own: the token itself, also
# behind an escape of JSON. The text is in small letters, for a literal at the front makes the search fast.
_KEY_TOKEN: Final = re.compile(
    r"sk-(?:(?<![\w-]sk-)|(?<=\\[nrtbf]sk-)|(?<=\\u[0-9a-f]{4}sk-))(?=[a-z_-]*+[0-9])[\w-]{20,}+", re.ASCII
)
_KELVIN: Final = "\u212a"
"""The one character that is no letter to the patterns, while its small letter is one: a token may follow it."""

_ENDS_IN_SECRET_NAME: Final = re.compile(rf"(?:authorization|{_SECRET_NAME})\Z", re.IGNORECASE | re.ASCII)
_MAX_NAME_CHARACTERS: Final = 60


def has_hint(text: str, folded: str, word_mask: bytes) -> bool:
    """True if ``text`` may have a token. ``folded`` is its flat form in small letters; see ``TextScan``."""
    return (
        any(map(folded.__contains__, _HINT_WORDS))
        or ("pass" in folded and _PASSWORD.search(folded) is not None)
        or ("key" in folded and _KEY_VALUE.search(folded) is not None)
        or ("sig" in folded and _SIGNATURE.search(folded) is not None)
        or (_LONG_WORD in word_mask and any(map(folded.__contains__, _HINTS_IN_LONG_WORDS)))
        or ("sk-" in folded and _KEY_TOKEN.search(text.replace(_KELVIN, " ").lower()) is not None)
    )


def token_spans(text: str) -> Iterator[Span]:
    """The spans of tokens, unordered; each without the part that is kept."""
    folded = text.lower()
    for hints, pattern in TOKEN_PATTERNS:
        if any(map(folded.__contains__, hints)):
            for match in pattern.finditer(text):
                if match.end(1) < match.end():
                    yield match.end(1), match.end()


def is_secret_key(key: str) -> bool:
    """True if an object's ``key`` names a secret: ``refreshToken``, ``Authorization``."""
    return _ENDS_IN_SECRET_NAME.search(key[-_MAX_NAME_CHARACTERS:]) is not None


PRIVATE_KEY_OPENING: Final = "-----BEGIN PRIVATE KEY-----\n"
"""Replaces the beginning of a private key that was cut off."""


def ends_inside_private_key(text: str) -> bool:
    """True if ``text`` ends inside a private key."""
    begin = text.rfind("-----BEGIN ")
    return begin >= 0 and _OPEN_PEM.match(text, begin) is not None


_OPEN_PEM: Final = re.compile(rf"-----BEGIN {_PEM}{_PEM_BODY}\Z", re.ASCII)
