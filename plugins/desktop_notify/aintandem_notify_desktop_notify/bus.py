"""A connection to the D-Bus session bus: connects and makes calls, without background tasks.

jeepney's own ``open_dbus_connection`` leaves the socket open if a bus refuses us or hangs up, and loops for ever
if it hangs up during authentication. Therefore the handshake is implemented here.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import Self

import trio
from jeepney import HeaderFields, Message
from jeepney.auth import BEGIN, AuthenticationError, Authenticator
from jeepney.bus import get_connectable_addresses
from jeepney.bus_messages import message_bus
from jeepney.io.trio import DBusConnection


class BusLost(Exception):
    """There is no bus, or it refused us, or it closed the connection."""


def socket_paths(environ: Mapping[str, str]) -> list[str]:
    """The sockets of the session bus, to be tried in this order; raises ``BusLost`` if none is configured.

    Without ``DBUS_SESSION_BUS_ADDRESS`` it is the bus of the user's systemd, as in other clients.
    """
    if address := environ.get("DBUS_SESSION_BUS_ADDRESS"):
        try:
            return list(get_connectable_addresses(address))
        except Exception as error:  # jeepney raises various exceptions for an invalid address
            raise BusLost(f"no way to reach DBUS_SESSION_BUS_ADDRESS={address}") from error
    if folder := environ.get("XDG_RUNTIME_DIR"):
        return [str(PurePosixPath(folder) / "bus")]
    raise BusLost("there is no session bus: neither DBUS_SESSION_BUS_ADDRESS nor XDG_RUNTIME_DIR is set")


class Bus:
    """A connection to the session bus. ``id`` identifies the bus: after a new login it is another one."""

    def __init__(self, connection: DBusConnection) -> None:
        self._connection = connection
        self.id = ""

    @classmethod
    async def connect(cls, environ: Mapping[str, str]) -> Self:
        """Connect to the first address that answers; raises ``BusLost``."""
        stream = await _open_socket(socket_paths(environ))
        bus = cls(DBusConnection(stream.socket))
        try:
            await _authenticate(stream)
            await bus.call(message_bus.Hello())
            bus.id = _first((await bus.call(message_bus.GetId())).body)
        except BaseException:
            bus.close()
            raise
        return bus

    async def call(self, message: Message) -> Message:
        """Send ``message`` and return the reply, which may be an error; raises ``BusLost``.

        Make one call at a time. After a cancelled call the connection is unusable: close it.
        """
        serial = next(self._connection.outgoing_serial)
        with _bus_errors():
            # An error in encoding the message is not translated: it does not mean that the bus is lost.
            await self._connection.send(message, serial=serial)
        while True:
            # Signals that arrive in between are ignored.
            answer = await self._receive()
            if answer.header.fields.get(HeaderFields.reply_serial) == serial:
                return answer

    async def _receive(self) -> Message:
        try:
            with _bus_errors():
                answer: Message = await self._connection.receive()
                return answer
        except BusLost:
            raise
        except Exception as error:  # jeepney raises various exceptions for invalid bytes
            raise BusLost(f"the session bus sent something that is not D-Bus ({type(error).__name__})") from error

    def close(self) -> None:
        """Close the connection."""
        self._connection.socket.close()


async def _open_socket(paths: list[str]) -> trio.SocketStream:
    failure: OSError | ValueError | None = None
    for path in paths:
        try:
            return await trio.open_unix_socket(path)
        except (OSError, ValueError) as error:  # ValueError for an impossible path
            failure = error
    reason = failure.strerror if isinstance(failure, OSError) else "it has no address that can be used"
    raise BusLost(f"the session bus does not answer: {reason}") from failure


async def _authenticate(stream: trio.SocketStream) -> None:
    """Authenticate as the current user, whom the kernel confirms."""
    dialogue = Authenticator(inc_null_byte=True)
    try:
        for line in dialogue:
            await stream.send_all(line)
            answer = await stream.receive_some()
            if not answer:
                raise BusLost("the session bus hung up")
            dialogue.feed(answer)
        await stream.send_all(BEGIN)
    except BusLost:
        raise
    except AuthenticationError as error:
        raise BusLost("the session bus refused us") from error
    except trio.BrokenResourceError as error:
        raise BusLost("the session bus hung up") from error
    except Exception as error:  # as in `Bus`
        raise BusLost(f"the session bus sent something that is not D-Bus ({type(error).__name__})") from error


@contextmanager
def _bus_errors() -> Iterator[None]:
    try:
        yield
    except (trio.BrokenResourceError, trio.ClosedResourceError, trio.EndOfChannel) as error:
        raise BusLost("the session bus hung up") from error


def _first(body: Sequence[object]) -> str:
    if not body:
        raise BusLost("the session bus does not say who it is")
    return str(body[0])
