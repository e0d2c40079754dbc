"""The live hooks of one instance: a bounded queue that never blocks whoever publishes.

When the queue is full the newest events are dropped, counted, and mentioned once for each spell.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from itertools import groupby
from typing import Final

import trio

from aintandem_notify.domain.events import Event, Family
from aintandem_notify.domain.notification import Project
from aintandem_notify.plugins.border import fault_kind
from aintandem_notify.plugins.discovery.registry import Hook
from aintandem_notify.plugins.runtime.calls import HookCall, HookFailure, HookResult, HookRunner
from aintandem_notify.rules.globs import EventFilter

MAX_QUEUE_SLOTS: Final = 1000
"""Events that may wait for an instance; ours: seconds of a busy agent, and a bound on memory."""
CHARACTERS_PER_SLOT: Final = 16_384
"""Characters of output that take one place more in the queue, so that large ones cannot fill the memory."""
BATCH_SIZE: Final = 100
"""Events that are taken from the queue at once."""
MAX_ERROR_KINDS: Final = 100
"""Kinds of error that are told apart; a plugin may make a class for each."""

_FAMILY_HOOK: Final[Mapping[Family, str]] = {
    Family.TASK: "on_task_event",
    Family.WORKFLOW: "on_workflow_event",
    Family.SANDBOX: "on_sandbox_event",
    Family.CONNECTION: "on_connection_event",
}


def hooks_by_family(live_hooks: Iterable[str]) -> dict[Family, tuple[str, ...]]:
    """Which hooks see the events of which family; the one for all families comes first."""
    implemented = frozenset(live_hooks)
    return {
        family: tuple(
            hook for hook in ("on_event", _FAMILY_HOOK.get(family)) if hook is not None and hook in implemented
        )
        for family in Family
    }


def queue_slots(event: Event) -> int:
    """How much of the queue an event takes."""
    output = getattr(event, "output", None)
    return 1 + (len(output) // CHARACTERS_PER_SLOT if isinstance(output, str) else 0)


class LiveQueue:
    """Events on their way to the live hooks of one instance."""

    def __init__(self, live_hooks: Iterable[str], event_filter: EventFilter | None) -> None:
        self.hooks = hooks_by_family(live_hooks)
        self.dropped = 0
        self._filter = event_filter
        self._waiting: deque[Event] = deque()
        self._taken = 0
        self._in_spell = False
        self._closed = False
        self._wakeup = trio.Event()

    def wants(self, event: Event, project: Project | None) -> bool:
        """Whether a hook is there for it and the instance's filter lets it through."""
        return bool(self.hooks[event.family]) and (self._filter is None or self._filter.matches(event, project))

    def put(self, event: Event) -> bool:
        """Queue the event, or drop it; true for the first that is dropped of a spell."""
        size = queue_slots(event)
        if self._closed or (self._waiting and self._taken + size > MAX_QUEUE_SLOTS):
            self.dropped += 1
            first, self._in_spell = not self._in_spell, True
            return first
        self._waiting.append(event)
        self._taken += size
        self._wakeup.set()
        return False

    def close(self) -> None:
        """Take nothing more; ``take`` still gives what waits."""
        self._closed = True
        self._wakeup.set()

    def clear(self) -> None:
        """Drop what waits, counted."""
        self.dropped += len(self._waiting)
        self._waiting.clear()
        self._taken = 0

    async def take(self) -> list[Event]:
        """The next events in order, waiting for the first; empty when the queue is closed and has run out."""
        while not self._waiting:
            if self._closed:
                return []
            self._in_spell = False
            self._wakeup = trio.Event()
            await self._wakeup.wait()
        events = [self._waiting.popleft() for _ in range(min(BATCH_SIZE, len(self._waiting)))]
        self._taken -= sum(map(queue_slots, events))
        return events


class LiveHooks:
    """Runs the live hooks of one instance over what its queue holds.

    What a hook raises is told to ``report`` once a kind and counted in ``errors``; it fails nothing.
    """

    def __init__(self, queue: LiveQueue, lane: HookRunner, report: Callable[[str, Exception], None]) -> None:
        self._queue = queue
        self._lane = lane
        self._report = report
        self._kinds: Counter[tuple[str, str]] = Counter()

    @property
    def errors(self) -> int:
        """How often a live hook has raised."""
        return self._kinds.total()

    async def serve(self, hooks: Mapping[str, Hook]) -> None:
        """Show every event to its hooks, in order; returns when the queue is closed and empty."""
        while events := await self._queue.take():
            calls = [
                HookCall(hooks[name], hooks[name].bind(event=event))
                for event in events
                for name in self._queue.hooks[event.family]
            ]
            for _, group in groupby(calls, key=lambda call: call.hook.is_async):
                await self._run(list(group))

    async def _run(self, calls: list[HookCall]) -> None:
        answers: list[HookResult] = []
        await self._lane.run(calls, lambda _: None, answers)
        for call, answer in zip(calls, answers, strict=True):
            if isinstance(answer, HookFailure):
                kind = (call.hook.name, fault_kind(answer.error))
                if len(self._kinds) >= MAX_ERROR_KINDS and kind not in self._kinds:
                    kind = (call.hook.name, "others")
                self._kinds[kind] += 1
                if self._kinds[kind] == 1:
                    self._report(call.hook.name, answer.error)
