"""Runs the control API over parts that a test controls: real store and dispatcher, fake projects and plugins."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import trio

from aintandem_notify.control.discovery import ControlEndpoint, control_file, find_endpoint
from aintandem_notify.control.explain.explainer import Explainer
from aintandem_notify.control.server.access import AgentAccess, ControlTimes
from aintandem_notify.control.server.server import open_control
from aintandem_notify.delivery import DestinationSettings, Dispatcher, open_dispatcher
from aintandem_notify.domain.health import WELL, Health
from aintandem_notify.domain.notification import Project
from aintandem_notify.domain.reload import ReloadResult
from aintandem_notify.orchestrator import ConnectionState, ProjectStatus, UnwatchedProjects
from aintandem_notify.plugins import InstanceState, InstanceStatus
from aintandem_notify.store import Storage, StoreLiveness, open_storage
from support.outbox import NOW, FakeHost, SetClock, event, one_rule, queue_up

DESTINATION = "file_log.a"
_PATIENCE_S = 300.0
"""Seconds that store and plugin may take for their part of a response, on a busy machine."""
PATIENT = ControlTimes(plugin_s=_PATIENCE_S, store_s=_PATIENCE_S)


async def _unchanged() -> ReloadResult:
    return ReloadResult(at=NOW, config="/etc/notify/config.toml")


@dataclass
class Scene:
    """The agent behind the control API."""

    storage: Storage
    host: FakeHost
    dispatcher: Dispatcher
    clock: SetClock
    config: Path
    projects: list[ProjectStatus] = field(default_factory=list)
    unwatched: UnwatchedProjects | None = None
    phase: str = "running"
    reload: Callable[[], Awaitable[ReloadResult]] = _unchanged
    health: Health = WELL
    facts: Callable[[], dict[str, Any]] = dict
    configured: tuple[str, ...] = (DESTINATION,)
    explainer: Explainer = field(default_factory=lambda: Explainer(one_rule(DESTINATION)))

    async def diagnose(self, name: str) -> dict[str, Any]:
        """The facts of the one plugin."""
        await trio.lowlevel.checkpoint()
        return self.facts()

    def whereabouts(self) -> ControlEndpoint:
        """The endpoint in the control file."""
        endpoint = find_endpoint(control_file(self.config))
        assert endpoint is not None
        return endpoint

    async def request(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        token: str | None = "",
        headers: Mapping[str, str] | None = None,
        raw: bytes | None = None,
    ) -> tuple[int, Any]:
        """Returns status and JSON of the response. Sends the right token, another one, or none (None)."""
        where = self.whereabouts()
        content = raw if raw is not None else b"" if body is None else json.dumps(body).encode()
        fields = {"Host": urlsplit(where.address).netloc, "Connection": "close"}
        fields |= {"Content-Length": str(len(content))} | dict(headers or {})
        if token is not None:
            fields |= {"Authorization": f"Bearer {token or where.token}"} | dict(headers or {})
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        port = urlsplit(where.address).port or 0
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            await stream.send_all(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + content)
            answer = b""
            while chunk := await stream.receive_some():
                answer += chunk
        top, _, payload = answer.partition(b"\r\n\r\n")
        return int(top.split()[1]), json.loads(payload)


def project(name: str, state: ConnectionState = ConnectionState.CONNECTED) -> ProjectStatus:
    """Returns the status of a project since NOW."""
    return ProjectStatus(Project(id=name, name=name.upper()), state, NOW)


@asynccontextmanager
async def open_scene(
    folder: Path, *, host: FakeHost | None = None, url: str | None = None, times: ControlTimes = PATIENT
) -> AsyncIterator[Scene]:
    """Runs the API with the one destination ``DESTINATION``. The caller has set XDG_STATE_HOME."""
    clock, host = SetClock(), host or FakeHost()
    async with (
        open_storage(url or folder / "store.db") as storage,
        open_dispatcher(
            storage=storage, host=host, clock=clock, chance=lambda: 0.0, announce=lambda _event: None
        ) as dispatcher,
    ):
        liveness = StoreLiveness(storage, stuck_after_s=_PATIENCE_S)
        await liveness.check()
        scene = Scene(storage, host, dispatcher, clock, folder / "config.toml", [project("p")])
        access = AgentAccess(
            config=scene.config,
            version="1.2.3",
            started_at=NOW,
            clock=clock,
            storage=storage,
            liveness=liveness,
            phase=lambda: scene.phase,
            health=lambda: scene.health,
            projects=lambda: scene.projects,
            unwatched=lambda: scene.unwatched,
            plugins=lambda: (InstanceStatus(DESTINATION, InstanceState.LOADED, None, NOW, True),),
            diagnose=lambda name: scene.diagnose(name),
            destinations=lambda: dispatcher.snapshot(scene.configured),
            pausable=dispatcher.names,
            in_flight=dispatcher.in_flight,
            look_again=lambda: None,
            explainer=lambda: scene.explainer,
            wake=dispatcher.wake,
            pause=dispatcher.pause,
            resume=dispatcher.resume,
            reload=lambda: scene.reload(),
            wait_set_up=trio.lowlevel.checkpoint,
            times=times,
        )
        dispatcher.start(DestinationSettings(DESTINATION, max_age=3600))
        # After its first look, the worker finds queued deliveries only when a test wakes it.
        await dispatcher.wait_idle()
        async with open_control(access, ("127.0.0.1", 0)):
            yield scene


async def queue(scene: Scene, *runs: str, destination: str = DESTINATION) -> None:
    """Queues a delivery for each run and wakes the worker."""
    await scene.storage.run(queue_up([event("task_failed", run) for run in runs], (destination,)))
    scene.dispatcher.wake([destination])


async def listed(scene: Scene, query: str = "") -> list[dict[str, Any]]:
    status, page = await scene.request("GET", f"/deliveries{query}")
    assert status == 200, page
    code: list[dict[str, Any]] = page["deliveries"]
    return code


async def until(scene: Scene, run: str, state: str) -> dict[str, Any]:
    """Returns the delivery about the run once it is in this state."""
    with trio.fail_after(30):
        while True:
            for entry in await listed(scene):
                if entry["title"] == f"task_failed {run}" and entry["state"] == state:
                    return entry
