"""Reads and checks the class attributes of a plugin, once, after its import."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from aintandem_notify.config.plugin_config import MAX_DIGEST_OVER, MAX_PARALLEL
from aintandem_notify.log import describe_error, safe_text
from aintandem_notify.plugins.border.error_translation import article

MAX_IN_FLIGHT: Final = 1000
"""Limit of ``in_flight``. Our choice: if the agent is killed, so many notifications may be sent twice, for each of
the hand-overs that run at a time."""


class ConventionBroken(Exception):
    """The module or class does not follow the conventions of plugins; the text is a sentence for its author.

    The text is about ``attribute`` of ``cls``, or about the class, or about the module if neither is given; then
    ``line`` may be the one in its file.
    """

    def __init__(
        self, text: str, cls: type | None = None, attribute: str | None = None, *, line: int | None = None
    ) -> None:
        super().__init__(text)
        self.cls = cls
        self.attribute = attribute
        self.line = line


@dataclass(frozen=True, slots=True)
class ClassAttributes:
    """The checked class attributes of a plugin; ``api.Plugin`` documents them."""

    parallel: int = 1
    in_flight: int = 1
    digest_over: int | None = 50
    machine_local: bool = False


def _parallel(value: object) -> bool:
    return type(value) is int and 1 <= value <= MAX_PARALLEL


def _in_flight(value: object) -> bool:
    return type(value) is int and 1 <= value <= MAX_IN_FLIGHT


def _digest_over(value: object) -> bool:
    return value is None or (type(value) is int and 2 <= value <= MAX_DIGEST_OVER)


def _machine_local(value: object) -> bool:
    return type(value) is bool


ATTRIBUTE_NAMES: Final = ("parallel", "in_flight", "digest_over", "machine_local")
"""The attributes that a plugin's class may set for the agent."""

_RULES: Final[dict[str, tuple[Callable[[object], bool], str]]] = {
    "parallel": (_parallel, f"a whole number from 1 to {MAX_PARALLEL}"),
    "in_flight": (_in_flight, f"a whole number from 1 to {MAX_IN_FLIGHT}"),
    "digest_over": (_digest_over, "a whole number of at least 2, or None"),
    "machine_local": (_machine_local, "True or False"),
}
"""For each attribute: the check of its value, and a description of a valid one."""


def read_class_attributes(plugin_class: type) -> ClassAttributes:
    """The attributes of the class; raises ConventionBroken for an invalid value."""
    return ClassAttributes(**{name: _attribute(plugin_class, name) for name in _RULES})


def _attribute(plugin_class: type, name: str) -> Any:
    is_valid, expected = _RULES[name]
    try:
        value = getattr(plugin_class, name)
    except BaseException as error:  # noqa: BLE001  # a metaclass or descriptor of the plugin
        raise ConventionBroken(f"{name}: cannot be read: {describe_error(error)}", plugin_class, name) from None
    if not is_valid(value):
        raise ConventionBroken(f"{name}: should be {expected}, not {_describe_value(value)}", plugin_class, name)
    return value


def _describe_value(value: object) -> str:
    if type(value) in (int, float, bool) or value is None:
        return safe_text(value, 40)
    if type(value) is str:
        return "a text"
    return article(safe_text(type.__getattribute__(type(value), "__name__"), 40))
