"""Composes the simulator: opens and closes world, application, server and fault proxy together."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing
from random import SystemRandom
from typing import Final

import trio

from aintandem_notify.foundation.clock import Clock, SystemClock
from aintandem_notify.foundation.http_server.connections import ConnectionLimiter
from aintandem_notify.foundation.http_server.server import bound_socket, serve
from aintandem_notify.simulator.api.app import build_app
from aintandem_notify.simulator.demo import run_demo
from aintandem_notify.simulator.simulation import Refusal, Simulator
from aintandem_notify.simulator.wire.fault_proxy import FaultProxy
from aintandem_notify.simulator.wire.subscriptions import Subscriptions
from aintandem_notify.simulator.world.tokens import TokenIssuer
from aintandem_notify.simulator.world.world import World

KEEP_ALIVE_S: Final = 75.0
"""Seconds that an idle REST connection is kept; the default of nginx, which stands before many orchestrators."""

MAX_UNAUTHENTICATED: Final = 64
"""Concurrent connections without a valid token; our choice. Each takes three descriptors, and an agent that embeds
the simulator needs the others."""

SHUTDOWN_GRACE_S: Final = 0.5
"""Seconds for requests to end when the simulator closes; our choice, short since it is only a simulator."""


@asynccontextmanager
async def open_server(
    *,
    host: str,
    port: int,
    seed: int | None,
    speed: float,
    token_lifetime: float,
    projects: Sequence[str],
    demo_projects: Sequence[str],
    refusal: Refusal,
    ping_interval: float | None,
    clock: Clock | None,
) -> AsyncIterator[Simulator]:
    """As ``open_simulator``."""
    clock = clock or SystemClock()
    with closing(FaultProxy(host, port)) as front:
        async with trio.open_nursery() as nursery:
            simulator = Simulator(
                host=host,
                world=World(
                    clock=clock,
                    seed=SystemRandom().getrandbits(32) if seed is None else seed,
                    speed=speed,
                    publish=lambda project_id, frame: simulator.publish(project_id, frame),
                    spawn=nursery.start_soon,
                ),
                tokens=TokenIssuer(clock, token_lifetime),
                subscriptions=Subscriptions(),
                front=front,
                nursery=nursery,
                refusal=refusal,
                ping_interval=ping_interval,
            )
            for project_id in dict.fromkeys((*projects, *demo_projects)):
                simulator.world.project(project_id)
            async with _served(simulator):
                if demo_projects:
                    nursery.start_soon(run_demo, simulator, demo_projects)
                yield simulator
                nursery.cancel_scope.cancel()


@asynccontextmanager
async def _served(simulator: Simulator) -> AsyncIterator[None]:
    """Serves the application behind the fault proxy, which cuts open connections before the server ends.

    Hypercorn shields its sends from cancellation: without the cut, a client that does not read could delay the
    end.
    """
    bound = bound_socket("127.0.0.1", 0)
    port = bound.getsockname()[1]
    name = "aintandem_notify.simulator.hypercorn"
    limiter = ConnectionLimiter(MAX_UNAUTHENTICATED, counts_busy=False, on_connect=simulator.front.on_accepted)
    async with (
        serve(
            build_app(simulator),
            bound,
            name=name,
            keep_alive_s=KEEP_ALIVE_S,
            grace_s=SHUTDOWN_GRACE_S,
            limiter=limiter,
        ),
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(simulator.front.run, port)
        yield
        nursery.cancel_scope.cancel()
