"""``aintandem-notify tail``."""

import sys
from pathlib import Path

import click

from aintandem_notify.cli.options import EXIT_FAILED, config_argument, resource_id, run_interruptible


@click.command(
    short_help="Show the events in the projects of CONFIG live.",
    epilog="Example:  aintandem-notify tail config.toml --project project-123",
)
@config_argument
@click.option(
    "--project",
    "projects",
    type=resource_id,
    multiple=True,
    metavar="ID",
    help="Only this project; may be given several times.",
)
@click.option("--task", "task_id", type=resource_id, metavar="ID", help="Only this task; ends when it ends.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line: each event as it came.")
def tail(config: Path, projects: tuple[str, ...], task_id: str | None, as_json: bool) -> None:
    """Show the events in the projects of CONFIG live, until Ctrl-C.

    A terminal shows a bar with the step and the message of each running task, and its output above; elsewhere it
    prints plain lines. It notifies nobody and stores nothing, and the agent may run meanwhile. --project may name
    one that is not in CONFIG. With --task, exits with 0 once the task has completed, and with 1 once it has failed
    or was cancelled.
    """
    from aintandem_notify import log
    from aintandem_notify.live_view import FollowOptions, ReaderGone, Style, follow
    from aintandem_notify.plugins import FilePolicy
    from aintandem_notify.plugins.config_loading import load

    loaded = load(config, file_policy=FilePolicy.SKIP)
    log.silence()  # the live view shows the problems
    if sys.stdout is None:
        raise click.ClickException("standard output is closed, so nothing can be shown")
    style = Style.JSON if as_json else Style.SCREEN if sys.stdout.isatty() else Style.PLAIN
    completed = True
    try:
        completed = run_interruptible(follow, loaded.config, FollowOptions(projects, task_id), style)
    except* (KeyboardInterrupt, ReaderGone):
        pass  # the user pressed Ctrl-C, or closed the reader of the pipe
    if not completed:
        sys.exit(EXIT_FAILED)
