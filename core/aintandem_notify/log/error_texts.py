"""Texts out of code that is not ours: the exceptions of plugins above all, and those of libraries.

``str(error)`` runs code of the exception's author: it may raise, exit, give megabytes, halves of characters or
what a terminal obeys. Whoever shows the text of an error, or keeps it, gets it here. An endless loop in there
stays one.
"""

from typing import Final

from aintandem_notify.errors import AInTandemNotifyError
from aintandem_notify.foundation.printable import strip
from aintandem_notify.log.redaction import redact, redact_cut

MAX_ERROR_TEXT: Final = 500
"""Characters of a text that are kept."""
UNREADABLE: Final = "(its text cannot be read)"
"""Stands for a text that could not be had."""

_WINDOW: Final = 16_384
"""Characters that are looked at; far more than are kept, for secrets are taken out before the text is cut."""
_MARGIN: Final = 4_096
"""Characters at the end of the window that may be the first half of a secret."""


def safe_text(value: object, limit: int = MAX_ERROR_TEXT) -> str:
    """``str(value)`` as one line of at most ``limit`` characters, safe to show and to keep.

    It has no secrets, halves of characters or control characters. Never raises; ``UNREADABLE`` where there is no
    text.
    """
    whole = _str_of(value)
    text = redact_to_one_line(_without_surrogates(whole[:_WINDOW]))
    if len(whole) > _WINDOW:
        text = text[:-_MARGIN]
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def redact_to_one_line(text: str, *, is_cut: bool = False) -> str:
    """``text`` on one line without secrets: also those that line breaks part, or the end of what ``is_cut``."""
    return redact(" ".join(redact_cut(text, start=False, end=is_cut).split()))


def error_name(error: BaseException) -> str:
    """The name of the error's class, as ``safe_text`` gives it."""
    return safe_text(_class_attribute(type(error), "__name__"), 100) or "?"


def error_kind(error: BaseException) -> str:
    """Module and name of the error's class, which tell whether two errors are of the same kind."""
    cls = type(error)
    module, name = _class_attribute(cls, "__module__"), _class_attribute(cls, "__qualname__")
    return f"{safe_text(module, 200)}.{safe_text(name, 200)}"


def describe_error(error: BaseException) -> str:
    """The error as one line, as ``safe_text`` gives it; one that is not ours says its type."""
    text, name = safe_text(error), error_name(error)
    # By the type itself: ``isinstance`` also believes what an object says of itself.
    if issubclass(type(error), AInTandemNotifyError):
        return text or name
    return f"{name}: {text}" if text else name


def is_equal(left: object, right: object) -> bool:
    """Whether the two say that they are equal; False where one of them cannot be asked."""
    try:
        return bool(left == right)
    except BaseException:  # noqa: BLE001  # the border to code that is not ours
        return False


def _str_of(value: object) -> str:
    try:
        # Of a subclass of str, which may have methods of its own, only the characters are taken.
        return str.__str__(str(value))
    except BaseException:  # noqa: BLE001  # the border to code that is not ours
        return UNREADABLE


def _class_attribute(cls: type, name: str) -> object:
    """What stands in the class itself; a metaclass may say something else, or raise."""
    try:
        return type.__getattribute__(cls, name)
    except BaseException:  # noqa: BLE001  # the border to code that is not ours
        return "?"


def _without_surrogates(text: str) -> str:
    if text.isprintable():
        return text
    mended = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return strip(mended.replace("\r", "\n"))
