"""How a trial went, for people."""

from dataclasses import dataclass

from aintandem_notify.errors import AInTandemNotifyError
from aintandem_notify.log import redact


@dataclass(frozen=True, slots=True)
class Trial:
    """How one thing did; ``detail`` says what was found, or what is wrong."""

    name: str
    fine: bool
    detail: str


def in_words(error: Exception) -> str:
    """The error as one line without secrets; one that is not ours says its type."""
    text = " ".join(str(error).split())
    return redact(text if isinstance(error, AInTandemNotifyError) else f"{type(error).__name__}: {text}")
