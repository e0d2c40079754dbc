"""``aintandem-notify``: the commands together, and how they end.

Every command's module imports click only; what it needs is imported when it runs, so that ``--help`` is quick.
"""

import sys
from typing import Any

import click

from aintandem_notify import __version__
from aintandem_notify.cli import check, plugins, run, schema, simulate, try_out
from aintandem_notify.cli.shared import EXIT_FAILED, EXIT_WRONG
from aintandem_notify.errors import AInTandemNotifyError, ConfigError


class Commands(click.Group):
    """A group that turns our own errors into one sentence a problem and an exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click's signature
        """In the order in which a newcomer needs them."""
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        """As click's; nothing that a user can cause ends in a traceback."""
        try:
            return super().invoke(ctx)
        except ConfigError as error:
            click.echo(str(error), err=True)
            sys.exit(EXIT_WRONG)
        except AInTandemNotifyError as error:
            click.echo(f"aintandem-notify: {error}", err=True)
            sys.exit(EXIT_FAILED)
        except BrokenPipeError:
            # The reader (head, less) has seen enough; without this Python complains once more at exit.
            sys.stderr.close()
            sys.exit(EXIT_FAILED)


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Start with:  aintandem-notify run config.example.toml",
)
@click.version_option(__version__, prog_name="aintandem-notify", message="%(prog)s %(version)s")
def main() -> None:
    """Tell the right people what happens to AInTandem tasks, workflows and sandboxes.

    Watches the projects that a TOML file names and notifies Slack, webhooks, the desktop, files or your own
    plugins.
    """


for command in (run.run, check.check, try_out.test, plugins.plugins, schema.schema, simulate.simulate):
    main.add_command(command)
