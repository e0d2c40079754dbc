"""What comes back from a request, and what its ``Retry-After`` asks for."""

import math
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

from aintandem_notify.foundation.untrusted_json import read_json
from aintandem_notify.log import redact_to_one_line

MAX_RETRY_AFTER_S: Final = 86400.0
"""Seconds; no server may silence us for longer than a day."""

Room = Callable[[int], Awaitable[None]]
"""Waits until there is memory for so many bytes of an answer."""

_SECONDS: Final = re.compile(r"\d++(?:\.\d++)?(?:,[ \t]*+\d++(?:\.\d++)?)*+", re.ASCII)


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """A status, headers with lower-case names (repeated ones joined by ``", "``), and the body as it came.

    The body is never unpacked: one that the server encoded although it was asked not to is still encoded.
    ``truncated`` is true when ``body`` is not all of it.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes = b""
    truncated: bool = False

    @property
    def text(self) -> str:
        """The body as UTF-8; what is none becomes U+FFFD."""
        return self.body.decode("utf-8", "replace")

    def json(self) -> Any:
        """The body's JSON value; raises ValueError when there is none, also for a truncated body.

        It raises ValueError also for a body that is nested too deep or has too many values (``untrusted_json``).
        Bytes that are not UTF-8 and lone surrogates become U+FFFD, so that the value can be stored.
        """
        return read_json(self.body, strict=False)

    def words(self, most: int) -> str:
        """The body as one line of at most ``most`` characters, for a reason.

        Without secrets, and without the part of one at the end of a body that is ``truncated``.
        """
        return redact_to_one_line(self.text, is_cut=self.truncated)[:most]

    def retry_after(self, now: datetime) -> float | None:
        """Seconds that the server asks to wait, at the most ``MAX_RETRY_AFTER_S``.

        Understands seconds and HTTP dates (RFC 9110 section 10.2.3), and the longest of seconds that a proxy has
        repeated. None when it asks for nothing, for nothing that makes sense, or for a time that is over. ``now``
        is aware.
        """
        seconds = _seconds(self.headers.get("retry-after", "").strip(), now)
        return None if seconds is None or seconds < 0 else min(seconds, MAX_RETRY_AFTER_S)


def _seconds(value: str, now: datetime) -> float | None:
    if _SECONDS.fullmatch(value):
        return max(map(float, value.split(",")))
    try:
        moment = parsedate_to_datetime(value)
        # "-0000" as the zone means UTC, and Python gives it as a naive time.
        aware = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
        delay = (aware - now).total_seconds()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return delay if math.isfinite(delay) else None
