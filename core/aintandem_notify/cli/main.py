"""``aintandem-notify``: the group of all commands, their errors and their exit codes.

A command's module imports only click at its top; the command imports the rest when it runs. This keeps ``--help``
fast.
"""

import os
import shlex
import sys
from io import TextIOWrapper
from typing import Any

import click

from aintandem_notify import __version__
from aintandem_notify.cli.commands import check, init, plugins, rules, run, schema, simulate, tail, test
from aintandem_notify.cli.control_commands import (
    deliveries,
    destinations,
    episodes,
    explain,
    reload,
    silences,
    status,
)
from aintandem_notify.cli.echo import PrintableError, echo, echo_lines, install_excepthooks
from aintandem_notify.cli.options import EXIT_FAILED, EXIT_WRONG
from aintandem_notify.cli.process_exit import end_process
from aintandem_notify.errors import AInTandemNotifyError, ConfigError
from aintandem_notify.foundation import open_files
from aintandem_notify.foundation.exception_groups import CollapsedGroups, leaves
from aintandem_notify.foundation.stdio.encoding import ESCAPE
from aintandem_notify.foundation.stdio.stderr_thread import stderr_in_thread

PROGRAM = "aintandem-notify"


class Commands(click.Group):
    """A group of commands that prints our own errors as sentences and sets the exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click's signature
        """Returns the commands in the order in which a newcomer needs them."""
        return list(self.commands)

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        """As in click, with printable errors."""
        try:
            return super().make_context(*args, **kwargs)
        except click.ClickException as error:
            raise PrintableError(error) from None

    def invoke(self, ctx: click.Context) -> Any:
        """As in click. An error that a user can cause never ends in a traceback."""
        if (problem := open_files.describe_too_low_limit(open_files.raise_file_limit())) is not None:
            echo(f"{PROGRAM}: {problem}", err=True)
            sys.exit(EXIT_WRONG)
        try:
            return _invoke_unwrapped(super().invoke, ctx)
        except click.ClickException as error:
            raise PrintableError(error) from None
        except ConfigError as error:
            echo_lines(str(error), err=True)
            if _could_be_written(error.source):
                echo(f"to write a config:  {PROGRAM} init {shlex.quote(error.source)}", err=True)
            sys.exit(EXIT_WRONG)
        except AInTandemNotifyError as error:
            echo(f"{PROGRAM}: {error}", err=True)
            sys.exit(EXIT_FAILED)
        except RuntimeError as error:
            if (message := _thread_limit_message(error)) is None:
                raise
            echo(f"{PROGRAM}: {message}", err=True)
            sys.exit(EXIT_FAILED)


def _could_be_written(config: str) -> bool:
    """Returns whether there is no such file yet, and a folder for it."""
    try:
        os.lstat(config)
    except FileNotFoundError:
        return os.path.isdir(os.path.dirname(config) or ".")  # noqa: PTH112, PTH120  # Path.is_dir may raise
    except OSError:  # a name that is too long, or below a file
        return False
    return False


def _invoke_unwrapped(invoke: Any, ctx: click.Context) -> Any:
    """Raises a Ctrl-C, or a single error of ours or of the system, without the ExceptionGroups of nurseries."""

    def choose(group: BaseExceptionGroup[BaseException]) -> BaseException:
        errors = list(leaves(group))
        interrupts = (error for error in errors if isinstance(error, KeyboardInterrupt))
        return next(interrupts, errors[0] if len(errors) == 1 and _is_reportable(errors[0]) else group)

    with CollapsedGroups(choose):
        return invoke(ctx)


def _is_reportable(error: BaseException) -> bool:
    return isinstance(error, AInTandemNotifyError | OSError) or _thread_limit_message(error) is not None


def _thread_limit_message(error: BaseException) -> str | None:
    """Returns a sentence if the system refused to start a thread, else None."""
    from aintandem_notify.foundation.threads import NO_MORE_THREADS, is_thread_start_failure

    return NO_MORE_THREADS if is_thread_start_failure(error) else None


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=f"Start with:  {PROGRAM} run config.example.toml",
)
@click.version_option(__version__, prog_name=PROGRAM, message="%(prog)s %(version)s")
def commands() -> None:
    """Notify the right people of events in AInTandem tasks, workflows and sandboxes.

    Watches the projects in a TOML file and notifies Slack, webhooks, the desktop, files or your own plugins.
    """


for _command in (
    init.init,
    run.run,
    check.check,
    test.test,
    rules.rules,
    tail.tail,
    status.status,
    reload.reload,
    deliveries.deliveries,
    destinations.destinations,
    episodes.episodes,
    episodes.acknowledge,
    episodes.snooze,
    silences.silences,
    explain.explain,
    plugins.plugins,
    schema.schema,
    simulate.simulate,
):
    commands.add_command(_command)


def _describe_os_error(error: OSError) -> str:
    if isinstance(error, FileNotFoundError) and error.filename is None:
        return (
            "the working directory was removed; go to another one"  # only for this does the error lack a file name
        )
    if error.filename is None or error.strerror is None:
        return error.strerror or str(error)
    return f"{os.fsdecode(error.filename)}: {error.strerror}"


def main() -> None:
    """Runs the command in the process's arguments, and ends the process."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            # A name that the terminal's encoding cannot show is no reason to fail.
            stream.reconfigure(errors=ESCAPE)
    install_excepthooks()
    with stderr_in_thread():
        code = _exit_code()
    end_process(code)


def _exit_code() -> int:
    """Runs the command, prints its error and returns the exit code."""
    try:
        commands.main(prog_name=PROGRAM)
    except OSError as error:
        # For example a full disk behind stdout. Commands report the failures that they expect.
        echo(f"{PROGRAM}: {open_files.describe_too_many_files(error) or _describe_os_error(error)}", err=True)
        return EXIT_FAILED
    except ValueError:
        if sys.stdout is None or not sys.stdout.closed:
            sys.excepthook(*sys.exc_info())
        else:
            echo(f"{PROGRAM}: standard output is closed; a plugin may have done it", err=True)
        return EXIT_FAILED
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else 0
    except BaseException:  # noqa: BLE001  # a bug of ours; Python itself would wait for a blocked stderr
        sys.excepthook(*sys.exc_info())
        return EXIT_FAILED
    return 0
