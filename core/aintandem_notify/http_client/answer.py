"""The answer to a request: status, headers, body, and the seconds of its ``Retry-After``."""

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
"""Seconds; no server may stop our requests for longer than a day."""

WaitForMemory = Callable[[int], Awaitable[None]]
"""Waits until there is memory for so many bytes of an answer."""

_SECONDS: Final = re.compile(r"\d++(?:\.\d++)?(?:,[ \t]*+\d++(?:\.\d++)?)*+", re.ASCII)


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """A status, headers with lower-case names (repeated ones joined by ``", "``), and the body as it came.

    The body is never decompressed, even if the server compressed it without being asked. ``truncated`` is true if
    ``body`` is incomplete.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes = b""
    truncated: bool = False

    @property
    def text(self) -> str:
        """The body as UTF-8; invalid bytes become U+FFFD."""
        return self.body.decode("utf-8", "replace")

    def json(self) -> Any:
        """The body's JSON value. Bytes that are not UTF-8 and lone surrogates become U+FFFD, so it can be stored.

        Raises ValueError if the body is not JSON, is truncated, is nested too deep or has too many values
        (``untrusted_json``).
        """
        return read_json(self.body, strict=False)

    def words(self, max_characters: int) -> str:
        """The body as one line of at most ``max_characters`` characters, for the reason of an error.

        Secrets are removed, also the part of one at the end of a ``truncated`` body.
        """
        return redact_to_one_line(self.text, is_cut=self.truncated)[:max_characters]

    def retry_after(self, now: datetime) -> float | None:
        """Seconds that the server asks to wait, at most ``MAX_RETRY_AFTER_S``.

        Understands seconds and HTTP dates (RFC 9110 section 10.2.3). If a proxy has repeated the header, the
        longest counts. None without the header, and for values that are invalid or in the past. ``now`` is aware.
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
