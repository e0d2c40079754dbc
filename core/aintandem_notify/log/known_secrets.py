"""Finds the registered secrets in a text, in every spelling that ``secret_encodings`` knows.

``redaction`` keeps one ``KnownSecrets`` and rebuilds it when a secret is registered.
"""

import re
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Final

from aintandem_notify.log.secret_encodings import MIN_SECRET_CHARACTERS, Spellings
from aintandem_notify.log.secret_patterns import Span
from aintandem_notify.log.text_views import TextView, flat_views, flattened, scan_text

MIN_PART_CHARACTERS: Final = MIN_SECRET_CHARACTERS
"""Characters of the shortest part of a secret that is recognised where a text was cut."""

_CUT_WINDOW: Final = 256
"""Characters examined at a cut, so many that enough of them are visible."""
_MAX_PARTS: Final = 200_000
_LEVELS: Final = (0, 12, 16, 24, 32)
"""Word lengths that separate the tiers. Hardly any text has a word of 16 characters, except ids."""
_BASE64: Final = re.compile(r"[A-Za-z0-9+/_-]++=*+")
_LOWERCASE: Final = {capital: capital + 32 for capital in range(ord("A"), ord("Z") + 1)}


@dataclass(frozen=True, slots=True)
class SpellingTier:
    """Spellings that have a long word; a text without such a word has none of them.

    ``word`` is a run of ``x``, as in ``TextScan.word_mask``; each spelling has a word of at least its length.
    """

    word: bytes
    exact: tuple[str, ...]
    folded: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class KnownSecrets:
    """All spellings of the registered secrets, longest first. ``tiers`` begin with the shortest words.

    ``folded`` spellings are compared in small letters; ``percent`` are those of them with a percent sign.
    ``core``: see ``Spellings``. ``in_json`` and ``folded_in_json`` are spellings that JSON escapes. ``parts`` has
    every part of ``MIN_PART_CHARACTERS`` characters of any spelling, in small letters.
    """

    exact: tuple[str, ...]
    folded: tuple[str, ...]
    percent: tuple[str, ...]
    core: frozenset[str]
    tiers: tuple[SpellingTier, ...]
    in_json: tuple[str, ...]
    folded_in_json: tuple[str, ...]
    parts: Container[str]

    @classmethod
    def of(cls, secrets: Iterable[Spellings]) -> "KnownSecrets":
        """Merge the spellings of all ``secrets``."""
        spellings = list(secrets)
        core = frozenset[str]().union(*(secret.core for secret in spellings))
        exact = core.union(*(secret.exact for secret in spellings))
        folded = frozenset[str]().union(*(secret.folded for secret in spellings)) - exact
        percent = frozenset(spelling for spelling in folded if "%" in spelling)
        return cls(
            exact=_longest_first(exact),
            folded=_longest_first(folded - percent),
            percent=_longest_first(percent),
            core=core,
            tiers=_tiers(exact, folded - percent),
            in_json=_escaped_in_json(exact),
            folded_in_json=_escaped_in_json(folded),
            parts=_parts("\n".join(exact | folded).lower()),
        )

    def is_in(self, flat: str, folded: str, word_mask: bytes) -> bool:
        """True if a secret is in the text ``flat``, which is ``folded`` in small letters; see ``TextScan``."""
        # Runs several times for each event: ``map`` takes no Python step for each spelling.
        for tier in self.tiers:
            if tier.word not in word_mask:
                break
            if any(map(flat.__contains__, tier.exact)):
                return True
            if tier.folded and any(map(folded.__contains__, tier.folded)):
                return True
        return "%" in flat and any(map(folded.__contains__, self.percent))

    def is_in_json(self, flat: str, folded: str, word_mask: bytes) -> bool:
        """As ``is_in``, for JSON without escaped line breaks and with ``BACKSLASH`` for escaped backslashes."""
        return self.is_in(flat, folded, word_mask) or (
            any(map(flat.__contains__, self.in_json)) or any(map(folded.__contains__, self.folded_in_json))
        )

    def may_be_cut(self, text: str, *, cut_start: bool, cut_end: bool) -> bool:
        """True if the text may begin or end with a part of a secret where it was cut."""
        return (cut_start and self._is_part(_first_visible(text))) or (
            cut_end and self._is_part(_last_visible(text))
        )

    def may_be_split(self, before: str, text: str) -> bool:
        """True if a secret may begin in the text ``before``, and end or continue in ``text``."""
        begin, end = _first_visible(text), _last_visible(before)
        return any(map(self._is_part, (begin, end))) or (
            len(begin) < MIN_PART_CHARACTERS and self._is_part((end + begin)[-MIN_PART_CHARACTERS:])
        )

    def _is_part(self, part: str) -> bool:
        return len(part) == MIN_PART_CHARACTERS and part.lower() in self.parts

    def spans(self, text: str, *, cut_start: bool = False, cut_end: bool = False) -> list[Span]:
        """The spans of secrets, unordered; at an end where the text was cut also those of parts of secrets."""
        plain: list[Span] = []
        encoded: list[Span] = []
        for view in flat_views(text):
            lowered = _lowercase(view.text)
            for spelling in self.exact:
                spans = encoded if spelling in self.core else plain
                spans += (view.span(*span) for span in _occurrences(view.text, spelling))
            for spelling in chain(self.folded, self.percent):
                plain += (view.span(*span) for span in _occurrences(lowered, spelling))
            if cut_start or cut_end:
                plain += self._partial_spans(view, lowered, cut_start=cut_start, cut_end=cut_end)
        return [*plain, *_extend_over_base64(text, encoded)]

    def _partial_spans(self, view: TextView, lowered: str, *, cut_start: bool, cut_end: bool) -> Iterator[Span]:
        for text, spelling in chain(
            ((view.text, spelling) for spelling in self.exact),
            ((lowered, spelling) for spelling in (*self.folded, *self.percent)),
        ):
            if cut_start and cut_end and MIN_PART_CHARACTERS <= len(text) < len(spelling) and text in spelling:
                yield view.span(0, len(text))
            if cut_start and (end := _ending_at_start(text, spelling)):
                yield view.span(0, end)
            if cut_end and (begin := _beginning_at_end(text, spelling)) < len(text):
                yield view.span(begin, len(text))


def _first_visible(text: str) -> str:
    """The first ``MIN_PART_CHARACTERS`` of the text as it is flattened."""
    part = text[:MIN_PART_CHARACTERS]
    if len(part) == MIN_PART_CHARACTERS and part.isascii() and part.isprintable():
        return part  # the usual case
    return flattened(text[:_CUT_WINDOW])[:MIN_PART_CHARACTERS]


def _last_visible(text: str) -> str:
    """As ``_first_visible``, for the last ones, which may be the end of a terminal sequence."""
    window = text[-_CUT_WINDOW:]
    part = window.rstrip("\n")[-MIN_PART_CHARACTERS:]
    if len(part) == MIN_PART_CHARACTERS and window.isascii() and "\x1b" not in window and part.isprintable():
        return part
    return flattened(window)[-MIN_PART_CHARACTERS:]


BACKSLASH: Final = "\0\0"
"""Replaces an escaped backslash when JSON is searched, so that ``\\\\n`` is no line break."""


def _longest_first(spellings: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(spellings, key=lambda spelling: (-len(spelling), spelling)))


def _parts(joined: str) -> Container[str]:
    """All parts of the shortest length; looked up for each piece of output.

    Very long secrets stay one text: a search in it is slower, but takes less memory.
    """
    if len(joined) > _MAX_PARTS:
        return joined
    return frozenset(joined[at : at + MIN_PART_CHARACTERS] for at in range(len(joined) - MIN_PART_CHARACTERS + 1))


def _tiers(exact: Iterable[str], folded: Iterable[str]) -> tuple[SpellingTier, ...]:
    levels: dict[int, tuple[list[str], list[str]]] = {level: ([], []) for level in _LEVELS}
    for kind, spellings in enumerate((exact, folded)):
        for spelling in _longest_first(spellings):
            longest = max(map(len, re.findall(b"x+", scan_text(spelling).word_mask)), default=0)
            levels[max(level for level in _LEVELS if level <= longest)][kind].append(spelling)
    return tuple(
        SpellingTier(b"x" * level, tuple(as_is), tuple(lowered))
        for level, (as_is, lowered) in levels.items()
        if as_is or lowered
    )


def _escaped_in_json(spellings: Iterable[str]) -> tuple[str, ...]:
    escapes = str.maketrans({'"': '\\"', "\\": BACKSLASH, "\t": "\\t"})
    return tuple(escaped for spelling in spellings if (escaped := spelling.translate(escapes)) != spelling)


def _lowercase(text: str) -> str:
    """The text in small letters, at the same length: some non-ASCII letters would become two."""
    return text.lower() if text.isascii() else text.translate(_LOWERCASE)


def _occurrences(text: str, part: str) -> Iterator[Span]:
    at = text.find(part)
    while at >= 0:
        yield at, at + len(part)
        at = text.find(part, at + len(part))


def _ending_at_start(text: str, spelling: str) -> int:
    """The length of the longest ending of ``spelling`` that ``text`` begins with; 0 if none is long enough."""
    last = spelling[-MIN_PART_CHARACTERS:]
    at = text.rfind(last, 0, len(spelling) - 1)
    while at >= 0:
        if spelling.endswith(text[: at + MIN_PART_CHARACTERS]):
            return at + MIN_PART_CHARACTERS
        at = text.rfind(last, 0, at + MIN_PART_CHARACTERS - 1)
    return 0


def _beginning_at_end(text: str, spelling: str) -> int:
    """The index in ``text`` of the longest beginning of ``spelling`` that it ends with; ``len(text)`` if none."""
    first = spelling[:MIN_PART_CHARACTERS]
    at = text.find(first, max(0, len(text) - len(spelling) + 1))
    while at >= 0:
        if spelling.startswith(text[at:]):
            return at
        at = text.find(first, at + 1)
    return len(text)


def _extend_over_base64(text: str, cores: Sequence[Span]) -> Iterator[Span]:
    """Extends each span over the base64 word around it: its first and last characters hold bits of the secret."""
    if not cores:
        return
    ordered = sorted(cores)
    words = ((word.start(), word.end()) for word in _BASE64.finditer(text))
    begin, end = next(words, (0, 0))
    for first, last in ordered:
        while end <= first and end < len(text):
            begin, end = next(words, (len(text), len(text)))
        start = min(first, begin)
        while end < last and end < len(text):  # over line breaks
            begin, end = next(words, (len(text), len(text)))
        yield start, max(last, end if begin < last else last)
