"""``aintandem-notify destinations``."""

import click

from aintandem_notify.cli.control_options import config_and_names, json_option, show_json
from aintandem_notify.cli.echo import echo

names = click.argument("arguments", nargs=-1, metavar="[CONFIG] NAME...")


@click.group(epilog="Example:  aintandem-notify destinations pause config.toml slack.team")
def destinations() -> None:
    """Hold destinations back, and let them go again.

    The running agent is asked; where none runs, its store is opened, and the next agent finds it there.
    """


@destinations.command(
    short_help="Send nothing more for now.",
    epilog="Example:  aintandem-notify destinations pause config.toml slack.team",
)
@names
@json_option
def pause(arguments: tuple[str, ...], as_json: bool) -> None:
    """Send nothing more to NAME, as slack.team, until it is resumed, also over a restart.

    Of several NAMEs none is paused when one of them is unknown.
    What is due waits meanwhile; what waits longer than max_age is given up as always.
    """
    _set_paused(arguments, as_json, paused=True)


@destinations.command(
    short_help="Send again.", epilog="Example:  aintandem-notify destinations resume config.toml slack.team"
)
@names
@json_option
def resume(arguments: tuple[str, ...], as_json: bool) -> None:
    """Send to NAME again; one that is parked or backs off is tried at once."""
    _set_paused(arguments, as_json, paused=False)


def _set_paused(arguments: tuple[str, ...], as_json: bool, *, paused: bool) -> None:
    from aintandem_notify.control.client.backend import open_backend

    config, found = config_and_names(arguments, "NAME")
    state = "paused" if paused else "resumed"
    with open_backend(config) as backend:
        turned = backend.set_paused(found, paused=paused)
    if as_json:
        show_json(turned)
        return
    for one in turned.destinations:
        if one.changed:
            echo(f"{one.name} is {state}")
        else:
            echo(f"{one.name} is paused already" if paused else f"nothing held {one.name} back")
