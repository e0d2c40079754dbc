"""The answer to a request: status, headers, body, and the seconds of its ``Retry-After``."""

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final
from urllib.parse import urlsplit

from aintandem_notify.foundation.untrusted_json import read_json
from aintandem_notify.log import redact_to_one_line

MAX_RETRY_AFTER_S: Final = 86400.0
"""Seconds; no server may stop our requests for longer than a day."""

WaitForMemory = Callable[[int], Awaitable[None]]
"""Waits until there is memory for so many bytes of an answer."""

_PAGE_START_BYTES: Final = 2048
_BEFORE_A_PAGE: Final = rb"(?:\xef\xbb\xbf|\xff\xfe|\xfe\xff)?\s*+(?:<\?xml[^>]*+>\s*+)?(?:<!--.*?-->\s*+)*+"
_PAGE_TAGS: Final = rb"(?:html|head|body|title|meta|script|style|link|base|frameset)(?=[\s/>])"
_PAGE: Final = re.compile(
    _BEFORE_A_PAGE + rb"<(?:!doctype\s+html|" + _PAGE_TAGS + rb")", re.IGNORECASE | re.DOTALL
)
_ANY_TAG: Final = re.compile(_BEFORE_A_PAGE + rb"<[!/a-z]", re.IGNORECASE | re.DOTALL)

_SECONDS: Final = re.compile(r"\d++(?:\.\d++)?(?:,[ \t]*+\d++(?:\.\d++)?)*+", re.ASCII)


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """A status, headers with lower-case names (repeated ones joined by ``", "``), and the body.

    A body that the server compressed with gzip or deflate is unpacked, and ``content-encoding`` is removed from
    the headers. If that header is left, the body is as it came. ``truncated`` is true if ``body`` is incomplete.
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

    @property
    def is_html(self) -> bool:
        """True if the body is a page of HTML: portals, proxies and load balancers answer so in a service's place.

        The body decides, or a ``Refresh`` header, which sends a browser to another page. ``Content-Type`` alone
        does not: Slack and many scripts call a plain ``ok`` HTML.
        """
        if "refresh" in self.headers:
            return True
        # Without its NULs, the start of a page in UTF-16 looks like one in ASCII.
        start = self.body[:_PAGE_START_BYTES].replace(b"\0", b"")
        if "html" in self.headers.get("content-type", "").lower():
            return _ANY_TAG.match(start) is not None
        return _PAGE.match(start) is not None

    def describe(self, max_characters: int = 100) -> str:
        """Status and form of the answer, for the reason of an error: ``HTTP 302, a redirect to x.example``.

        Without secrets; at most ``max_characters`` characters of the body or of a redirect's host are quoted.
        """
        status = f"HTTP {self.status}"
        if self.status // 100 == 3:
            host = self._redirect_host()[:max_characters]
            return f"{status}, a redirect to {host}" if host else f"{status}, a redirect"
        if self.is_html:
            return f"{status} with a page of HTML"
        if not self.body:
            return f"{status} without a body"
        words = self.words(max_characters)
        if "content-encoding" in self.headers or "\ufffd" in words or not words:
            return f"{status} with a body that is not text"
        return f"{status}: {words}"

    def _redirect_host(self) -> str:
        """The host in ``Location``, an empty text if there is none."""
        try:
            return redact_to_one_line(urlsplit(self.headers.get("location", "")).hostname or "")
        except ValueError:
            return ""

    def retry_after(self, now: datetime) -> float | None:
        """Seconds that the server asks to wait, at most ``MAX_RETRY_AFTER_S``.

        Understands seconds and HTTP dates (RFC 9110 section 10.2.3). A date counts from the answer's own ``Date``,
        because the two clocks may differ; without a ``Date`` that can be read, from ``now``, which is aware. If a
        proxy has repeated the header, the longest counts. None without the header, and for values that are invalid
        or in the past.
        """
        value = self.headers.get("retry-after", "").strip()
        if _SECONDS.fullmatch(value):
            seconds = max(map(float, value.split(",")))
        elif (end := _moment(value)) is not None:
            seconds = (end - (_moment(self.headers.get("date", "")) or now)).total_seconds()
        else:
            return None
        return min(seconds, MAX_RETRY_AFTER_S) if seconds >= 0 else None


def _moment(value: str) -> datetime | None:
    """The moment of an HTTP date, None for anything else."""
    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    # "-0000" as the zone means UTC, and Python gives it as a naive time.
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
