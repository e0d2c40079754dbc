"""Reads the config again while the agent runs, and carries out one reload at a time, whoever asks for it."""

import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Never

import trio

from aintandem_notify import log
from aintandem_notify.agent.systemd import Systemd
from aintandem_notify.config import Config
from aintandem_notify.domain.reload import ReloadAbandonedError, ReloadResult
from aintandem_notify.errors import ConfigError, Problem
from aintandem_notify.foundation.threads import run_in_thread
from aintandem_notify.plugins.config_loading import LoadedConfig, load

SLOW_RELOAD_S: Final = 10.0
"""Seconds after which the log mentions that a reload is still reading the config."""

TOO_SLOW: Final = "reading it and its plugins took longer than {:g} s; a plugin may block while it is imported"
READ_LIMIT_S: Final = 60.0
"""Seconds after which a reload that is still reading the config is refused, so that a later one can be tried."""

_log = log.get_logger(__name__)


@dataclass(slots=True)
class _Request:
    done: trio.Event = field(default_factory=trio.Event)
    result: ReloadResult | None = None


class ReloadQueue:
    """The reloads that SIGHUP and the control API ask for. They are carried out while ``open_reloads`` runs."""

    def __init__(self, reload: Callable[[], Awaitable[ReloadResult]]) -> None:
        self._reload = reload
        self._send, self._receive = trio.open_memory_channel[_Request](math.inf)

    async def request(self) -> ReloadResult:
        """Returns the result of a reload that begins after this call, once those asked for earlier are over.

        It is carried out even if this call is cancelled. Raises ReloadAbandonedError if the agent stops first.
        """
        request = _Request()
        try:
            self._send.send_nowait(request)
        except trio.BrokenResourceError:
            raise ReloadAbandonedError from None
        await request.done.wait()
        if request.result is None:
            raise ReloadAbandonedError
        return request.result

    async def carry_out(self, systemd: Systemd) -> Never:
        """Carries out the requests until it is cancelled, then abandons those that are left."""
        request: _Request | None = None
        try:
            while True:
                request = await self._receive.receive()
                systemd.reloading()
                request.result = await self._reload()
                systemd.ready()
                request.done.set()
        finally:
            if request is not None:
                request.done.set()
            self._abandon_waiting()

    def _abandon_waiting(self) -> None:
        while True:
            try:
                self._receive.receive_nowait().done.set()
            except trio.WouldBlock:
                self._receive.close()
                return


@asynccontextmanager
async def open_reloads(queue: ReloadQueue, systemd: Systemd) -> AsyncIterator[None]:
    """Carries out the reloads of ``queue`` during the block; its end abandons them."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(queue.carry_out, systemd)
        yield
        nursery.cancel_scope.cancel()


async def read_again(config: Config, *, limit_s: float = READ_LIMIT_S) -> LoadedConfig | ConfigError:
    """Returns the config that the file has now, or its error.

    Reads it in a separate thread: a plugin may block while it is imported, and the agent must go on. After
    ``limit_s`` the thread is left behind. Uses the absolute path, since a plugin may have changed the working
    directory.
    """
    source = config.base_dir / config.source.name
    loaded: LoadedConfig | ConfigError = ConfigError([Problem(TOO_SLOW.format(limit_s))], str(source))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_warn_of_slow_reload)
        with trio.move_on_after(limit_s):
            loaded = await run_in_thread(
                _load_or_error, source, abandon_on_cancel=True, limiter=trio.CapacityLimiter(1)
            )
        nursery.cancel_scope.cancel()
    return loaded


def _load_or_error(source: Path) -> LoadedConfig | ConfigError:
    try:
        return load(source)
    except ConfigError as error:
        return error


async def _warn_of_slow_reload() -> None:
    await trio.sleep(SLOW_RELOAD_S)
    _log.warning(
        "the config is still being read; a plugin may block while it is imported", elapsed_s=SLOW_RELOAD_S
    )
