"""``aintandem-notify run``."""

from pathlib import Path

import click

from aintandem_notify.cli.options import config_argument


@click.command(epilog="Example:  aintandem-notify run config.example.toml")
@config_argument
def run(config: Path) -> None:
    """Watch the projects of CONFIG and notify, until told to stop.

    CONFIG is config.toml by default. One-file plugins beside it are loaded: run no config that you do not trust.

    SIGINT (Ctrl-C) and SIGTERM stop it gracefully; a second signal stops it at once. SIGHUP reads CONFIG again; a
    wrong CONFIG is refused, and the old one stays. Undelivered notifications are delivered after the next start.
    """
    from aintandem_notify import agent

    agent.run(config)
