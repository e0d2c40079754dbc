"""``aintandem-notify destinations``."""

import click

from aintandem_notify.cli.control_options import config_and_names, json_option, show_json
from aintandem_notify.cli.echo import echo

names_argument = click.argument("arguments", nargs=-1, metavar="[CONFIG] NAME...")


@click.group(epilog="Example:  aintandem-notify destinations pause config.toml slack.team")
def destinations() -> None:
    """Pause destinations, and resume them.

    Asks the running agent; if none runs, changes its store for the next agent.
    """


@destinations.command(
    short_help="Send nothing more for now.",
    epilog="Example:  aintandem-notify destinations pause config.toml slack.team",
)
@names_argument
@json_option
def pause(arguments: tuple[str, ...], as_json: bool) -> None:
    """Send nothing more to NAME, as slack.team, until you resume it, even after a restart.

    If one of several NAMEs is unknown, none is paused.
    Deliveries wait meanwhile; those that wait longer than max_age are given up as always.
    """
    _set_paused(arguments, as_json, paused=True)


@destinations.command(
    short_help="Send again.", epilog="Example:  aintandem-notify destinations resume config.toml slack.team"
)
@names_argument
@json_option
def resume(arguments: tuple[str, ...], as_json: bool) -> None:
    """Send to NAME again; one that is parked or backs off is tried at once."""
    _set_paused(arguments, as_json, paused=False)


def _set_paused(arguments: tuple[str, ...], as_json: bool, *, paused: bool) -> None:
    from aintandem_notify.control.client.backend import open_backend

    config, names = config_and_names(arguments, "NAME")
    state = "paused" if paused else "resumed"
    with open_backend(config) as backend:
        response = backend.set_paused(names, paused=paused)
    if as_json:
        show_json(response)
        return
    for destination in response.destinations:
        if destination.changed:
            echo(f"{destination.name} is {state}")
        else:
            echo(f"{destination.name} is paused already" if paused else f"nothing held {destination.name} back")
