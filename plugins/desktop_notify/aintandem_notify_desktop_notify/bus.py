"""One connection to the D-Bus session bus: connect and call, with nothing running in the background.

jeepney's own ``open_dbus_connection`` leaves the socket open when a bus refuses or hangs up, and turns round
and round when it hangs up during authentication; so the handshake stands here.
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
    """There is no bus, it refuses us, or it hung up."""


def socket_paths(environ: Mapping[str, str]) -> list[str]:
    """Where the session bus may listen, to be tried in this order; raises ``BusLost`` if nothing is known.

    Without ``DBUS_SESSION_BUS_ADDRESS`` it is the bus of the user's systemd, as for other clients.
    """
    if address := environ.get("DBUS_SESSION_BUS_ADDRESS"):
        try:
            return list(get_connectable_addresses(address))
        except Exception as error:  # whatever jeepney makes of an address that anybody may set
            raise BusLost(f"no way to reach DBUS_SESSION_BUS_ADDRESS={address}") from error
    if folder := environ.get("XDG_RUNTIME_DIR"):
        return [str(PurePosixPath(folder) / "bus")]
    raise BusLost("there is no session bus: neither DBUS_SESSION_BUS_ADDRESS nor XDG_RUNTIME_DIR is set")


class Bus:
    """A connection. ``id`` names the bus itself: another one, as after a new login, has another."""

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
        """The answer, which may be an error; raises ``BusLost``.

        Only one call at a time. After one that was cancelled the bus is of no use: close it.
        """
        serial = next(self._connection.outgoing_serial)
        with _bus_errors():
            # What the library cannot write is the message's own fault, and no sign that the bus is lost.
            await self._connection.send(message, serial=serial)
        while True:
            # Signals that arrive meanwhile are of no interest.
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
        except Exception as error:  # the border to jeepney, which raises what it likes about bytes
            raise BusLost(f"what the session bus said is not D-Bus ({type(error).__name__})") from error

    def close(self) -> None:
        """Hang up."""
        self._connection.socket.close()


async def _open_socket(paths: list[str]) -> trio.SocketStream:
    trouble: OSError | ValueError | None = None
    for path in paths:
        try:
            return await trio.open_unix_socket(path)
        except (OSError, ValueError) as error:  # ValueError for a path that cannot be one
            trouble = error
    reason = trouble.strerror if isinstance(trouble, OSError) else "it has no address that can be used"
    raise BusLost(f"the session bus does not answer: {reason}") from trouble


async def _authenticate(stream: trio.SocketStream) -> None:
    """Say who we are; the kernel vouches for it."""
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
        raise BusLost(f"what the session bus said is not D-Bus ({type(error).__name__})") from error


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
