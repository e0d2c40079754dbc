"""The hooks that a plugin may implement, typed and documented; all are optional.

Each hook may be ``async def`` (runs as a trio task) or ``def`` (runs in a worker thread), except ``lifespan``,
which is an async context manager. pluggy checks implementations against these specs.
``aintandem_notify.plugins.runtime.calls`` makes the calls, one at a time, because pluggy cannot await.
"""

from collections.abc import Awaitable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Final

import pluggy

from aintandem_notify.domain.events import ConnectionEvent, Event, SandboxEvent, TaskEvent, WorkflowEvent
from aintandem_notify.domain.notification import Notification

PROJECT: Final = "aintandem_notify"
"""Our name in pluggy and in the entry points."""

hookspec: Final = pluggy.HookspecMarker(PROJECT)
hookimpl: Final = pluggy.HookimplMarker(PROJECT)

Receipt = Mapping[str, Any]
"""Facts that a destination stores about a delivery; JSON values only."""


class HookSpecs:
    """The specifications of all hooks."""

    @hookspec
    def lifespan(self) -> AbstractAsyncContextManager[None]:  # type: ignore[empty-body]
        """Set-up before ``yield``, tear-down after it; an ``@asynccontextmanager``.

        All other hooks run only between the two. Raise ``PluginNotReady`` to be set up again later.
        """

    @hookspec
    def deliver(self, notification: Notification) -> Receipt | Awaitable[Receipt | None] | None:
        """Deliver one notification.

        Return None or a receipt if it was delivered; otherwise raise ``RetryLater``, ``DestinationBroken`` or
        ``Rejected``. It is called again until it succeeds. After a crash it may be called again with the same
        ``notification.id``.
        """

    @hookspec
    def on_event(self, event: Event) -> Awaitable[None] | None:
        """Receive every event of every family as it happens; best effort, without retries."""

    @hookspec
    def on_task_event(self, event: TaskEvent) -> Awaitable[None] | None:
        """Receive every task event as it happens; best effort."""

    @hookspec
    def on_workflow_event(self, event: WorkflowEvent) -> Awaitable[None] | None:
        """Receive every workflow event as it happens; best effort."""

    @hookspec
    def on_sandbox_event(self, event: SandboxEvent) -> Awaitable[None] | None:
        """Receive every sandbox event as it happens; best effort."""

    @hookspec
    def on_connection_event(self, event: ConnectionEvent) -> Awaitable[None] | None:
        """Receive every change of the projects' connections; best effort."""

    @hookspec
    def check(self) -> Awaitable[None] | None:
        """Check that the destination can be reached, without a visible message; raise if not.

        ``aintandem-notify check --connect`` calls it after the set-up in ``lifespan``.
        """

    @hookspec
    def diagnostics(self) -> Mapping[str, Any] | Awaitable[Mapping[str, Any]]:  # type: ignore[empty-body]
        """Return facts for the diagnosis of a problem; JSON values, no secrets."""
