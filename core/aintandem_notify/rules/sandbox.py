"""Jinja2's sandbox as texts and conditions see it: what is missing is none, and everything has its price.

Nothing is worked out while a template is compiled: what it costs is known only when it runs, on its budget.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sized
from functools import update_wrapper
from typing import Any, Final

from jinja2 import StrictUndefined, TemplateSyntaxError, nodes, pass_context
from jinja2.environment import Environment
from jinja2.exceptions import SecurityError
from jinja2.nodes import EvalContext
from jinja2.runtime import BlockReference, Context, Macro, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment, SandboxedFormatter
from jinja2.visitor import NodeTransformer

from aintandem_notify.rules import costs, formats
from aintandem_notify.rules.cost_budget import STEP, Rounds, charged, rounds, spend

_CHARGED: Final = "what it weighs"  # names that no template can write
_ROUNDS: Final = "round by round"
_BUILT_IN: Final = (str, bytes, bytearray, int, float)
_NODE: Final = 5  # units of any other part of a template, each time that it is worked out
_LOOKED_THROUGH: Final = (list, tuple, range)
_WITHOUT_PRICE: Final = (Context, EvalContext, Environment)


class Sandbox(ImmutableSandboxedEnvironment):
    """The environment; rendering belongs into ``budget()``."""

    intercepted_binops = frozenset({"*", "**", "%", "//", "+"})

    def getattr(self, obj: Any, attribute: str) -> Any:
        """None for what is missing."""
        return _none_if_missing(super().getattr(obj, attribute))

    def getitem(self, obj: Any, argument: Any) -> Any:
        """None for what is missing."""
        if isinstance(argument, tuple):
            charged(argument)
        return _none_if_missing(super().getitem(obj, argument))

    def unsafe_undefined(self, obj: Any, attribute: str) -> Undefined:
        """What a template may not touch is an error, and not merely missing."""
        raise SecurityError(f"{attribute} of {type(obj).__name__} is not for templates")

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Paid for before it is worked out, and for what comes of it."""
        match operator:
            case "**":
                costs.pay_for_power(left, right)
            case "*":
                costs.pay_for_product(left, right)
            case "%" if isinstance(left, str | bytes | bytearray):
                costs.pay_for_formatting(left, right)
            case "%" | "//":
                costs.pay_for_division(left, right)
        return charged(super().call_binop(context, operator, left, right))

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805
        """Paid for by what goes in and comes out. The names are Jinja2's, so that arguments may have any."""
        named = {name: value for name, value in kwargs.items() if name != "caller" and not name.startswith("_")}
        owner = getattr(__obj, "__self__", None)
        spend(__context.get(STATIC, STEP) if isinstance(__obj, Macro | BlockReference) else STEP)
        for one in (*args, *named.values(), owner if isinstance(owner, (*_BUILT_IN, *_LOOKED_THROUGH)) else None):
            charged(one)
        if isinstance(owner, _BUILT_IN) and (pay := costs.METHODS.get(__obj.__name__)) is not None:
            args = _at_hand(args)
            pay(owner, *args, **named)
        return charged(super().call(__context, __obj, *args, **kwargs))

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        """``format`` and ``format_map``, each field of which is paid for."""
        wrapped = super().wrap_str_format(value)
        if wrapped is None:
            return None
        pattern, formatter = value.__self__, _Formatter(self)

        def formatted(*args: Any, **kwargs: Any) -> str:
            if value.__name__ == "format_map":
                (kwargs,) = args
                args = ()
            return str(formatter.vformat(pattern, args, kwargs))

        return formatted


STATIC: Final = "what a call costs"
"""The global of a template that says how many units each of its calls costs, for a macro may print all of it."""


class _Formatter(SandboxedFormatter):
    def format_field(self, value: Any, format_spec: str) -> Any:
        costs.pay_for_field(value, format_spec)
        return super().format_field(value, format_spec)

    def convert_field(self, value: Any, conversion: Any) -> Any:
        return super().convert_field(charged(value), conversion)


def _none_if_missing(value: Any) -> Any:
    return None if isinstance(value, Undefined) else value


def _default(value: Any, default: Any = "", boolean: bool = False) -> Any:
    """Jinja2's ``default``, that takes none for missing, too."""
    return default if value is None or isinstance(value, Undefined) or (boolean and not value) else value


def _text(value: Any) -> str:
    return formats.as_text(charged(value))


def _at_hand(args: tuple[Any, ...]) -> tuple[Any, ...]:
    """With what is lazy worked out, so that there is something to be weighed."""
    return tuple(list(one) if isinstance(one, Rounds) else one for one in args)


def _priced(
    function: Callable[..., Any], pay: Callable[..., None] | None = None, *, by_attribute: bool = False
) -> Callable[..., Any]:
    """The filter or test, which costs what goes in and comes out, and what it looks up in that."""

    def priced(*args: Any, **kwargs: Any) -> Any:
        if pay is not None or by_attribute:
            args = _at_hand(args)
        given = args[1:] if args and isinstance(args[0], _WITHOUT_PRICE) else args
        if by_attribute and given and isinstance(given[0], Sized):
            spend(len(given[0]) * costs.names_in((*given[1:], *kwargs.values())) * costs.ACCESS)
        for one in (*given, *kwargs.values()):
            charged(one)
        if pay is not None:
            pay(*given, **kwargs)
        result = function(*args, **kwargs)
        return rounds(result) if isinstance(result, Iterator) else charged(result)

    return update_wrapper(priced, function)


def make_sandbox(finalize: Callable[[Any], str]) -> Sandbox:
    """An environment that prints values by ``finalize``."""

    @pass_context  # so that Jinja2 does not print what is constant while it compiles
    def finalized(_context: Context, value: Any) -> str:
        return str(charged(finalize(value if isinstance(value, str) else charged(value))))

    sandbox = Sandbox(undefined=StrictUndefined, finalize=finalized, autoescape=False, optimized=False)
    del sandbox.globals["lipsum"]
    sandbox.globals["range"] = costs.bounded_range
    for name in costs.WITHOUT:
        del sandbox.filters[name]
    sandbox.filters |= {
        "default": _default,
        "d": _default,
        "duration": lambda seconds: "" if seconds is None else formats.duration(float(seconds)),
        "size": lambda count: "" if count is None else formats.size(int(count)),
        "text": _text,
    }
    filters: Mapping[str, Any] = sandbox.filters
    tests: Mapping[str, Any] = sandbox.tests
    sandbox.filters = {
        name: _priced(one, costs.FILTERS.get(name), by_attribute=name in costs.BY_ATTRIBUTE)
        for name, one in filters.items()
    }
    sandbox.filters |= {_CHARGED: charged, _ROUNDS: rounds}
    sandbox.tests = {name: _priced(one, costs.TESTS.get(name)) for name, one in tests.items()}
    return sandbox


def priced(template: nodes.Template) -> nodes.Template:
    """The same, where loops, comparisons and what is put together are paid for, and none prints as nothing.

    Raises TemplateSyntaxError for a loop that calls itself.
    """
    result: nodes.Template = _Pricing(static_cost(template)).visit(template)
    return result


def static_cost(template: nodes.Node) -> int:
    """Units of a round of a loop, or of a call: a step, what it may print that is always the same, and what is
    worked out in it."""
    return STEP + sum(map(_static_units, template.find_all(nodes.Node)))


def _static_units(node: nodes.Node) -> int:
    match node:
        case nodes.TemplateData():
            return len(node.data)
        case nodes.Getattr() | nodes.Getitem():
            return costs.ACCESS
        case _:
            return _NODE


class _Pricing(NodeTransformer):
    """Puts the price where Jinja2's sandbox looks away."""

    def __init__(self, static: int) -> None:
        self._static = static

    def get_visitor(self, node: nodes.Node) -> Callable[..., Any] | None:
        return self._priced if type(node) in _PRICED else None

    def _priced(self, node: nodes.Node) -> nodes.Node:
        self.generic_visit(node)
        return _PRICED[type(node)](node, self._static)


def _paid(node: nodes.Expr, _static: int = 0) -> nodes.Expr:
    return node if isinstance(node, nodes.Const) else _filtered(node, _CHARGED)


def _filtered(node: Any, name: str, *arguments: nodes.Expr) -> nodes.Expr:
    return nodes.Filter(node, name, list(arguments), [], None, None, lineno=node.lineno)


def _loop(node: nodes.For, static: int) -> nodes.For:
    if node.recursive:
        raise TemplateSyntaxError("a loop in a text cannot be recursive", node.lineno)
    node.iter = _filtered(node.iter, _ROUNDS, nodes.Const(static, lineno=node.lineno))
    return node


def _comparison(node: nodes.Compare, _static: int) -> nodes.Compare:
    node.expr = _paid(node.expr)
    for operand in node.ops:
        operand.expr = _paid(operand.expr)
    return node


def _concatenation(node: nodes.Concat, _static: int) -> nodes.Concat:
    node.nodes = [_filtered(one, "text") for one in node.nodes]
    return node


def _constant(node: nodes.Const, _static: int) -> nodes.Const:
    if isinstance(node.value, float) and math.isinf(node.value):
        raise TemplateSyntaxError("a number in it is too large", node.lineno)
    return node


def _tuple(node: nodes.Tuple, _static: int) -> nodes.Expr:
    return _paid(node) if node.ctx == "load" else node


def _item(node: nodes.Getitem, _static: int) -> nodes.Expr:
    return _paid(node) if isinstance(node.arg, nodes.Slice) else node


_PRICED: Final[Mapping[type[nodes.Node], Callable[[Any, int], nodes.Node]]] = {
    nodes.Const: _constant,
    nodes.For: _loop,
    nodes.Compare: _comparison,
    nodes.Concat: _concatenation,
    nodes.List: _paid,
    nodes.Dict: _paid,
    nodes.Tuple: _tuple,
    nodes.Getitem: _item,
}
"""What becomes of a node, whose parts are priced already; a round of a loop costs so many units."""
