"""pytest fixtures for plugin authors, and for our own tests.

Installing aintandem-notify makes them available in every test run (a ``pytest11`` entry point), so this module
imports nothing of ours until a fixture is used. ``make_event`` and ``make_notification`` work in any test;
``simulator`` needs pytest-trio.

    async def test_deliver(make_notification):
        await my_plugin.deliver(make_notification("task_failed", error="disk full"))

The same is there as plain functions, for parametrized tests and hypothesis: ``sample_event``,
``sample_notification``, ``sample_run``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, Final, Protocol

import pytest

from aintandem_notify.samples import (
    SAMPLE_DURATION,
    SAMPLE_FIELDS,
    SAMPLE_TIME,
    sample_event,
    sample_notification,
    sample_run,
)

if TYPE_CHECKING:
    from aintandem_notify.events import Event
    from aintandem_notify.notification import Notification
    from aintandem_notify.simulator import Simulator

__all__ = [
    "SAMPLE_DURATION",
    "SAMPLE_FIELDS",
    "SAMPLE_TIME",
    "SIMULATOR_SPEED",
    "MakeEvent",
    "MakeNotification",
    "sample_event",
    "sample_notification",
    "sample_run",
]

SIMULATOR_SPEED: Final = 200.0
"""How much faster than life the ``simulator`` fixture runs."""


class MakeEvent(Protocol):
    """What ``make_event`` gives: see ``sample_event``."""

    def __call__(self, event_type: str = "task_completed", /, **fields: Any) -> Event:
        """A believable event."""
        ...


class MakeNotification(Protocol):
    """What ``make_notification`` gives: see ``sample_notification``."""

    def __call__(self, event: Event | str = "task_completed", /, **changes: Any) -> Notification:
        """A believable notification."""
        ...


@pytest.fixture(name="make_event")
def _make_event() -> MakeEvent:
    """Makes believable events of any type: ``make_event("task_failed", error="disk full")``."""
    return sample_event


@pytest.fixture(name="make_notification")
def _make_notification() -> MakeNotification:
    """Makes believable notifications: ``make_notification("task_failed", error="disk full")``."""
    return sample_notification


@pytest.fixture(name="simulator")
async def _simulator() -> AsyncIterator[Simulator]:
    """An orchestrator on a free port of loopback, ``SIMULATOR_SPEED`` times faster than life (pytest-trio)."""
    from aintandem_notify.simulator import open_simulator

    async with open_simulator(seed=1, speed=SIMULATOR_SPEED) as simulator:
        yield simulator
