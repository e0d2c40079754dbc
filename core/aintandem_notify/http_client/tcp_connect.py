"""Making the TCP connection: look up, refuse what may not be dialled, and try the rest side by side.

For requests and for the orchestrator's sockets alike.
"""

import os
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from typing import Final, Protocol, TypeVar

import trio

from aintandem_notify.config import Outbound
from aintandem_notify.errors import HttpFailed
from aintandem_notify.http_client.addresses import forbidden_kind
from aintandem_notify.http_client.name_lookup import resolve

ATTEMPT_DELAY_S: Final = 0.25
"""Seconds that an address gets before the next one is tried beside it (RFC 8305 section 5)."""
MAX_PARALLEL_ATTEMPTS: Final = 4
"""Tries at a time that are made beside another of the same connection, over all connections. Where many hosts with
several addresses each do not answer, theirs would take all descriptors and places of others."""


class Closable(Protocol):
    """A connection that can be closed."""

    async def aclose(self) -> None:
        """Close it."""
        ...


StreamT = TypeVar("StreamT", bound=Closable)
Dial = Callable[[str], Awaitable[StreamT]]
"""Connects to a numeric address; raises OSError."""


async def connect(host: str, port: int, dial: Dial[StreamT], outbound: Outbound) -> StreamT:
    """A connection to the first address of ``host`` that takes one, of those that may be dialled.

    What is checked is what is dialled, and not what was typed: a name that changes its answer between check and
    use does not get round it. Raises HttpFailed. Has no deadline of its own.
    """
    found = await resolve(host)
    refused = {address: kind for address in found if (kind := forbidden_kind(address, outbound)) is not None}
    allowed = [address for address in found if address not in refused]
    if not allowed:
        raise HttpFailed(_forbidden_message(host, *refused.popitem()))
    stream, failures = await race(dial, allowed)
    if stream is None:
        raise HttpFailed(f"cannot connect to {host}:{port}: {describe_os_error(failures[0])}")
    return stream


def _forbidden_message(host: str, address: str, kind: str) -> str:
    target = host if host == address else f"{host} ({address})"
    return (
        f"{target} leads to {kind}; metadata services of clouds have such addresses, "
        "so none is contacted unless allow_addresses in [connection] holds it"
    )


async def race(dial: Dial[StreamT], addresses: Sequence[str]) -> tuple[StreamT | None, list[OSError]]:
    """The first connection that stands, else what each address failed with.

    Where all the tries beside one another are taken, that of the next address takes the place of the oldest.
    """
    winner: StreamT | None = None
    failures: list[OSError] = []
    under_way: list[_DialAttempt] = []
    async with AsyncExitStack() as unless_handed_over:

        async def try_address(address: str, this: _DialAttempt) -> None:
            nonlocal winner
            try:
                with this.scope:
                    stream = await dial(address)
            except OSError as error:
                failures.append(error)
                this.ended.set()
                return
            finally:
                under_way.remove(this)
                this.leave()
            if this.scope.cancelled_caught:
                this.ended.set()
                return
            if winner is not None:  # two answered in the same moment
                await stream.aclose()
                return
            winner = stream
            unless_handed_over.push_async_callback(stream.aclose)
            nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            for address in addresses:
                this = _DialAttempt()
                while under_way and not this.enter():
                    await under_way[0].give_up()
                under_way.append(this)
                nursery.start_soon(try_address, address, this)
                with trio.move_on_after(ATTEMPT_DELAY_S):
                    await this.ended.wait()
        if winner is not None:
            unless_handed_over.pop_all()
    return winner, failures


_parallel_slots: trio.lowlevel.RunVar[trio.CapacityLimiter] = trio.lowlevel.RunVar("places_beside")


class _DialAttempt:
    """One address that is being dialled; ``ended`` is set when it is no use."""

    def __init__(self) -> None:
        self.scope = trio.CancelScope()
        self.ended = trio.Event()
        self._place: trio.CapacityLimiter | None = None

    def enter(self) -> bool:
        """Take a place for a try beside others; whether there is one."""
        try:
            places = _parallel_slots.get()
        except LookupError:
            places = trio.CapacityLimiter(MAX_PARALLEL_ATTEMPTS)
            _parallel_slots.set(places)
        try:
            places.acquire_on_behalf_of_nowait(self)
        except trio.WouldBlock:
            return False
        self._place = places
        return True

    def leave(self) -> None:
        """Give the place back, if there is one."""
        if self._place is not None:
            self._place.release_on_behalf_of(self)

    async def give_up(self) -> None:
        """Break it off."""
        self.scope.cancel()
        await self.ended.wait()


def describe_os_error(error: BaseException) -> str:
    """The system's word for it (``Connection refused``), which trio keeps in the causes."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, BaseExceptionGroup):
            cause = cause.exceptions[0]
        if isinstance(cause, OSError) and cause.errno:
            return os.strerror(cause.errno)
        cause = cause.__cause__ or cause.__context__
    return str(error)
