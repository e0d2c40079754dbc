"""Jinja2's sandbox for texts and conditions: missing values are None, and every operation is charged.

Constants are not folded while a template is compiled: every cost is charged when the template runs, on the budget
of ``cost_budget``. Prices are in ``costs``.
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

from aintandem_notify.rules import formats
from aintandem_notify.rules.templates import costs
from aintandem_notify.rules.templates.cost_budget import STEP_COST, MeteredIterable, charge, charge_value, meter

_CHARGE_FILTER: Final = "charge the value"  # with spaces, so that no template can name it
_METER_FILTER: Final = "meter the loop"
_BUILT_IN_TYPES: Final = (str, bytes, bytearray, int, float)
_NODE_COST: Final = 5  # units of any other node of a template, each time it is evaluated
_SEARCHED_TYPES: Final = (list, tuple, range)  # their methods search the elements
_UNCHARGED_TYPES: Final = (Context, EvalContext, Environment)  # Jinja2 passes them as first argument


class Sandbox(ImmutableSandboxedEnvironment):
    """The Jinja2 environment. Render inside ``render_budget()``."""

    intercepted_binops: frozenset[str] = frozenset({"*", "**", "%", "//", "+"})

    def getattr(self, obj: Any, attribute: str) -> Any:
        """As Jinja2; None if it is missing."""
        return _none_if_missing(super().getattr(obj, attribute))

    def getitem(self, obj: Any, argument: Any) -> Any:
        """As Jinja2; None if it is missing."""
        if isinstance(argument, tuple):
            charge_value(argument)
        return _none_if_missing(super().getitem(obj, argument))

    def unsafe_undefined(self, obj: Any, attribute: str) -> Undefined:
        """Raises SecurityError: a forbidden attribute is an error, not merely missing."""
        raise SecurityError(f"{attribute} of {type(obj).__name__} is not for templates")

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Charges before the operation, and for its result."""
        match operator:
            case "**":
                costs.charge_power(left, right)
            case "*":
                costs.charge_product(left, right)
            case "%" if isinstance(left, str | bytes | bytearray):
                costs.charge_formatting(left, right)
            case "%" | "//":
                costs.charge_division(left, right)
        return charge_value(super().call_binop(context, operator, left, right))

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805
        """Charges for arguments and result. The parameter names are Jinja2's: arguments may have any name."""
        named = {name: value for name, value in kwargs.items() if name != "caller" and not name.startswith("_")}
        owner = getattr(__obj, "__self__", None)
        charge(__context.get(STATIC_COST, STEP_COST) if isinstance(__obj, Macro | BlockReference) else STEP_COST)
        for operand in (
            *args,
            *named.values(),
            owner if isinstance(owner, (*_BUILT_IN_TYPES, *_SEARCHED_TYPES)) else None,
        ):
            charge_value(operand)
        if (
            isinstance(owner, _BUILT_IN_TYPES)
            and (charge_cost := costs.METHOD_CHARGES.get(__obj.__name__)) is not None
        ):
            args = _evaluate_lazy(args)
            charge_cost(owner, *args, **named)
        return charge_value(super().call(__context, __obj, *args, **kwargs))

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        """``format`` and ``format_map``, charged for each field."""
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


STATIC_COST: Final = "cost of a call"
"""The name of a template's global for the units of one call: a macro may print the whole template."""


class _Formatter(SandboxedFormatter):
    def format_field(self, value: Any, format_spec: str) -> Any:
        costs.charge_field(value, format_spec)
        return super().format_field(value, format_spec)

    def convert_field(self, value: Any, conversion: Any) -> Any:
        return super().convert_field(charge_value(value), conversion)


def _none_if_missing(value: Any) -> Any:
    return None if isinstance(value, Undefined) else value


def _default(value: Any, default: Any = "", boolean: bool = False) -> Any:
    """Jinja2's ``default``; None counts as missing, too."""
    return default if value is None or isinstance(value, Undefined) or (boolean and not value) else value


def _text(value: Any) -> str:
    return formats.as_text(charge_value(value))


def _evaluate_lazy(args: tuple[Any, ...]) -> tuple[Any, ...]:
    """The arguments with lazy values as lists, so that their cost can be computed."""
    return tuple(list(arg) if isinstance(arg, MeteredIterable) else arg for arg in args)


def _wrap_with_charges(
    function: Callable[..., Any], charge_cost: Callable[..., None] | None = None, *, by_attribute: bool = False
) -> Callable[..., Any]:
    """The filter or test, with charges for its arguments, its result and the attributes that it looks up."""

    def metered_call(*args: Any, **kwargs: Any) -> Any:
        if charge_cost is not None or by_attribute:
            args = _evaluate_lazy(args)
        charged_args = args[1:] if args and isinstance(args[0], _UNCHARGED_TYPES) else args
        if by_attribute and charged_args and isinstance(charged_args[0], Sized):
            charge(
                len(charged_args[0])
                * costs.attribute_count((*charged_args[1:], *kwargs.values()))
                * costs.ACCESS_COST
            )
        for argument in (*charged_args, *kwargs.values()):
            charge_value(argument)
        if charge_cost is not None:
            charge_cost(*charged_args, **kwargs)
        result = function(*args, **kwargs)
        return meter(result) if isinstance(result, Iterator) else charge_value(result)

    return update_wrapper(metered_call, function)


def make_sandbox(finalize: Callable[[Any], str]) -> Sandbox:
    """Make an environment that prints values with ``finalize``."""

    @pass_context  # keeps Jinja2 from printing constants while it compiles
    def finalized(_context: Context, value: Any) -> str:
        return str(charge_value(finalize(value if isinstance(value, str) else charge_value(value))))

    sandbox = Sandbox(undefined=StrictUndefined, finalize=finalized, autoescape=False, optimized=False)
    del sandbox.globals["lipsum"]
    sandbox.globals["range"] = costs.bounded_range
    for name in costs.REMOVED_FILTERS:
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
        name: _wrap_with_charges(
            function, costs.FILTER_CHARGES.get(name), by_attribute=name in costs.ATTRIBUTE_FILTERS
        )
        for name, function in filters.items()
    }
    sandbox.filters |= {_CHARGE_FILTER: charge_value, _METER_FILTER: meter}
    sandbox.tests = {
        name: _wrap_with_charges(function, costs.TEST_CHARGES.get(name)) for name, function in tests.items()
    }
    return sandbox


def add_charges(template: nodes.Template) -> nodes.Template:
    """The template with charges for loops, comparisons and literals inserted; None is printed as nothing.

    Raises TemplateSyntaxError for a recursive loop.
    """
    result: nodes.Template = _ChargeInserter(static_cost(template)).visit(template)
    return result


def static_cost(template: nodes.Node) -> int:
    """Units of one round of a loop, or of one call: a step, its constant text, and its nodes."""
    return STEP_COST + sum(map(_static_cost_of, template.find_all(nodes.Node)))


def _static_cost_of(node: nodes.Node) -> int:
    match node:
        case nodes.TemplateData():
            return len(node.data)
        case nodes.Getattr() | nodes.Getitem():
            return costs.ACCESS_COST
        case _:
            return _NODE_COST


class _ChargeInserter(NodeTransformer):
    """Inserts charges where Jinja2's sandbox calls no hook."""

    def __init__(self, static: int) -> None:
        self._static = static

    def get_visitor(self, node: nodes.Node) -> Callable[..., Any] | None:
        return self._rewrite if type(node) in _REWRITES else None

    def _rewrite(self, node: nodes.Node) -> nodes.Node:
        self.generic_visit(node)
        return _REWRITES[type(node)](node, self._static)


def _add_charge(node: nodes.Expr, _static: int = 0) -> nodes.Expr:
    return node if isinstance(node, nodes.Const) else _add_filter(node, _CHARGE_FILTER)


def _add_filter(node: Any, name: str, *arguments: nodes.Expr) -> nodes.Expr:
    return nodes.Filter(node, name, list(arguments), [], None, None, lineno=node.lineno)


def _rewrite_loop(node: nodes.For, static: int) -> nodes.For:
    if node.recursive:
        raise TemplateSyntaxError("a loop in a text cannot be recursive", node.lineno)
    node.iter = _add_filter(node.iter, _METER_FILTER, nodes.Const(static, lineno=node.lineno))
    return node


def _rewrite_comparison(node: nodes.Compare, _static: int) -> nodes.Compare:
    node.expr = _add_charge(node.expr)
    for operand in node.ops:
        operand.expr = _add_charge(operand.expr)
    return node


def _rewrite_concatenation(node: nodes.Concat, _static: int) -> nodes.Concat:
    node.nodes = [_add_filter(part, "text") for part in node.nodes]
    return node


def _rewrite_constant(node: nodes.Const, _static: int) -> nodes.Const:
    if isinstance(node.value, float) and math.isinf(node.value):
        raise TemplateSyntaxError("a number in it is too large", node.lineno)
    return node


def _rewrite_tuple(node: nodes.Tuple, _static: int) -> nodes.Expr:
    return _add_charge(node) if node.ctx == "load" else node


def _rewrite_item(node: nodes.Getitem, _static: int) -> nodes.Expr:
    return _add_charge(node) if isinstance(node.arg, nodes.Slice) else node


_REWRITES: Final[Mapping[type[nodes.Node], Callable[[Any, int], nodes.Node]]] = {
    nodes.Const: _rewrite_constant,
    nodes.For: _rewrite_loop,
    nodes.Compare: _rewrite_comparison,
    nodes.Concat: _rewrite_concatenation,
    nodes.List: _add_charge,
    nodes.Dict: _add_charge,
    nodes.Tuple: _rewrite_tuple,
    nodes.Getitem: _rewrite_item,
}
"""The rewrite of each kind of node, after its children; takes the node and the static cost of the template."""
