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
from aintandem_notify.http_client.addresses import refusal
from aintandem_notify.http_client.look_up import look_up

HEAD_START: Final = 0.25
"""Seconds that an address gets before the next one is tried beside it (RFC 8305 section 5)."""


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
    found = await look_up(host)
    refused = {address: kind for address in found if (kind := refusal(address, outbound)) is not None}
    allowed = [address for address in found if address not in refused]
    if not allowed:
        raise HttpFailed(_refused(host, *refused.popitem()))
    stream, failures = await race(dial, allowed)
    if stream is None:
        raise HttpFailed(f"cannot connect to {host}:{port}: {in_words(failures[0])}")
    return stream


def _refused(host: str, address: str, kind: str) -> str:
    target = host if host == address else f"{host} ({address})"
    return (
        f"{target} leads to {kind}; metadata services of clouds have such addresses, "
        "so none is contacted unless allow_addresses in [connection] holds it"
    )


async def race(dial: Dial[StreamT], addresses: Sequence[str]) -> tuple[StreamT | None, list[OSError]]:
    """The first connection that stands, else what each address failed with."""
    winner: StreamT | None = None
    failures: list[OSError] = []
    async with AsyncExitStack() as unless_handed_over:

        async def try_address(address: str, failed: trio.Event) -> None:
            nonlocal winner
            try:
                stream = await dial(address)
            except OSError as error:
                failures.append(error)
                failed.set()
                return
            if winner is not None:  # two answered in the same moment
                await stream.aclose()
                return
            winner = stream
            unless_handed_over.push_async_callback(stream.aclose)
            nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            for address in addresses:
                failed = trio.Event()
                nursery.start_soon(try_address, address, failed)
                with trio.move_on_after(HEAD_START):
                    await failed.wait()
        if winner is not None:
            unless_handed_over.pop_all()
    return winner, failures


def in_words(error: BaseException) -> str:
    """The system's word for it (``Connection refused``), which trio keeps in the causes."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, BaseExceptionGroup):
            cause = cause.exceptions[0]
        if isinstance(cause, OSError) and cause.errno:
            return os.strerror(cause.errno)
        cause = cause.__cause__ or cause.__context__
    return str(error)
