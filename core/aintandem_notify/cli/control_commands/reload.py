"""``aintandem-notify reload``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from aintandem_notify.cli.control_options import json_option, show_facts, show_json
from aintandem_notify.cli.echo import echo
from aintandem_notify.cli.options import EXIT_WRONG, config_argument

if TYPE_CHECKING:
    from aintandem_notify.control.schemas import ReloadResponse


@click.command(
    short_help="Have the agent read CONFIG again, and show the result.",
    epilog="Example:  aintandem-notify reload config.toml",
)
@config_argument
@click.option(
    "--timeout", metavar="DURATION", default="2m", show_default=True, help="How long to wait for the agent."
)
@json_option
def reload(config: Path, timeout: str, as_json: bool) -> None:
    """Have the agent of CONFIG read it again, wait for it, and list the changes.

    CONFIG is config.toml by default. A wrong CONFIG is refused as a whole, and the agent goes on with the config
    that it has. So is one with a change that needs a restart.

    Exits with 0 if CONFIG is in use, with 2 if it was refused, and with 1 if no agent runs or if it has not
    finished within --timeout. The agent goes on all the same.
    """
    from aintandem_notify.control.client.backend import reload_agent

    response = reload_agent(config, timeout_s=_seconds(timeout), on_slow=_show_slowness)
    if as_json:
        show_json(response)
    elif response.taken:
        _show_changes(config, response)
    else:
        _show_refusal(config, response)
    if not response.taken:
        sys.exit(EXIT_WRONG)


def _seconds(duration: str) -> float:
    from aintandem_notify.config import parse_duration

    try:
        return parse_duration(duration)
    except ValueError:
        raise click.BadParameter(
            f'{duration!r} is no duration; write "30s" or "2m"', param_hint="--timeout"
        ) from None


def _show_slowness() -> None:
    echo(
        "the agent is still at it; it may be starting, or a plugin may block while it is imported or torn down",
        err=True,
    )


def _show_changes(config: Path, response: ReloadResponse) -> None:
    changes = list(_changes(response))
    echo(f"{config} is in use{':' if changes else '; nothing has changed.'}")
    show_facts(changes)
    for instance in response.not_running:
        echo(f"warning: {instance.name} does not run: {instance.reason}", fg="yellow")


def _changes(response: ReloadResponse) -> Iterator[tuple[str, str]]:
    rows = {
        "started": response.started,
        "stopped": response.stopped,
        "restarted": response.restarted,
        "projects added": response.projects_added,
        "projects removed": response.projects_removed,
        "changed": response.changed,
    }
    return ((f"  {name}", ", ".join(names)) for name, names in rows.items() if names)


def _show_refusal(config: Path, response: ReloadResponse) -> None:
    from aintandem_notify.errors import Problem

    for problem in response.problems:
        echo(Problem(problem.sentence, problem.key, problem.line).describe(problem.file), err=True)
    if response.restart_needed:
        echo(f"{config}: a restart is needed for {', '.join(response.restart_needed)}", err=True)
    echo("refused: the agent goes on with the config that it has", err=True)
