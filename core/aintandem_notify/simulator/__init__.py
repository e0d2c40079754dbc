"""An orchestrator in the package, for demos and tests: REST, the progress socket, and a small world behind them.

    async with open_simulator(seed=1, speed=50) as simulator:
        simulator.url, simulator.username, simulator.password

The server's libraries are imported when one is opened, not with this package. Start reading at ``server``, then
``simulation``; the world is ``world``, ``script``, ``tasks``, ``workflows`` and ``sandboxes``.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from aintandem_notify.foundation.clock import Clock
    from aintandem_notify.simulator.simulation import Simulator as Simulator

DEFAULT_PROJECTS: Final = ("project-123", "project-456")
"""The projects that are there from the start; any other comes to life when it is first used."""


def open_simulator(
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    seed: int | None = None,
    speed: float = 1.0,
    token_lifetime: float = 3600.0,
    projects: Sequence[str] = DEFAULT_PROJECTS,
    demo_projects: Sequence[str] = (),
    refusal: Literal["http", "close"] = "http",
    ping_interval: float | None = None,
    clock: Clock | None = None,
) -> AbstractAsyncContextManager[Simulator]:
    """An orchestrator that listens when the block begins and is gone when it ends.

    ``host`` is an IP address; ``port`` 0 takes a free one. ``seed`` decides what happens, None leaves it to
    chance. ``speed`` is how much faster than life the world goes; the faults' seconds stay real.
    ``token_lifetime`` is in seconds. ``demo_projects`` are kept busy. ``refusal`` is how a socket with a bad
    token is refused: HTTP 401 at the upgrade, or accepted and closed with 4401. ``ping_interval``: seconds
    between the server's own JSON pings, None: none. Raises OSError when the port is taken.
    """
    from aintandem_notify.simulator.server import open_server

    return open_server(
        host=host,
        port=port,
        seed=seed,
        speed=speed,
        token_lifetime=token_lifetime,
        projects=projects,
        demo_projects=demo_projects,
        refusal=refusal,
        ping_interval=ping_interval,
        clock=clock,
    )
