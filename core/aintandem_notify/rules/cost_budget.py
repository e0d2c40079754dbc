"""What a text or condition may cost: one budget for each rendering, in units that time and memory both follow.

Whatever a template does spends from it: a step, a round of a loop, each character and element that an operation
takes or gives. So no text keeps the agent from its work or eats its memory, whichever way it was written.
"""

from collections.abc import ItemsView, Iterable, Iterator, KeysView, Mapping, Set, Sized, ValuesView
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import date, time, timedelta
from itertools import chain
from types import FunctionType, GeneratorType
from typing import Any, Final

from jinja2 import Undefined
from jinja2.exceptions import TemplateRuntimeError
from jinja2.runtime import LoopContext, Macro
from jinja2.utils import Namespace

BUDGET: Final = 8_000_000
"""Units of one rendering; ours: half a second at the very worst, and a megabyte of output taken apart
several times."""

STEP: Final = 60
"""Units of an operation, beside what it takes and gives; one character is one unit."""

_ELEMENT: Final = 40
_LEVEL: Final = 2  # deeper levels are indented when they are printed

_OBJECT: Final = 1_000  # it makes its text anew each time

_LIGHT: tuple[type, ...] = (bool, float, type(None), date, time, timedelta, type)
_LIGHT += (GeneratorType, FunctionType, Iterator, LoopContext, Macro, Undefined)


class TooMuch(TemplateRuntimeError):
    """The text would take too long, or become too long; ``line`` of the template, where it is known."""

    def __init__(self) -> None:
        super().__init__("it takes too long or makes too long a text")
        self.line: int | None = None


class _Purse:
    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left = BUDGET


_PURSE: Final[ContextVar[_Purse | None]] = ContextVar("budget of a rendering", default=None)


@contextmanager
def budget() -> Iterator[None]:
    """One rendering, which has a budget of its own."""
    token = _PURSE.set(_Purse())
    try:
        yield
    finally:
        _PURSE.reset(token)


def spend(units: int) -> None:
    """Take from the budget; raises TooMuch once nothing is left."""
    if (purse := _PURSE.get()) is not None:
        purse.left -= units
        if purse.left < 0:
            raise TooMuch


def charged(value: Any) -> Any:
    """The value, once its weight is paid."""
    if isinstance(value, str):
        spend(STEP + len(value))
    else:
        spend(STEP + weight(value))
    return value


def rounds(values: Iterable[Any], each: int = STEP) -> Iterable[Any]:
    """The values of a loop, or of what is lazy; each costs so many units."""
    spend(each)
    return _SizedRounds(values, each) if isinstance(values, Sized) else Rounds(values, each)


class Rounds:
    """Values that are paid for as they come."""

    def __init__(self, values: Iterable[Any], each: int) -> None:
        self._values = values
        self._each = each

    def __iter__(self) -> Iterator[Any]:
        for value in self._values:
            spend(self._each)
            yield value


class _SizedRounds(Rounds):
    """As long as what it goes through, for ``loop.length``."""

    _values: Any

    def __len__(self) -> int:
        return len(self._values)


def weight(value: object) -> int:
    """Units of a value and all that is in it, as often as it is printed; raises TooMuch beyond any budget."""
    total = 0
    waiting: list[tuple[object, int]] = [(value, 0)]
    while waiting:
        one, level = waiting.pop()
        inside: Iterable[object] = ()
        match one:
            case str() | bytes() | bytearray():
                total += len(one)
            case int() if not isinstance(one, bool):
                total += one.bit_length() // 8
            case range():
                total += len(one)  # looked through for what is no number
            case Mapping():
                total += len(one) * 2 * (_ELEMENT + _LEVEL * level)
                inside = chain(one.keys(), one.values())
            case list() | tuple() | Set() | KeysView() | ValuesView() | ItemsView():
                total += len(one) * (_ELEMENT + _LEVEL * level)
                inside = one
            case Namespace():
                inside = (object.__getattribute__(one, "_Namespace__attrs"),)
            case _ if not isinstance(one, (*_LIGHT, Rounds)):
                total += _OBJECT + len(str(one))  # the event, or a part of it: as big as what it came in
            case _:
                pass
        if total > BUDGET:
            raise TooMuch
        waiting.extend((value, level + 1) for value in inside)
    return total
