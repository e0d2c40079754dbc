"""Remembers the growing texts that hold no secret, so that only their new parts are searched."""

import re
from typing import Final

from aintandem_notify.log.redaction import may_be_split, may_hold_secret, secrets_generation
from aintandem_notify.log.text_views import INVISIBLE, is_all_visible

MAX_TEXTS: Final = 1000
"""Texts that are remembered; those that were checked longest ago are forgotten first."""

OVERLAP_CHARACTERS: Final = 64
"""Characters before the added text that are searched again: more than the mark of any token has."""

_SEQUENCE_BEGIN: Final = re.compile(r"[\x1b\x9b]")


class CheckedTexts:
    """The last state of growing texts in which no secret was found, by name. Their beginnings may be dropped."""

    def __init__(self, max_texts: int = MAX_TEXTS) -> None:
        self._max_texts = max_texts
        self._texts: dict[str, tuple[str, str]] = {}

    def may_hold_secret(self, name: str, text: str, added: int, others: str) -> bool:
        """As ``log.may_hold_secret`` for ``text`` and ``others``; the last ``added`` characters of it are new."""
        generation = secrets_generation()
        if may_hold_secret(f"{others}\n{self._unchecked(name, text, added, generation)}"):
            return True
        self._texts.pop(name, None)
        self._texts[name] = text, generation
        while len(self._texts) > self._max_texts:
            self._texts.pop(next(iter(self._texts)), None)
        return False

    def _unchecked(self, name: str, text: str, added: int, generation: str) -> str:
        """The part of ``text`` to search: the added one, and enough before it for a secret that begins there."""
        checked, checked_at = self._texts.get(name, ("", ""))
        if checked_at != generation:
            return text
        if checked == text:
            return ""
        begin = max(0, len(text) - added)
        before = text[:begin]
        # Without its beginning, a terminal sequence hides no text any more. At its end it may split a secret.
        dropped = len(checked) - len(before)
        if _SEQUENCE_BEGIN.search(checked, 0, dropped) is not None or _ends_in_sequence(before):
            return text
        # A secret that begins before the overlap is known by its parts on both sides of ``begin``.
        if not checked.endswith(before) or may_be_split(before, text[begin:]):
            return text
        window = before[-2 * OVERLAP_CHARACTERS :]
        flat = window.replace("\n", "")
        is_visible = flat.isprintable() if flat.isascii() else is_all_visible(window)
        # With many line breaks or invisible characters the window may be too short, as inside a very long word.
        is_enough = is_visible and len(flat) >= OVERLAP_CHARACTERS and (" " in window or flat != window)
        return window + text[begin:] if is_enough or len(window) == begin else text


def _ends_in_sequence(text: str) -> bool:
    """True if ``text`` may end inside a terminal sequence, which can be longer than any overlap."""
    begin = text.rfind("\x1b")
    sequence = INVISIBLE.match(text, begin) if begin >= 0 else None
    return sequence is not None and sequence.end() == len(text)
