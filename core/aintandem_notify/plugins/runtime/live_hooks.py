"""Runs the live hooks of one instance, from a bounded queue that never blocks the publisher.

A full queue drops new events and counts them; the log mentions the first one of each overload.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from itertools import groupby
from typing import Final

import trio
from outcome import Error

from aintandem_notify.domain.events import Event, Family
from aintandem_notify.domain.notification import Project
from aintandem_notify.plugins.border import plugin_error_kind
from aintandem_notify.plugins.discovery.registry import Hook
from aintandem_notify.plugins.runtime.calls import HookCall, HookResult, HookRunner
from aintandem_notify.rules.globs import EventFilter

MAX_QUEUE_SLOTS: Final = 1000
"""Slots of the queue of one instance. Our limit, which bounds the memory: some seconds of a busy agent."""
CHARACTERS_PER_SLOT: Final = 16_384
"""Characters of output for which an event takes one more slot, so that large ones cannot fill the memory."""
BATCH_SIZE: Final = 100
"""Events taken from the queue at once."""
MAX_ERROR_KINDS: Final = 100
"""Kinds of error counted separately; a plugin may create a class for each."""

_FAMILY_HOOK: Final[Mapping[Family, str]] = {
    Family.TASK: "on_task_event",
    Family.WORKFLOW: "on_workflow_event",
    Family.SANDBOX: "on_sandbox_event",
    Family.CONNECTION: "on_connection_event",
}


def hooks_by_family(live_hooks: Iterable[str]) -> dict[Family, tuple[str, ...]]:
    """For each family, the hooks that get its events; ``on_event`` comes first."""
    implemented = frozenset(live_hooks)
    return {
        family: tuple(
            hook for hook in ("on_event", _FAMILY_HOOK.get(family)) if hook is not None and hook in implemented
        )
        for family in Family
    }


def queue_slots(event: Event) -> int:
    """The slots of the queue that an event takes."""
    output = getattr(event, "output", None)
    return 1 + (len(output) // CHARACTERS_PER_SLOT if isinstance(output, str) else 0)


class LiveQueue:
    """The queued events for the live hooks of one instance."""

    def __init__(self, live_hooks: Iterable[str], event_filter: EventFilter | None) -> None:
        self.hooks: dict[Family, tuple[str, ...]] = hooks_by_family(live_hooks)
        self.dropped: int = 0
        self._filter = event_filter
        self._waiting: deque[Event] = deque()
        self._used_slots = 0
        self._is_dropping = False
        self._closed = False
        self._wakeup = trio.Event()

    def accepts(self, event: Event, project: Project | None) -> bool:
        """True if a hook exists for the event and the instance's filter matches it."""
        return bool(self.hooks[event.family]) and (self._filter is None or self._filter.matches(event, project))

    def put(self, event: Event) -> bool:
        """Queue the event, or drop it; True for the first event dropped since the queue was last empty."""
        size = queue_slots(event)
        if self._closed or (self._waiting and self._used_slots + size > MAX_QUEUE_SLOTS):
            self.dropped += 1
            first, self._is_dropping = not self._is_dropping, True
            return first
        self._waiting.append(event)
        self._used_slots += size
        self._wakeup.set()
        return False

    def close(self) -> None:
        """Accept no more events; ``take`` still returns the queued ones."""
        self._closed = True
        self._wakeup.set()

    def clear(self) -> None:
        """Drop and count all queued events."""
        self.dropped += len(self._waiting)
        self._waiting.clear()
        self._used_slots = 0

    async def take(self) -> list[Event]:
        """Wait for events and return the next ones in order; empty when the queue is closed and empty."""
        while not self._waiting:
            if self._closed:
                return []
            self._is_dropping = False
            self._wakeup = trio.Event()
            await self._wakeup.wait()
        events = [self._waiting.popleft() for _ in range(min(BATCH_SIZE, len(self._waiting)))]
        self._used_slots -= sum(map(queue_slots, events))
        return events


class LiveHooks:
    """Runs the live hooks of one instance on its queued events.

    Exceptions of hooks are counted in ``errors``; the first of each kind goes to ``report``. They stop nothing.
    """

    def __init__(self, queue: LiveQueue, runner: HookRunner, report: Callable[[str, BaseException], None]) -> None:
        self._queue = queue
        self._runner = runner
        self._report = report
        self._error_counts: Counter[tuple[str, str]] = Counter()

    @property
    def errors(self) -> int:
        """The number of exceptions of live hooks."""
        return self._error_counts.total()

    async def serve(self, hooks: Mapping[str, Hook]) -> None:
        """Call the hooks for every event, in order; returns when the queue is closed and empty."""
        while events := await self._queue.take():
            calls = [
                HookCall(hooks[name], hooks[name].bind(event=event))
                for event in events
                for name in self._queue.hooks[event.family]
            ]
            for _, group in groupby(calls, key=lambda call: call.hook.is_async):
                await self._run(list(group))

    async def _run(self, calls: list[HookCall]) -> None:
        results: list[HookResult] = []
        await self._runner.run(calls, lambda _: None, results)
        for call, result in zip(calls, results, strict=True):
            if isinstance(result, Error):
                kind = (call.hook.name, plugin_error_kind(result.error))
                if len(self._error_counts) >= MAX_ERROR_KINDS and kind not in self._error_counts:
                    kind = (call.hook.name, "others")
                self._error_counts[kind] += 1
                if self._error_counts[kind] == 1:
                    self._report(call.hook.name, result.error)
