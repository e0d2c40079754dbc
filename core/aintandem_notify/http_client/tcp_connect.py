"""Opens a TCP connection: resolves the name, drops forbidden addresses, and dials the others in parallel.

Both the HTTP client and the orchestrator's WebSockets (``orchestrator.link.dial``) use it. The parallel
attempts are Happy Eyeballs (RFC 8305): an attempt dials one address.
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
"""Seconds until the next address is dialled in parallel (RFC 8305 section 5, "Connection Attempt Delay")."""
MAX_PARALLEL_ATTEMPTS: Final = 4
"""Parallel attempts at a time, over all connections, besides the first attempt of each. Without the limit, many
hosts that do not answer, with several addresses each, would take all descriptors and slots."""


class Closable(Protocol):
    """A connection that can be closed."""

    async def aclose(self) -> None:
        """Close it."""
        ...


StreamT = TypeVar("StreamT", bound=Closable)
Dial = Callable[[str], Awaitable[StreamT]]
"""Connects to a numeric address; raises OSError."""


async def connect(host: str, port: int, dial: Dial[StreamT], outbound: Outbound) -> StreamT:
    """A connection to the first address of ``host`` that may be dialled and accepts one.

    The check is made on the addresses that are dialled, not on the name: a DNS answer that changes between check
    and use cannot evade it. Raises HttpFailed. Has no deadline of its own.
    """
    addresses = await resolve(host)
    forbidden = {address: kind for address in addresses if (kind := forbidden_kind(address, outbound)) is not None}
    allowed = [address for address in addresses if address not in forbidden]
    if not allowed:
        raise HttpFailed(_forbidden_message(host, *forbidden.popitem()))
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
    """The first connection that is established, and the errors of the addresses that failed before.

    If no slot for a parallel attempt is free, the oldest attempt is cancelled to make room for the next address.
    """
    winner: StreamT | None = None
    failures: list[OSError] = []
    running: list[_DialAttempt] = []
    async with AsyncExitStack() as close_on_failure:

        async def dial_address(address: str, attempt: _DialAttempt) -> None:
            nonlocal winner
            try:
                with attempt.scope:
                    stream = await dial(address)
            except OSError as error:
                failures.append(error)
                attempt.is_over.set()
                return
            finally:
                running.remove(attempt)
                attempt.release_slot()
            if attempt.scope.cancelled_caught:
                attempt.is_over.set()
                return
            if winner is not None:  # two connected at the same moment
                await stream.aclose()
                return
            winner = stream
            close_on_failure.push_async_callback(stream.aclose)
            nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            for address in addresses:
                attempt = _DialAttempt()
                while running and not attempt.take_slot():
                    await running[0].cancel()
                running.append(attempt)
                nursery.start_soon(dial_address, address, attempt)
                with trio.move_on_after(ATTEMPT_DELAY_S):
                    await attempt.is_over.wait()
        if winner is not None:
            close_on_failure.pop_all()
    return winner, failures


_parallel_slots: trio.lowlevel.RunVar[trio.CapacityLimiter] = trio.lowlevel.RunVar("parallel_slots")


class _DialAttempt:
    """The attempt to dial one address; ``is_over`` is set when it has failed or is cancelled."""

    def __init__(self) -> None:
        self.scope = trio.CancelScope()
        self.is_over = trio.Event()
        self._slots: trio.CapacityLimiter | None = None

    def take_slot(self) -> bool:
        """Take a slot for a parallel attempt. Returns False if none is free."""
        try:
            slots = _parallel_slots.get()
        except LookupError:
            slots = trio.CapacityLimiter(MAX_PARALLEL_ATTEMPTS)
            _parallel_slots.set(slots)
        try:
            slots.acquire_on_behalf_of_nowait(self)
        except trio.WouldBlock:
            return False
        self._slots = slots
        return True

    def release_slot(self) -> None:
        """Give the slot back, if the attempt has one."""
        if self._slots is not None:
            self._slots.release_on_behalf_of(self)

    async def cancel(self) -> None:
        """Cancel the attempt, and wait until it is over."""
        self.scope.cancel()
        await self.is_over.wait()


def describe_os_error(error: BaseException) -> str:
    """The system's text for the error (``Connection refused``), which trio keeps in the causes."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, BaseExceptionGroup):
            cause = cause.exceptions[0]
        if isinstance(cause, OSError) and cause.errno:
            return os.strerror(cause.errno)
        cause = cause.__cause__ or cause.__context__
    return str(error)
