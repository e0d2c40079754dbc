"""The prices of operations that cost far more than their operands: each is charged before it runs.

Some filters, methods of texts and ``%`` take a width, a count or a number of repetitions from the template. Others
take time that grows with the square of their text. ``template_sandbox`` looks the functions up here. Each function
takes the arguments of its operation and raises BudgetExceeded.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from jinja2.sandbox import safe_range

from aintandem_notify.rules.templates.cost_budget import BudgetExceeded, charge, cost_of

MAX_BITS: Final = 65_536
"""Bits of the largest product of integers."""
MAX_WIDTH: Final = 65_536
"""Characters of the widest padding, and elements of the longest repetition."""

_NUMBER: Final = re.compile(r"\d+")


def charge_product(left: Any, right: Any) -> None:
    """Charge for ``left * right``."""
    if isinstance(left, int) and isinstance(right, int):
        if left.bit_length() + right.bit_length() > MAX_BITS:
            raise BudgetExceeded
        return
    for repeated, times in ((left, right), (right, left)):
        if isinstance(times, int) and hasattr(repeated, "__len__"):
            if len(repeated) * times > MAX_WIDTH:
                raise BudgetExceeded
            charge(cost_of(repeated) * max(0, times))


def charge_power(left: Any, right: Any) -> None:
    """Charge for ``left ** right``."""
    if not (abs(left) <= 1e6 and abs(right) <= 64):
        raise BudgetExceeded


def charge_formatting(pattern: Any, values: Any) -> None:
    """Charge for ``pattern % values``: each ``%`` prints a value, at the width in the pattern or in the values."""
    text = pattern.decode("latin-1") if isinstance(pattern, bytes | bytearray) else str(pattern)
    operands = values if isinstance(values, tuple) else (values,)
    if "*" in text:
        for width in operands:
            _charge_width(width)
    _charge_widths(text)
    charge(text.count("%") * (cost_of(values) + 1))


def charge_field(value: Any, spec: str) -> None:
    """Charge for one field of ``str.format``; nested widths in ``spec`` are already filled in."""
    _charge_widths(spec)
    charge(cost_of(value) + len(spec))


def _charge_widths(text: str) -> None:
    for digits in _NUMBER.findall(text):
        _charge_width(int(digits) if len(digits) < 10 else MAX_WIDTH + 1)


def _charge_width(width: object) -> None:
    if isinstance(width, int) and not isinstance(width, bool):
        if abs(width) > MAX_WIDTH:
            raise BudgetExceeded
        charge(abs(width))


def _charge_repeats(count: object, units: int) -> None:
    if isinstance(count, int):
        charge(max(0, count) * units)


def _center(_text: Any, width: Any = 80, *_fill: Any) -> None:
    _charge_width(width)


def _replace(text: Any, old: Any, new: Any, *_count: Any, **_named: Any) -> None:
    kind = bytes if isinstance(text, bytes) else str
    text, old, new = (value if isinstance(value, kind) else str(value) for value in (text, old, new))
    charge(text.count(old) * len(new))


def _expandtabs(text: Any, tabsize: Any = 8) -> None:
    _charge_width(tabsize)
    _charge_repeats(tabsize, text.count(b"\t" if isinstance(text, bytes) else "\t"))


def _join(between: Any, parts: Any) -> None:
    charge(len(between) * len(parts))


def _refuse(*_arguments: Any, **_named: Any) -> None:
    raise BudgetExceeded


def charge_division(left: Any, right: Any) -> None:
    """Charge for ``left // right`` and ``left % right``, whose time grows with the product of their digits."""
    if isinstance(left, int) and isinstance(right, int):
        charge((left.bit_length() * right.bit_length()) >> 15)


def _charge_backward_search(text: Any, needle: Any = None, *_others: Any, **_named: Any) -> None:
    """Charge for a search from the end or for a set of characters, which both compare every character."""
    charge(len(text) * len(needle or "") // 64)


METHOD_CHARGES: Final[Mapping[str, Callable[..., None]]] = {
    "center": _center,
    "ljust": _center,
    "rjust": _center,
    "zfill": _center,
    "expandtabs": _expandtabs,
    "replace": _replace,
    "join": _join,
    "translate": _refuse,
    "maketrans": _refuse,
    "to_bytes": _refuse,
    "rfind": _charge_backward_search,
    "rindex": _charge_backward_search,
    "rsplit": _charge_backward_search,
    "rpartition": _charge_backward_search,
    "strip": _charge_backward_search,
    "lstrip": _charge_backward_search,
    "rstrip": _charge_backward_search,
    "striptags": lambda text: _striptags(text),
}
"""The functions that charge for methods of texts and numbers; the text itself is the first argument."""


def _batch(_values: Any, linecount: Any, fill_with: Any = None) -> None:
    _charge_repeats(linecount, 16 if fill_with is not None else 0)


def _slice(_values: Any, slices: Any, fill_with: Any = None) -> None:  # noqa: ARG001  # Jinja2's parameter names
    _charge_repeats(slices, 16)


def _indent(s: Any, width: Any = 4, *_others: Any, **_named: Any) -> None:
    lines = len(str(s).splitlines()) + 1
    charge(lines * (len(width) if isinstance(width, str) else max(0, width)))


def _join_filter(value: Any, d: Any = "", attribute: Any = None) -> None:  # noqa: ARG001  # as Jinja2 has it
    _join(str(d), value)


def _wordwrap(
    s: Any,
    width: Any = 79,
    break_long_words: Any = True,  # noqa: ARG001  # as Jinja2 has it
    wrapstring: Any = None,
    break_on_hyphens: Any = True,  # noqa: ARG001  # as Jinja2 has it
) -> None:
    width = max(1, width)
    longest = max(map(len, str(s).split()), default=0)
    charge(longest * longest // width // 16)
    charge((len(s) // width + 2) * len(wrapstring or "\n"))


def _round(_value: Any, precision: Any = 0, method: Any = "common") -> None:  # noqa: ARG001  # as Jinja2 has it
    if abs(precision) > 300:
        raise BudgetExceeded


def _sum(_values: Any, attribute: Any = None, start: Any = 0) -> None:  # noqa: ARG001  # as Jinja2 has it
    if not isinstance(start, int | float):  # a list or text would be copied for each element
        raise BudgetExceeded


def _format(value: Any, *arguments: Any, **named: Any) -> None:
    charge_formatting(value, named or arguments)


def _tojson(_value: Any, indent: Any = None) -> None:
    if indent is not None and (len(indent) if isinstance(indent, str) else indent) > 16:
        raise BudgetExceeded
    if indent is not None:
        charge(cost_of(_value) * 4)


def _striptags(value: Any) -> None:
    text = str(value)
    charge(text.count("<") * len(text) // 64)


FILTER_CHARGES: Final[Mapping[str, Callable[..., None]]] = {
    "batch": _batch,
    "slice": _slice,
    "center": _center,
    "indent": _indent,
    "join": _join_filter,
    "wordwrap": _wordwrap,
    "round": _round,
    "sum": _sum,
    "format": _format,
    "replace": _replace,
    "tojson": _tojson,
    "striptags": _striptags,
    "trim": _charge_backward_search,
}
"""The functions that charge for filters, with the parameters of the filter."""

TEST_CHARGES: Final[Mapping[str, Callable[..., None]]] = {"divisibleby": charge_division}
"""The functions that charge for tests."""

ATTRIBUTE_FILTERS: Final = frozenset(
    ("map", "sort", "groupby", "unique", "min", "max", "sum", "join", "selectattr", "rejectattr")
)
"""Filters that may look up attributes of each element, by one path or several."""

ACCESS_COST: Final = 40
"""Units of one look-up of an attribute or element."""


def attribute_count(arguments: Iterable[Any]) -> int:
    """The number of attributes that a filter with these arguments looks up for each element."""
    return sum(1 + path.count(".") + path.count(",") for path in arguments if isinstance(path, str))


MAX_RANGE_BOUND: Final = 2**60
"""Bounds of a range stay below this. Larger numbers can share a hash; a set of them takes quadratic time."""


def bounded_range(*bounds: Any) -> range:
    """Jinja2's ``range``; raises BudgetExceeded for a bound of ``MAX_RANGE_BOUND`` or more."""
    if any(isinstance(bound, int) and abs(bound) >= MAX_RANGE_BOUND for bound in bounds):
        raise BudgetExceeded
    return safe_range(*bounds)


REMOVED_FILTERS: Final = ("pprint", "urlize", "xmlattr")
"""Filters that templates do not get: they are for web pages and debugging, and slow on long texts."""
