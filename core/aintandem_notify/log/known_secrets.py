"""The configured secrets that texts are searched for, and where in a text they are."""

import re
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Final

from aintandem_notify.log.secret_encodings import MIN_SECRET_CHARACTERS, Spellings
from aintandem_notify.log.secret_patterns import Span
from aintandem_notify.log.text_views import TextView, flat_views, flattened, scan_text

MIN_PART_CHARACTERS: Final = MIN_SECRET_CHARACTERS
"""Characters of a part of a secret, at an end where a text was cut, that are recognised."""

_CUT_WINDOW: Final = 256
"""Characters at an end among which there are some to be seen."""
_MAX_PARTS: Final = 200_000
_LEVELS: Final = (0, 12, 16, 24, 32)
"""Lengths of words by which spellings are told apart: hardly any text has a word of 16, but for ids."""
_BASE64: Final = re.compile(r"[A-Za-z0-9+/_-]++=*+")
_LOWERCASE: Final = {capital: capital + 32 for capital in range(ord("A"), ord("Z") + 1)}


@dataclass(frozen=True, slots=True)
class SpellingTier:
    """Spellings that hold a word as long as ``word`` at least: no text has one that has no such word."""

    word: bytes
    exact: tuple[str, ...]
    folded: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class KnownSecrets:
    """All spellings, the longest first, and in tiers, those with the shortest words first.

    ``percent`` are those of the folded ones that hold a percent sign. ``parts`` has every part of any that is as
    short as one can be, in small letters.
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
        """What to look for, for all these."""
        found = list(secrets)
        core = frozenset[str]().union(*(one.core for one in found))
        exact = core.union(*(one.exact for one in found))
        folded = frozenset[str]().union(*(one.folded for one in found)) - exact
        percent = frozenset(one for one in folded if "%" in one)
        return cls(
            exact=_longest_first(exact),
            folded=_longest_first(folded - percent),
            percent=_longest_first(percent),
            core=core,
            tiers=_tiers(exact, folded - percent),
            in_json=_changed_by_json(exact),
            folded_in_json=_changed_by_json(folded),
            parts=_parts("\n".join(exact | folded).lower()),
        )

    def is_in(self, flat: str, folded: str, word_mask: bytes) -> bool:
        """True if a secret is in the text ``flat``, which is ``folded`` in small letters; see ``TextScan``."""
        # Asked several times for each event: ``map`` looks without a step of Python for each spelling.
        for tier in self.tiers:
            if tier.word not in word_mask:
                break
            if any(map(flat.__contains__, tier.exact)):
                return True
            if tier.folded and any(map(folded.__contains__, tier.folded)):
                return True
        return "%" in flat and any(map(folded.__contains__, self.percent))

    def is_in_json(self, flat: str, folded: str, word_mask: bytes) -> bool:
        """The same for JSON without its escaped line breaks, and with ``BACKSLASH`` for those that are escaped."""
        return self.is_in(flat, folded, word_mask) or (
            any(map(flat.__contains__, self.in_json)) or any(map(folded.__contains__, self.folded_in_json))
        )

    def may_be_cut(self, text: str, *, cut_start: bool, cut_end: bool) -> bool:
        """Whether a part of a secret may stand at an end where the text was cut."""
        return (cut_start and self._is_part(flattened(text[:_CUT_WINDOW])[:MIN_PART_CHARACTERS])) or (
            cut_end and self._is_part(flattened(text[-_CUT_WINDOW:])[-MIN_PART_CHARACTERS:])
        )

    def may_be_parted(self, before: str, text: str) -> bool:
        """Whether a secret may begin in what came ``before`` and end, or go on, in ``text``."""
        begin, end = flattened(text[:_CUT_WINDOW]), flattened(before[-_CUT_WINDOW:])
        return any(map(self._is_part, (begin[:MIN_PART_CHARACTERS], end[-MIN_PART_CHARACTERS:]))) or (
            len(begin) < MIN_PART_CHARACTERS and self._is_part((end + begin)[-MIN_PART_CHARACTERS:])
        )

    def _is_part(self, part: str) -> bool:
        return len(part) == MIN_PART_CHARACTERS and part.lower() in self.parts

    def spans(self, text: str, *, cut_start: bool = False, cut_end: bool = False) -> list[Span]:
        """Where secrets are, in no order; at an end where the text was cut also a part of one."""
        found: list[Span] = []
        encoded: list[Span] = []
        for view in flat_views(text):
            lowered = _lowercase(view.text)
            for spelling in self.exact:
                where = encoded if spelling in self.core else found
                where += (view.span(*one) for one in _occurrences(view.text, spelling))
            for spelling in chain(self.folded, self.percent):
                found += (view.span(*one) for one in _occurrences(lowered, spelling))
            if cut_start or cut_end:
                found += self._partial_spans(view, lowered, cut_start=cut_start, cut_end=cut_end)
        return [*found, *_extend_over_base64(text, encoded)]

    def _partial_spans(self, view: TextView, lowered: str, *, cut_start: bool, cut_end: bool) -> Iterator[Span]:
        for text, spelling in chain(
            ((view.text, one) for one in self.exact), ((lowered, one) for one in (*self.folded, *self.percent))
        ):
            if cut_start and cut_end and MIN_PART_CHARACTERS <= len(text) < len(spelling) and text in spelling:
                yield view.span(0, len(text))
            if cut_start and (end := _ending_at_start(text, spelling)):
                yield view.span(0, end)
            if cut_end and (begin := _beginning_at_end(text, spelling)) < len(text):
                yield view.span(begin, len(text))


BACKSLASH: Final = "\0\0"
"""Stands for an escaped backslash where JSON is searched, so that ``\\\\n`` is no line break."""


def _longest_first(spellings: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(spellings, key=lambda one: (-len(one), one)))


def _parts(together: str) -> Container[str]:
    """Asked for each piece of output; for very long secrets a text, which is slower and takes less room."""
    if len(together) > _MAX_PARTS:
        return together
    return frozenset(
        together[at : at + MIN_PART_CHARACTERS] for at in range(len(together) - MIN_PART_CHARACTERS + 1)
    )


def _tiers(exact: Iterable[str], folded: Iterable[str]) -> tuple[SpellingTier, ...]:
    levels: dict[int, tuple[list[str], list[str]]] = {level: ([], []) for level in _LEVELS}
    for place, spellings in enumerate((exact, folded)):
        for one in _longest_first(spellings):
            longest = max(map(len, re.findall(b"x+", scan_text(one).word_mask)), default=0)
            levels[max(level for level in _LEVELS if level <= longest)][place].append(one)
    return tuple(
        SpellingTier(b"x" * level, tuple(as_is), tuple(lowered))
        for level, (as_is, lowered) in levels.items()
        if as_is or lowered
    )


def _changed_by_json(spellings: Iterable[str]) -> tuple[str, ...]:
    escapes = str.maketrans({'"': '\\"', "\\": BACKSLASH, "\t": "\\t"})
    return tuple(changed for one in spellings if (changed := one.translate(escapes)) != one)


def _lowercase(text: str) -> str:
    """Of the same length: some letters of other alphabets are two when they are small."""
    return text.lower() if text.isascii() else text.translate(_LOWERCASE)


def _occurrences(text: str, part: str) -> Iterator[Span]:
    at = text.find(part)
    while at >= 0:
        yield at, at + len(part)
        at = text.find(part, at + len(part))


def _ending_at_start(text: str, spelling: str) -> int:
    """How long the longest end of ``spelling`` is that ``text`` begins with; 0 for none that is long enough."""
    last = spelling[-MIN_PART_CHARACTERS:]
    at = text.rfind(last, 0, len(spelling) - 1)
    while at >= 0:
        if spelling.endswith(text[: at + MIN_PART_CHARACTERS]):
            return at + MIN_PART_CHARACTERS
        at = text.rfind(last, 0, at + MIN_PART_CHARACTERS - 1)
    return 0


def _beginning_at_end(text: str, spelling: str) -> int:
    """Where the longest beginning of ``spelling`` begins that ``text`` ends with; its length for none."""
    first = spelling[:MIN_PART_CHARACTERS]
    at = text.find(first, max(0, len(text) - len(spelling) + 1))
    while at >= 0:
        if spelling.startswith(text[at:]):
            return at
        at = text.find(first, at + 1)
    return len(text)


def _extend_over_base64(text: str, cores: Sequence[Span]) -> Iterator[Span]:
    """Each with the rest of the base64 that it stands in, which begins and ends with some of the secret's bits."""
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
