"""Shows the agent's health in the status line of its systemd service: ``systemctl status``."""

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Final, Never

import trio

from aintandem_notify import log
from aintandem_notify.agent.systemd import Systemd
from aintandem_notify.domain.health import Health
from aintandem_notify.orchestrator import ConnectionState, ProjectStatus

LOOK_S: Final = 1.0
"""Seconds between two looks at the health."""
MAX_CHARACTERS: Final = 1000
"""Characters of a status line; a terminal shows far fewer."""


def status_line(health: Health, projects: Iterable[ProjectStatus]) -> str:
    """Returns the state, the number of connected projects and the first reasons, without secrets.

    ``degraded: 2 of 3 projects connected; project-123: the link is down``
    """
    states = [status.state for status in projects]
    numbers = f"{states.count(ConnectionState.CONNECTED)} of {len(states)} projects connected"
    state, _, reasons = health.summary().partition(": ")
    line = f"{state}: {numbers}" + (f"; {reasons}" if reasons else "")
    return log.redact_start(" ".join(line.split()), MAX_CHARACTERS)


@asynccontextmanager
async def open_status_line(systemd: Systemd, line: Callable[[], str]) -> AsyncIterator[None]:
    """Keeps the status line up to date during the block. Without systemd it does nothing."""
    async with trio.open_nursery() as nursery:
        if systemd.is_present:
            nursery.start_soon(_show_changes, systemd, line)
        yield
        nursery.cancel_scope.cancel()


async def _show_changes(systemd: Systemd, line: Callable[[], str]) -> Never:
    while True:
        systemd.status(line())
        await trio.sleep(LOOK_S)
