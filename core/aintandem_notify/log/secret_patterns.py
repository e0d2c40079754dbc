"""What looks like a secret wherever it comes from: the shapes of tokens, of logins in addresses, of private keys.

Texts come from outside, so no pattern may take more than a few steps for each character: every repetition is
possessive, and none can begin again inside of what another try has read in vain.
"""

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

Span = tuple[int, int]
"""Where something begins, and where it has ended."""


class Shape(NamedTuple):
    """A kind of token. ``hints``: one of them is in every text that has it, in small letters.

    What the first group of ``pattern`` matches stays.
    """

    hints: tuple[str, ...]
    pattern: re.Pattern[str]


def _shape(hints: str, pattern: str, flags: re.RegexFlag = re.IGNORECASE) -> Shape:
    return Shape(tuple(hints.split()), re.compile(pattern, flags | re.ASCII))


_KEY: Final = r"(?:api|access|account|auth|private|secret)[-_]?key"
_NAME: Final = rf"(?:token|password|passwd|passphrase|secret|{_KEY})"
_PEM: Final = r"[A-Z0-9 ]{0,60}PRIVATE KEY(?: BLOCK)?-----"
_PEM_BODY: Final = r"(?:[A-Za-z0-9+/=\s\\:,.]++|-(?!-{4}))*+"

# Examples are in the tests.
SHAPES: Final = (
    # A word is looked at only where it begins and two dots follow: else each ``eyJ`` in it would read the rest.
    _shape(
        "eyj",
        r"(?<![\w-])(?=[\w-]++\.[\w-]++\.)([\w-]*?)eyJ[\w-]{5,}+\.[\w-]++\.[\w-]*+(?:\.[\w-]++){0,2}+",
        re.NOFLAG,
    ),
    _shape("xox", r"()xox[a-z](?:\.xox[a-z])?+-[\w-]{8,}+"),
    _shape("xapp-", r"()xapp-[\w-]{8,}+"),
    _shape("whsec_", r"()whsec_[\w+/=-]{8,}+"),
    _shape("hooks.slack.com", r"(hooks\.slack\.com/)[\w/-]++"),
    _shape(
        "authorization",
        r"""(authorization\\*+["']?+\s*+[:=]\s*+\\*+["']?+(?:(?:bearer|basic|token|digest|apikey)\s++)?+)"""
        r"""[^\s"',\\]++""",
    ),
    Shape(("bearer ",), re.compile(r"(bearer\s++)[\w.~+/=-]{8,}+", re.IGNORECASE | re.ASCII)),
    _shape("key:", rf"({_KEY}:\s*+)[^\s\"'\\]++"),
    _shape("token= password= passwd= passphrase= secret= key=", rf"({_NAME}=(?!=)\\*+[\"']?+)[^\s&\"'\\]++"),
    _shape(
        "token passw passphrase secret key\" key' key\\",
        rf"""({_NAME}\\*+["']\s*+:\s*+\\*+["'])(?:(?<=[^\\]")(?:[^"\\]++|\\.)++|(?<=[^\\]')(?:[^'\\]++|\\.)++"""
        r"""|(?<=\\["'])[^"'\\]++)""",
    ),
    _shape("://", r"(://[^/\s:@]*+:)[^/\s@]++(?:@[^/\s@]++(?=@))*+(?=@)"),
    _shape("sig= signature=", r"((?:[?&;]|u0026)(?:sig|[\w-]{0,20}signature)=)[^\s&\"'\\#]++"),
    _shape("akia", r"()(?<![A-Z0-9])AKIA[A-Z0-9]{16}(?![A-Z0-9])", re.NOFLAG),
    _shape("ghp_ gho_ ghu_ ghs_ ghr_", r"()gh[pousr]_[A-Za-z0-9]{20,}+", re.NOFLAG),
    _shape("github_pat_", r"()github_pat_[A-Za-z0-9]{20,}+\w*+", re.NOFLAG),
    # Ids of tasks hold its beginning, too: "task-4711". A literal first is what makes the search fast.
    _shape("sk-", r"()sk-(?<![\w-]sk-)(?=[A-Za-z_-]*+[0-9])[\w-]{20,}+"),
    Shape(
        ("private key",),
        re.compile(rf"(-----BEGIN {_PEM}){_PEM_BODY}(?:-----END {_PEM})?+", re.ASCII),
    ),
)

# All texts are asked for these, so they are few. A word that is common needs another look.
_WORDS: Final = (
    *("xox", "xapp-", "whsec_", "hooks.slack.com", "authorization", "bearer "),
    *("token", "secret", "://", "private key"),
)
_PASS: Final = re.compile(r"pass(?:word|wd|phrase)")
_KEYED: Final = re.compile(r"key\\*[\"':=]")
_SIGNED: Final = re.compile(r"sig(?:nature)?=")
_IN_LONG_WORDS: Final = ("eyj", "sk-", "akia", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_")
"""All of these come with a word of sixteen letters and digits, which hardly any other text has."""
_LONG_WORD: Final = b"x" * 16

_NAMES_ONE: Final = re.compile(rf"(?:authorization|{_NAME})\Z", re.IGNORECASE | re.ASCII)
_LONGEST_NAME: Final = 60


def has_hint(folded: str, picture: bytes) -> bool:
    """Whether there may be a token in a text that is ``folded`` in small letters; ``picture`` as in ``Glance``."""
    return (
        any(map(folded.__contains__, _WORDS))
        or ("pass" in folded and _PASS.search(folded) is not None)
        or ("key" in folded and _KEYED.search(folded) is not None)
        or ("sig" in folded and _SIGNED.search(folded) is not None)
        or (_LONG_WORD in picture and any(map(folded.__contains__, _IN_LONG_WORDS)))
    )


def tokens(text: str) -> Iterator[Span]:
    """Where the tokens are, in no order; each without what may stay of it."""
    folded = text.lower()
    for hints, pattern in SHAPES:
        if any(map(folded.__contains__, hints)):
            for found in pattern.finditer(text):
                if found.end(1) < found.end():
                    yield found.end(1), found.end()


def names_a_secret(key: str) -> bool:
    """Whether an object's ``key`` says that its value is one: ``refreshToken``, ``Authorization``."""
    return _NAMES_ONE.search(key[-_LONGEST_NAME:]) is not None


OPEN_KEY: Final = "-----BEGIN PRIVATE KEY-----\n"
"""What stands for the beginning of a private key that was cut off."""


def opens_key(text: str) -> bool:
    """Whether ``text`` ends inside of a private key."""
    begin = text.rfind("-----BEGIN ")
    return begin >= 0 and _OPEN_PEM.match(text, begin) is not None


_OPEN_PEM: Final = re.compile(rf"-----BEGIN {_PEM}{_PEM_BODY}\Z", re.ASCII)
