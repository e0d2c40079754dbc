"""The client: one login, one HTTP client, and one socket for each project. All of it ends with the block."""

import random
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

import trio

from aintandem_notify.client.auth import Auth
from aintandem_notify.client.calls import Projects, Sandboxes, Tasks, Workflows
from aintandem_notify.client.channels.callbacks import Callback, CallbackRunner, OnError
from aintandem_notify.client.channels.channel import ChannelContext
from aintandem_notify.client.channels.channel_registry import ChannelRegistry
from aintandem_notify.client.channels.connection_events import Unsubscribe
from aintandem_notify.client.channels.event_filter import SubscriptionFilter, filter_from_ids
from aintandem_notify.client.lifetime import ClientLifetime, ClientNotOpen, LifetimeBoundApi, open_lifetime
from aintandem_notify.client.progress import Progress
from aintandem_notify.client.run_task import TaskResult, submit_and_wait
from aintandem_notify.client.token_stores import ErrorTranslatingStore
from aintandem_notify.client.validation import check_settings
from aintandem_notify.config import ConnectionConfig, Secret
from aintandem_notify.domain.events import (
    Family,
    SandboxEvent,
    TaskCancelledEvent,
    TaskCompletedEvent,
    TaskEvent,
    TaskFailedEvent,
    UnknownEvent,
    WorkflowEvent,
    WorkflowExecutionCompletedEvent,
    WorkflowExecutionFailedEvent,
)
from aintandem_notify.foundation.backoff import Chance
from aintandem_notify.foundation.clock import Clock, SystemClock
from aintandem_notify.foundation.exception_groups import CollapsedGroups, leaves
from aintandem_notify.http_client import HttpClient
from aintandem_notify.orchestrator import (
    MemoryTokens,
    Session,
    StaticToken,
    TokenStore,
    WatchSettings,
    validate_id,
)
from aintandem_notify.orchestrator.link.reconnect_policy import ConnectionTrouble
from aintandem_notify.orchestrator.link.websocket import connect_link
from aintandem_notify.orchestrator.watch.composition import link_settings
from aintandem_notify.orchestrator.watch.settings import EventSink

GRACE_S: Final = 1.0
"""Seconds that callbacks may take to finish with waiting events while the client is being closed."""
FATAL: Final = frozenset({ConnectionTrouble.REFUSED, ConnectionTrouble.GONE})
"""Errors that waiting does not resolve: they are raised in the caller at once."""
_PARTS: Final = frozenset({"auth", "projects", "tasks", "workflows", "sandboxes", "progress"})
"""Attributes that exist only inside the client's block."""
_CAPITAL: Final = re.compile("[A-Z]")


class AInTandemClient:
    """A client of one orchestrator. Inside its block, any number of tasks of the same trio run may use it.

        async with AInTandemClient(base_url="http://localhost:9900") as client:
            await client.auth.login("admin", "admin123")
            result = await client.run_task("project-123", "data-analysis", {"dataset": "sales"}, on_event=print)
            print(result.output)

    ``base_url`` is the orchestrator's http or https address. The API is looked for under ``/api`` first, then at
    the address itself. ``tokens`` stores the login: MemoryTokens by default; FileTokens and KeyringTokens outlive
    the process. A stored login is used from the start. ``token`` is a token obtained elsewhere; it is used as it
    is, instead of a login and of ``tokens``.

    Times are in seconds. ``connect_timeout`` limits the opening of a socket, ``request_timeout`` a REST call.
    ``heartbeat_interval`` is the time between two pings; a socket is lost after two and a half intervals without a
    sign of life. Pauses before a reconnect are random. The first is at most ``reconnect_initial_delay``, and the
    limit doubles up to ``reconnect_max_delay``. ``reconnect_attempts`` is the number of tries in a row after a
    failed one; None never gives up.

    Sockets and requests use ``proxy``, except for the hosts in ``no_proxy``. It is an http:// or https:// URL,
    which may hold a percent-encoded login. ``ca_file`` (PEM) holds authorities that are trusted beside the usual
    ones. ``allow_addresses`` are address ranges that may be contacted although cloud metadata services use them.

    ``history_limit`` is the number of events that each project remembers for ``progress.history``; ten times as
    many cost a busy reader a sixth of its speed. ``result_limit`` is the number of a task's events that its result
    holds. ``on_error(error, value)`` is called when a callback raises, with the value that the callback was called
    with.

    Making a client raises ConfigError for an invalid setting. Entering the block opens no connection; it raises
    TokenStoreError when the tokens cannot be read, and RuntimeError when the client was used before or trio does
    not run. Leaving the block closes the sockets, gives callbacks one second to finish, and ends the client: calls
    of other tasks that still wait raise Disconnected, and later calls raise RuntimeError, also on a part of the
    client that a program has kept. An exception of the block is raised as it is, not in a group.
    """

    auth: Auth
    """Login, logout, tokens."""
    projects: Projects
    """Projects over REST."""
    tasks: Tasks
    """Tasks over REST."""
    workflows: Workflows
    """Workflow executions over REST."""
    sandboxes: Sandboxes
    """Sandboxes over REST."""
    progress: Progress
    """Connections, subscriptions, streams of events, history."""

    def __init__(
        self,
        base_url: str,
        *,
        tokens: TokenStore | None = None,
        token: str | None = None,
        connect_timeout: float = 10.0,
        request_timeout: float = 30.0,
        heartbeat_interval: float = 30.0,
        reconnect_attempts: int | None = 10,
        reconnect_initial_delay: float = 1.0,
        reconnect_max_delay: float = 30.0,
        proxy: str | None = None,
        no_proxy: Sequence[str] = (),
        allow_addresses: Sequence[str] = (),
        ca_file: str | PathLike[str] | None = None,
        history_limit: int = 1_000,
        result_limit: int = 10_000,
        on_error: OnError | None = None,
        clock: Clock | None = None,
    ) -> None:
        check_settings(
            {
                "base_url": base_url,
                "tokens": tokens,
                "token": token,
                "connect_timeout": connect_timeout,
                "request_timeout": request_timeout,
                "heartbeat_interval": heartbeat_interval,
                "reconnect_attempts": reconnect_attempts,
                "reconnect_initial_delay": reconnect_initial_delay,
                "reconnect_max_delay": reconnect_max_delay,
                "proxy": proxy,
                "no_proxy": no_proxy,
                "allow_addresses": allow_addresses,
                "ca_file": ca_file,
                "history_limit": history_limit,
                "result_limit": result_limit,
                "on_error": on_error,
            }
        )
        self._url = base_url.rstrip("/")
        self._connection = ConnectionConfig(
            connect_timeout=connect_timeout,
            heartbeat_interval=heartbeat_interval,
            reconnect_attempts=reconnect_attempts,
            reconnect_initial_delay=reconnect_initial_delay,
            reconnect_max_delay=reconnect_max_delay,
            proxy=None if proxy is None else Secret(proxy),
            no_proxy=tuple(no_proxy),
            allow_addresses=tuple(allow_addresses),
            ca_file=None if ca_file is None else Path(ca_file),
        )
        self._request_timeout = request_timeout
        self._store = ErrorTranslatingStore(MemoryTokens() if tokens is None else tokens)
        self._given_token = None if token is None else StaticToken(Secret(token))
        self._history_limit, self._result_limit = history_limit, result_limit
        self._callback_runner = CallbackRunner(on_error)
        self._clock = clock or SystemClock()
        self._link_settings = link_settings(self._connection, self._clock)
        self._open_context: Any = None

    def __repr__(self) -> str:
        return f"AInTandemClient({self._url!r})"

    if not TYPE_CHECKING:  # otherwise a type checker would accept every name

        def __getattr__(self, name: str) -> Any:
            if name in _PARTS:
                raise ClientNotOpen
            python_name = _CAPITAL.sub(lambda match: f"_{match[0].lower()}", name)
            hint = (
                f"; it is called {python_name} here"
                if python_name != name and hasattr(type(self), python_name)
                else ""
            )
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}{hint}")

    async def __aenter__(self) -> Self:
        if self._open_context is not None:
            raise RuntimeError("this AInTandemClient was used before; make another one")
        try:
            trio.lowlevel.current_task()
        except RuntimeError:
            reason = "AInTandemClient needs trio: run the program with trio.run(…), not with asyncio"
            raise RuntimeError(reason) from None
        self._open_context = self._run_block()
        await self._open_context.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        handled: bool | None = await self._open_context.__aexit__(kind, error, traceback)
        return handled

    @asynccontextmanager
    async def _run_block(self) -> AsyncIterator[None]:
        chance = random.SystemRandom().random
        http_client = HttpClient.configured(self._connection)
        async with http_client as http, open_lifetime() as lifetime:
            session = Session(
                self._url,
                self._given_token,
                http=http,
                clock=self._clock,
                chance=chance,
                announce=lambda _: None,  # a refused login is raised in the call that needed it
                store=None if self._given_token is not None else self._store,
            )
            await session.restore()
            api = LifetimeBoundApi(lifetime, session, http, self._clock, timeout=self._request_timeout)

            raised: BaseException | None = None
            try:
                with CollapsedGroups(lambda group: raised or _only_exception(group)):
                    async with trio.open_nursery() as readers, trio.open_nursery() as links:
                        self._create_parts(session, lifetime, api, chance, readers=readers, links=links)
                        try:
                            yield
                        except Exception as error:  # noqa: BLE001  # raised below, outside the nurseries' groups
                            raised = error
                        finally:
                            lifetime.is_closing = True
                        await self._channels.disconnect_all()
                        links.cancel_scope.cancel()
                        self._channels.close()
                        readers.cancel_scope.deadline = trio.current_time() + GRACE_S
            finally:
                for name in _PARTS:
                    self.__dict__.pop(name, None)
            if raised is not None:
                raise raised

    def _create_parts(
        self,
        session: Session,
        lifetime: ClientLifetime,
        api: LifetimeBoundApi,
        chance: Chance,
        *,
        readers: trio.Nursery,
        links: trio.Nursery,
    ) -> None:
        """Create the parts of the client. Callbacks run in ``readers``, connections in ``links``."""
        context = ChannelContext(
            lifetime=lifetime,
            nursery=links,
            api=api,
            watch_settings=partial(self._watch_settings, session, chance),
            callback_runner=self._callback_runner,
            clock=self._clock,
            chance=chance,
            history_limit=self._history_limit,
        )
        self._api, self._channels = api, ChannelRegistry(context, readers)
        self.progress = Progress(self._channels)
        self.auth = Auth(session, lifetime, self._channels.disconnect_all)
        self.projects, self.tasks = Projects(api), Tasks(api)
        self.workflows, self.sandboxes = Workflows(api), Sandboxes(api)

    def _watch_settings(self, session: Session, chance: Chance, sink: EventSink) -> WatchSettings:
        """Settings for watching the project whose events go to ``sink``."""
        return WatchSettings(
            session=session,
            connect=partial(connect_link, settings=self._link_settings),
            backoff=self._connection,
            sink=sink,
            clock=self._clock,
            chance=chance,
            fatal=FATAL,
            reports_every_try=True,
        )

    def get_progress(self) -> Progress:
        """The same as ``client.progress``.

        Example::

            progress = client.get_progress()
        """
        return self.progress

    async def call(
        self, method: str, path: str, *, query: Mapping[str, object] | None = None, json: Any = None
    ) -> Any:
        """Send any REST call. Returns the JSON value of the response, None if it is empty.

            health = await client.call("GET", "/health")

        ``path`` is relative to the API's base and begins with a slash, else ValueError. Raises ApiError or
        HttpFailed.
        """
        self.progress  # noqa: B018  # raises ClientNotOpen outside the block
        if not path.startswith("/"):
            raise ValueError(f"path should begin with a slash: {'/' + path!r}")
        return await self._api.call(method, path, query=query, json=json)

    async def run_task(
        self,
        project_id: str,
        task: str | None = None,
        input: Mapping[str, Any] | None = None,  # noqa: A002  # the guide's name
        *,
        step_id: str | None = None,
        prompt: str | None = None,
        parameters: Mapping[str, Any] | None = None,
        on_event: Callback[TaskEvent | UnknownEvent] | None = None,
    ) -> TaskResult:
        """Submit a task, call ``on_event`` (sync or async) with each of its events, and wait for its end.

            result = await client.run_task("project-123", "data-analysis", {"dataset": "sales-2024"})
            print(result.output)

        It subscribes before it submits, so that no event is lost. If the end is missed while the connection is
        down, it is looked up after the reconnect. An exception of ``on_event`` is reported, and the call goes on
        waiting.

        Raises TaskFailed or TaskCancelled, with the task's events. Raises as ``progress.subscribe_to_progress``
        when the connection is given up, and Disconnected when the program itself ends it. Raises ApiError or
        HttpFailed when the task cannot be submitted, and NotFound when the orchestrator no longer knows it.
        Cancelling the call stops listening; the task itself continues (``tasks.cancel_task`` ends it).
        """
        self.progress  # noqa: B018  # as in ``call``
        return await submit_and_wait(
            self._channels.get(project_id),
            partial(
                self.tasks.execute_task,
                project_id,
                task,
                input,
                step_id=step_id,
                prompt=prompt,
                parameters=parameters,
            ),
            on_event=on_event,
            callback_runner=self._callback_runner,
            max_events=self._result_limit,
        )

    async def subscribe_to_task(
        self,
        project_id: str,
        task_id: str,
        on_event: Callback[TaskEvent | UnknownEvent],
        on_complete: Callback[TaskCompletedEvent] | None = None,
        on_failed: Callback[TaskFailedEvent] | None = None,
        *,
        on_cancelled: Callback[TaskCancelledEvent] | None = None,
        buffer: int | None = None,
    ) -> Unsubscribe:
        """Call ``on_event`` with every event of a task, and then the callback for the way in which it ended.

            unsubscribe = await client.subscribe_to_task(
                "project-123", task.task_id, print, lambda event: print("done:", event.output)
            )

        Returns, once connected, a function that ends the subscription. Raises as
        ``progress.subscribe_to_progress``, which also documents ``buffer`` and exceptions of callbacks. If the
        task ended before the call or while the connection was down, the end is looked up and its event has
        ``caught_up`` set. ``on_event`` also gets events of unknown types that name the task (UnknownEvent).
        """
        more = {"task_completed": on_complete, "task_failed": on_failed, "task_cancelled": on_cancelled}
        event_filter = filter_from_ids(task_id=validate_id(task_id, "task_id"))
        return await self._subscribe(project_id, event_filter, on_event, more, buffer)

    async def subscribe_to_workflow(
        self,
        project_id: str,
        on_event: Callback[WorkflowEvent | UnknownEvent],
        workflow_id: str | None = None,
        execution_id: str | None = None,
        on_complete: Callback[WorkflowExecutionCompletedEvent] | None = None,
        on_failed: Callback[WorkflowExecutionFailedEvent] | None = None,
        *,
        buffer: int | None = None,
    ) -> Unsubscribe:
        """As ``subscribe_to_task``, for a workflow's executions, one execution, or all of the project.

            unsubscribe = await client.subscribe_to_workflow("project-123", print, execution_id="execution-1")

        A missed end is looked up only if ``execution_id`` is given. A cancelled execution has no event. Raises as
        ``subscribe_to_task``.
        """
        event_filter = filter_from_ids(workflow_id=workflow_id, execution_id=execution_id)
        event_filter = event_filter if event_filter.family is not None else SubscriptionFilter(Family.WORKFLOW)
        more = {"workflow_execution_completed": on_complete, "workflow_execution_failed": on_failed}
        return await self._subscribe(project_id, event_filter, on_event, more, buffer)

    async def subscribe_to_sandbox(
        self,
        project_id: str,
        on_event: Callback[SandboxEvent | UnknownEvent],
        sandbox_id: str | None = None,
        *,
        buffer: int | None = None,
    ) -> Unsubscribe:
        """As ``subscribe_to_task``, for one sandbox or all of the project. A missed end is not looked up.

        Raises as ``subscribe_to_task``.

        Example::

            unsubscribe = await client.subscribe_to_sandbox("project-123", print, "sandbox-1")
        """
        event_filter = (
            SubscriptionFilter(Family.SANDBOX) if sandbox_id is None else filter_from_ids(sandbox_id=sandbox_id)
        )
        return await self._subscribe(project_id, event_filter, on_event, {}, buffer)

    async def _subscribe(
        self,
        project_id: str,
        event_filter: SubscriptionFilter,
        on_event: Callback[Any],
        more: Mapping[str, Callback[Any] | None],
        buffer: int | None,
    ) -> Unsubscribe:
        callbacks_by_type = {kind: (callback,) for kind, callback in more.items() if callback is not None}
        self.progress  # noqa: B018  # as in ``call``
        channel, queue = await self._channels.subscribe(
            project_id, event_filter, on_event, callbacks_by_type, buffer=buffer
        )
        return partial(channel.remove, queue)


def _only_exception(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The only exception in a group of the client's nurseries; the group itself if there are several."""
    errors = [error for error in leaves(group) if not isinstance(error, trio.Cancelled)]
    return errors[0] if len(errors) == 1 else group
