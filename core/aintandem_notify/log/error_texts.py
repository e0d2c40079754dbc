"""Safe texts of foreign objects: the exceptions of plugins above all, and those of libraries.

``str(error)`` runs code of the exception's author. It may raise, exit, or return megabytes, lone surrogates or
terminal control sequences. All code that shows or stores the text of an error takes it from here. An endless
loop in ``__str__`` is not stopped.
"""

import traceback
from typing import Final

from aintandem_notify.errors import AInTandemNotifyError
from aintandem_notify.foundation.printable import strip
from aintandem_notify.log.redaction import redact, redact_cut

MAX_ERROR_TEXT: Final = 500
"""Characters of an error's text that are kept."""
UNREADABLE: Final = "(its text cannot be read)"
"""Replaces a text whose ``__str__`` raises."""

_WINDOW: Final = 16_384
"""Characters that are read. Far more than are kept, because secrets are removed before the text is cut."""
_MARGIN: Final = 4_096
"""Characters dropped at the end of the window: they may be the first part of a secret."""


def safe_text(value: object, limit: int = MAX_ERROR_TEXT) -> str:
    """``str(value)`` as one line of at most ``limit`` characters, safe to show and to store.

    Contains no secrets, lone surrogates or control characters. Never raises: gives ``UNREADABLE`` if ``str`` does.
    """
    whole = _str_of(value)
    text = redact_to_one_line(_without_surrogates(whole[:_WINDOW]))
    if len(whole) > _WINDOW:
        text = text[:-_MARGIN]
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def redact_to_one_line(text: str, *, is_cut: bool = False) -> str:
    """``text`` on one line without secrets, also those split by line breaks.

    With ``is_cut`` more text followed, so the beginning of a secret at the end is removed too.
    """
    return redact(" ".join(redact_cut(text, start=False, end=is_cut).split()))


def error_name(error: BaseException) -> str:
    """The name of the error's class, made safe by ``safe_text``."""
    return safe_text(_class_attribute(type(error), "__name__"), 100) or "?"


def error_kind(error: BaseException) -> str:
    """Module and qualified name of the error's class: equal for two errors of the same kind."""
    cls = type(error)
    module, name = _class_attribute(cls, "__module__"), _class_attribute(cls, "__qualname__")
    return f"{safe_text(module, 200)}.{safe_text(name, 200)}"


def describe_error(error: BaseException) -> str:
    """The error as one safe line; the line of an error that is not ours begins with its type."""
    text, name = safe_text(error), error_name(error)
    # By the type itself: ``isinstance`` would believe the object's own ``__class__``.
    if issubclass(type(error), AInTandemNotifyError):
        return text or name
    return f"{name}: {text}" if text else name


def describe_traceback(error: BaseException) -> str:
    """The traceback as Python prints it, of any size, not redacted; one line if its class prevents it."""
    try:
        return "".join(traceback.format_exception(error)).rstrip("\n")
    except BaseException:  # noqa: BLE001  # the border to code that is not ours
        return f"{error_name(error)} {UNREADABLE}"


def is_equal(left: object, right: object) -> bool:
    """True if ``left == right``; False also if the comparison raises."""
    try:
        return bool(left == right)
    except BaseException:  # noqa: BLE001  # the border to code that is not ours
        return False


def _str_of(value: object) -> str:
    try:
        # A subclass of str may override methods; only its characters are taken.
        return str.__str__(str(value))
    except BaseException:  # noqa: BLE001  # the border to code that is not ours
        return UNREADABLE


def _class_attribute(cls: type, name: str) -> object:
    """The attribute of the class itself, past a metaclass that may lie or raise; ``"?"`` if that fails."""
    try:
        return type.__getattribute__(cls, name)
    except BaseException:  # noqa: BLE001  # the border to code that is not ours
        return "?"


def _without_surrogates(text: str) -> str:
    if text.isprintable():
        return text
    replaced = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return strip(replaced.replace("\r", "\n"))
