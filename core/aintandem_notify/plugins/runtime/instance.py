"""Supervises one configured plugin: set-up, use, tear-down, and a new set-up after a failure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import trio
from outcome import Error, Value

from aintandem_notify import log
from aintandem_notify.api import Plugin, PluginContext
from aintandem_notify.config import InstanceConfig
from aintandem_notify.domain.events import AgentEvent, Event, PluginFailedEvent
from aintandem_notify.domain.notification import Project
from aintandem_notify.errors import PluginError
from aintandem_notify.foundation.backoff import Chance
from aintandem_notify.foundation.clock import Clock
from aintandem_notify.http_client import HttpClient
from aintandem_notify.plugins.border import (
    Border,
    LifespanFailed,
    PluginUnusable,
    SourceFiles,
    describe_plugin_error,
)
from aintandem_notify.plugins.discovery.descriptor import PluginDescriptor
from aintandem_notify.plugins.discovery.registry import Hook, Registry
from aintandem_notify.plugins.runtime.calls import (
    CallIncident,
    DeliveryCalls,
    HookCall,
    HookResult,
    HookRunner,
    run_contained,
    run_sync,
    run_with_deadline,
)
from aintandem_notify.plugins.runtime.lifespan import TEAR_DOWN_S, BackgroundTasks, has_own_init, run_in_lifespan
from aintandem_notify.plugins.runtime.live_hooks import LiveHooks, LiveQueue
from aintandem_notify.plugins.runtime.states import STABLE_AFTER_S, InstanceState, InstanceStatus, transition_after
from aintandem_notify.rules.globs import EventFilter

FINISH_S: Final = 2.0
"""Seconds that running deliveries and queued live events get when an instance is stopped."""
STOP_S: Final = FINISH_S + TEAR_DOWN_S + 1.0
"""Seconds after which ``stop`` returns even if the plugin still runs."""

_INCIDENT_TEXTS: Final[Mapping[CallIncident, str]] = {
    CallIncident.OVERDUE: "a hook is past its deadline",
    CallIncident.STUCK: "a hook is stuck",
    CallIncident.ENDED: "an overdue hook has ended",
    CallIncident.NURSERY_LEFT_OPEN: "a hook left a nursery open; close it within the hook, with async with",
}


@dataclass(frozen=True, slots=True)
class SharedServices:
    """The services that all instances share.

    ``announce`` takes an event about an instance that has become unusable. ``chance`` gives the random part of the
    pauses before a new set-up.
    """

    http: HttpClient
    clock: Clock
    announce: Callable[[AgentEvent], None]
    chance: Chance
    stuck_after_s: float


class Instance:
    """A configured plugin. ``supervise`` runs it; other methods may be called at the same time."""

    def __init__(
        self,
        config: InstanceConfig,
        descriptor: PluginDescriptor,
        services: SharedServices,
        on_change: Callable[[], None],
    ) -> None:
        self.config = config
        self.name: str = config.name
        self.state: InstanceState = InstanceState.LOADING
        self._reason: str | None = None
        self._since = services.clock.now()
        self._descriptor = descriptor
        self._services = services
        # Not shared: an abandoned instance of this name may still be registered in its own.
        self._registry = Registry()
        self._on_change = on_change
        self._log = log.get_logger(__name__).bind(plugin=config.name)
        self._border = Border(config.name, descriptor.source_files, descriptor.plugin_class)
        self._hooks: Mapping[str, Hook] = {}
        runner = partial(
            HookRunner, self._border, timeout_s=config.common.timeout, stuck_after_s=services.stuck_after_s
        )
        self._init_runner = runner(self._on_critical_incident)
        self._delivery_runner = runner(self._on_critical_incident, parallel=descriptor.parallel(config.common))
        self._live_runner = runner(self._log_incident)
        self._runners = (self._init_runner, self._delivery_runner, self._live_runner)
        self._http = services.http
        self._query_limiter = trio.CapacityLimiter(1)
        self.deliveries: DeliveryCalls = DeliveryCalls(config.name, self._border, self._delivery_runner)
        self._queue = LiveQueue(descriptor.live_hooks, _live_filter(config))
        self._live_hooks = LiveHooks(self._queue, self._live_runner, self._log_hook_error)
        # Shielded: a cancelled agent still waits, for a bounded time, for an orderly tear-down.
        self._shield = trio.CancelScope(shield=True)
        self._serve_scope: trio.CancelScope | None = None
        self._finish_by = float("inf")
        self._stopping = False
        self._stopped = trio.Event()
        self._lifespan_started_at = float("inf")
        self._loaded_at = float("inf")
        self._announced = False
        self._state_before_stuck: InstanceState | None = None

    @property
    def has_live_hooks(self) -> bool:
        """True if the plugin has live hooks."""
        return bool(self._descriptor.live_hooks)

    @property
    def source_files(self) -> SourceFiles:
        """The files of the plugin's code."""
        return self._descriptor.source_files

    @property
    def status(self) -> InstanceStatus:
        """The status at this moment."""
        overdue = (
            next(filter(None, (runner.overdue() for runner in self._runners)), None) or self._overdue_set_up()
        )
        return InstanceStatus(
            name=self.name,
            state=self.state,
            reason=f"{overdue[0]} has been running for {overdue[1]:.0f} s" if overdue else self._reason,
            since=self._since,
            destination=self.config.delivers,
            dropped_events=self._queue.dropped,
            hook_errors=self._live_hooks.errors,
        )

    def _overdue_set_up(self) -> tuple[str, float] | None:
        """The set-up, if it is past its deadline: it is shielded, or waits for a thread of its own."""
        if self.state is not InstanceState.LOADING or self._init_runner.is_running:
            return None
        elapsed_s = trio.current_time() - self._lifespan_started_at
        return ("set-up", elapsed_s) if elapsed_s >= self.config.common.timeout else None

    async def supervise(self) -> None:
        """Keep the instance running until ``stop``, and then until its calls have ended.

        Raises no exception of plugin code.
        """
        async with trio.open_nursery() as nursery:
            nursery.cancel_scope.shield = True
            for runner in self._runners:
                nursery.start_soon(runner.watch)
            with self._shield:
                async with self._services.http.own_pool() as self._http:
                    await self._run_until_stopped()
            self._set_state(InstanceState.STOPPED)
            self._log.info("plugin stopped")
            self._stopped.set()
            nursery.cancel_scope.shield = False
            for runner in self._runners:
                await runner.wait_idle()
            nursery.cancel_scope.cancel()

    async def stop(self) -> None:
        """Stop: running calls get ``FINISH_S``, then the lifespan is torn down; returns within ``STOP_S``."""
        self._stopping = True
        self._queue.close()
        self._finish_by = trio.current_time() + FINISH_S
        if self._serve_scope is None:
            self._shield.cancel()
        else:
            self._serve_scope.deadline = self._finish_by
        with trio.move_on_after(STOP_S, shield=True):
            await self._stopped.wait()
        if not self._stopped.is_set():
            self._log.warning("plugin does not stop", reason=self.status.reason or "its lifespan does not end")
        self._shield.cancel()

    def publish(self, event: Event, project: Project | None) -> None:
        """Queue the event for the live hooks that accept it; never blocks."""
        if not self._queue.accepts(event, project):
            return
        if self.state not in {InstanceState.LOADING, InstanceState.LOADED}:
            self._queue.dropped += 1
        elif self._queue.put(event):
            self._log.warning("live hooks are too slow; events are dropped", event_type=event.type)

    async def check(self) -> bool:
        """Run the plugin's ``check``; False if it has none. Raises its error, translated by the border."""
        await self._query("check", lambda _: None)
        return "check" in self._hooks

    async def diagnostics(self) -> dict[str, Any]:
        """The facts from the plugin's ``diagnostics``, empty without one; raises like ``check``."""
        facts: dict[str, Any] | None = await self._query("diagnostics", self._border.diagnostics)
        return facts or {}

    async def _query(self, name: str, parse: Callable[[Any], Any]) -> Any:
        if self.state is not InstanceState.LOADED:
            raise PluginError(self.name, self.status.reason or f"it is {self.state}")
        hook = self._hooks.get(name)
        if hook is None:
            return None
        timeout_s = self.config.common.timeout
        result = await run_with_deadline(
            HookCall(hook, hook.bind()), self._border, timeout_s, parse, self._query_limiter
        )
        if isinstance(result, Error):
            raise result.error
        return result.value

    async def _run_until_stopped(self) -> None:
        failures = 0
        while (failure := await self._run_lifespan_guarded()) is not None:
            reason = self._failure_reason(failure)
            if self._stopping:
                self._log.warning("plugin failed while it stopped", reason=reason)
                return
            if trio.current_time() - self._loaded_at >= STABLE_AFTER_S:
                failures, self._announced = 0, False
            transition = transition_after(failure.error, failures, self._services.chance)
            self._queue.clear()
            self._set_state(transition.state, reason)
            retry_in_s = transition.pause_s and round(transition.pause_s, 1)
            self._log.warning(f"plugin {transition.state}", reason=reason, retry_in_s=retry_in_s)
            if transition.announce:
                self._announce(reason)
            await trio.sleep(float("inf") if transition.pause_s is None else transition.pause_s)
            failures += 1

    async def _run_lifespan_guarded(self) -> LifespanFailed | None:
        """Run one lifespan; returns its failure, None after a stop."""
        self._lifespan_started_at = trio.current_time()
        self._loaded_at = float("inf")
        try:
            await run_contained(self._run_lifespan, self._border, self._on_nursery_left_open)
        except BaseException as error:  # noqa: BLE001  # the border to plugin code; cancellations are raised on
            translated = self._border.translate_error(error, "lifespan")
            return translated if isinstance(translated, LifespanFailed) else LifespanFailed("", translated)
        return None

    async def _run_lifespan(self) -> None:
        plugin = await self._construct()
        background = BackgroundTasks(self._border)
        async with background.open() as nursery:
            plugin.config = self.config.settings
            plugin.context = PluginContext(
                name=self.name,
                http=self._http,
                log=log.get_logger(f"aintandem_notify.{self.config.type}").bind(plugin=self.name),
                nursery=nursery,
                clock=self._services.clock,
            )
            self._hooks = self._registry.register(self.name, plugin)
            self.deliveries.hook = self._hooks.get("deliver")
            try:
                use = partial(self._serve, background)
                await run_in_lifespan(self._border, self._hooks, self.config.common.timeout, background, use)
            finally:
                self._serve_scope, self._hooks, self.deliveries.hook = None, {}, None
                self._registry.unregister(self.name)

    async def _construct(self) -> Plugin[Any]:
        plugin_class = self._descriptor.plugin_class
        call = HookCall(Hook("__init__", plugin_class, is_async=False, parameters=frozenset()), plugin_class)
        results: list[HookResult] = []
        if has_own_init(plugin_class):
            # Plugin code, a ``def``: it may block, so it gets a thread.
            await self._init_runner.run([call], lambda instance: instance, results)
        else:
            results.append(run_sync(call, self._border, lambda instance: instance))
        match results:
            case [Value(Plugin() as plugin)]:
                return plugin
            case [Error(error)]:
                raise LifespanFailed("__init__", PluginUnusable(self.name, describe_plugin_error(error)))
            case _:
                raise LifespanFailed("__init__", PluginUnusable(self.name, "it made no plugin"))

    async def _serve(self, background: BackgroundTasks) -> None:
        self._loaded_at = trio.current_time()
        self._set_state(InstanceState.LOADED)
        self._log.info("plugin loaded", origin=self._descriptor.origin)
        try:
            with trio.CancelScope() as self._serve_scope:
                background.cancel_on_crash(self._serve_scope)
                await self._live_hooks.serve(self._hooks)
        finally:
            background.cancel_on_crash(None)
            self._set_state(InstanceState.STOPPED if self._stopping else InstanceState.RETRYING)
            # A crash in a nursery of the lifespan cancels this task; running deliveries must still finish.
            with trio.CancelScope(shield=True):
                await self.deliveries.finish(min(self._finish_by, trio.current_time() + FINISH_S))

    def _set_state(self, state: InstanceState, reason: str | None = None) -> None:
        self.state, self._reason, self._since = state, reason, self._services.clock.now()
        self._on_change()

    def _failure_reason(self, failure: LifespanFailed) -> str:
        reason = describe_plugin_error(failure.error)
        return f"{failure.stage}: {reason}" if failure.stage else reason

    def _announce(self, reason: str) -> None:
        if not self._announced:
            self._announced = True
            now = self._services.clock.now()
            self._services.announce(PluginFailedEvent(timestamp=now, instance=self.name, reason=reason))

    def _log_hook_error(self, hook: str, error: BaseException) -> None:
        self._log.warning(
            "a live hook raised an exception; more of the same kind are only counted",
            hook=hook,
            reason=describe_plugin_error(error),
        )

    def _on_nursery_left_open(self) -> None:
        self._log_incident(CallIncident.NURSERY_LEFT_OPEN, "lifespan", 0.0)

    def _log_incident(self, incident: CallIncident, hook: str, elapsed_s: float) -> None:
        elapsed = {} if incident is CallIncident.NURSERY_LEFT_OPEN else {"elapsed_s": round(elapsed_s)}
        self._log.warning(_INCIDENT_TEXTS[incident], hook=hook, **elapsed)

    @property
    def _is_stuck(self) -> bool:
        return self._init_runner.is_stuck or self._delivery_runner.is_stuck

    def _on_critical_incident(self, incident: CallIncident, hook: str, elapsed_s: float) -> None:
        """Log the incident; a stuck call makes the instance FAILED until the call has ended."""
        self._log_incident(incident, hook, elapsed_s)
        if incident is CallIncident.STUCK and not self._stopping and self._state_before_stuck is None:
            self._state_before_stuck = self.state
            self._set_state(InstanceState.FAILED)
            self._announce(f"{hook} has been running for {elapsed_s:.0f} s")
        elif incident is CallIncident.ENDED and self._state_before_stuck is not None and not self._is_stuck:
            if self.state is InstanceState.FAILED:
                self._set_state(self._state_before_stuck)
            self._state_before_stuck, self._announced = None, False


def _live_filter(config: InstanceConfig) -> EventFilter | None:
    """The filter of live events, None for all events; the ``events`` of a destination are a rule, not a filter."""
    settings = config.common
    if config.delivers or (settings.events is None and settings.projects is None):
        return None
    return EventFilter(settings.events, settings.projects)
