"""Prints for the commands, to standard output and standard error. Everything is made printable first.

Texts may come from other people: ids, names, errors, close reasons, file names, arguments. No other module of
``cli`` may call ``click.echo`` or a similar function; a test checks this.
"""

import sys
import threading
import traceback
from io import StringIO
from types import TracebackType
from typing import IO, Any, ClassVar

import click

from aintandem_notify.foundation import printable
from aintandem_notify.foundation.stdio.encoding import encode_json
from aintandem_notify.foundation.stdio.journal import is_journal, with_priority


def echo(line: str = "", *, err: bool = False, **style: Any) -> None:
    """Prints one line with any characters in it; to standard error if ``err``. ``style`` is click's."""
    _print(printable.escape(line), err=err, **style)


def echo_lines(text: str, *, err: bool = False, **style: Any) -> None:
    """Prints a text that may have several lines."""
    _print(printable.escape_lines(text), err=err, **style)


def echo_json(json_text: str) -> None:
    """Prints JSON; its meaning stays the same in every encoding of standard output."""
    content = encode_json(printable.escape_json(json_text), getattr(sys.stdout, "encoding", None))
    _print(content.decode(), err=False)


def _print(text: str, *, err: bool, **style: Any) -> None:
    text = click.style(text, **style) if style else text
    # click itself would choose UTF-8 in place of ASCII, against PYTHONIOENCODING.
    if (out := sys.stderr if err else sys.stdout) is not None:
        click.echo(_for_stderr(text) if err else text, file=out)


def _for_stderr(text: str) -> str:
    """``text``, or in systemd's journal ``text`` as an error: there it says why a service does not start."""
    return with_priority("error", text) if is_journal(sys.stderr) else text


class PrintableError(click.ClickException):
    """Wraps an error of click, whose text may repeat any argument."""

    exit_code: ClassVar[int]

    def __init__(self, error: click.ClickException) -> None:
        super().__init__(error.message)
        self.exit_code = error.exit_code  # type: ignore[misc]  # click does so itself
        self._error = error

    def show(self, file: IO[Any] | None = None) -> None:
        """Prints the wrapped error."""
        text = StringIO()
        sentence = printable.escape(self._error.format_message())
        self._error.format_message = lambda: sentence  # type: ignore[method-assign]  # click adds the usage
        self._error.show(file=text)
        lines = printable.escape_lines(text.getvalue())
        if (out := file or sys.stderr) is not None:
            click.echo(_for_stderr(lines) if file is None else lines, file=out, nl=False)


def install_excepthooks() -> None:
    """Has Python print uncaught exceptions as printable text without secrets."""
    sys.excepthook = _print_exception
    threading.excepthook = lambda fault: _print_exception(fault.exc_type, fault.exc_value, fault.exc_traceback)


def _print_exception(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
    from aintandem_notify.log import redact

    text = "".join(traceback.format_exception(kind, error, trace))
    if sys.stderr is not None:
        sys.stderr.write(_for_stderr(printable.escape_lines(redact(text))))
