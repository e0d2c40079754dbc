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
    "--event",
    "event_type",
    metavar="TYPE",
    help="The type of event to make up; by default task_failed, or else the first that the rule is for.",
)
@click.option(
    "--rule", "rule_name", metavar="NAME", help="Whose texts it has; by default the first that names DESTINATION."
)
def test(arguments: tuple[str, ...], event_type: str | None, rule_name: str | None) -> None:
    """Send a made-up notification to DESTINATION, as slack.team, and report the result.

    It has the texts, severity and mentions of a rule that names DESTINATION, or the default texts if none does.
    The rule's projects and when are not looked at.

    One-file plugins beside CONFIG are loaded: try no config that you do not trust.

    The title begins with "Test:". The agent may run meanwhile: nothing is stored, and a failure is not retried.
    """
    from aintandem_notify import log
    from aintandem_notify.diagnostics import choose_sample, send_sample
    from aintandem_notify.foundation.clock import SystemClock
    from aintandem_notify.plugins.config_loading import load

    config, destination = config_and_name(arguments, "DESTINATION")
    loaded = load(config)
    log.configure("warning", "text")
    sample = choose_sample(
        loaded.config, destination, SystemClock().now(), event_type=event_type, rule_name=rule_name
    )
    result = run_interruptible(send_sample, loaded, sample)
    echo(f"{result.name}: {result.detail}", err=not result.is_ok)
    if not result.is_ok:
        sys.exit(EXIT_FAILED)
    echo(sample.texts)
    for name, text in sample.rows():
        echo(f"  {name:<8}  {text}")
