"""``aintandem-notify test``."""

import sys

import click

from aintandem_notify.cli.control_options import config_and_name, names_argument
from aintandem_notify.cli.echo import echo
from aintandem_notify.cli.options import EXIT_FAILED, run_interruptible


@click.command(
    short_help="Send a made-up notification to one destination.",
    epilog="Example:  aintandem-notify test config.toml slack.team",
)
@names_argument("[CONFIG] DESTINATION")
@click.option(
    "--event", "event_type", default="task_failed", show_default=True, help="The type of event to make up."
)
def test(arguments: tuple[str, ...], event_type: str) -> None:
    """Send a made-up notification to DESTINATION, as slack.team, and report the result.

    One-file plugins beside CONFIG are loaded: try no config that you do not trust.

    The title begins with "Test:". The agent may run meanwhile: nothing is stored, and a failure is not retried.
    """
    from aintandem_notify import log
    from aintandem_notify.diagnostics import send_sample
    from aintandem_notify.plugins.config_loading import load

    config, destination = config_and_name(arguments, "DESTINATION")
    loaded = load(config)
    log.configure("warning", "text")
    result = run_interruptible(send_sample, loaded, destination, event_type)
    echo(f"{result.name}: {result.detail}", err=not result.is_ok)
    if not result.is_ok:
        sys.exit(EXIT_FAILED)
