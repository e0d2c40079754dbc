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

RENDER_BUDGET: Final = 8_000_000
"""Units of one rendering; ours: half a second at the very worst, and a megabyte of output taken apart
several times."""

STEP_COST: Final = 60
"""Units of an operation, beside what it takes and gives; one character is one unit."""

_ELEMENT_COST: Final = 40
_LEVEL_COST: Final = 2  # deeper levels are indented when they are printed

_OBJECT_COST: Final = 1_000  # it makes its text anew each time

_FREE_TYPES: tuple[type, ...] = (bool, float, type(None), date, time, timedelta, type)
_FREE_TYPES += (GeneratorType, FunctionType, Iterator, LoopContext, Macro, Undefined)


class BudgetExceeded(TemplateRuntimeError):
    """The text would take too long, or become too long; ``line`` of the template, where it is known."""

    def __init__(self) -> None:
        super().__init__("it takes too long or makes too long a text")
        self.line: int | None = None


class _Budget:
    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left = RENDER_BUDGET


_CURRENT: Final[ContextVar[_Budget | None]] = ContextVar("budget of a rendering", default=None)


@contextmanager
def render_budget() -> Iterator[None]:
    """One rendering, which has a budget of its own."""
    token = _CURRENT.set(_Budget())
    try:
        yield
    finally:
        _CURRENT.reset(token)


def charge(units: int) -> None:
    """Take from the budget; raises TooMuch once nothing is left."""
    if (budget := _CURRENT.get()) is not None:
        budget.left -= units
        if budget.left < 0:
            raise BudgetExceeded


def charge_value(value: Any) -> Any:
    """The value, once its weight is paid."""
    if isinstance(value, str):
        charge(STEP_COST + len(value))
    else:
        charge(STEP_COST + cost_of(value))
    return value


def metered(values: Iterable[Any], each: int = STEP_COST) -> Iterable[Any]:
    """The values of a loop, or of what is lazy; each costs so many units."""
    charge(each)
    return _SizedMeteredIterable(values, each) if isinstance(values, Sized) else MeteredIterable(values, each)


class MeteredIterable:
    """Values that are paid for as they come."""

    def __init__(self, values: Iterable[Any], each: int) -> None:
        self._values = values
        self._each = each

    def __iter__(self) -> Iterator[Any]:
        for value in self._values:
            charge(self._each)
            yield value


class _SizedMeteredIterable(MeteredIterable):
    """As long as what it goes through, for ``loop.length``."""

    _values: Any

    def __len__(self) -> int:
        return len(self._values)


def cost_of(value: object) -> int:
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
                total += len(one) * 2 * (_ELEMENT_COST + _LEVEL_COST * level)
                inside = chain(one.keys(), one.values())
            case list() | tuple() | Set() | KeysView() | ValuesView() | ItemsView():
                total += len(one) * (_ELEMENT_COST + _LEVEL_COST * level)
                inside = one
            case Namespace():
                inside = (object.__getattribute__(one, "_Namespace__attrs"),)
            case _ if not isinstance(one, (*_FREE_TYPES, MeteredIterable)):
                total += _OBJECT_COST + len(str(one))  # the event, or a part of it: as big as what it came in
            case _:
                pass
        if total > RENDER_BUDGET:
            raise BudgetExceeded
        waiting.extend((value, level + 1) for value in inside)
    return total
