"""The pings that healthchecks.io and its kin understand: their addresses, their texts, and the answers to them.

Pure functions for ``heartbeat``. A plain ping means success everywhere. healthchecks.io also knows ``/start``,
``/fail`` and ``/log`` behind the path, each with a text in the body of a POST.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from enum import StrEnum
from typing import Any, Final
from urllib.parse import urlsplit

from aintandem_notify import log
from aintandem_notify.domain.health import Health
from aintandem_notify.http_client import HttpAnswer

MAX_TEXT_BYTES: Final = 8192
"""Bytes of a ping's text. healthchecks.io stores 10,000 to 100,000 of them and ignores the rest."""
MAX_ANSWER_BYTES: Final = 4096
"""Bytes of an answer that are read; a good one has two."""
MAX_WORDS: Final = 100
"""Characters of an answer that a reason quotes."""

KNOWN_HOSTS: Final = ("hc-ping.com", "healthchecks.io")
"""Hosts that speak the conventions, with everything below them."""
_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_NOT_COUNTED: Final = re.compile(r"OK \((?P<reason>[^()]*)\)", re.IGNORECASE)
_STATUS_TEXTS: Final[Mapping[int, str]] = {
    404: "the service knows no such check (HTTP 404)",
    409: "several checks have this slug (HTTP 409)",
    410: "the check no longer exists (HTTP 410)",
}


class Signal(StrEnum):
    """The kinds of pings. The value stands behind the path of the address."""

    SUCCESS = ""
    START = "start"
    FAIL = "fail"
    LOG = "log"


def is_known_host(address: str) -> bool:
    """True if the host of ``address`` certainly speaks the conventions."""
    host = urlsplit(address).hostname or ""
    return any(host == known or host.endswith(f".{known}") for known in KNOWN_HOSTS)


def speaks_conventions(address: str) -> bool:
    """True if ``address`` looks like a check of healthchecks.io, hosted by it or by others.

    That is so for its own hosts, for hosts called ``healthchecks``, and for paths that end in a UUID.
    """
    parts = urlsplit(address)
    if is_known_host(address) or "healthchecks" in (parts.hostname or "").split("."):
        return True
    return _UUID.fullmatch(parts.path.rstrip("/").rpartition("/")[2]) is not None


def address_for(address: str, signal: Signal) -> str:
    """Returns the address of a ping: ``https://host/UUID?a=b`` becomes ``https://host/UUID/fail?a=b``.

    The address of a success is ``address`` as it is.
    """
    if signal is Signal.SUCCESS:
        return address
    parts = urlsplit(address)
    return parts._replace(path=f"{parts.path.rstrip('/')}/{signal}", fragment="").geturl()


def text_of(health: Health) -> bytes:
    """Returns the state and its reasons, one a line: UTF-8, at most ``MAX_TEXT_BYTES``, no secrets."""
    lines = [health.state.value]
    for reason in health.reasons:
        since = reason.since.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        lines.append(f"{' '.join(reason.text.split())} ({reason.id}, since {since})")
    text = log.redact("\n".join(lines)).encode("utf-8", "replace")
    if len(text) <= MAX_TEXT_BYTES:
        return text
    sign = "\n…".encode()
    return text[: MAX_TEXT_BYTES - len(sign)].decode("utf-8", "ignore").encode() + sign


@dataclass(frozen=True, slots=True)
class PingFailure:
    """The reason why the service did not count a ping. ``needs_person``: no later ping can arrive by itself."""

    reason: str
    needs_person: bool = False


def failure_in(answer: HttpAnswer, *, conventions: bool) -> PingFailure | None:
    """Returns the failure that an answer tells of; None if the service counted the ping.

    A service may answer 200 all the same: healthchecks.io for a check that does not exist or is pinged too often,
    others with JSON. Under ``conventions`` a web page is the answer of somebody else, such as a captive portal.
    """
    if not 200 <= answer.status < 300:
        text = _STATUS_TEXTS.get(answer.status)
        return PingFailure(text or f"HTTP {answer.status}", needs_person=text is not None)
    text = answer.text.strip()
    if (match := _NOT_COUNTED.fullmatch(text)) is not None:
        is_unknown = "not found" in match["reason"].lower()
        sentence = "the service knows no such check" if is_unknown else "the service did not count it"
        return PingFailure(f"{sentence}; it answers: {answer.words(MAX_WORDS)}", needs_person=is_unknown)
    if (value := _json_object(answer)).get("ok") is False:
        message = log.redact(" ".join(str(value.get("msg") or answer.text).split()))[:MAX_WORDS]
        return PingFailure(f"the service did not count it; it answers: {message}")
    if conventions and (text.startswith("<") or answer.headers.get("content-type", "").startswith("text/html")):
        return PingFailure("a web page came back, so another service answers in its place")
    return None


def _json_object(answer: HttpAnswer) -> Mapping[str, Any]:
    try:
        value = answer.json()
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
