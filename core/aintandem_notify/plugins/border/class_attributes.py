"""What a plugin's class says of itself in its attributes, read once and checked."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from aintandem_notify.config.plugin_config import MAX_DIGEST_OVER
from aintandem_notify.log import describe_error, safe_text
from aintandem_notify.plugins.border.faults import article

MAX_IN_FLIGHT: Final = 1000
"""The most that ``in_flight`` may be; ours: all of them may come twice after a kill."""


class ConventionBroken(Exception):
    """The module or class is not what a plugin is; the text is a sentence for its author.

    It is about ``attribute`` of ``cls``, about the class, or about the module if neither is given.
    """

    def __init__(self, text: str, cls: type | None = None, attribute: str | None = None) -> None:
        super().__init__(text)
        self.cls = cls
        self.attribute = attribute


@dataclass(frozen=True, slots=True)
class ClassAttributes:
    """``Plugin.in_flight``, ``digest_over`` and ``machine_local`` of one class, as they are documented there."""

    in_flight: int = 1
    digest_over: int | None = 50
    machine_local: bool = False


def _in_flight(value: object) -> bool:
    return type(value) is int and 1 <= value <= MAX_IN_FLIGHT


def _digest_over(value: object) -> bool:
    return value is None or (type(value) is int and 2 <= value <= MAX_DIGEST_OVER)


def _machine_local(value: object) -> bool:
    return type(value) is bool


_RIGHT: Final[dict[str, tuple[Callable[[object], bool], str]]] = {
    "in_flight": (_in_flight, f"a whole number from 1 to {MAX_IN_FLIGHT}"),
    "digest_over": (_digest_over, "a whole number of at least 2, or None"),
    "machine_local": (_machine_local, "True or False"),
}
"""What each attribute may be, and the words for it."""


def read_class_attributes(plugin_class: type) -> ClassAttributes:
    """What the class says of itself; raises ConventionBroken for what it cannot say."""
    return ClassAttributes(**{name: _attribute(plugin_class, name) for name in _RIGHT})


def _attribute(plugin_class: type, name: str) -> Any:
    is_right, wanted = _RIGHT[name]
    try:
        value = getattr(plugin_class, name)
    except BaseException as error:  # noqa: BLE001  # a metaclass or descriptor of the plugin
        raise ConventionBroken(f"{name}: cannot be read: {describe_error(error)}", plugin_class, name) from None
    if not is_right(value):
        raise ConventionBroken(f"{name}: should be {wanted}, not {_shown(value)}", plugin_class, name)
    return value


def _shown(value: object) -> str:
    if type(value) in (int, float, bool) or value is None:
        return safe_text(value, 40)
    if type(value) is str:
        return "a text"
    return article(safe_text(type.__getattribute__(type(value), "__name__"), 40))
