"""Serves the control API beside the agent: its socket and its control file. Its failures never end the agent."""

import os
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import trio

from aintandem_notify import log
from aintandem_notify.control.discovery import AlreadyRunning, ControlEndpoint, control_file, publish_endpoint
from aintandem_notify.control.server.access import AgentAccess
from aintandem_notify.control.server.app import build_app
from aintandem_notify.errors import StoreError
from aintandem_notify.foundation.http_server.connections import ConnectionLimiter
from aintandem_notify.foundation.http_server.server import bound_socket, serve
from aintandem_notify.foundation.open_files import MAX_CONTROL_CONNECTIONS

GRACE_S: Final = 1.0
"""Seconds that running requests get when the agent ends."""
TOKEN_BYTES: Final = 32
SERVER_LOG: Final = "aintandem_notify.control.hypercorn"

_log = log.get_logger(__name__)


@asynccontextmanager
async def open_control(
    access: AgentAccess, listen: tuple[str, int] | None, max_connections: int = MAX_CONTROL_CONNECTIONS
) -> AsyncIterator[None]:
    """Serves the API at ``listen`` (host and port, 0 for a free one) during the block; None: no API.

    Accepts up to ``max_connections`` connections at a time. If it cannot be served, the log gives the reason and
    the agent goes on without it.
    """
    if listen is None:
        yield
        return
    async with trio.open_nursery() as nursery:
        await nursery.start(_serve, access, listen, max_connections)
        yield
        nursery.cancel_scope.cancel()


async def _serve(
    access: AgentAccess,
    listen: tuple[str, int],
    max_connections: int,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serves until cancelled. Reports ``started`` once it serves, or once it has failed."""
    is_started = False
    try:
        async with _serving(access, listen, max_connections):
            is_started = True
            task_status.started()
            await trio.sleep_forever()
    except AlreadyRunning:
        _log_unavailable("another agent with this config runs")
    except (OSError, StoreError) as error:
        _log_unavailable(str(error))
    except Exception:  # noqa: BLE001  # a failure of the control API must not end the agent
        _log.exception("the control API failed, the agent goes on without it")
    if not is_started:
        task_status.started()


def _log_unavailable(reason: str) -> None:
    _log.warning("no control API: status and other commands cannot reach this agent", reason=reason)


@asynccontextmanager
async def _serving(access: AgentAccess, listen: tuple[str, int], max_connections: int) -> AsyncIterator[None]:
    host, port = listen
    times = access.times
    bound = bound_socket("127.0.0.1" if host == "localhost" else host, port, times.send_ms)
    try:
        bound.listen()
        address = f"http://{f'[{host}]' if ':' in host else host}:{bound.getsockname()[1]}"
        token = secrets.token_urlsafe(TOKEN_BYTES)
        log.register_secret(token)
        app = build_app(access, token=token, address=address)
        with publish_endpoint(
            control_file(access.config), ControlEndpoint(address=address, token=token, pid=os.getpid())
        ):
            limiter = ConnectionLimiter(max_connections, counts_busy=True, grace_s=times.grace_s)
            async with serve(
                app, bound, name=SERVER_LOG, keep_alive_s=times.keep_alive_s, grace_s=GRACE_S, limiter=limiter
            ):
                yield
    finally:
        bound.close()
