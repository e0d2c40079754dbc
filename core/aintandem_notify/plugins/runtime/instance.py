"""One configured plugin under supervision: set up, used, torn down, and set up again when it breaks."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import trio

from aintandem_notify import log
from aintandem_notify.api import Plugin, PluginContext
from aintandem_notify.config import InstanceConfig
from aintandem_notify.domain.events import AgentEvent, Event, PluginFailedEvent
from aintandem_notify.domain.notification import Notification, Project
from aintandem_notify.errors import PluginError
from aintandem_notify.foundation.backoff import Chance
from aintandem_notify.foundation.clock import Clock
from aintandem_notify.http_client import HttpClient
from aintandem_notify.plugins.border import Border, LifespanFailed, PluginUnusable, describe_fault
from aintandem_notify.plugins.border.tasks import run_contained
from aintandem_notify.plugins.discovery.descriptor import PluginDescriptor
from aintandem_notify.plugins.discovery.registry import Hook, Registry
from aintandem_notify.plugins.runtime.calls import (
    CallIncident,
    DeliveryResult,
    HookCall,
    HookFailure,
    HookResult,
    HookRunner,
    HookValue,
    run_sync,
    run_with_deadline,
)
from aintandem_notify.plugins.runtime.delivery_calls import DeliveryCalls
from aintandem_notify.plugins.runtime.lifespan import TEAR_DOWN_S, BackgroundTasks, has_own_init, run_in_lifespan
from aintandem_notify.plugins.runtime.live_hooks import LiveHooks, LiveQueue
from aintandem_notify.plugins.runtime.states import STABLE_AFTER_S, InstanceState, InstanceStatus, transition_after
from aintandem_notify.rules.globs import EventFilter

FINISH_S: Final = 2.0
"""Seconds that running deliveries and waiting live events get when an instance is stopped."""
STOP_S: Final = FINISH_S + TEAR_DOWN_S + 1.0
"""Seconds after which ``stop`` no longer waits, whatever the plugin does."""

_SAID: Final[Mapping[CallIncident, str]] = {
    CallIncident.LATE: "a hook is past its deadline",
    CallIncident.STUCK: "a hook is stuck",
    CallIncident.OVER: "a late hook has ended",
    CallIncident.LEFT_OPEN: "a hook left a nursery open; close it in there, as async with does",
    CallIncident.BLOCKED: "an async hook blocked the whole agent; write it as def, or await what takes long",
}


@dataclass(frozen=True, slots=True)
class SharedServices:
    """What the host lends to every instance."""

    http: HttpClient
    clock: Clock
    announce: Callable[[AgentEvent], None]
    chance: Chance
    stuck_after_s: float


class Instance:
    """A configured plugin. ``supervise`` runs it; the other methods may be called meanwhile."""

    def __init__(
        self,
        config: InstanceConfig,
        found: PluginDescriptor,
        lent: SharedServices,
        changed: Callable[[], None],
    ) -> None:
        self.config = config
        self.name = config.name
        self.state = InstanceState.LOADING
        self._reason: str | None = None
        self._since = lent.clock.now()
        self._found = found
        self._lent = lent
        # Of its own: one of this name that was left behind may still be in another.
        self._registry = Registry()
        self._changed = changed
        self._log = log.get_logger(__name__).bind(plugin=config.name)
        self._border = Border(config.name, found.source_files, found.plugin_class)
        self._hooks: Mapping[str, Hook] = {}
        limits = {"timeout_s": config.common.timeout, "stuck_after_s": lent.stuck_after_s}
        self._making = HookRunner(self._border, self._notice_vital, **limits)
        self._delivering = HookRunner(self._border, self._notice_vital, **limits)
        self._watching = HookRunner(self._border, self._notice, **limits)
        self._questions = trio.CapacityLimiter(1)
        self._deliveries = DeliveryCalls(self._border, self._delivering)
        self._queue = LiveQueue(found.live_hooks, _live_filter(config))
        self._live_hooks = LiveHooks(self._queue, self._watching, self._report)
        # Shielded: whoever cancels the agent waits, for a bounded time, for a tear-down in good order.
        self._guard = trio.CancelScope(shield=True)
        self._using: trio.CancelScope | None = None
        self._finish_by = float("inf")
        self._stopping = False
        self._ended = trio.Event()
        self._life_began = float("inf")
        self._loaded_at = float("inf")
        self._announced = False
        self._before_stuck: InstanceState | None = None

    @property
    def watches(self) -> bool:
        """Whether it has live hooks."""
        return bool(self._found.live_hooks)

    @property
    def status(self) -> InstanceStatus:
        """Where it stands now."""
        lanes = (self._making, self._delivering, self._watching)
        late = next((overdue for lane in lanes if (overdue := lane.overdue())), None) or self._late_set_up()
        return InstanceStatus(
            name=self.name,
            state=self.state,
            reason=f"{late[0]} has been running for {late[1]:.0f} s" if late else self._reason,
            since=self._since,
            destination=self.config.delivers,
            dropped_events=self._queue.dropped,
            hook_errors=self._live_hooks.errors,
        )

    def _late_set_up(self) -> tuple[str, float] | None:
        """A set-up past its deadline: one that shields itself, or waits for a thread of its own."""
        if self.state is not InstanceState.LOADING or self._making.running is not None:
            return None
        elapsed_s = trio.current_time() - self._life_began
        return ("set-up", elapsed_s) if elapsed_s >= self.config.common.timeout else None

    async def supervise(self) -> None:
        """Keep the instance alive until ``stop``; nothing that the plugin does comes out of here."""
        with self._guard:
            await self._live_again_and_again()
        self._become(InstanceState.STOPPED)
        self._log.info("plugin stopped")
        self._ended.set()

    async def stop(self) -> None:
        """End it: what runs may finish for a moment, then the lifespan is torn down; takes ``STOP_S`` at most."""
        self._stopping = True
        self._queue.close()
        self._finish_by = trio.current_time() + FINISH_S
        if self._using is None:
            self._guard.cancel()
        else:
            self._using.deadline = self._finish_by
        with trio.move_on_after(STOP_S, shield=True):
            await self._ended.wait()
        if not self._ended.is_set():
            self._log.warning("plugin does not stop", reason=self.status.reason or "its lifespan does not end")
        self._guard.cancel()

    async def deliver(self, notifications: Sequence[Notification]) -> list[DeliveryResult]:
        """Hand them over one after the other, up to the first that is not delivered."""
        if "deliver" not in self._hooks:
            raise PluginError(self.name, "it is no destination")
        return await self._deliveries.deliver(self._hooks["deliver"], notifications)

    def publish(self, event: Event, project: Project | None) -> None:
        """Queue the event for the live hooks that want it; never blocks."""
        if not self._queue.wants(event, project):
            return
        if self.state not in {InstanceState.LOADING, InstanceState.LOADED}:
            self._queue.dropped += 1
        elif self._queue.put(event):
            self._log.warning("live hooks are too slow; events are dropped", event_type=event.type)

    async def check(self) -> None:
        """Run the plugin's own check, if it has one; raises what it raised."""
        await self._ask("check", lambda _: None)

    async def diagnostics(self) -> dict[str, Any]:
        """The plugin's own facts, none if it gives none; raises what it raised."""
        facts: dict[str, Any] | None = await self._ask("diagnostics", self._border.facts)
        return facts or {}

    async def _ask(self, name: str, read: Callable[[Any], Any]) -> Any:
        if self.state is not InstanceState.LOADED:
            raise PluginError(self.name, self.status.reason or f"it is {self.state}")
        hook = self._hooks.get(name)
        if hook is None:
            return None
        timeout_s = self.config.common.timeout
        answer = await run_with_deadline(
            HookCall(hook, hook.bind()), self._border, timeout_s, read, self._questions
        )
        if isinstance(answer, HookFailure):
            raise answer.error
        return answer.value

    async def _live_again_and_again(self) -> None:
        failures = 0
        while (end := await self._live_guarded()) is not None:
            reason = self._why(end)
            if self._stopping:
                self._log.warning("plugin did not stop in good order", reason=reason)
                return
            if trio.current_time() - self._loaded_at >= STABLE_AFTER_S:
                failures, self._announced = 0, False
            step = transition_after(end.fault, failures, self._lent.chance)
            self._queue.clear()
            self._become(step.state, reason)
            self._log.warning(
                f"plugin {step.state}", reason=reason, retry_in_s=step.pause_s and round(step.pause_s, 1)
            )
            if step.announce:
                self._announce(reason)
            await trio.sleep(float("inf") if step.pause_s is None else step.pause_s)
            failures += 1

    async def _live_guarded(self) -> LifespanFailed | None:
        """What ended a life; None if we did."""
        self._life_began = trio.current_time()
        self._loaded_at = float("inf")
        try:
            await run_contained(self._live, self._border, self._say_left_open)
        except BaseException as error:  # noqa: BLE001  # the border to plugin code; cancellations are raised on
            fault = self._border.fault(error)
            return fault if isinstance(fault, LifespanFailed) else LifespanFailed("", fault)
        return None

    async def _live(self) -> None:
        plugin = await self._make()
        background = BackgroundTasks(self._border)
        async with background.open() as nursery:
            plugin.config = self.config.settings
            plugin.context = PluginContext(
                name=self.name,
                http=self._lent.http,
                log=log.get_logger(f"aintandem_notify.{self.config.type}").bind(plugin=self.name),
                nursery=nursery,
                clock=self._lent.clock,
            )
            self._hooks = self._registry.register(self.name, plugin)
            try:
                use = partial(self._be_used, background)
                await run_in_lifespan(self._border, self._hooks, self.config.common.timeout, background, use)
            finally:
                self._using, self._hooks = None, {}
                self._registry.unregister(self.name)

    async def _make(self) -> Plugin[Any]:
        plugin_class = self._found.plugin_class
        call = HookCall(Hook("__init__", plugin_class, is_async=False, parameters=frozenset()), plugin_class)
        answers: list[HookResult] = []
        if has_own_init(plugin_class):
            # The plugin's own code, a ``def``: it may block, so it gets a thread.
            await self._making.run([call], lambda made: made, answers)
        else:
            answers.append(run_sync(call, self._border, lambda made: made))
        match answers:
            case [HookValue(Plugin() as plugin)]:
                return plugin
            case [HookFailure(error)]:
                raise LifespanFailed("__init__", PluginUnusable(self.name, describe_fault(error)))
            case _:
                raise LifespanFailed("__init__", PluginUnusable(self.name, "it made no plugin"))

    async def _be_used(self, background: BackgroundTasks) -> None:
        self._loaded_at = trio.current_time()
        self._become(InstanceState.LOADED)
        self._log.info("plugin loaded", origin=self._found.origin)
        try:
            with trio.CancelScope() as self._using:
                background.interrupts(self._using)
                await self._live_hooks.serve(self._hooks)
        finally:
            background.interrupts(None)
            self._become(InstanceState.STOPPED if self._stopping else InstanceState.RETRYING)
            # A nursery that the lifespan holds open cancels us when it breaks; deliveries are spared that.
            with trio.CancelScope(shield=True):
                await self._deliveries.finish(min(self._finish_by, trio.current_time() + FINISH_S))

    def _become(self, state: InstanceState, reason: str | None = None) -> None:
        self.state, self._reason, self._since = state, reason, self._lent.clock.now()
        self._changed()

    def _why(self, end: LifespanFailed) -> str:
        reason = describe_fault(end.fault)
        return f"{end.where}: {reason}" if end.where else reason

    def _announce(self, reason: str) -> None:
        if not self._announced:
            self._announced = True
            now = self._lent.clock.now()
            self._lent.announce(PluginFailedEvent(timestamp=now, instance=self.name, reason=reason))

    def _report(self, hook: str, error: Exception) -> None:
        self._log.warning(
            "a live hook raised; more of the same are only counted", hook=hook, reason=describe_fault(error)
        )

    def _say_left_open(self) -> None:
        self._notice(CallIncident.LEFT_OPEN, "lifespan", 0.0)

    def _notice(self, lateness: CallIncident, hook: str, elapsed_s: float) -> None:
        elapsed = {} if lateness is CallIncident.LEFT_OPEN else {"elapsed_s": round(elapsed_s)}
        self._log.warning(_SAID[lateness], hook=hook, **elapsed)

    def _notice_vital(self, lateness: CallIncident, hook: str, elapsed_s: float) -> None:
        """As ``_notice``; an instance that is stuck in one of these calls has failed until the call is over."""
        self._notice(lateness, hook, elapsed_s)
        if lateness is CallIncident.STUCK and not self._stopping:
            self._before_stuck = self.state
            self._become(InstanceState.FAILED)
            self._announce(f"{hook} has been running for {elapsed_s:.0f} s")
        elif lateness is CallIncident.OVER and self._before_stuck is not None:
            if self.state is InstanceState.FAILED:
                self._become(self._before_stuck)
            self._before_stuck, self._announced = None, False


def _live_filter(config: InstanceConfig) -> EventFilter | None:
    """What a watcher sees; the ``events`` of a destination are a rule and filter nothing."""
    settings = config.common
    if config.delivers or (settings.events is None and settings.projects is None):
        return None
    return EventFilter(settings.events, settings.projects)
