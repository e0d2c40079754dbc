"""The cost budget of one rendering of a template or condition, in units that bound both time and memory.

Everything that a template does is charged: each step, each round of a loop, each character and element that an
operation takes or gives. So no template can block the agent or exhaust its memory. ``costs`` has the prices of
single operations; ``template_sandbox`` inserts the charges.
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
"""Units of one rendering; our limit: half a second at the very worst, or a megabyte processed several times."""

STEP_COST: Final = 60
"""Units of one operation, in addition to its operands and result; one character is one unit."""

_ELEMENT_COST: Final = 40
_LEVEL_COST: Final = 2  # a nested value is indented when it is printed

_OBJECT_COST: Final = 1_000  # str() builds its text again each time

_FREE_TYPES: tuple[type, ...] = (bool, float, type(None), date, time, timedelta, type)
_FREE_TYPES += (GeneratorType, FunctionType, Iterator, LoopContext, Macro, Undefined)


class BudgetExceeded(TemplateRuntimeError):
    """Rendering would take too long, or give too long a text. ``line`` of the template counts from 1, if known."""

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
    """Gives the rendering inside the block a budget of its own."""
    token = _CURRENT.set(_Budget())
    try:
        yield
    finally:
        _CURRENT.reset(token)


def charge(units: int) -> None:
    """Take ``units`` from the budget, if there is one; raises BudgetExceeded when nothing is left."""
    if (budget := _CURRENT.get()) is not None:
        budget.left -= units
        if budget.left < 0:
            raise BudgetExceeded


def charge_value(value: Any) -> Any:
    """Charge for a step and for the value, and return the value."""
    if isinstance(value, str):
        charge(STEP_COST + len(value))
    else:
        charge(STEP_COST + cost_of(value))
    return value


def meter(values: Iterable[Any], cost_each: int = STEP_COST) -> Iterable[Any]:
    """The values of a loop or a generator; charges ``cost_each`` units for each of them."""
    charge(cost_each)
    if isinstance(values, Sized):
        return _SizedMeteredIterable(values, cost_each)
    return MeteredIterable(values, cost_each)


class MeteredIterable:
    """An iterable that charges for each value when it is drawn."""

    def __init__(self, values: Iterable[Any], cost_each: int) -> None:
        self._values = values
        self._cost_each = cost_each

    def __iter__(self) -> Iterator[Any]:
        for value in self._values:
            charge(self._cost_each)
            yield value


class _SizedMeteredIterable(MeteredIterable):
    """A ``MeteredIterable`` with a length, for ``loop.length``."""

    _values: Any

    def __len__(self) -> int:
        return len(self._values)


def cost_of(value: object) -> int:
    """Units of a value and all its parts, counted at each occurrence.

    Raises BudgetExceeded above ``RENDER_BUDGET``.
    """
    total = 0
    pending: list[tuple[object, int]] = [(value, 0)]
    while pending:
        item, level = pending.pop()
        parts: Iterable[object] = ()
        match item:
            case str() | bytes() | bytearray():
                total += len(item)
            case int() if not isinstance(item, bool):
                total += item.bit_length() // 8
            case range():
                total += len(item)  # a search for a value of another type visits each element
            case Mapping():
                total += len(item) * 2 * (_ELEMENT_COST + _LEVEL_COST * level)
                parts = chain(item.keys(), item.values())
            case list() | tuple() | Set() | KeysView() | ValuesView() | ItemsView():
                total += len(item) * (_ELEMENT_COST + _LEVEL_COST * level)
                parts = item
            case Namespace():
                parts = (object.__getattribute__(item, "_Namespace__attrs"),)
            case _ if not isinstance(item, (*_FREE_TYPES, MeteredIterable)):
                total += _OBJECT_COST + len(str(item))  # the event or a part of it
            case _:
                pass
        if total > RENDER_BUDGET:
            raise BudgetExceeded
        pending.extend((part, level + 1) for part in parts)
    return total
