"""The only way from a command to standard output and standard error: all that is printed is printable.

No other module here may call ``click.echo`` or its kin (a test holds it). What is shown is partly other people's
words: ids, names, errors, close reasons, file names, arguments.
"""

import sys
import threading
import traceback
from io import StringIO
from types import TracebackType
from typing import IO, Any

import click

from aintandem_notify.foundation import printable


def echo(line: str = "", *, err: bool = False, **style: Any) -> None:
    """Print one line, whatever is in it; ``style`` is click's. To standard error if ``err``."""
    _print(printable.escape(line), err=err, **style)


def echo_lines(text: str, *, err: bool = False, **style: Any) -> None:
    """Print a text that has lines of its own, as a body or JSON does."""
    _print(printable.escape_lines(text), err=err, **style)


def echo_json(json_text: str) -> None:
    """Print JSON that readers find unchanged."""
    _print(printable.escape_json(json_text), err=False)


def _print(text: str, *, err: bool, **style: Any) -> None:
    click.echo(click.style(text, **style) if style else text, err=err)


class PrintableError(click.ClickException):
    """An error of click's own, whose words may repeat any argument."""

    def __init__(self, error: click.ClickException) -> None:
        super().__init__(error.message)
        self.exit_code = error.exit_code  # type: ignore[misc]  # click does so itself
        self._error = error

    def show(self, file: IO[Any] | None = None) -> None:
        """As the error itself would."""
        words = StringIO()
        sentence = printable.escape(self._error.format_message())
        self._error.format_message = lambda: sentence  # type: ignore[method-assign]  # it is shown in its frame
        self._error.show(file=words)
        click.echo(printable.escape_lines(words.getvalue()), file=file, err=file is None, nl=False)


def install_excepthooks() -> None:
    """Have Python show an exception that nobody caught as printable text without secrets."""
    sys.excepthook = _show_fault
    threading.excepthook = lambda fault: _show_fault(fault.exc_type, fault.exc_value, fault.exc_traceback)


def _show_fault(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
    from aintandem_notify.log import redact

    words = "".join(traceback.format_exception(kind, error, trace))
    if sys.stderr is not None:
        sys.stderr.write(printable.escape_lines(redact(words)))
