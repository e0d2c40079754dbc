"""Bounds the popups that stay on the screen until a person closes them. Pure.

Thirty failures at once would cover the screen. A few stand there by themselves; a summary tells of the others.
"""

from collections import OrderedDict
from dataclasses import replace
from typing import Final

from aintandem_notify_desktop_notify.popup import MAX_BODY_LINES, MAX_SUMMARY_CHARACTERS, Popup, cut

MAX_CRITICAL: Final = 5
"""Critical popups that stand on the screen at a time by default; on most screens they fit one above the other."""
_LISTED: Final = MAX_BODY_LINES - 1
"""Titles that the summary lists; its last line counts the others."""
_TITLE_CHARACTERS: Final = 60
"""Characters of a title in the list; all lines fit into a body then."""


class LastingPopups:
    """The critical popups on the screen, by the ids of one server, and the failures that the summary tells."""

    def __init__(self, limit: int) -> None:
        """``limit`` is the number of popups besides the summary."""
        self._limit = limit
        self._standing: set[int] = set()
        self._titles: OrderedDict[str, int] = OrderedDict()
        self._total = 0
        self.summary_id = 0
        """The id of the summary on the screen; 0 without one."""

    def __bool__(self) -> bool:
        return bool(self._standing or self.summary_id)

    def __len__(self) -> int:
        return len(self._standing)

    @property
    def summarized(self) -> int:
        """The number of failures that the summary on the screen tells."""
        return self._total

    def has_room(self, replaces_id: int) -> bool:
        """Whether a critical popup may be shown by itself; 0 replaces none."""
        return replaces_id in self._standing or len(self._standing) < self._limit

    def record_shown(self, number: int, *, is_critical: bool) -> None:
        """Record that the server shows a popup under the id ``number``, perhaps in place of an earlier one."""
        if is_critical:
            self._standing.add(number)
        else:
            self._standing.discard(number)

    def record_closed(self, number: int) -> None:
        """Record that a popup has gone. Once the summary has, the next one begins to count anew."""
        self._standing.discard(number)
        if number == self.summary_id:
            self.summary_id = self._total = 0
            self._titles.clear()

    def summary_with(self, popup: Popup) -> Popup:
        """The summary that also tells of ``popup``; call ``record_summary`` once it stands there."""
        titles = self._titles_with(popup)
        total = self._total + 1
        lines = [_line(title, times) for title, times in reversed(titles.items())]
        if (unlisted := total - sum(titles.values())) > 0:
            lines.append(f"… {unlisted} earlier {'one' if unlisted == 1 else 'ones'}")
        count = "1 more failure" if total == 1 else f"{total:,} more failures"
        # Some services show no body.
        summary = cut(f"{count}: {popup.summary}", MAX_SUMMARY_CHARACTERS)
        return replace(popup, summary=summary, body="\n".join(lines), url=None)

    def record_summary(self, number: int, popup: Popup) -> None:
        """Record that the summary with ``popup`` is on the screen under the id ``number``."""
        self._titles = self._titles_with(popup)
        self._total += 1
        self.summary_id = number

    def _titles_with(self, popup: Popup) -> OrderedDict[str, int]:
        """The last different titles with the number of each, the newest last."""
        title = cut(popup.summary, _TITLE_CHARACTERS)
        titles = self._titles.copy()
        titles[title] = titles.get(title, 0) + 1
        titles.move_to_end(title)
        while len(titles) > _LISTED:
            titles.popitem(last=False)
        return titles


def _line(title: str, times: int) -> str:
    return title if times == 1 else f"{title} ({times} times)"
