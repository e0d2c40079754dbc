"""A simulated orchestrator for demos and tests: REST, the progress socket, and a small world behind them.

    async with open_simulator(seed=1, speed=50) as simulator:
        simulator.url, simulator.username, simulator.password

The server's libraries are imported by ``open_simulator``, not with this package. Start reading at ``server``,
which composes the parts, then ``simulation``. ``api`` has REST and the socket, ``wire`` the network with its
faults, and ``world`` the tasks, workflows and sandboxes.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from aintandem_notify.foundation.clock import Clock
    from aintandem_notify.simulator.simulation import Simulator as Simulator

DEFAULT_PROJECTS: Final = ("project-123", "project-456")
"""Projects that exist from the start. Any other project is created on first use."""


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
    """A simulated orchestrator that listens during the block.

    ``host`` is an IP address; ``port`` 0 takes a free port. The same ``seed`` gives the same plans; None takes a
    random one. ``speed`` is the factor by which the world is faster than real time; seconds of faults stay real.
    ``token_lifetime`` is in seconds. ``demo_projects`` are kept busy. ``refusal`` is the answer to a socket with a
    bad token: HTTP 401 at the upgrade, or accepted and closed with 4401. ``ping_interval`` is the time between the
    server's own JSON pings in seconds; None sends none. Raises OSError when the port is taken.
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
