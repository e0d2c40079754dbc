"""The backend for Linux desktops: the Desktop Notifications Specification 1.2 over D-Bus."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from jeepney import DBusAddress, HeaderFields, Message, MessageType, new_method_call
from jeepney.bus_messages import MatchRule, message_bus

from aintandem_notify.api import DestinationBroken, Receipt, Rejected, RetryLater, Severity
from aintandem_notify_desktop_notify.bus import Bus, BusLost
from aintandem_notify_desktop_notify.lasting import MAX_CRITICAL, LastingPopups
from aintandem_notify_desktop_notify.popup import Popup

NAME: Final = "org.freedesktop.Notifications"
PATH: Final = "/org/freedesktop/Notifications"

URGENCY: Final[Mapping[Severity, int]] = {
    Severity.INFO: 0,
    Severity.SUCCESS: 1,
    Severity.WARNING: 1,
    Severity.ERROR: 2,
    Severity.CRITICAL: 2,
}
"""0 low, 1 normal, 2 critical. Most desktops keep a critical notification until a person closes it."""

ICONS: Final[Mapping[Severity, str]] = {
    Severity.INFO: "dialog-information",
    Severity.SUCCESS: "dialog-information",
    Severity.WARNING: "dialog-warning",
    Severity.ERROR: "dialog-error",
    Severity.CRITICAL: "dialog-error",
}
"""Names of the freedesktop icon naming specification, which every theme has."""

_CRITICAL: Final = 2
_CLOSED: Final = "NotificationClosed"
_CLOSED_RULE: Final = MatchRule(type="signal", sender=NAME, interface=NAME, member=_CLOSED, path=PATH)
_MAX_INT32: Final = 2**31 - 1
# The tags of the specification; anything else in angle brackets is text.
_MARKUP: Final = re.compile(r"</?(?:b|i|u|a|img)(?:\s[^<>]*)?/?>", re.IGNORECASE)

_BUS_ERROR: Final = "org.freedesktop.DBus.Error."
# No process offers the service, or it exited during the call.
_UNAVAILABLE: Final = frozenset(
    _BUS_ERROR + name
    for name in ("ServiceUnknown", "NameHasNoOwner", "NoReply", "Timeout", "TimedOut", "Disconnected")
)
_BUSY: Final = frozenset(
    {
        _BUS_ERROR + "LimitsExceeded",
        _BUS_ERROR + "NoMemory",
        f"{NAME}.Error.ExcessNotificationGeneration",
    }
)
_DENIED: Final = frozenset(
    _BUS_ERROR + name
    for name in ("AccessDenied", "AuthFailed", "UnknownMethod", "UnknownObject", "UnknownInterface")
)


@dataclass(frozen=True, slots=True)
class Server:
    """The current notification server: its unique name on the bus, and its capabilities."""

    owner: str
    capabilities: frozenset[str]


def body_for(popup: Popup, capabilities: frozenset[str]) -> str:
    """The body in the form that a server with these capabilities requires."""
    if "body-markup" not in capabilities:
        return _MARKUP.sub("", popup.body)
    body = _escape(popup.body)
    if "body-hyperlinks" in capabilities and popup.url is not None:
        address = _escape(popup.url).replace('"', "%22")
        link = f'<a href="{address}">Show in the console</a>'
        body = f"{body}\n{link}" if body else link
    return body


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def expire_ms(seconds: float | None) -> int:
    """The protocol's ``expire_timeout``: milliseconds, 0 for ever, -1 for the server's default."""
    return -1 if seconds is None else min(round(seconds * 1000), _MAX_INT32)


def replaced_id(previous: Receipt | None, place: Mapping[str, str]) -> int:
    """The id to replace, 0 for none.

    An id is valid only for the server that issued it: after a restart of the service or a new login the same
    number may belong to another program's notification.
    """
    if previous is None or any(previous.get(key) != value for key, value in place.items()):
        return 0
    number = previous.get("id")
    return number if type(number) is int and 0 < number < 2**32 else 0


def outcome(error_name: str, text: str) -> Exception:
    """The exception for a D-Bus error; an unknown one is no outcome: it is dead after a few attempts."""
    reason = f"{error_name}: {text}" if text else error_name
    if error_name in _UNAVAILABLE or error_name.startswith(_BUS_ERROR + "Spawn."):
        return RetryLater(f"desktop notifications are unavailable: no notification service runs ({reason})")
    if error_name in _BUSY:
        return RetryLater(f"the notification service accepts no more for now ({reason})")
    if error_name in _DENIED:
        return DestinationBroken(f"the notification service cannot be used ({reason})")
    if error_name == _BUS_ERROR + "InvalidArgs":
        return Rejected(f"the notification service rejects this notification ({reason})")
    return RuntimeError(f"the notification service answered {reason}")


class Freedesktop:
    """Calls the owner of ``org.freedesktop.Notifications``; connects when needed, and again after a lost bus."""

    def __init__(self, environ: Mapping[str, str] = os.environ, max_critical: int = MAX_CRITICAL) -> None:
        """``environ`` holds the address of the bus; ``max_critical`` bounds the popups that stay on the screen."""
        self._environ = environ
        self._max_critical = max_critical
        self._bus: Bus | None = None
        self._server: Server | None = None
        self._lasting = LastingPopups(max_critical)
        self._is_listening = False

    async def show(self, popup: Popup, previous: Receipt | None) -> Receipt:
        """Show ``popup``, or a summary that tells of it if too many critical ones are on the screen.

        The receipt identifies a popup of its own for this server on this bus. One for the summary has no ``id``:
        nothing may replace it.
        """
        bus = await self._connected()
        server = await self._current_server(bus)
        place = {"bus": bus.id, "server": server.owner}
        replaces_id = replaced_id(previous, place)
        is_critical = URGENCY[popup.severity] == _CRITICAL
        await self._listen(bus, needed=is_critical or bool(self._lasting))
        if is_critical and not self._lasting.has_room(replaces_id):
            summary = self._lasting.summary_with(popup)
            number = await self._notify(bus, server, summary, self._lasting.summary_id)
            self._lasting.record_summary(number, popup)
            return {"summary": number, **place}
        number = await self._notify(bus, server, popup, replaces_id)
        self._lasting.record_shown(number, is_critical=is_critical)
        return {"id": number, **place}

    async def _notify(self, bus: Bus, server: Server, popup: Popup, replaces_id: int) -> int:
        """Show ``popup``; returns the id that the server gave it."""
        arguments: tuple[Any, ...] = (
            popup.app_name,
            replaces_id,
            ICONS[popup.severity] if popup.icon is None else popup.icon,
            popup.summary,
            body_for(popup, server.capabilities),
            [],  # no actions: no process would handle them
            {"urgency": ("y", URGENCY[popup.severity])},
            expire_ms(popup.expire_timeout),
        )
        # To the server for which the id and the markup are valid, even if the name has a new owner.
        answer = await self._call(bus, _to(server.owner, "Notify", "susssasa{sv}i", arguments))
        return int(answer.body[0])

    async def check(self) -> None:
        """Call a method of the service that shows nothing."""
        await self._call(await self._connected(), _to(NAME, "GetServerInformation"))

    def diagnostics(self) -> Mapping[str, Any]:
        """The connection's state, and the server's name and capabilities, as of the last use."""
        return {
            "connected": self._bus is not None,
            "server": None if self._server is None else self._server.owner,
            "capabilities": [] if self._server is None else sorted(self._server.capabilities),
            "critical popups": len(self._lasting),
            "failures in the summary": self._lasting.summarized,
        }

    def close(self) -> None:
        """Close the connection."""
        bus, self._bus, self._server = self._bus, None, None
        # Without a connection, the popups on the screen are unknown.
        self._lasting = LastingPopups(self._max_critical)
        self._is_listening = False
        if bus is not None:
            bus.close()

    async def _connected(self) -> Bus:
        if self._bus is None:
            try:
                self._bus = await Bus.connect(self._environ, self._on_signal)
            except BusLost as error:
                raise RetryLater(f"desktop notifications are unavailable: {error}") from error
        return self._bus

    async def _current_server(self, bus: Bus) -> Server:
        """The current server; reads the capabilities only if it has changed."""
        owner = await self._request(bus, message_bus.GetNameOwner(NAME))
        if self._server is None or is_error(owner) or owner.body[0] != self._server.owner:
            self._lasting = LastingPopups(self._max_critical)
            try:
                # By its well-known name, so that the bus starts the service if it can.
                answer = await self._call(bus, _to(NAME, "GetCapabilities"))
            except RetryLater:
                # Another of several buses may have the service at the next try.
                self.close()
                raise
            sender = str(answer.header.fields[HeaderFields.sender])
            self._server = Server(sender, frozenset(map(str, answer.body[0])))
        return self._server

    async def _listen(self, bus: Bus, *, needed: bool) -> None:
        """Let the bus pass on, or no longer, that popups were closed. A refusal only keeps their places taken."""
        if needed is not self._is_listening:
            await self._request(bus, (message_bus.AddMatch if needed else message_bus.RemoveMatch)(_CLOSED_RULE))
            self._is_listening = needed

    def _on_signal(self, signal: Message) -> None:
        fields = signal.header.fields
        sender, member = fields.get(HeaderFields.sender), fields.get(HeaderFields.member)
        if self._server is not None and (sender, member) == (self._server.owner, _CLOSED) and signal.body:
            self._lasting.record_closed(signal.body[0])

    async def _call(self, bus: Bus, message: Message) -> Message:
        answer = await self._request(bus, message)
        if is_error(answer):
            text = str(answer.body[0])[:200] if answer.body else ""
            raise outcome(str(answer.header.fields[HeaderFields.error_name]), text)
        return answer

    async def _request(self, bus: Bus, message: Message) -> Message:
        answered = False
        try:
            answer = await bus.call(message)
            answered = True
        except BusLost as error:
            raise RetryLater(f"desktop notifications are unavailable: the session bus is lost: {error}") from error
        finally:
            # Also after a deadline: the next call must not read the reply to this one.
            if not answered:
                self.close()
        return answer


def is_error(answer: Message) -> bool:
    """True if the reply is an error; jeepney returns errors like other replies."""
    return bool(answer.header.message_type is MessageType.error)


def _to(owner: str, method: str, signature: str | None = None, arguments: tuple[Any, ...] = ()) -> Message:
    address = DBusAddress(PATH, bus_name=owner, interface=NAME)
    return new_method_call(address, method, signature, arguments)
