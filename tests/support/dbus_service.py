"""A private D-Bus session bus with a notification service that follows the specification.

The bus is a real ``dbus-daemon`` without other services. The service checks its calls more strictly than desktops
do: it answers an invalid call with ``InvalidArgs`` and records the reason in ``complaints``.
"""

import shutil
import tempfile
import xml.etree.ElementTree as ElementTree
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from subprocess import PIPE
from typing import Any, Final

import trio
from jeepney import DBusAddress, HeaderFields, Message, MessageType, new_error, new_method_return, new_signal
from jeepney.bus_messages import message_bus
from jeepney.io.trio import DBusConnection, open_dbus_connection

from support.services import require_or_skip

NAME: Final = "org.freedesktop.Notifications"
PATH: Final = "/org/freedesktop/Notifications"
INVALID_ARGS: Final = "org.freedesktop.DBus.Error.InvalidArgs"

_CONFIG: Final = """\
<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <listen>unix:path={socket}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
    <allow own="*"/>
  </policy>
</busconfig>
"""


@dataclass(frozen=True, slots=True)
class ShownNotification:
    """An accepted call of ``Notify``, with the id that it got."""

    id: int
    app_name: str
    replaces_id: int
    icon: str
    summary: str
    body: str
    actions: tuple[str, ...]
    hints: Mapping[str, tuple[str, Any]]
    expire_timeout: int

    @property
    def urgency(self) -> int:
        """0 low, 1 normal, 2 critical."""
        return int(self.hints["urgency"][1])


@dataclass
class NotificationService:
    """Records the calls and the shown notifications. ``address`` is for ``DBUS_SESSION_BUS_ADDRESS``."""

    address: str
    capabilities: tuple[str, ...]
    first_id: int = 1
    notifications: list[ShownNotification] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    silent: bool = False
    """While true, calls are recorded and never answered."""

    _connection: DBusConnection | None = None
    _errors: list[tuple[str, str]] = field(default_factory=list)
    _changed: trio.Event = field(default_factory=trio.Event)

    def fail_next(self, error_name: str, text: str = "on demand") -> None:
        """Answer the next ``Notify`` with this error; several errors are used in order."""
        self._errors.append((error_name, text))

    async def close(self, *ids: int) -> None:
        """Report that a person closed these notifications."""
        assert self._connection is not None
        emitter = DBusAddress(PATH, interface=NAME)
        for number in ids:
            await self._connection.send(new_signal(emitter, "NotificationClosed", "uu", (number, 2)))

    def on_screen(self) -> dict[int, ShownNotification]:
        """The notifications by id, each as it was shown last; also those that were closed."""
        return {notification.id: notification for notification in self.notifications}

    async def wait_for(self, count: int) -> list[ShownNotification]:
        """Wait for ``count`` notifications, and return all."""
        await self._wait_until(lambda: len(self.notifications) >= count)
        return self.notifications

    async def wait_for_call(self, method: str) -> None:
        """Return as soon as ``method`` was called."""
        await self._wait_until(lambda: method in self.calls)

    async def _wait_until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            await self._changed.wait()

    def answer(self, call: Message) -> Message | None:
        """The answer to a method call; None for none."""
        fields = call.header.fields
        method = str(fields.get(HeaderFields.member))
        self.calls.append(method)
        try:
            if self.silent:
                return None
            if (fields.get(HeaderFields.path), fields.get(HeaderFields.interface)) != (PATH, NAME):
                return new_error(call, "org.freedesktop.DBus.Error.UnknownObject", "s", ("no such object",))
            return self._answer_method(call, method, str(fields.get(HeaderFields.signature, "")))
        finally:
            self._changed.set()
            self._changed = trio.Event()

    def _answer_method(self, call: Message, method: str, signature: str) -> Message:
        match method, signature:
            case "GetCapabilities", "":
                return new_method_return(call, "as", (list(self.capabilities),))
            case "GetServerInformation", "":
                return new_method_return(call, "ssss", ("test", "aintandem-notify", "1", "1.2"))
            case "Notify", "susssasa{sv}i":
                return self._notify(call)
            case (("GetCapabilities" | "GetServerInformation" | "Notify"), _):
                return self._complain(call, f"{method} with the signature {signature!r}")
            case _:
                return new_error(call, "org.freedesktop.DBus.Error.UnknownMethod", "s", (method,))

    def _notify(self, call: Message) -> Message:
        if self._errors:
            name, text = self._errors.pop(0)
            return new_error(call, name, "s", (text,))
        app_name, replaces_id, icon, summary, body, actions, hints, expire_timeout = call.body
        notification = ShownNotification(
            id=replaces_id or self.first_id + len(self.notifications),
            app_name=app_name,
            replaces_id=replaces_id,
            icon=icon,
            summary=summary,
            body=body,
            actions=tuple(actions),
            hints=hints,
            expire_timeout=expire_timeout,
        )
        if trouble := flaw(notification, self.capabilities, {earlier.id for earlier in self.notifications}):
            return self._complain(call, trouble)
        self.notifications.append(notification)
        return new_method_return(call, "u", (notification.id,))

    def _complain(self, call: Message, trouble: str) -> Message:
        self.complaints.append(trouble)
        return new_error(call, INVALID_ARGS, "s", (trouble,))


def flaw(notification: ShownNotification, capabilities: Iterable[str], known_ids: Iterable[int]) -> str | None:
    """The violation of the specification, None without one."""
    if not notification.summary:
        return "an empty summary"
    if notification.replaces_id and notification.replaces_id not in set(known_ids):
        return f"replaces {notification.replaces_id}, which was never given"
    if len(notification.actions) % 2:
        return "actions are pairs"
    if notification.expire_timeout < -1:
        return f"expire_timeout {notification.expire_timeout}"
    kind, level = notification.hints.get("urgency", ("y", 1))
    if kind != "y" or level not in {0, 1, 2}:
        return f"urgency {level!r} of type {kind!r}"
    return markup_flaw(notification.body, capabilities) if "body-markup" in capabilities else None


def markup_flaw(body: str, capabilities: Iterable[str]) -> str | None:
    """The error in a body of markup: not well-formed, or a tag that the server does not support."""
    allowed = {"body", "b", "i", "u"} | ({"a"} if "body-hyperlinks" in capabilities else set())
    try:
        tags = {element.tag for element in ElementTree.fromstring(f"<body>{body}</body>").iter()}
    except ElementTree.ParseError as error:
        return f"malformed markup: {error}"
    return f"tags {sorted(tags - allowed)}" if tags - allowed else None


@asynccontextmanager
async def open_bus() -> AsyncIterator[str]:
    """Run a private session bus and yield its address. Skips the test without a ``dbus-daemon``."""
    daemon = shutil.which("dbus-daemon")
    if daemon is None:
        require_or_skip("dbus-daemon is not installed")
    with tempfile.TemporaryDirectory(prefix="bus") as folder:
        config = trio.Path(folder) / "bus.conf"
        await config.write_text(_CONFIG.format(socket=Path(folder) / "socket"), encoding="utf-8")
        async with trio.open_nursery() as nursery:
            command = [daemon, f"--config-file={config}", "--nofork", "--nopidfile", "--print-address=1"]
            # Killed at the end: it has nothing to save, and ``trio`` warns about a slow exit.
            process = await nursery.start(
                partial(trio.run_process, command, stdout=PIPE, check=False, deliver_cancel=_kill)
            )
            # It prints its address when it listens.
            yield (await _first_line(process.stdout)).strip()
            nursery.cancel_scope.cancel()


async def _kill(process: trio.Process) -> None:
    await trio.lowlevel.checkpoint()
    process.kill()


async def _first_line(stream: trio.abc.ReceiveStream) -> str:
    line = b""
    while not line.endswith(b"\n"):
        received = await stream.receive_some(1)
        if not received:
            raise RuntimeError("dbus-daemon ended before it listened")
        line += received
    return line.decode()


@asynccontextmanager
async def serve_notifications(
    address: str, capabilities: Iterable[str] = ("body", "body-markup"), first_id: int = 1
) -> AsyncIterator[NotificationService]:
    """Run a notification service on the bus at ``address`` until the block ends."""
    connection = await open_dbus_connection(address)
    service = NotificationService(address, tuple(capabilities), first_id, _connection=connection)
    async with connection, trio.open_nursery() as nursery:
        async with connection.router() as router:
            await router.send_and_get_reply(message_bus.RequestName(NAME))
        nursery.start_soon(_serve, connection, service)
        yield service
        nursery.cancel_scope.cancel()


async def _serve(connection: DBusConnection, service: NotificationService) -> None:
    try:
        while True:
            message = await connection.receive()
            if message.header.message_type is not MessageType.method_call:
                continue
            if (answer := service.answer(message)) is not None:
                await connection.send(answer)
    except (trio.EndOfChannel, trio.BrokenResourceError):
        return  # the bus is gone, as in some tests


@asynccontextmanager
async def open_notification_service(
    capabilities: Iterable[str] = ("body", "body-markup"),
) -> AsyncIterator[NotificationService]:
    """Run a new bus with a notification service."""
    async with open_bus() as address, serve_notifications(address, capabilities) as service:
        yield service
