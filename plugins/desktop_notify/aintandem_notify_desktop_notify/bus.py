"""A connection to the D-Bus session bus: connects and makes calls, without background tasks.

jeepney's own ``open_dbus_connection`` leaves the socket open if a bus refuses us or hangs up, and loops for ever
if it hangs up during authentication. Therefore the handshake is implemented here.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final, Self

import trio
from jeepney import HeaderFields, Message, MessageType
from jeepney.auth import BEGIN, AuthenticationError, Authenticator
from jeepney.bus_messages import message_bus
from jeepney.io.trio import DBusConnection

from aintandem_notify_desktop_notify.addresses import VARIABLE, bus_addresses

CONNECT_TIMEOUT_S: Final = 3.0
"""Seconds that each address gets, so that the next one is tried within the deadline of a delivery."""


OnSignal = Callable[[Message], None]


class BusLost(Exception):
    """There is no bus, or it refused us, or it closed the connection."""


class Bus:
    """A connection to the session bus. ``id`` identifies the bus: after a new login it is another one."""

    def __init__(self, connection: DBusConnection, on_signal: OnSignal) -> None:
        self._connection = connection
        self._on_signal = on_signal
        self.id = ""

    @classmethod
    async def connect(
        cls,
        environ: Mapping[str, str],
        on_signal: OnSignal = lambda _signal: None,
        *,
        timeout_s: float = CONNECT_TIMEOUT_S,
    ) -> Self:
        """Connect to the first address that answers; raises ``BusLost``, which names those that were tried.

        ``on_signal`` gets the signals that arrive before the reply to a call. Each address has ``timeout_s``.
        """
        addresses = bus_addresses(environ)
        if not addresses:
            raise BusLost(f"there is no session bus: neither {VARIABLE} nor XDG_RUNTIME_DIR is set")
        if all(address.path is None for address in addresses):
            names = ";".join(address.name for address in addresses)
            raise BusLost(f"no way to reach {VARIABLE}={names}, and XDG_RUNTIME_DIR is not set")
        failures = []
        for address in addresses:
            if address.path is None:
                failures.append(f"no socket to connect to ({address.name})")
                continue
            try:
                return await cls._connect_to(address.path, on_signal, timeout_s)
            except BusLost as error:
                failures.append(f"{error} ({address.name})")
        raise BusLost(f"the session bus does not answer: {'; '.join(failures)}")

    @classmethod
    async def _connect_to(cls, path: str, on_signal: OnSignal, timeout_s: float) -> Self:
        with trio.move_on_after(timeout_s):
            stream = await _open_socket(path)
            bus = cls(DBusConnection(stream.socket), on_signal)
            try:
                await _authenticate(stream)
                await bus.call(message_bus.Hello())
                bus.id = _first((await bus.call(message_bus.GetId())).body)
            except BaseException:
                bus.close()
                raise
            return bus
        raise BusLost(f"it said nothing for {timeout_s:g} s")

    async def call(self, message: Message) -> Message:
        """Send ``message`` and return the reply, which may be an error; raises ``BusLost``.

        Make one call at a time. After a cancelled call the connection is unusable: close it.
        """
        serial = next(self._connection.outgoing_serial)
        with _bus_errors():
            # An error in encoding the message is not translated: it does not mean that the bus is lost.
            await self._connection.send(message, serial=serial)
        while True:
            answer = await self._receive()
            if answer.header.fields.get(HeaderFields.reply_serial) == serial:
                return answer
            if answer.header.message_type is MessageType.signal:
                self._on_signal(answer)

    async def _receive(self) -> Message:
        try:
            with _bus_errors():
                answer: Message = await self._connection.receive()
                return answer
        except BusLost:
            raise
        except Exception as error:  # jeepney raises various exceptions for invalid bytes
            raise BusLost(f"it sent something that is not D-Bus ({type(error).__name__})") from error

    def close(self) -> None:
        """Close the connection."""
        self._connection.socket.close()


async def _open_socket(path: str) -> trio.SocketStream:
    try:
        return await trio.open_unix_socket(path)
    except (OSError, ValueError) as error:  # ValueError for an impossible path
        reason = error.strerror if isinstance(error, OSError) else None
        raise BusLost(reason or "no socket can have this name") from error


async def _authenticate(stream: trio.SocketStream) -> None:
    """Authenticate as the current user, whom the kernel confirms."""
    dialogue = Authenticator(inc_null_byte=True)
    try:
        for line in dialogue:
            await stream.send_all(line)
            answer = await stream.receive_some()
            if not answer:
                raise BusLost("it hung up")
            dialogue.feed(answer)
        await stream.send_all(BEGIN)
    except BusLost:
        raise
    except AuthenticationError as error:
        raise BusLost("it refused us") from error
    except trio.BrokenResourceError as error:
        raise BusLost("it hung up") from error
    except Exception as error:  # as in `Bus`
        raise BusLost(f"it sent something that is not D-Bus ({type(error).__name__})") from error


@contextmanager
def _bus_errors() -> Iterator[None]:
    try:
        yield
    except (trio.BrokenResourceError, trio.ClosedResourceError, trio.EndOfChannel) as error:
        raise BusLost("it hung up") from error


def _first(body: Sequence[object]) -> str:
    if not body:
        raise BusLost("it does not say who it is")
    return str(body[0])
