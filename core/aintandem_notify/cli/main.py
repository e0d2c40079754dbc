"""``aintandem-notify``: the commands together, and how they end.

Every command's module imports click only; what it needs is imported when it runs, so that ``--help`` is quick.
"""

import os
import sys
from collections.abc import Iterator
from io import TextIOWrapper
from typing import Any

import click

from aintandem_notify import __version__
from aintandem_notify.cli.commands import (
    check,
    deliveries,
    destinations,
    init,
    plugins,
    run,
    schema,
    simulate,
    status,
    tail,
    test,
)
from aintandem_notify.cli.echo import PrintableError, echo, echo_lines, install_excepthooks
from aintandem_notify.cli.options import EXIT_FAILED, EXIT_WRONG
from aintandem_notify.cli.process_exit import end_process
from aintandem_notify.errors import AInTandemNotifyError, ConfigError
from aintandem_notify.foundation import open_files
from aintandem_notify.foundation.stdio.stderr_thread import stderr_in_thread

PROGRAM = "aintandem-notify"


class Commands(click.Group):
    """A group that turns our own errors into one sentence a problem and an exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click's signature
        """In the order in which a newcomer needs them."""
        return list(self.commands)

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        """As click's; what it says of wrong arguments is printable."""
        try:
            return super().make_context(*args, **kwargs)
        except click.ClickException as error:
            raise PrintableError(error) from None

    def invoke(self, ctx: click.Context) -> Any:
        """As click's; nothing that a user can cause ends in a traceback."""
        if (too_few := open_files.describe_too_low_limit(open_files.raise_file_limit())) is not None:
            echo(f"{PROGRAM}: {too_few}", err=True)
            sys.exit(EXIT_WRONG)
        try:
            return _without_groups(super().invoke, ctx)
        except click.ClickException as error:
            raise PrintableError(error) from None
        except ConfigError as error:
            echo_lines(str(error), err=True)
            sys.exit(EXIT_WRONG)
        except AInTandemNotifyError as error:
            echo(f"{PROGRAM}: {error}", err=True)
            sys.exit(EXIT_FAILED)
        except RuntimeError as error:
            if (refused := _no_thread(error)) is None:
                raise
            echo(f"{PROGRAM}: {refused}", err=True)
            sys.exit(EXIT_FAILED)


def _without_groups(invoke: Any, ctx: click.Context) -> Any:
    """What nurseries wrap is raised bare, as far as it is for people: a Ctrl-C, an error of ours, the system's."""
    try:
        return invoke(ctx)
    except BaseExceptionGroup as group:
        leaves = list(_leaves(group))
        for leaf in leaves:
            if isinstance(leaf, KeyboardInterrupt) or (leaves == [leaf] and _is_for_people(leaf)):
                raise leaf from None
        raise


def _is_for_people(error: BaseException) -> bool:
    return isinstance(error, AInTandemNotifyError | OSError) or _no_thread(error) is not None


def _no_thread(error: BaseException) -> str | None:
    """A sentence where the error is that the system starts no thread, else None."""
    from aintandem_notify.foundation.threads import NO_MORE_THREADS, is_thread_start_failure

    return NO_MORE_THREADS if is_thread_start_failure(error) else None


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=f"Start with:  {PROGRAM} run config.example.toml",
)
@click.version_option(__version__, prog_name=PROGRAM, message="%(prog)s %(version)s")
def commands() -> None:
    """Tell the right people what happens to AInTandem tasks, workflows and sandboxes.

    Watches the projects that a TOML file names and notifies Slack, webhooks, the desktop, files or your own
    plugins.
    """


for command in (
    init.init,
    run.run,
    check.check,
    test.test,
    tail.tail,
    status.status,
    deliveries.deliveries,
    destinations.destinations,
    plugins.plugins,
    schema.schema,
    simulate.simulate,
):
    commands.add_command(command)


def _in_words(error: OSError) -> str:
    if isinstance(error, FileNotFoundError) and error.filename is None:
        return "the working directory was removed; go to another one"  # nothing else is missing without a name
    if error.filename is None or error.strerror is None:
        return error.strerror or str(error)
    return f"{os.fsdecode(error.filename)}: {error.strerror}"


def main() -> None:
    """Run the command that the arguments of the process name, and end the process."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            # A name that the terminal's encoding has no letters for is no reason to fail.
            stream.reconfigure(errors="backslashreplace")
    install_excepthooks()
    with stderr_in_thread():
        code = _exit_code()
    end_process(code)


def _exit_code() -> int:
    """What the command's end means to whoever started the process; what went wrong is said."""
    try:
        commands.main(prog_name=PROGRAM)
    except OSError as error:
        # Such as a full disk behind stdout; what a command expects to fail, it reports itself.
        echo(f"{PROGRAM}: {open_files.describe_too_many_files(error) or _in_words(error)}", err=True)
        return EXIT_FAILED
    except ValueError:
        if sys.stdout is None or not sys.stdout.closed:
            sys.excepthook(*sys.exc_info())
        else:
            echo(f"{PROGRAM}: standard output is closed; a plugin may have done it", err=True)
        return EXIT_FAILED
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0
    except BaseException:  # noqa: BLE001  # a fault of ours; Python would wait for a stderr that takes nothing
        sys.excepthook(*sys.exc_info())
        return EXIT_FAILED
    return 0
