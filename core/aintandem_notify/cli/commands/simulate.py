"""``aintandem-notify simulate``."""

from functools import partial

import click

from aintandem_notify.cli.echo import echo
from aintandem_notify.cli.options import TEARDOWN_GRACE_S, resource_id


@click.command(epilog="Example:  aintandem-notify simulate --port 9900 --speed 5")
@click.option(
    "--port", default=9900, show_default=True, type=click.IntRange(0, 65535), help="0 chooses a free one."
)
@click.option("--seed", type=int, help="Repeats the same events for the same seed.")
@click.option(
    "--speed",
    default=1.0,
    show_default=True,
    type=click.FloatRange(min=0.01),
    help="The factor by which its tasks run faster than real time.",
)
@click.option(
    "--project",
    "projects",
    type=resource_id,
    multiple=True,
    metavar="ID",
    default=("project-123",),
    show_default=True,
    help="A project with events of its own; may be given several times.",
)
def simulate(port: int, seed: int | None, speed: float, projects: tuple[str, ...]) -> None:
    """Run a simulated orchestrator, for demos and tests.

    It serves the REST API and the progress sockets on loopback until Ctrl-C. Log in as admin with the password
    admin123; every project id exists. In the configuration of an agent:

    \b
        [orchestrator]
        url = "http://localhost:9900"
        username = "admin"
        password = "admin123"
    """
    import trio

    from aintandem_notify import log
    from aintandem_notify.foundation.signals import stop_signals
    from aintandem_notify.foundation.threads import run_in_thread
    from aintandem_notify.simulator import open_simulator

    async def serve() -> None:
        with stop_signals(lambda: TEARDOWN_GRACE_S) as stop:
            async with (
                open_simulator(port=port, seed=seed, speed=speed, demo_projects=projects) as simulator,
                trio.open_nursery() as nursery,
            ):
                address = f"{simulator.url}, login admin / admin123, projects: {', '.join(projects)}"
                # In a thread: stdout may block if nobody reads it, and the simulator must serve anyway.
                print_address = partial(run_in_thread, echo, f"orchestrator at {address}", abandon_on_cancel=True)
                nursery.start_soon(print_address)
                await stop.wait()
                nursery.cancel_scope.cancel()

    log.configure()
    try:
        trio.run(serve)
    except OSError as error:
        raise click.ClickException(
            f"cannot listen on port {port}: {error.strerror}; choose another with --port, 0 takes a free one"
        ) from None
